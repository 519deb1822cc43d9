"""`events`: which events other systems did not get, and how to send them again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import RenderableType

from activities.notices.log import DeliveryLog, Notice
from activities.requests import Model
from activities.services import Settings, WrongSetting, event_delivery
from starter import show
from starter.database import opened
from starter.exits import ExitStatus, command
from starter.options import Json, read_purchase

Only = Annotated[
    str | None, typer.Argument(metavar="PURCHASE", help="Only of this purchase, by its id.")
]
Resend = Annotated[bool, typer.Option("--resend", help="Send them again, the oldest first.")]


class GivenUp(Model):
    """The events of one purchase that one consumer did not get. `why`: the error of the last."""

    purchase_id: str
    consumer: str
    events: int
    why: str


@command
async def events(purchase_id: Only = None, resend: Resend = False, as_json: Json = False) -> int:
    """List the events that other systems did not get; with --resend, send them again.

    They were given up: the consumer rejected them, or did not answer for three days.
    """
    only = read_purchase(purchase_id) if purchase_id else None
    with opened() as engine:
        log = DeliveryLog(engine)
        found: Sequence[Notice] = log.given_up_events(datetime.now(UTC), only)
        left = found
        if resend and found:
            delivery = event_delivery(Settings.from_environment())
            if delivery is None:
                raise WrongSetting("RECOURSE_EVENTS_URL is not set: it says where events go.")
            with show.progress() as report:
                left = await delivery(log).resend(found, report)
    lost = _summary(left)
    show.answer(lost, _shown(lost, len(left), len(found), resend), as_json=as_json)
    return ExitStatus.REJECTED if resend and left else 0


def _summary(found: Sequence[Notice]) -> list[GivenUp]:
    streams: dict[tuple[str, str], list[Notice]] = {}
    for each in found:
        streams.setdefault((each.purchase_id, each.channel), []).append(each)
    return [
        GivenUp(purchase_id=of, consumer=to, events=len(events), why=events[-1].last_error)
        for (of, to), events in streams.items()
    ]


def _shown(lost: Sequence[GivenUp], left: int, found: int, resend: bool) -> RenderableType:
    if not found:
        return show.prose("No event was given up.")
    if resend and not left:
        return show.prose(f"{found} of {found} events were sent.")
    title = f"{left} events were given up (--resend sends them again)"
    if resend:
        title = f"{found - left} of {found} events were sent; these were not"
    rows = ((it.purchase_id, it.consumer, str(it.events), it.why) for it in lost)
    return show.table(title, ("purchase", "consumer", "events", "last error"), rows)
