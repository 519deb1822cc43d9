"""News about the payment of a closed purchase: a refund that came back, a bank dispute, a refund
made elsewhere. The server, the ledger and the sandbox provider are real."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from activities.audit import reconcile
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Difference, Money
from activities.services import Services
from demo.runner import Handle, send, start, until
from starter import show
from temporal.aftercare import AftercareCase, current, open_case, report_news, status_of
from temporal.converter import DATA_CONVERTER
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import Rejected
from temporal.listing import Wanted, find
from temporal.purchases import Purchase
from temporal.runner import Runner, WritesCards
from tests.purchases import OPERATOR, PAYMENTS, deleted, held, purchase, purchase_of
from tests.starter.test_shown_ledger import printed
from workflows import view
from workflows.aftercare import PurchaseAftercare
from workflows.messages import CheckPayment, PurchaseResult, Role, Sender, Status

pytestmark = pytest.mark.usefixtures("worker")

AT_ONCE = "pm_sandbox_at_once"


class World:
    """A server, its services, and what happens to a payment there."""

    def __init__(self, server: WorkflowEnvironment, services: Services) -> None:
        self.server, self.services, self.client = server, services, server.client

    async def closed(self, *, refund: int = 250_00, **given: Any) -> Handle:
        """A closed purchase of 250.00 USD: `refund` is with the client, the rest released."""
        handle = await held(self.server, payment_method=AT_ONCE, **given)
        await send(handle, Role.CLIENT, "propose_split", refund=refund)
        await send(handle, Role.FREELANCER, "accept_split", refund=refund)
        await handle.result()
        return handle

    def happen(self, handle: Handle, event: SandboxEvent, amount: int | None = None) -> None:
        """Something happens to the payment at the provider, and nobody is notified."""
        assert isinstance(self.services.provider, SandboxProvider)
        money = None if amount is None else Money(amount=amount, currency="USD")
        key = f"{handle.id}/hold"
        self.services.provider.make_happen(event, key, money, datetime.now(UTC))

    async def news(self, handle: Handle, event: SandboxEvent, amount: int | None = None) -> Handle:
        """The same, and the purchase's case looks at it; its handle."""
        self.happen(handle, event, amount)
        return await self.looked(handle)

    async def looked(self, handle: Handle) -> Handle:
        """A webhook about the payment arrives."""
        sender = Sender.model_validate(PAYMENTS)
        news = CheckPayment(by=sender, message_id=str(uuid.uuid4()))
        got = await report_news(self.client, purchase_of(handle), news, opens=True)
        assert got == "aftercare"
        case: Handle = AftercareCase(self.client, purchase_of(handle)).handle
        return case

    async def until(self, handle: Handle, holds: Callable[[Status], bool]) -> Status:
        """Wait for the status that support staff see."""
        while not holds(found := await self.status(handle)):
            pass
        return found

    async def status(self, handle: Handle) -> Status:
        """The status of the purchase, with its case."""
        while True:
            try:
                return await status_of(Purchase(self.client, purchase_of(handle)))
            except Rejected as rejected:
                if rejected.code != "NO_ANSWER":  # the case is being opened
                    raise

    def balances(self, handle: Handle) -> tuple[int, int, int]:
        """In transit, refunded and released, by the ledger."""
        found = self.services.ledger.balances(purchase_of(handle))
        assert found is not None
        return found.in_transit, found.refunded, found.released

    def account(self, name: str) -> int:
        """The balance of an account."""
        balances = {each.account: each.balance for each in self.services.ledger.accounts()}
        return balances.get(name, 0)

    def notices(self, handle: Handle) -> set[str]:
        """The notices about the purchase, each with who got it."""
        sent = self.services.notices.list(purchase_of(handle))
        return {f"{notice.transition}: {notice.role}" for notice in sent}

    async def differences(self, handle: Handle) -> list[Difference]:
        """What an audit finds about the purchase."""
        directory = TemporalPurchaseDirectory(self.client)
        report = await reconcile(self.services.ledger, self.services.provider, directory)
        return [each for each in report.differences if each.purchase_id == purchase_of(handle)]


