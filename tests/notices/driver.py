"""Plays the rows of `rows`: buys, does what the row says, and says which mail has to follow."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from demo.runner import Handle, say, skip, start, until
from demo.scenarios import CancelWorkflow, Send, Sleep
from tests.notices.environment import House
from tests.notices.mailbox import answered, number, quiet
from tests.notices.rows import AWAY, Act, Row, Signals
from tests.purchases import purchase
from workflows.messages import PurchaseStart
from workflows.policy import Reminders

ADDRESSES = {"client": "ana@example.com", "freelancer": "bo@example.com", "operator": "staff@x.org"}
ZONES = {"client": ZoneInfo("Asia/Kolkata"), "freelancer": ZoneInfo("Asia/Tokyo")}
NO_REMINDERS: dict[str, list[str]] = {deadline: [] for deadline in Reminders.model_fields}
TITLE = "A poster for the fair"


async def bought(at: House, row: Row) -> tuple[Handle, PurchaseStart]:
    """The purchase of a row, once its payment is held or declined."""
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
    handle = await start(at.server.client, terms)
    await until(handle, lambda found: found.payment != "pending" or row.method == AWAY)
    await answered(handle)
    return handle, terms


async def perform(at: House, handle: Handle, act: Act) -> None:
    """One act of a row; its effect can be read when this returns."""
    match act:
        case Signals(name, payload):
            before = (await until(handle, lambda _: True)).rejected_count
            await handle.signal(name, payload)
            await until(handle, lambda found: found.rejected_count > before)
        case Send(role, "settlement_update", fields):
            found = await until(handle, lambda found: found.refund is not None)
            assert found.refund is not None
            current = found.refund.refund_id
            named = f"{handle.id}/refund" if fields.get("attempt") == 1 else current
            await say(handle, role, act.message, refund_id=named, status=fields["status"])
        case Send(role, message, fields):
            await say(handle, role, message, **fields)
        case CancelWorkflow():
            await handle.cancel()
            await until(handle, lambda found: found.reason is not None)
        case Sleep(duration):
            await quiet(handle)
            await skip(at.server, handle, duration + timedelta(minutes=1))


def expected_mail(purchase_id: str, row: Row, channel: str = "maildir") -> list[tuple[str, str]]:
    """Each Message-ID is made from the transition's number, too: it holds the order."""
    return [
        (number(purchase_id, count, transition, role, channel), ADDRESSES[role])
        for count, entry in enumerate(row.told, 1)
        for transition, _, roles in [entry.partition(": ")]
        for role in roles.split(", ")
    ]
