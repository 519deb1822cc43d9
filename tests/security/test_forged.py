"""What somebody who may write to the namespace can invent: the state of a run, an older state, the
last notices of a purchase. Money follows none of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.requests import TASK_QUEUE
from activities.sealing import UNENCRYPTED
from activities.services import Services
from demo.runner import Handle, send, until
from temporal.adoption import EndedPurchases
from temporal.purchases import Purchase
from tests.notices.builders import ANA, client, request
from tests.purchases import FREELANCER, adopted, held, input_error, purchase_of, reset
from workflows import lifecycle
from workflows.acceptance import ADOPTED_RUN
from workflows.lifecycle.events import Accepted, DecisionPosted
from workflows.messages import GiveRefund, PurchaseResult, Role
from workflows.workflow_state import WorkflowState

pytestmark = pytest.mark.usefixtures("worker")

FORGERS = "forgers"


@workflow.defn(name="Forger")
class Forger:
    """A workflow of somebody else, which continues itself as a purchase."""

    @workflow.run
    async def run(self, state: Any) -> None:
        workflow.continue_as_new(workflow="ProjectPurchase", args=[state], task_queue=TASK_QUEUE)


@pytest.fixture
async def forgers(server: WorkflowEnvironment) -> AsyncIterator[None]:
    """A worker of somebody else in the namespace."""
    async with Worker(
        server.client,
        task_queue=FORGERS,
        workflows=[Forger],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


async def forge(server: WorkflowEnvironment, state: dict[str, Any], workflow_id: str) -> Handle:
    """Continue a workflow of ours as a purchase with this state."""
    await server.client.start_workflow(
        "Forger",
        state,
        id=workflow_id,
        task_queue=FORGERS,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    )
    return server.client.get_workflow_handle(workflow_id, result_type=PurchaseResult)


async def as_if_refunded(handle: Handle, *, posted: bool = False) -> dict[str, Any]:
    """The state of a purchase whose freelancer has given a refund, which nobody has sent."""
    (state,) = await handle.query("saved_state", result_type=list[WorkflowState])
    state.effects = []
    now = datetime.now(UTC)
    message = GiveRefund.model_validate({"by": FREELANCER})
    for event in (message, DecisionPosted()) if posted else (message,):
        answer = lifecycle.decide(state.purchase, event, now)
        assert isinstance(answer, Accepted)
        state.purchase, state.effects = answer.state, list(answer.effects)
    found: dict[str, Any] = json.loads(state.model_dump_json())
    return found


def money(services: Services, handle: Handle) -> tuple[int, int]:
    """What is in escrow, and how many refunds the provider has."""
    balances = services.ledger.balances(purchase_of(handle))
    refunds = [each.refund_id for each in services.provider.statement().refunds]
    assert balances
    return balances.held, sum(each.startswith(f"{handle.id}/") for each in refunds)


async def blocked(handle: Handle) -> str:
    """Why an effect of a forged purchase is blocked."""

    async def ask() -> str:
        while True:
            try:
                found = await until(handle, lambda found: bool(found.attention))
                return found.attention[0].text
            except Exception as error:  # the forger itself answers no query
                if "query" not in str(error).lower():
                    raise
                await asyncio.sleep(0.05)

    return await ask()


async def test_a_forged_continuation_decides_about_nothing(
    server: WorkflowEnvironment, services: Services, forgers: None
) -> None:
    """It has the id of the purchase, and not its first run: the ledger posts no decision of it."""
    handle = await held(server)
    state = await as_if_refunded(handle)
    await handle.terminate("to take its place")
    forged = await forge(server, state, handle.id)

    why = await blocked(forged)

    assert "belongs to the workflow with the first run" in why
    assert money(services, handle) == (250_00, 0)
    await forged.terminate("seen")


async def test_a_forged_continuation_refunds_no_other_purchase(
    server: WorkflowEnvironment, services: Services, forgers: None
) -> None:
    """A refund that the ledger does not have in transit is not sent, whose charge it ever names."""
    victim = await held(server)
    state = await as_if_refunded(victim, posted=True)
    thief = f"{purchase_of(victim)}-thief"
    theirs = json.loads(json.dumps(state).replace(purchase_of(victim), thief))
    theirs["purchase"]["charge_reference"] = state["purchase"]["charge_reference"]
    forged = await forge(server, theirs, f"purchase-{thief}")

    why = await blocked(forged)

    assert "has 0.00 USD in transit, and 250.00 USD are to be refunded" in why
    assert money(services, victim) == (250_00, 0)
    await forged.terminate("seen")
    await victim.terminate("seen")


async def test_a_reset_and_an_adopted_run_are_the_purchase_itself(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The ledger knows their first run, so they decide."""
    handle = await held(server, payment_method="pm_sandbox_at_once")
    await reset(server, handle, -1)
    await handle.terminate("by mistake")
    again = await adopted(server, services, purchase_of(handle))
    await send(again, Role.FREELANCER, "give_refund")
    assert (await again.result()).refunded == 250_00


async def test_a_state_that_is_older_than_the_ledger_is_not_continued(
    server: WorkflowEnvironment, services: Services
) -> None:
    """It was saved when the purchase was ended, and a reset has gone on from there since."""
    handle = await held(server, payment_method="pm_sandbox_at_once")
    purchase_id = purchase_of(handle)
    ended = (await handle.describe()).run_id
    terms = await Purchase(server.client, purchase_id).terms()
    await handle.terminate("by mistake")
    await EndedPurchases(server.client, services.ledger, UNENCRYPTED).save(purchase_id)
    assert services.ledger.find_state(purchase_id, ended)
    await reset(server, handle, -1)
    await send(handle, Role.FREELANCER, "give_refund")
    await handle.result()

    document = terms.model_dump(mode="json")
    reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    stale = Purchase(server.client, purchase_id)
    await stale.begin(document, terms, reuse, **{ADOPTED_RUN: ended})

    assert "the saved state is older than the ledger" in await input_error(stale.handle)
    assert money(services, handle) == (0, 1)


LETTER = request(recipients=(client(),)).model_copy(
    update={"client": ANA.model_copy(update={"email": "stranger@example.com"})}
)


@pytest.mark.parametrize(
    "given",
    [([LETTER],), ([],), ("garbage",), (), ([LETTER], 7)],
    ids=["a notice", "no notice", "garbage", "nothing", "too much"],
)
async def test_nobody_but_a_purchase_hands_over_notices(
    server: WorkflowEnvironment, services: Services, given: tuple[Any, ...]
) -> None:
    """Or everybody who may start workflows could write anything to anybody in our name."""
    with pytest.raises(WorkflowFailureError) as failure:
        await server.client.execute_workflow(
            "PurchaseNotices",
            args=given,
            id=f"purchase-p-1/notices/{len(str(given))}",
            task_queue=TASK_QUEUE,
            execution_timeout=timedelta(minutes=1),
        )
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.message.startswith("Nothing was sent")
    assert "stranger@example.com" not in {
        each.address for each in services.notices.list(LETTER.purchase_id)
    }