@pytest.fixture
def world(server: WorkflowEnvironment, services: Services) -> World:
    return World(server, services)


async def returned(world: World, **given: Any) -> tuple[Handle, Handle]:
    """A closed purchase whose refund came back, and its case, which waits for a person."""
    handle = await world.closed(**given)
    case = await world.news(handle, SandboxEvent.REFUND_RETURNED)
    await world.until(
        handle, lambda found: bool(found.refund and found.refund.status == "returned")
    )
    return handle, case


async def resolve(case: Handle, action: str, **fields: Any) -> None:
    """An operator resolves what the case waits for."""
    message = {"by": OPERATOR, "action": action, **fields}
    await case.execute_update("resolve_attention", message)


async def test_a_refund_that_comes_back_is_sent_again(world: World) -> None:
    """The client is notified, the ledger has the money in transit, an operator sends it again under
    a new key, and the case ends when it has arrived."""
    handle, case = await returned(world, refund=100_00)
    found = await world.status(handle)
    assert (found.stage, found.outcome, found.reason) == ("closed", "split", "mutual_split")
    assert "aftercare-" in found.attention[0].text
    assert found.attention[1].kind == "refund_failed"
    assert (found.escrow.in_transit, found.escrow.refunded) == (100_00, 0)
    assert "by others" not in printed(show.status(found))

    await resolve(case, "retry")
    result = await case.result()

    assert (result.outcome, result.refunded, result.released) == ("split", 100_00, 150_00)
    assert world.balances(handle) == (0, 100_00, 150_00)
    keys = [each.key for each in world.services.ledger.transfers(purchase_of(handle))]
    assert [key.removeprefix(f"{handle.id}/").split("/")[0] for key in keys] == [
        *("hold", "split", "split", "settled", "refund_returned", "settled-2")
    ]
    sandbox = world.services.provider
    assert isinstance(sandbox, SandboxProvider)
    refunds = {each.refund_id for each in sandbox.refunds()}
    assert {f"{handle.id}/refund", f"{handle.id}/refund-2"} <= refunds
    assert {"refund_returned: client", "refund_returned: operator"} <= world.notices(handle)
    assert "refund_returned: freelancer" not in world.notices(handle)
    assert await world.differences(handle) == []
    ended = await world.status(handle)
    assert ended.attention == ()
    assert "refund_returned" in {entry.transition for entry in ended.timeline}
    assert ended.refund
    assert (ended.refund.refund_id, ended.refund.status) == (f"{handle.id}/refund-2", "settled")


async def test_an_operator_records_how_a_returned_refund_was_paid(world: World) -> None:
    """With a reference to the proof; nothing is sent again."""
    handle, case = await returned(world)
    await resolve(case, "mark_settled", reference="bank transfer 7")
    await case.result()
    assert world.balances(handle) == (0, 250_00, 0)
    assert await world.differences(handle) == []
    postings = world.services.ledger.postings(purchase_of(handle))
    assert postings[-1].reference == "bank transfer 7"


async def test_a_refund_that_comes_back_twice_is_booked_twice(world: World) -> None:
    """A second case begins with what the first has left: keys and attempts go on."""
    handle, first = await returned(world)
    await resolve(first, "retry")
    await first.result()
    second = await world.news(handle, SandboxEvent.REFUND_RETURNED)
    await world.until(
        handle, lambda found: bool(found.refund and found.refund.status == "returned")
    )
    assert world.balances(handle) == (250_00, 0, 0)
    await resolve(second, "mark_settled", reference="bank transfer 8")
    await second.result()
    assert world.balances(handle) == (0, 250_00, 0)


