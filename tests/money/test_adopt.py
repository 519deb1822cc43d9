"""`adopt` resumes a terminated purchase where it was, and no money moves twice."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import create_engine, migrate
from activities.keys import workflow_id_of
from activities.ledger import BoughtPurchase, Ledger, SavedState
from activities.requests import TASK_QUEUE, Difference
from activities.restore import restore
from activities.sealing import UNENCRYPTED
from activities.services import Services
from demo.runner import Handle, send, skip, start, status, until
from temporal.adoption import EndedPurchases
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import Failure
from temporal.listing import find, running
from temporal.purchases import Purchase
from tests.money.environment import NOW
from tests.purchases import FREELANCER, adopted, deleted, held, input_error, purchase, purchase_of
from worker import build_worker
from workflows import budget
from workflows.acceptance import ADOPTED_RUN
from workflows.effects import EffectRunner
from workflows.messages import Deliver, PurchaseStart, Role
from workflows.receiving.queue import FIRST_BATCH

DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("worker")


async def in_escrow(_: WorkflowEnvironment, handle: Handle) -> None:
    """The money is in escrow."""


async def cancelled(server: WorkflowEnvironment, handle: Handle) -> None:
    """The client cancelled two days ago."""
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.CLIENT, "cancel")
    await skip(server, handle, 2 * DAY)


async def decided(server: WorkflowEnvironment, handle: Handle) -> None:
    """The refund is pending."""
    await cancelled(server, handle)
    await send(handle, Role.FREELANCER, "decide_refund", decision="approve")
    await until(handle, lambda found: found.escrow.in_transit > 0)


Before = Callable[[WorkflowEnvironment, Handle], Awaitable[None]]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (in_escrow, "requirements_timeout"),
        (cancelled, "freelancer_silent"),
        (decided, "refund_approved"),
    ],
    ids=["in escrow", "refund cancelled for", "refund in transit"],
)
async def test_a_terminated_purchase_is_found_adopted_and_completed(
    server: WorkflowEnvironment, services: Services, before: Before, reason: str
) -> None:
    """Audit, then adopt: one charge, one refund, the same outcome, and a clean audit."""
    handle = await held(server)
    await before(server, handle)
    purchase_id = purchase_of(handle)
    was = await status(handle)
    await handle.terminate("by mistake")

    while not (differing := await differences(server, services, purchase_id)):  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # the server lists the end soon after it
    (found,) = differing
    assert "its workflow is not running" in found.what
    assert f"adopt {purchase_id}" in found.what_to_do

    handle = await adopted(server, services, purchase_id)
    resumed = await status(handle)
    assert (resumed.stage, resumed.escrow) == (was.stage, was.escrow)
    assert [(each.name, each.at) for each in resumed.deadlines] == [
        (each.name, each.at) for each in was.deadlines
    ]
    assert await differences(server, services, purchase_id) == []
    listed = [each for each in await find(server.client, {}) if each.purchase_id == purchase_id]
    assert [each.workflow_status for each in listed] == ["running"]

    await skip(server, handle)
    result = await handle.result()
    assert (result.outcome, result.reason, result.refunded) == ("refunded", reason, 25000)
    assert moved(services, purchase_id) == ["hold", "refund", "settled"]
    statement = services.provider.statement()
    assert [each.key for each in statement.charges].count(f"{handle.id}/hold") == 1
    assert [each.refund_id for each in statement.refunds].count(f"{handle.id}/refund") == 1
    assert await differences(server, services, purchase_id) == []


def moved(services: Services, purchase_id: str) -> list[str]:
    """The steps whose transfers the ledger has."""
    prefix = f"{workflow_id_of(purchase_id)}/"
    return [each.key.removeprefix(prefix) for each in services.ledger.transfers(purchase_id)]


async def differences(
    server: WorkflowEnvironment, services: Services, purchase_id: str
) -> list[Difference]:
    report = await reconcile(
        services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
    )
    return [each for each in report.differences if each.purchase_id == purchase_id]


async def test_concurrent_adoptions_leave_one_run(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The second is rejected, because the purchase is running."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await handle.terminate("by mistake")
    both = await asyncio.gather(
        *(adopted(server, services, purchase_id) for _ in range(2)), return_exceptions=True
    )
    assert [each.code for each in both if isinstance(each, Failure)] == ["RUNNING"]
    handle = server.client.get_workflow_handle(handle.id)
    assert (await status(handle)).stage == "awaiting_requirements"
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    assert moved(services, purchase_id) == ["hold", "refund", "settled"]


async def test_only_an_ended_purchase_with_money_can_be_adopted(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Each rejection has its code."""
    running = await held(server)
    assert await rejected(server, services, running) == "RUNNING"
    assert await rejected(server, services, server.client.get_workflow_handle("purchase-none")) == (
        "NOT_FOUND"
    )
    closed = await start(server.client, purchase("pm_sandbox_declined"))
    await closed.result()
    assert await rejected(server, services, closed) == "CLOSED"
    unpaid = await start(server.client, purchase("pm_sandbox_needs_client"))
    await until(unpaid, lambda found: bool(found.timeline))
    await unpaid.terminate("by mistake")
    assert await rejected(server, services, unpaid) == "NO_MONEY"


