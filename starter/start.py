"""`purchase`: starts a purchase from options or from one JSON object."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from shlex import quote
from typing import Annotated

import typer

from activities.sanitize import plain_text
from starter import show
from starter.exits import command
from starter.options import (
    Given,
    Json,
    option_of,
    read_amount,
    read_file,
    read_model,
    read_object,
)
from temporal.client import connect
from temporal.errors import InvalidInput, Rejected, Unreachable
from temporal.purchases import Purchase
from temporal.terms import InvalidTerms, check
from workflows.messages import PurchaseStart, Status

FIELDS = {
    "id": "purchase_id",
    "title": "title",
    "client": "client.id",
    "client_name": "client.name",
    "client_email": "client.email",
    "client_timezone": "client.timezone",
    "client_locale": "client.locale",
    "freelancer": "freelancer.id",
    "freelancer_name": "freelancer.name",
    "freelancer_email": "freelancer.email",
    "freelancer_timezone": "freelancer.timezone",
    "freelancer_locale": "freelancer.locale",
    "price": "price.amount",
    "currency": "price.currency",
    "payment_method": "payment_method",
    "payment_reference": "payment_reference",
    "requirements_needed": "requirements_needed",
    "purchased_at": "purchased_at",
    "policy": "policy",
}
"""The field of the start input that each option sets."""

OPTIONS = {field: option_of(name) for name, field in FIELDS.items()}
"""What the sender calls each field."""

OPTIONAL = (
    *("timezone", "locale", "payment_reference"),
    *("requirements_needed", "purchased_at", "policy"),
)
PAYMENT_WITHIN = timedelta(seconds=5)
"""How long `purchase` waits for the payment. A worker that runs needs less than a second."""

POLL_INTERVAL = timedelta(milliseconds=100)


@command
async def purchase(
    context: typer.Context,
    id: Annotated[str | None, typer.Option(help="The purchase's id; used only once.")] = None,
    title: Annotated[str | None, typer.Option(help="One line.")] = None,
    client: Annotated[str | None, typer.Option(metavar="ID", help="The buyer.")] = None,
    client_name: Annotated[str | None, typer.Option()] = None,
    client_email: Annotated[str | None, typer.Option()] = None,
    client_timezone: Annotated[str | None, typer.Option(help="Such as Europe/Lisbon.")] = None,
    client_locale: Annotated[str | None, typer.Option(help="Such as pt_PT.")] = None,
    freelancer: Annotated[str | None, typer.Option(metavar="ID", help="The seller.")] = None,
    freelancer_name: Annotated[str | None, typer.Option()] = None,
    freelancer_email: Annotated[str | None, typer.Option()] = None,
    freelancer_timezone: Annotated[str | None, typer.Option()] = None,
    freelancer_locale: Annotated[str | None, typer.Option()] = None,
    price: Annotated[str | None, typer.Option(help="Such as 250.00.")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217, such as USD.")] = None,
    payment_method: Annotated[str | None, typer.Option(help="Such as pm_sandbox_ok.")] = None,
    payment_reference: Annotated[
        str | None,
        typer.Option(help="Instead, for a purchase that is paid: the provider's charge."),
    ] = None,
    requirements_needed: Annotated[
        bool | None,
        typer.Option("--requirements-needed/--no-requirements-needed", help="Needed by default."),
    ] = None,
    purchased_at: Annotated[str | None, typer.Option(help="RFC 3339; now by default.")] = None,
    policy: Annotated[
        str | None, typer.Option(help='JSON, such as {"requirements_window": "PT1H"}.')
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="The start input as JSON instead of options; - for stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a purchase, and show whether it is paid.

    Repeated with the same input it gives the same answer; other input under the same id is
    rejected. Exit 1 if the payment was declined, or was not made in time.
    """
    params = context.params
    given = {name: params[name] for name in FIELDS if params[name] is not None}
    names = {} if file else OPTIONS
    terms = _from_file(file, given) if file else _from_options(given)
    try:
        check(terms)
    except InvalidTerms as error:
        raise error.named(names) from None
    bought = Purchase(await connect(), terms.purchase_id)
    created = await bought.start(terms)
    standing = await (_payment(bought) if created else _stage(bought))
    show.answer(
        {
            "purchase_id": terms.purchase_id,
            "workflow_id": bought.workflow_id,
            "already_started": not created,
        },
        f"Purchase {terms.purchase_id} {'started' if created else 'was already started'} "
        f"as {bought.workflow_id}.\n{standing}",
        as_json=as_json,
    )


UNPAID = ("payment_declined", "payment_failed")
"""Outcomes of a purchase that was never paid."""


async def _payment(bought: Purchase) -> str:
    """Say what became of the payment, or that it is pending after `PAYMENT_WITHIN`. Raises Failure
    INVALID_INPUT if the id was used by a purchase that Temporal has forgotten, PAYMENT_DECLINED
    and PAYMENT_FAILED."""
    with suppress(TimeoutError, Unreachable):
        async with asyncio.timeout(PAYMENT_WITHIN.total_seconds()):
            # The first event is the purchase itself.
            while len((found := await bought.status()).timeline) == 1:  # noqa: ASYNC110 - remote
                await asyncio.sleep(POLL_INTERVAL.total_seconds())
        _check_paid(found)
        return plain_text(found.timeline[-1].text, show.LONGEST_CELL)
    return f"Its payment is pending. To see what becomes of it: recourse status {quote(bought.id)}"


async def _stage(bought: Purchase) -> str:
    """Say where a purchase stands that was started before. Raises Failure as `_payment` does."""
    with suppress(Unreachable):
        found = await bought.status()
        _check_paid(found)
        ended = f", outcome {found.outcome} ({found.reason})" if found.outcome else ""
        return f"Its stage: {found.stage}{ended}."
    return f"To see where it stands: recourse status {quote(bought.id)}"


def _check_paid(found: Status) -> None:
    if found.outcome in UNPAID:
        why = plain_text(found.timeline[-1].text, show.LONGEST_CELL)
        raise Rejected(found.outcome.upper(), f"{why} Another purchase needs a new id.")


def _from_file(file: str, given: Given) -> PurchaseStart:
    if given:
        raise InvalidInput(f"Give either --file or options, not both: {_options(given)}.")
    return read_model(PurchaseStart, read_object(read_file(file), "--file"))


def _from_options(given: Given) -> PurchaseStart:
    optional = (*OPTIONAL, "payment_method") if "payment_reference" in given else OPTIONAL
    missing = [name for name in FIELDS if name not in given and not name.endswith(optional)]
    if missing:
        raise InvalidInput(f"Missing: {_options(missing)}; or give all as JSON with --file.")
    given["price"] = read_amount(given["price"], given["currency"], "--price")
    if "policy" in given:
        given["policy"] = read_object(given["policy"], "--policy")
    document: Given = {}
    for name, value in given.items():
        *parents, field = FIELDS[name].split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[field] = value
    return read_model(PurchaseStart, document, OPTIONS)


def _options(names: Iterable[str]) -> str:
    return ", ".join(map(option_of, names))
