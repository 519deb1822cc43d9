"""Each scenario on a real server, with a real ledger and real mail, the time skipped."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments.sandbox import SandboxProvider
from activities.services import Services
from demo.runner import ScenarioRunner, skip, start
from demo.scenarios import AT_PROVIDER, SCENARIOS, Scenario
from tests.purchases import purchase
from workflows.messages import PurchaseResult

EVERY = (*SCENARIOS, *AT_PROVIDER)
Played = dict[str, asyncio.Task[PurchaseResult]]


@pytest.fixture(scope="module")
async def played(server: WorkflowEnvironment, worker: Worker, services: Services) -> Played:
    """All scenarios at once: skipping a timer takes the server a second."""
    assert isinstance(services.provider, SandboxProvider)
    runner = ScenarioRunner(server, provider=services.provider)
    return {
        scenario.name: asyncio.create_task(runner.run(scenario, purchase_of(scenario)))
        for scenario in EVERY
    }


def purchase_of(scenario: Scenario) -> str:
    """The id of a scenario's purchase."""
    return f"scenario-{scenario.name}"


@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
async def test_a_scenario_ends_as_described(
    scenario: Scenario, played: Played, services: Services
) -> None:
    """Outcome, money in the ledger, and exactly the notices of the scenario."""
    purchase_id = purchase_of(scenario)

    result = await played[scenario.name]

    ends = scenario.ends
    assert (result.outcome, result.reason) == (ends.outcome, ends.reason)
    assert (result.refunded, result.released) == (ends.refunded, ends.released)
    balances = services.ledger.balances(purchase_id)
    if ends.refunded or ends.released or ends.charged_back:
        assert balances is not None
        assert (balances.held, balances.in_transit) == (0, 0)
        assert (balances.refunded, balances.released) == (ends.refunded, ends.released)
        assert balances.charged_back == ends.charged_back
    else:
        assert balances is None
    found = notified(services, purchase_id)
    assert sorted(found) == sorted(scenario.notices)
    assert but_for_the_payment(found) == but_for_the_payment(scenario.notices)


class Stuck:
    """A server that cannot skip time."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def fast_forward(self, *_: object) -> bool:
        raise RPCError("busy", RPCStatusCode.DEADLINE_EXCEEDED, b"")


async def test_a_server_that_cannot_skip_time_ends_the_scenario(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    """Otherwise it would take days."""
    scenario = next(
        scenario for scenario in SCENARIOS if scenario.name == "requirements_never_come"
    )

    with pytest.raises(RPCError, match="busy"):
        await ScenarioRunner(Stuck(server.client)).run(scenario, "stuck")

    await server.client.get_workflow_handle("purchase-stuck").terminate("seen")


async def test_skipping_time_of_a_closed_purchase_is_no_error(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    handle = await start(server.client, purchase("pm_sandbox_declined"))
    await handle.result()

    for duration in (None, timedelta(hours=1)):
        await skip(server, handle, duration)


def but_for_the_payment(notices: Sequence[str]) -> list[str]:
    """In order. The first message may be recorded together with the answer about the payment, and
    is then handled first."""
    return [notice for notice in notices if not notice.startswith("payment_held")]


def notified(services: Services, purchase: str) -> list[str]:
    """`transition: role, role` for every transition of which somebody was notified, in order."""
    found: dict[str, list[str]] = {}
    names = {}
    for notice in services.notices.list(purchase):
        assert notice.status == "sent"
        found.setdefault(notice.transition_id, []).append(notice.role)
        names[notice.transition_id] = notice.transition
    in_order = sorted(found, key=lambda number: int(number.split("-")[0]))
    return [f"{names[number]}: {', '.join(sorted(found[number]))}" for number in in_order]