async def test_money_in_transit_is_a_difference_only_without_a_case(world: World) -> None:
    """A case that was terminated is found by the audit, which opens another; it goes on there."""
    handle, case = await returned(world)
    while (await world.status(handle)).escrow.in_transit != world.balances(handle)[0]:
        pass
    assert await world.differences(handle) == []
    await case.terminate("by mistake")
    (found,) = await world.differences(handle)
    assert found.is_news
    await open_case(world.client, purchase_of(handle))
    await world.until(handle, lambda found: len(found.attention) == 2)
    again: Handle = AftercareCase(world.client, purchase_of(handle)).handle
    await resolve(again, "retry")
    await again.result()
    assert world.balances(handle) == (0, 250_00, 0)


async def test_the_audit_finds_a_refund_whose_webhook_was_lost(world: World) -> None:
    """It opens the case, in which the refund is in transit."""
    handle = await world.closed()
    world.happen(handle, SandboxEvent.REFUND_RETURNED)
    (found,) = await world.differences(handle)
    assert found.is_news
    await open_case(world.client, purchase_of(handle))
    await world.until(
        handle, lambda found: bool(found.refund and found.refund.status == "returned")
    )
    case: Handle = AftercareCase(world.client, purchase_of(handle)).handle
    await resolve(case, "mark_settled", reference="proof")
    await case.result()
    assert await world.differences(handle) == []


@pytest.mark.parametrize("bears", ["platform", "freelancer"])
async def test_a_lost_dispute_after_a_release_is_booked_by_the_policy(
    world: World, bears: str
) -> None:
    """As a loss of the platform, or as a debt of the freelancer, who is notified."""
    given = {"policy": {"chargeback_after_release": bears}}
    handle = await world.closed(refund=0, **given)
    losses = world.account("platform-losses:USD")
    case = await world.news(handle, SandboxEvent.DISPUTE_OPENED)
    found = await world.until(handle, lambda found: len(found.attention) == 2)
    assert found.attention[1].kind == "bank_dispute"
    assert await world.differences(handle) == []
    await world.news(handle, SandboxEvent.DISPUTE_LOST)
    result = await case.result()
    assert (result.outcome, result.released) == ("released", 250_00)
    debt = world.account(f"freelancer-receivable:{purchase_of(handle)}")
    lost = world.account("platform-losses:USD") - losses
    assert (lost, debt) == ((-250_00, 0) if bears == "platform" else (0, -250_00))
    owes = "bank_dispute_debt: freelancer" in world.notices(handle)
    assert owes is (bears == "freelancer")
    assert await world.differences(handle) == []


async def test_a_dispute_that_is_won_ends_the_case(world: World) -> None:
    """Nothing is booked: the money was paid out before."""
    handle = await world.closed(refund=0)
    case = await world.news(handle, SandboxEvent.DISPUTE_OPENED)
    await world.until(handle, lambda found: len(found.attention) == 2)
    await world.news(handle, SandboxEvent.DISPUTE_WON)
    await case.result()
    assert world.balances(handle) == (0, 0, 250_00)
    assert await world.differences(handle) == []


async def test_a_refund_made_elsewhere_after_the_end_needs_a_person(world: World) -> None:
    """Nothing is paid on top; an operator records how it was settled."""
    handle = await world.closed(refund=100_00)
    case = await world.news(handle, SandboxEvent.REFUND_ELSEWHERE, 50_00)
    found = await world.until(handle, lambda found: len(found.attention) == 2)
    assert found.attention[1].kind == "refunded_elsewhere"
    await resolve(case, "mark_settled", reference="agreed with Bo")
    await case.result()
    assert world.balances(handle) == (0, 100_00, 150_00)


async def test_repeated_news_do_nothing_twice(world: World) -> None:
    """While the case is open, and after it has ended."""
    handle, case = await returned(world)
    for _ in range(3):
        await world.looked(handle)
    before = world.notices(handle)
    await resolve(case, "mark_settled", reference="proof")
    await case.result()
    transfers = world.services.ledger.transfers(purchase_of(handle))
    again = await world.looked(handle)
    await again.result()
    assert world.services.ledger.transfers(purchase_of(handle)) == transfers
    assert {n for n in world.notices(handle) - before if "returned" in n} == set()
    sent = world.services.notices.list(purchase_of(handle))
    assert [n.role for n in sent if n.transition == "refund_returned"].count("client") == 1