async def rejected(server: WorkflowEnvironment, services: Services, handle: Handle) -> str:
    with pytest.raises(Failure) as failure:
        await adopted(server, services, purchase_of(handle))
    return failure.value.code


async def test_a_purchase_ended_before_its_first_task_starts_with_its_terms(
    server: WorkflowEnvironment, services: Services
) -> None:
    """It was charged but not held: the charge is found, not made again."""
    terms = PurchaseStart.model_validate(purchase().model_dump(mode="json"))
    bought = Purchase(server.client, terms.purchase_id)
    key = f"{bought.workflow_id}/hold"
    services.provider.charge(
        key, terms.price, terms.payment_method or "", terms.purchased_at or NOW
    )
    await bought.start(terms)
    await bought.handle.terminate("at once")
    await adopted(server, services, bought.id)
    await until(bought.handle, lambda found: found.payment == "held")
    assert [each.key for each in services.provider.statement().charges].count(key) == 1


def notices_of(services: Services, purchase_id: str) -> list[str]:
    return [each.transition_id for each in services.notices.list(purchase_id)]


async def notified(services: Services, handle: Handle, count: int) -> None:
    """Wait until this number of a purchase's notices have been written."""
    await until(handle, lambda _: len(notices_of(services, purchase_of(handle))) >= count)


