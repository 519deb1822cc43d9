"""`sandbox`: makes something happen at the sandbox provider, and lets the purchase look."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from activities.keys import hint_for, workflow_id_of
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import EventRejected, EventResult, SandboxEvent
from activities.requests import Money
from activities.services import Settings, WrongSetting
from starter import show
from starter.database import opened_provider
from starter.exits import command
from starter.options import Json, PurchaseId, read_amount, read_purchase
from temporal.aftercare import report_news
from temporal.client import connect
from temporal.errors import Failure, InvalidInput, Rejected
from temporal.executions import last_event_at
from temporal.purchases import Purchase
from workflows.messages import CheckPayment, Role, Sender

Event = Annotated[SandboxEvent, typer.Argument(help="What happens.")]
Amount = Annotated[
    str | None,
    typer.Option(help="How much is paid, disputed or refunded, such as 100.00; else all of it."),
]
Currency = Annotated[str | None, typer.Option(help="The currency of the amount, such as USD.")]


@command
async def sandbox(
    event: Event,
    purchase_id: PurchaseId,
    amount: Amount = None,
    currency: Currency = None,
    as_json: Json = False,
) -> None:
    """Make the sandbox provider do something, and let the purchase look at its payment.

    payment-made makes a payment without a purchase; its reference is the payment_reference of a
    start input.
    """
    purchase_id = read_purchase(purchase_id)
    money = _read_money(amount, currency)
    with _opened_sandbox() as provider:
        if event is SandboxEvent.PAYMENT_MADE:
            result = _make_happen(provider, event, purchase_id, money, datetime.now(UTC))
            is_notified = False
        else:
            purchase = Purchase(await connect(), purchase_id)
            result = _make_happen(provider, event, purchase_id, money, await _time_of(purchase))
            is_notified = await _notify(purchase)
    document = {**asdict(result), "amount": result.amount, "notified": is_notified}
    shown = Group(
        _facts(result), show.prose(_what_next(result, purchase_id, is_notified), purchase_id)
    )
    show.answer(document, shown, as_json=as_json)


def _make_happen(
    provider: SandboxProvider,
    event: SandboxEvent,
    purchase_id: str,
    amount: Money | None,
    at: datetime,
) -> EventResult:
    """Make it happen to the purchase's payment. Raises Failure."""
    try:
        return provider.make_happen(event, f"{workflow_id_of(purchase_id)}/hold", amount, at)
    except ValueError as error:
        raise InvalidInput(f"--amount: {error}") from None
    except EventRejected as error:
        hint = hint_for(purchase_id) if error.code == "NOT_FOUND" else ""
        raise Rejected(error.code, f"{error}{hint}") from None


def _read_money(amount: str | None, currency: str | None) -> Money | None:
    if (amount is None) is not (currency is None):
        raise InvalidInput("--amount and --currency go together.")
    if amount is None or currency is None:
        return None
    return Money(amount=read_amount(amount, currency, "--amount"), currency=currency)


@contextmanager
def _opened_sandbox() -> Iterator[SandboxProvider]:
    """Open the sandbox, which must exist and be the configured provider. Raises
    WrongSetting, Unavailable."""
    name = Settings.from_environment().payments.partition(":")[0]
    if name != "sandbox":
        raise WrongSetting(
            f"RECOURSE_PAYMENTS is {name!r}: events can be made to happen only at the sandbox."
        )
    with opened_provider() as provider:
        assert isinstance(provider, SandboxProvider)
        yield provider


async def _time_of(purchase: Purchase) -> datetime:
    """Return the purchase's own time: a server that skips time may be ahead of this machine."""
    now = datetime.now(UTC)
    return max(now, await last_event_at(purchase.client, purchase.workflow_id) or now)


async def _notify(purchase: Purchase) -> bool:
    """Let the purchase, or the aftercare case of a closed one, look at the payment. Returns whether
    one of them does."""
    by = Sender(role=Role.PAYMENTS, id="sandbox")
    message = CheckPayment(by=by, message_id=f"sandbox-{uuid.uuid4()}")
    try:
        await report_news(purchase.client, purchase.id, message, opens=True)
    except Failure:
        return False
    return True


def _facts(result: EventResult) -> RenderableType:
    rows = [
        ("Event", result.event),
        ("Reference", result.reference),
        ("Amount", str(result.amount)),
        ("Status", result.status),
    ]
    return show.fields(rows)


def _what_next(result: EventResult, purchase_id: str, is_notified: bool) -> str:
    if result.event is SandboxEvent.PAYMENT_MADE:
        return f'Start a purchase with "payment_reference": "{result.reference}".'
    if is_notified:
        return f"The purchase looks at its payment now: recourse status {purchase_id}"
    return "The purchase is not running, so it was not notified."
