"""Runs the rows of `rows`: buys, performs the steps of a row, lists the expected mail."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from activities.payments.sandbox import SandboxProvider
from demo.runner import Handle, happen, send, skip, start, until
from demo.scenarios import CancelWorkflow, Happens, Send, Sleep
from tests.notices.environment import Environment
from tests.notices.mailbox import expected_id, no_pending_task, quiet
from tests.notices.rows import AWAY, RawSignal, Row, Step
from tests.purchases import purchase, purchase_of
from workflows.messages import PurchaseStart
from workflows.policy import Reminders

ADDRESSES = {"client": "ana@example.com", "freelancer": "bo@example.com", "operator": "staff@x.org"}
ZONES = {"client": ZoneInfo("Asia/Kolkata"), "freelancer": ZoneInfo("Asia/Tokyo")}
NO_REMINDERS: dict[str, list[str]] = {deadline: [] for deadline in Reminders.model_fields}
TITLE = "A poster for the fair"


async def bought(env: Environment, row: Row) -> tuple[Handle, PurchaseStart]:
    """Start the purchase of a row and wait until its payment is held or declined."""
    reminders = {} if row.reminders else {"reminders": NO_REMINDERS}
    terms = purchase(
        row.method,
        title=TITLE,
        client={
            "id": "ana",
            "name": "Ana",
            "email": ADDRESSES["client"],
            "timezone": ZONES["client"].key,
            "locale": "en_GB",
        },
        freelancer={
            "id": "bo",
            "name": "Bo",
            "email": ADDRESSES["freelancer"],
            "timezone": ZONES["freelancer"].key,
        },
        purchased_at=datetime.now(UTC).isoformat(),
        policy={**reminders, **row.policy},
        **row.start,
    )
    handle = await start(env.server.client, terms)
    await until(handle, lambda found: found.payment != "pending" or row.method == AWAY)
    await no_pending_task(handle)
    return handle, terms


async def perform(env: Environment, handle: Handle, step: Step) -> None:
    """Perform one step of a row and wait until its effect is in the status."""
    match step:
        case RawSignal(name, payload):
            before = (await until(handle, lambda _: True)).rejected_count
            await handle.signal(name, payload)
            await until(handle, lambda found: found.rejected_count > before)
        case Send(role, "settlement_update", fields):
            found = await until(handle, lambda found: found.refund is not None)
            assert found.refund is not None
            current = found.refund.refund_id
            named = f"{handle.id}/refund" if fields.get("attempt") == 1 else current
            await send(handle, role, step.message, refund_id=named, status=fields["status"])
        case Send(role, message, fields):
            await send(handle, role, message, **fields)
        case Happens():
            await quiet(handle)
            provider = env.services.provider
            assert isinstance(provider, SandboxProvider)
            await happen(env.server.client, provider, purchase_of(handle), step)
        case CancelWorkflow():
            await handle.cancel()
            await until(handle, lambda found: found.reason is not None)
        case Sleep(duration):
            await quiet(handle)
            await skip(env.server, handle, duration + timedelta(minutes=1))


def expected_mail(purchase_id: str, row: Row, channel: str = "maildir") -> list[tuple[str, str]]:
    """Message-IDs and addresses. A Message-ID includes the number of its transition."""
    return [
        (expected_id(purchase_id, count, transition, role, channel), ADDRESSES[role])
        for count, entry in enumerate(row.notices, 1)
        for transition, _, roles in [entry.partition(": ")]
        for role in roles.split(", ")
    ]