async def test_an_adopted_purchase_keeps_its_answered_messages_and_its_notices(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A cancel that was answered gets the same answer again; nobody is notified twice."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    once = {"message_id": "cancel-1"}
    first = await send(handle, Role.CLIENT, "cancel", **once)
    before = await status(handle)
    await notified(services, handle, 4)
    sent = notices_of(services, purchase_id)
    await handle.terminate("by mistake")

    handle = await adopted(server, services, purchase_id)
    assert await send(handle, Role.CLIENT, "cancel", **once) == first
    after = await status(handle)
    *timeline, entry = after.timeline
    assert (tuple(timeline), after.deadlines) == (before.timeline, before.deadlines)
    assert (entry.number, entry.transition, entry.by) == (len(timeline) + 1, "adopted", "operator")
    assert entry.text == "Our staff continued the purchase after it had been ended."
    await send(handle, Role.FREELANCER, "give_refund")
    await notified(services, handle, 6)
    assert notices_of(services, purchase_id)[:4] == sent


@pytest.mark.parametrize(
    ("by", "shown"),
    [("o-1", "o-1"), ("", None), ("two words", None), ("x" * 65, None)],
    ids=["an operator", "nobody", "no id", "too long"],
)
async def test_the_timeline_says_who_adopted(
    server: WorkflowEnvironment, services: Services, by: str, shown: str | None
) -> None:
    """Everybody who starts workflows can write the memo; what is not an id is not shown."""
    handle = await held(server)
    await handle.terminate("by mistake")
    handle = await adopted(server, services, purchase_of(handle), by=by)
    entry = (await status(handle)).timeline[-1]
    assert (entry.transition, entry.by, entry.by_id) == ("adopted", "operator", shown)


async def test_a_second_adopt_that_arrives_late_changes_nothing(
    server: WorkflowEnvironment, services: Services
) -> None:
    """It would continue from before the cancel that was answered meanwhile. Its run is rejected,
    and the next adopt continues the run before it."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    late = (await handle.describe()).run_id
    await handle.terminate("by mistake")
    handle = await adopted(server, services, purchase_id)
    await send(handle, Role.CLIENT, "cancel")
    await handle.terminate("by mistake again")

    handle = await server.client.start_workflow(
        "ProjectPurchase",
        id=handle.id,
        task_queue=TASK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        memo={ADOPTED_RUN: late},
    )
    assert "was continued from the run" in await input_error(handle)

    handle = await adopted(server, services, purchase_id)
    assert (await status(handle)).stage == "refund_requested"


async def test_what_a_purchase_received_before_it_was_ended_is_handled(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Messages that were sent while no worker ran, more than one batch of them."""
    async with build_worker(bare_server.client, services, threads):
        handle = await held(bare_server)
    purchase_id = purchase_of(handle)
    for number in range(FIRST_BATCH + 20):
        note = {"by": FREELANCER, "message_id": f"m-{number}", "text": f"Message {number}"}
        await handle.signal("send_message", note)
    await handle.signal("cancel", {"by": FREELANCER})
    await handle.terminate("by mistake")
    async with build_worker(bare_server.client, services, threads):
        handle = await adopted(bare_server, services, purchase_id)
        found = await until(handle, lambda found: found.reason is not None)
    assert (found.stage, found.reason) == ("settling", "freelancer_cancelled")


async def test_a_run_that_was_ended_before_its_first_task_is_adopted_with_what_it_was_given(
    server: WorkflowEnvironment, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purchase continues as new and is ended at once: no worker has answered for the new run."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    first = (await handle.describe()).run_id
    await send(handle, Role.CLIENT, "cancel")

    resume = EffectRunner.resume

    def fails(effects: EffectRunner) -> None:
        if workflow.info().continued_run_id:
            raise RuntimeError("each task of the new run fails")
        resume(effects)

    monkeypatch.setattr(EffectRunner, "resume", fails)
    for number in range(budget.SIGNALS_PER_RUN):
        await handle.signal("send_message", {"by": FREELANCER, "text": f"Message {number}"})
    while (await handle.describe()).run_id == first:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await handle.terminate("by mistake")
    monkeypatch.undo()

    handle = await adopted(server, services, purchase_id)
    found = await status(handle)
    assert (found.stage, found.payment) == ("refund_requested", "held")
    assert len(found.timeline) > budget.SIGNALS_PER_RUN
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    assert moved(services, purchase_id) == ["hold", "refund", "settled"]


async def test_a_purchase_is_adopted_after_its_history_was_deleted(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The daily audit has saved its state: nothing is lost."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await cancelled(server, handle)
    was = await status(handle)
    await handle.terminate("by mistake")
    await EndedPurchases(server.client, services.ledger, services.seal).save(purchase_id)
    await deleted(server, purchase_id)

    handle = await adopted(server, services, purchase_id)
    resumed = await status(handle)
    assert (resumed.stage, resumed.deadlines) == (was.stage, was.deadlines)
    await send(handle, Role.FREELANCER, "decide_refund", decision="approve")
    await skip(server, handle)
    assert (await handle.result()).refunded == 25000


async def test_without_a_history_or_a_state_a_purchase_begins_again_with_its_terms(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Only if the operator, who sees what is lost, says so. Nobody is charged twice, and the
    deadlines are new, because nobody could act before."""
    bought = NOW - 30 * DAY
    handle = await held(server, purchased_at=bought.isoformat(), requirements_needed=False)
    purchase_id = purchase_of(handle)
    await notified(services, handle, 2)
    await handle.terminate("by mistake")
    await deleted(server, purchase_id)

    with pytest.raises(Failure, match=r"messages and deadlines are lost.*--from-terms"):
        await adopted(server, services, purchase_id)
    for number in range(2):
        handle = await adopted(server, services, purchase_id, from_terms=True)
        found = await until(handle, lambda found: found.payment == "held")
        assert (found.stage, found.title) == ("freelancer_review", "Logo design")
        assert found.deadlines[0].at > datetime.now(UTC)
        await notified(services, handle, 2 * (number + 2))  # of the payment, again
        if not number:
            await handle.terminate("by mistake again")
            await deleted(server, purchase_id)
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    assert (await handle.result()).reason == "freelancer_gave_refund"
    assert moved(services, purchase_id) == ["hold", "refund", "settled"]


async def test_a_decision_in_the_ledger_outlives_the_history(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A split with the client's part in transit: it is settled, and nothing is decided again."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await send(handle, Role.CLIENT, "propose_split", refund=10000)
    await send(handle, Role.FREELANCER, "accept_split", refund=10000)
    await until(handle, lambda found: found.escrow.in_transit > 0)
    await handle.terminate("by mistake")
    await deleted(server, purchase_id)

    handle = await adopted(server, services, purchase_id, from_terms=True)
    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(server, handle)
    result = await handle.result()
    assert (result.outcome, result.refunded, result.released) == ("split", 10000, 15000)
    assert set(moved(services, purchase_id)) == {"hold", "split", "settled"}
    assert await differences(server, services, purchase_id) == []


async def test_a_start_from_outside_carries_no_state(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Otherwise everybody who may start workflows could invent a decision."""
    victim = await held(server)
    (state,) = await victim.query("saved_state", result_type=list[dict])  # type: ignore[type-arg]
    state["purchase"]["terms"]["key"] = "purchase-thief"
    thief = await server.client.start_workflow(
        "ProjectPurchase", state, id="purchase-thief", task_queue=TASK_QUEUE
    )
    assert "never started" in await input_error(thief)


async def test_an_adopted_purchase_still_has_its_terms(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A repeated start succeeds, and `actions` can tell who the parties are."""
    terms = PurchaseStart.model_validate(purchase().model_dump(mode="json"))
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    await handle.terminate("by mistake")
    await adopted(server, services, terms.purchase_id)
    bought = Purchase(server.client, terms.purchase_id)
    assert await bought.terms() == terms
    assert await bought.start(terms) is False


async def test_a_purchase_that_was_ended_before_its_first_task_says_so(
    bare_server: WorkflowEnvironment,
) -> None:
    """It has no status, and another worker would not help."""
    terms = purchase()
    handle = await start(bare_server.client, terms)
    await handle.terminate("at once")
    with pytest.raises(Failure, match="Ended by an operator") as failure:
        await Purchase(bare_server.client, terms.purchase_id).status()
    assert failure.value.code == "ENDED"


async def started_again(server: WorkflowEnvironment, handle: Handle, given: object) -> None:
    """Somebody starts a purchase again under its id, and is rejected."""
    second = await server.client.start_workflow(
        "ProjectPurchase", given, id=handle.id, task_queue=TASK_QUEUE
    )
    await input_error(second)


@pytest.mark.parametrize("malformed", [True, False], ids=["malformed", "with other terms"])
async def test_a_rejected_second_start_does_not_hide_the_purchase(
    server: WorkflowEnvironment, services: Services, *, malformed: bool
) -> None:
    """Its money is in the run before, and that is what status, list, audit and restore show."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await handle.terminate("by mistake")
    other = purchase(title="Another logo").model_dump(mode="json")
    given = {"purchase_id": purchase_id}
    await started_again(server, handle, given if malformed else {**other, **given})

    bought = Purchase(server.client, purchase_id)
    found = await bought.status()
    assert (found.escrow.held, found.waiting_for) == (25000, "operator")
    assert found.attention[0].text.endswith(f"run recourse adopt {purchase_id}")
    assert not any(each.allowed for each in await bought.actions(Role.CLIENT))
    with pytest.raises(Failure, match="Ended by an operator"):
        await bought.send(Deliver.model_validate({"by": FREELANCER}))
    listed = [each for each in await find(server.client, {}) if each.purchase_id == purchase_id]
    assert [(each.workflow_status, each.needs_attention) for each in listed] == [
        ("terminated", True)
    ]
    directory = TemporalPurchaseDirectory(server.client)
    report = await restore(services.ledger, services.provider, directory, purchase_id)
    (difference,) = report.differences
    assert "ended with money inside" in difference.what

    handle = await adopted(server, services, purchase_id)
    assert (await status(handle)).payment == "held"


@pytest.mark.parametrize("malformed", [True, False], ids=["malformed", "with other terms"])
async def test_a_rejected_second_start_keeps_no_ledger_from_being_restored(
    server: WorkflowEnvironment, services: Services, tmp_path: Path, *, malformed: bool
) -> None:
    """What was released is known by the run that was closed."""
    handle = await held(server, requirements_needed=False)
    purchase_id = purchase_of(handle)
    await send(handle, Role.FREELANCER, "deliver")
    await send(handle, Role.CLIENT, "accept_delivery")
    await handle.result()
    other = purchase(title="Another logo").model_dump(mode="json")
    given = {"purchase_id": purchase_id}
    await started_again(server, handle, given if malformed else {**other, **given})
    assert (await Purchase(server.client, purchase_id).status()).outcome == "released"

    engine = create_engine(f"sqlite:///{tmp_path}/older.db")
    migrate(engine)
    older, directory = Ledger(engine), TemporalPurchaseDirectory(server.client)
    report = await restore(older, services.provider, directory, purchase_id)
    assert report.differences == ()
    assert older.transfers(purchase_id) == services.ledger.transfers(purchase_id)
    engine.dispose()


@workflow.defn(name="Squatter")
class Squatter:
    """A workflow of somebody else."""

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(DAY)


@pytest.mark.parametrize("kind", ["Squatter", "ProjectPurchase"])
async def test_a_workflow_that_takes_its_id_hides_no_ended_purchase(
    server: WorkflowEnvironment, services: Services, kind: str
) -> None:
    """One of another type, or one on a task queue that no worker serves. The audit finds the money
    meanwhile; when the other workflow is gone, the purchase continues where it was."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    terms = await Purchase(server.client, purchase_id).terms()
    await send(handle, Role.CLIENT, "cancel")
    was = await status(handle)
    await handle.terminate("by mistake")
    given = [terms] if kind == "ProjectPurchase" else []
    other = await server.client.start_workflow(
        kind, args=given, id=handle.id, task_queue="elsewhere"
    )
    while purchase_id not in (await running(server.client)) and given:  # noqa: ASYNC110
        await asyncio.sleep(0.05)

    (found,) = await differences(server, services, purchase_id)
    assert f"recourse adopt {purchase_id}" in found.what_to_do
    with pytest.raises(Failure) as failure:
        await adopted(server, services, purchase_id)
    assert failure.value.code == ("RUNNING" if given else "ID_TAKEN")

    await other.terminate("seen")
    handle = await adopted(server, services, purchase_id)
    found_again = await status(handle)
    assert (found_again.stage, found_again.deadlines) == (was.stage, was.deadlines)


async def test_a_purchase_that_decided_otherwise_than_the_ledger_carries_the_ledgers_decision_out(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Temporal was restored to a state before a decision by time, and the parties agreed on
    something else since."""
    handle = await held(server, requirements_needed=False)
    purchase_id = purchase_of(handle)
    key = f"{handle.id}/refund"
    services.ledger.decide(
        key=key, purchase_id=purchase_id, refund=25000, release=0, currency="USD", at=NOW
    )
    await send(handle, Role.FREELANCER, "deliver")
    await send(handle, Role.CLIENT, "accept_delivery")
    await until(handle, lambda found: bool(found.attention))
    directory = TemporalPurchaseDirectory(server.client)
    report = await restore(services.ledger, services.provider, directory, purchase_id)
    (difference,) = report.differences
    assert difference.what_to_do.endswith(f"recourse adopt {purchase_id} --from-terms")

    await handle.terminate("as the advice says")
    handle = await adopted(server, services, purchase_id, from_terms=True)
    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(server, handle)
    assert (await handle.result()).refunded == 25000
    assert moved(services, purchase_id) == ["hold", "refund", "settled"]
    assert await differences(server, services, purchase_id) == []


async def test_a_payment_that_was_made_and_not_held_is_found_after_the_payment_window(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The run that continues the purchase voids the payment, finds it made, and holds it."""
    other = await start(server.client, purchase("pm_sandbox_unreachable"))
    while not await Purchase(server.client, purchase_of(other)).saved_state():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    (state,) = await other.query("saved_state", result_type=list[dict])  # type: ignore[type-arg]
    await other.terminate("only its state is needed")
    terms = purchase()
    state["purchase"]["deadlines"]["payment"] = NOW.isoformat()
    workflow_id = workflow_id_of(terms.purchase_id)
    state["purchase"]["terms"]["key"] = workflow_id
    state["start"] |= {
        "purchase_id": terms.purchase_id,
        "payment_method": terms.payment_method,
    }
    services.provider.charge(f"{workflow_id}/hold", terms.price, terms.payment_method or "", NOW)
    services.ledger.register(
        BoughtPurchase(
            terms.purchase_id, "ana", "bo", 25000, "USD", "{}", "0" * 64, "ended", NOW, b"\0{}"
        )
    )
    saved = SavedState(terms.purchase_id, "ended", "state", UNENCRYPTED.seal(json.dumps(state)))
    services.ledger.save_state(saved)

    handle = await server.client.start_workflow(
        "ProjectPurchase", terms, id=workflow_id, task_queue=TASK_QUEUE, memo={ADOPTED_RUN: "ended"}
    )
    while not await Purchase(server.client, terms.purchase_id).saved_state():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await until(handle, lambda found: found.payment == "held")


async def test_a_settled_purchase_without_history_has_nothing_to_adopt(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The provider still shows its charge."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    await handle.result()
    await deleted(server, purchase_id)
    for from_terms in (False, True):
        with pytest.raises(Failure) as failure:
            await adopted(server, services, purchase_id, from_terms=from_terms)
        assert failure.value.code == "NO_MONEY"


async def test_a_failed_continuation_can_be_repeated(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A run took the state and failed: the next adopt saves it again."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    run_id = (await handle.describe()).run_id
    await handle.terminate("by mistake")
    broken = SavedState(purchase_id, run_id, "state", UNENCRYPTED.seal('{"purchase": null}'))
    services.ledger.save_state(broken)
    with pytest.raises(Failure, match="did not continue the purchase"):
        await adopted(server, services, purchase_id)
    handle = await adopted(server, services, purchase_id)
    assert (await status(handle)).payment == "held"


async def bought_again(server: WorkflowEnvironment, terms: PurchaseStart) -> None:
    """Start a purchase whose id was used before, as any client can; it is rejected."""
    handle = await server.client.start_workflow(
        "ProjectPurchase", terms, id=workflow_id_of(terms.purchase_id), task_queue=TASK_QUEUE
    )
    assert "was bought before" in await input_error(handle)


async def test_a_closed_purchase_that_temporal_forgot_is_not_begun_by_a_second_start(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The provider still has the charge; the ledger knows that it is refunded."""
    terms = purchase()
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    await handle.result()
    await deleted(server, terms.purchase_id)
    await bought_again(server, terms)

    for from_terms in (False, True):
        with pytest.raises(Failure) as failure:
            await adopted(server, services, terms.purchase_id, from_terms=from_terms)
        assert failure.value.code == "NO_MONEY"


async def test_a_rejected_second_start_leaves_the_terms_of_a_forgotten_purchase(
    server: WorkflowEnvironment, services: Services
) -> None:
    """It is continued with its own terms, not with those of the start that was rejected."""
    terms = purchase()
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    await handle.terminate("by mistake")
    await deleted(server, terms.purchase_id)
    await bought_again(server, terms.model_copy(update={"title": "Another"}))

    with pytest.raises(Failure) as failure:
        await adopted(server, services, terms.purchase_id)
    assert failure.value.code == "HISTORY_GONE"
    handle = await adopted(server, services, terms.purchase_id, from_terms=True)
    await until(handle, lambda found: found.payment == "held")
    assert (await status(handle)).title == terms.title
