"""A purchase that is started twice at the same moment is one purchase."""

import asyncio

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import until
from temporal.errors import Failure
from temporal.purchases import Purchase
from tests.purchases import purchase

pytestmark = pytest.mark.usefixtures("worker")


async def test_two_equal_starts_at_once_create_one_purchase_and_one_charge(
    server: WorkflowEnvironment, services: Services
) -> None:
    """One caller learns that the purchase is new, the other that it existed."""
    terms = purchase()
    bought = Purchase(server.client, terms.purchase_id)

    created = await asyncio.gather(bought.start(terms), bought.start(terms))

    assert sorted(created) == [False, True]
    await until(bought.handle, lambda found: found.payment == "held")
    key = f"{bought.workflow_id}/hold"
    assert [charge.key for charge in services.provider.statement().charges].count(key) == 1
    await bought.handle.terminate("seen")


async def test_of_two_different_starts_under_one_id_one_is_rejected(
    server: WorkflowEnvironment,
) -> None:
    """A purchase id is used once, ever; the second caller learns which field differs."""
    terms = purchase()
    other = terms.model_copy(update={"title": "Another logo"})
    bought = Purchase(server.client, terms.purchase_id)

    answers = await asyncio.gather(bought.start(terms), bought.start(other), return_exceptions=True)

    failures = [answer for answer in answers if isinstance(answer, Failure)]
    assert [answer for answer in answers if answer is True] == [True]
    assert [failure.code for failure in failures] == ["PURCHASE_EXISTS"]
    assert "title" in str(failures[0])
    await bought.handle.terminate("seen")
