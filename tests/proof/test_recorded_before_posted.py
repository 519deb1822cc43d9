"""A decision stands in the history before the ledger has it."""

import asyncio

from demo.runner import say, skip, start, until
from tests.proof.fault_injection import CrashPlan, running_worker, was_killed
from tests.proof.harness import Harness
from tests.purchases import CLIENT, purchase
from workflows.messages import Role


async def test_a_decision_in_an_update_is_posted_only_once_it_is_recorded(
    harness: Harness,
) -> None:
    """The freelancer gives a refund, and the worker is killed when it has posted that. Before the
    next worker starts, the client accepts the delivery: the refund was recorded first, and
    stands."""
    setup = harness.worker_setup("recorded")
    handle = await start(harness.client, purchase(purchase_id="recorded"))
    with running_worker(setup, CrashPlan(handle.id, activity="post_decision")) as process:
        await until(handle, lambda found: found.payment == "held")
        await say(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
        await say(handle, Role.FREELANCER, "deliver")
        giving = asyncio.create_task(say(handle, Role.FREELANCER, "give_refund"))
        assert await was_killed(process)
    await handle.signal("accept_delivery", {"by": CLIENT})

    with running_worker(setup):
        assert (await giving).stage == "settling"
        await skip(harness, handle)
        result = await handle.result()

    assert (result.outcome, result.reason) == ("refunded", "freelancer_gave_refund")
