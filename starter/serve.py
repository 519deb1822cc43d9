"""The commands that serve until Ctrl-C, and the demo. Each imports what it serves when it runs."""

from typing import Annotated

import typer

from starter.exits import command
from starter.options import Json, read_purchase, read_sender
from temporal.errors import InvalidInput

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")]
Link = Annotated[
    str | None,
    typer.Option(metavar="ROLE:ID", help="Print a link that signs this person in for a day."),
]
LinkTo = Annotated[
    str | None, typer.Option(metavar="PURCHASE", help="The link opens this purchase only.")
]
Exit = Annotated[bool, typer.Option("--exit", help="Exit as soon as the scenarios have ended.")]


@command
async def webhooks(host: Host = "127.0.0.1", port: Port = 8088) -> None:
    """Receive the payment provider's webhooks: POST /webhooks/stripe. Ends on Ctrl-C."""
    from starter.webhooks import serve  # imports a web server and the provider's SDK

    await serve(host, port)


@command
async def codec(host: Host = "127.0.0.1", port: Port = 8089) -> None:
    """Decrypt payloads for the Web UI, for users with a token: POST /decode. Ends on Ctrl-C."""
    from starter.codec import serve  # imports a web server

    await serve(host, port)


@command
async def metrics(host: Host = "127.0.0.1", port: Port = 9465) -> None:
    """Serve business metrics to Prometheus: GET /metrics. Ends on Ctrl-C."""
    from starter.metrics import serve  # imports a web server

    await serve(host, port)


@command
async def workroom(link: Link = None, purchase: LinkTo = None) -> None:
    """Serve the HTTP API and the pages at RECOURSE_WORKROOM, or print a link. Ends on Ctrl-C."""
    from workroom.server import link_for, serve  # imports a web server

    if link is not None:
        print(
            link_for(
                read_sender(link, "--link"), purchase and read_purchase(purchase, "--purchase")
            )
        )
    elif purchase is not None:
        raise InvalidInput("--purchase goes with --link.")
    else:
        await serve()


@command
async def demo(exit_at_once: Exit = False, as_json: Json = False) -> int:
    """Run every scenario on an embedded server that skips time."""
    try:
        from demo.demo import demo  # imports a worker, and is not in the wheel
    except ModuleNotFoundError:
        raise InvalidInput(
            "The demo is not installed. Run `make demo` in the repository."
        ) from None
    return await demo(exit_at_once=exit_at_once, json_output=as_json)
