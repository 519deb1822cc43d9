"""Each story of the article on a real server, with real books and mail and the time skipped."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.parts import Parts
from starter.stories import STORIES, Story
from starter.theatre import Theatre, skip, start
from tests.purchases import purchase
from workflows.messages import PurchaseResult

Played = dict[str, asyncio.Task[PurchaseResult]]


@pytest.fixture(scope="module")
async def played(server: WorkflowEnvironment, worker: Worker) -> Played:
    """All stories at once, each on its own clock: skipping a timer takes the server a second."""
    theatre = Theatre(server)
    return {
        story.name: asyncio.create_task(theatre.play(story, purchase_of(story)))
        for story in STORIES
    }


def purchase_of(story: Story) -> str:
    """The purchase a story is played with."""
    return f"story-{story.name}"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_story_ends_as_told(story: Story, played: Played, parts: Parts) -> None:
    """Outcome, money in the books, and exactly the notices the story tells of."""
    purchase_id = purchase_of(story)

    result = await played[story.name]

    ends = story.ends
    assert (result.outcome, result.reason) == (ends.outcome, ends.reason)
    assert (result.refunded, result.released) == (ends.refunded, ends.released)
    balances = parts.ledger.balances(purchase_id)
    if ends.refunded or ends.released:
        assert balances is not None
        assert (balances.held, balances.in_transit) == (0, 0)
        assert (balances.refunded, balances.released) == (ends.refunded, ends.released)
    else:
        assert balances is None
    found = told(parts, purchase_id)
    assert sorted(found) == sorted(story.notices)
    assert but_for_the_payment(found) == but_for_the_payment(story.notices)


class Stuck:
    """A server whose clocks cannot be moved just now."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def fast_forward(self, *_: object) -> bool:
        raise RPCError("busy", RPCStatusCode.DEADLINE_EXCEEDED, b"")


async def test_a_clock_that_cannot_be_moved_ends_the_story(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    """Or it would go on at the pace of the real one, and take days."""
    story = next(story for story in STORIES if story.name == "requirements_never_come")

    with pytest.raises(RPCError, match="busy"):
        await Theatre(Stuck(server.client)).play(story, "stuck")

    await server.client.get_workflow_handle("purchase-stuck").terminate("seen")


async def test_the_clock_of_a_purchase_that_is_closed_need_not_be_moved(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    handle = await start(server.client, purchase("pm_sandbox_declined"))
    await handle.result()

    for duration in (None, timedelta(hours=1)):
        await skip(server, handle, duration)


def but_for_the_payment(notices: Sequence[str]) -> list[str]:
    """In order. The first message may be recorded with the answer about the payment, and is then
    heard first."""
    return [notice for notice in notices if not notice.startswith("payment_held")]


def told(parts: Parts, purchase: str) -> list[str]:
    """`transition: role, role` for every transition of which somebody was told, in order."""
    found: dict[str, list[str]] = {}
    names = {}
    for notice in parts.notices.list(purchase):
        assert notice.status == "sent"
        found.setdefault(notice.transition_id, []).append(notice.role)
        names[notice.transition_id] = notice.transition
    in_order = sorted(found, key=lambda number: int(number.split("-")[0]))
    return [f"{names[number]}: {', '.join(sorted(found[number]))}" for number in in_order]
