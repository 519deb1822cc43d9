"""The search queries in docs/web-ui.md find what the page says they find."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, ScenarioRunner, send, skip, start, status, until
from demo.scenarios import SCENARIOS
from tests.purchases import held, purchase
from workflows.messages import Role

pytestmark = pytest.mark.usefixtures("worker")

PAGE = Path("docs/web-ui.md").read_text(encoding="utf-8")
QUERIES: list[str] = re.findall(r"```visibility\n(.+?)\n```", PAGE, re.DOTALL)


def query(*texts: str) -> str:
    """The only query of the page that contains all these texts."""
    found = [text for text in QUERIES if all(word in text for word in texts)]
    assert len(found) == 1, found
    return found[0]


def with_dates(text: str, *dates: datetime) -> str:
    """The query with these dates, in the format that the page uses."""
    written = iter(f"{date:%Y-%m-%dT%H:%M:%SZ}" for date in dates)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lambda _: next(written), text)


async def found(server: WorkflowEnvironment, text: str, handle: Handle, *, there: bool) -> None:
    """Wait until the query finds the purchase, or no longer finds it. Visibility is eventually
    consistent."""

    async def is_there() -> bool:
        answer = server.client.list_workflows(f"{text} AND WorkflowId = '{handle.id}'")
        return [one async for one in answer] != []

    async with asyncio.timeout(10):
        while await is_there() is not there:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("text", QUERIES)
async def test_the_server_accepts_every_query(text: str, server: WorkflowEnvironment) -> None:
    """Every query of the page is valid as it is written there."""
    assert (await server.client.count_workflows(text)).count >= 0


async def test_the_queries_by_stage_find_who_acts_next(server: WorkflowEnvironment) -> None:
    """A purchase is found in turn under client, freelancer, client again, mediator and provider."""
    client, freelancer = query("'contested'"), query("'refund_requested'")
    mediator, provider = query("'disputed'"), query("'settling'")
    handle = await held(server)
    await found(server, client, handle, there=True)
    await found(server, freelancer, handle, there=False)

    await send(handle, Role.CLIENT, "cancel")
    await found(server, freelancer, handle, there=True)
    await found(server, client, handle, there=False)

    await send(handle, Role.FREELANCER, "decide_refund", decision="decline")
    await found(server, client, handle, there=True)
    await send(handle, Role.CLIENT, "open_dispute", reason="Nothing came.")
    await found(server, mediator, handle, there=True)
    await send(handle, Role.MEDIATOR, "resolve_dispute", refund=20_000)
    await found(server, provider, handle, there=True)


async def test_the_attention_query_finds_what_needs_a_person(server: WorkflowEnvironment) -> None:
    """A refund that failed twice is found until an operator resolves it."""
    handle = await held(server, method="pm_sandbox_refund_fails")
    await send(handle, Role.FREELANCER, "give_refund")
    await found(server, query("Attention = true"), handle, there=False)

    await skip(server, handle, timedelta(days=4))
    await until(handle, lambda now: bool(now.attention))
    await found(server, query("Attention = true"), handle, there=True)
    await send(
        handle, Role.OPERATOR, "resolve_attention", action="mark_settled", reference="letter 7"
    )
    await found(server, query("Attention = true"), handle, there=False)


async def test_the_deadline_query_finds_what_is_due_within_24_hours(
    server: WorkflowEnvironment,
) -> None:
    """A purchase is found by a date after its deadline and not by one before it."""
    handle = await held(server)
    due = (await status(handle)).deadlines[0].at

    too_early = with_dates(query("PurchaseDeadline"), due - timedelta(hours=1))
    in_time = with_dates(query("PurchaseDeadline"), due + timedelta(hours=1))

    await found(server, in_time, handle, there=True)
    await found(server, too_early, handle, there=False)


async def test_the_client_query_finds_one_clients_purchases(
    server: WorkflowEnvironment,
) -> None:
    """The client's purchases are found by the client's id, also closed ones."""
    handle = await start(server.client, purchase("pm_sandbox_declined"))
    await handle.result()

    await found(server, query("PurchaseClient"), handle, there=True)
    others = query("PurchaseClient").replace("'ana'", "'eve'")
    await found(server, others, handle, there=False)


async def test_the_outcome_query_finds_everything_refunded_in_a_week(
    server: WorkflowEnvironment,
) -> None:
    """A settled refund is found in the week in which it was settled; a release never."""
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    runner = ScenarioRunner(server)
    await asyncio.gather(
        *(
            runner.run(scenarios[name], f"week-{name}")
            for name in ("freelancer_cancels_in_time", "freelancer_cancels_too_late")
        )
    )
    refunded, released = (
        server.client.get_workflow_handle(f"purchase-week-{name}")
        for name in ("freelancer_cancels_in_time", "freelancer_cancels_too_late")
    )
    now = datetime.now(UTC)

    this = with_dates(query("'split'"), now, now + timedelta(days=14))
    before = with_dates(query("'split'"), now - timedelta(days=14), now)

    await found(server, this, refunded, there=True)
    await found(server, before, refunded, there=False)
    await found(server, this, released, there=False)
