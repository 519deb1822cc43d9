"""The same purchase, started twice at the same moment, is one purchase."""

import asyncio

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import until
from starter.failures import Failure
from temporal.purchases import Purchase
from tests.purchases import purchase

pytestmark = pytest.mark.usefixtures("worker")


async def test_same_start_twice_is_fresh_once_and_charged_once(
    server: WorkflowEnvironment, services: Services
) -> None:
    """One caller hears that it is new, the other that it is there already."""
    terms = purchase()
    bought = Purchase(server.client, terms.purchase_id)

    fresh = await asyncio.gather(bought.start(terms), bought.start(terms))

    assert sorted(fresh) == [False, True]
    await until(bought.handle, lambda found: found.payment == "held")
    key = f"{bought.workflow_id}/hold"
    assert [charge.key for charge in services.provider.statement().charges].count(key) == 1
    await bought.handle.terminate("seen")


async def test_of_two_different_starts_one_is_refused(server: WorkflowEnvironment) -> None:
    """An id is used once, ever; the loser hears what differs."""
    terms = purchase()
    other = terms.model_copy(update={"title": "Another logo"})
    bought = Purchase(server.client, terms.purchase_id)

    answers = await asyncio.gather(bought.start(terms), bought.start(other), return_exceptions=True)

    failures = [answer for answer in answers if isinstance(answer, Failure)]
    assert [answer for answer in answers if answer is True] == [True]
    assert [failure.code for failure in failures] == ["PURCHASE_EXISTS"]
    assert "title" in str(failures[0])
    await bought.handle.terminate("seen")
