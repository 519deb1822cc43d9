"""One person who asks a thousand times a second takes nothing from others."""

import asyncio
import itertools

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.stripe.serving import serving
from tests.workroom.callers import MEDIATOR, Caller, problem, token
from tests.workroom.conftest import ENVIRONMENT
from workflows.messages import Sender
from workroom import limits
from workroom.limits import BURST, PER_SECOND, Limits, TooMany
from workroom.server import workroom
from workroom.settings import WorkroomSettings


def person(name: str) -> Sender:
    """A client of this id."""
    return Sender.model_validate({"role": "client", "id": name})


async def test_one_person_who_asks_too_often_waits_and_nobody_else(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    settings = WorkroomSettings.from_environment(ENVIRONMENT)
    with serving(workroom(server.client, settings)) as url:
        mediator = Caller(url, token(*MEDIATOR))
        flood = asyncio.gather(*(mediator.get("/never-bought") for _ in range(1_000)))
        people = itertools.count()
        while not flood.done():
            other = Caller(url, token("freelancer", f"bo-{next(people)}"))
            assert (await other.get("")).status_code == 200
        answers = await flood
        statuses = {each.status_code for each in answers}
        assert 429 in statuses
        assert statuses <= {404, 429}
        late = next(each for each in answers if each.status_code == 429)
        assert problem(late) == (429, "TOO_MANY_REQUESTS")
        assert int(late.headers["retry-after"]) >= 1


def test_a_burst_is_allowed_and_then_so_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    counted = Limits(lambda: now)
    for _ in range(int(BURST)):
        counted.count(person("ana"))
    with pytest.raises(TooMany) as late:
        counted.count(person("ana"))
    assert late.value.seconds == pytest.approx(1 / PER_SECOND)
    now += 1.0
    for _ in range(int(PER_SECOND)):
        counted.count(person("ana"))
    with pytest.raises(TooMany):
        counted.count(person("ana"))
    monkeypatch.setattr(limits, "PEOPLE_KEPT", 10)
    for number in range(20):
        counted.count(person(f"eve-{number}"))
    counted.count(person("ana"))