async def test_news_after_the_aftercare_window_opens_no_case(world: World) -> None:
    """The run ends at once, and the audit goes on to find the difference."""
    handle = await world.closed(policy={"aftercare_window": "PT0.001S"})
    case = await world.news(handle, SandboxEvent.REFUND_RETURNED)
    await case.result()
    assert world.balances(handle) == (0, 250_00, 0)
    assert "refund_returned: client" not in world.notices(handle)
    assert len(await world.differences(handle)) == 1


async def test_a_case_needs_no_history_of_its_purchase(world: World) -> None:
    """Parties, price, policy and refund come from ledger and provider."""
    handle = await world.closed(refund=100_00)
    await deleted(world.server, purchase_of(handle))
    case = await world.news(handle, SandboxEvent.REFUND_RETURNED)
    found = await world.until(handle, lambda found: len(found.attention) == 2)
    assert (found.client, found.freelancer, found.stage) == ("ana", "bo", "closed")
    assert str(found.price) == "250.00 USD"
    await resolve(case, "retry")
    await case.result()
    assert world.balances(handle) == (0, 100_00, 150_00)


async def test_a_purchase_that_is_not_closed_has_no_case(world: World) -> None:
    """One with money in escrow is continued with adopt, not by a case."""
    handle = await start(world.client, purchase())
    await until(handle, lambda found: found.payment == "held")
    await deleted(world.server, purchase_of(handle))
    case = AftercareCase(world.client, purchase_of(handle))
    await case.open(CheckPayment(by=Sender.model_validate(PAYMENTS)))
    with pytest.raises(Exception, match="failed"):
        await case.handle.result()
    assert "is not closed" in (await case.input_error() or "")


async def test_a_case_survives_every_message(world: World) -> None:
    """Signals without sense are shown as rejected, as for a purchase."""
    _, case = await returned(world)
    await case.signal("resolve_attention", {"by": 7})
    await case.signal("dance", "now")
    await case.signal("cancel", {"by": {"role": "client", "id": "ana"}})
    found: Status
    while (found := await case.query("status", result_type=Status)).rejected_count < 3:
        pass
    codes = {item.code for item in found.rejected}
    assert codes == {"INVALID_MESSAGE", "UNKNOWN_MESSAGE", "ALREADY_SETTLED"}
    await resolve(case, "mark_settled", reference="proof")
    await case.result()


async def test_an_open_case_is_found_by_list_and_takes_the_messages(world: World) -> None:
    """By the same search attributes; `resolve-attention` goes to the case."""
    handle, case = await returned(world)
    purchase_id = purchase_of(handle)
    listed = None
    while listed is None:
        wanted: Wanted = {view.CLIENT: "ana", view.STAGE: "closed", view.NEEDS_ATTENTION: True}
        found = await find(world.client, wanted)
        listed = next((each for each in found if each.purchase_id == purchase_id), None)
    assert listed.outcome == "refunded"
    target = await current(Purchase(world.client, purchase_id))
    assert target.workflow_id == f"aftercare-{purchase_id}"
    actions = {each.message: each for each in await target.actions(Role.OPERATOR)}
    assert actions["resolve_attention"].allowed
    await resolve(case, "retry")
    result: PurchaseResult = await case.result()
    assert result.purchase_id == purchase_id
    described = await case.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED
    found = await find(world.client, {})
    assert [each.purchase_id for each in found].count(purchase_id) == 1


async def test_the_history_of_a_case_replays(world: World) -> None:
    """So a case goes on when its worker has died."""
    _, case = await returned(world)
    await resolve(case, "retry")
    await case.result()
    replayer = Replayer(
        workflows=[PurchaseAftercare],
        workflow_runner=Runner(),
        interceptors=[WritesCards()],
        data_converter=DATA_CONVERTER,
    )
    await replayer.replay_workflow(await case.fetch_history())
