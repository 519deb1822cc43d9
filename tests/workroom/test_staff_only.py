"""What staff alone find and read: purchases by a person's name or mail address, starts that failed,
and the command that continues an ended purchase."""

import pytest
from sqlalchemy import Engine
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.requests import TASK_QUEUE
from activities.sealing import UNENCRYPTED
from activities.services import Unavailable
from tests.purchases import held, purchase, purchase_of
from tests.stripe.serving import serving
from tests.workroom.callers import ANA, BO, EVE, MEDIATOR, OPERATOR, Caller, problem, token
from tests.workroom.conftest import ENVIRONMENT, Call
from tests.workroom.test_pages import listed
from tests.workroom.visitor import Visitor
from workroom.database import Database
from workroom.server import workroom
from workroom.settings import WorkroomSettings


async def test_staff_find_purchases_by_name_or_mail_address(
    server: WorkflowEnvironment, call: Call
) -> None:
    """Through the index in the database: of accents and words, too."""
    client = {"id": "ines", "name": "Inês da Cunha", "email": "ines@example.org"}
    purchase_id = purchase_of(await held(server, client=client))
    for person in ("ines@example.org", "INES", "Inês da Cunha", "cunha"):
        for staff in (OPERATOR, MEDIATOR):
            assert purchase_id in await ids_of(call(staff), person=person)
    assert await ids_of(call(OPERATOR), person="nobody at all") == set()
    assert purchase_id not in await ids_of(call(OPERATOR), person="ines", stage="closed")


async def test_a_party_cannot_search_by_person(server: WorkflowEnvironment, call: Call) -> None:
    """Not for themselves either: the answer would say who else has purchases."""
    await held(server)
    for person in (ANA, BO, EVE, ("payments", "stripe")):
        for text in ("Bo", "Ana", "nobody at all"):
            answer = await call(person).get("", person=text)
            assert problem(answer) == (403, "FORBIDDEN")


async def test_without_the_database_only_the_search_by_person_fails(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    def away() -> Engine:
        raise Unavailable("the password of the database")

    settings = WorkroomSettings.from_environment(ENVIRONMENT)
    purchase_id = purchase_of(await held(server))
    with serving(workroom(server.client, settings, Database(away, UNENCRYPTED))) as url:
        staff = Caller(url, token(*OPERATOR))
        assert problem(await staff.get("", person="Ana")) == (503, "DATABASE_UNREACHABLE")
        assert (await staff.get(f"/{purchase_id}")).status_code == 200
        person = Visitor(url)
        await person.sign_in("operator", "op-1", None)
        await listed(person, f"/?search={purchase_id}", f"/purchases/{purchase_id}")
        assert "Names and mail addresses cannot be searched now" in person.text
        assert "password" not in person.text


async def test_staff_list_the_starts_that_failed(server: WorkflowEnvironment, call: Call) -> None:
    """With what was wrong and what to do; a party who was meant sees none."""
    wrong = purchase().model_dump(mode="json") | {"title": ""}
    workflow_id = f"purchase-{wrong['purchase_id']}"
    handle = await server.client.start_workflow(
        "ProjectPurchase", wrong, id=workflow_id, task_queue=TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    started = purchase_of(await held(server))
    found: set[str] = set()
    while wrong["purchase_id"] not in found:  # the server lists its end soon after it
        found = await ids_of(call(OPERATOR), never_started="true")
    assert started not in found
    listed = (await call(OPERATOR).get("", never_started="true")).json()["purchases"]
    (why,) = (
        each["why_not_started"] for each in listed if each["purchase_id"] == wrong["purchase_id"]
    )
    assert "no money moved: title" in why
    assert "Send the corrected input" in why
    assert await ids_of(call(ANA), never_started="true") == set()


async def test_a_party_reads_no_command_for_staff(server: WorkflowEnvironment, call: Call) -> None:
    """An operator has terminated the purchase by mistake: in its status, in what is allowed, and in
    the answer to a message."""
    handle = await held(server)
    path, command = f"/{purchase_of(handle)}", f"recourse adopt {purchase_of(handle)}"
    await handle.terminate("by mistake")
    for person, reads in ((ANA, False), (BO, False), (OPERATOR, True), (MEDIATOR, True)):
        caller = call(person)
        answers = [
            await caller.get(path),
            await caller.get(f"{path}/actions"),
            await caller.post(f"{path}/send_message", {"text": "Hello?"}),
        ]
        assert [each.status_code for each in answers] == [200, 200, 409]
        assert [command in each.text for each in answers] == [reads] * 3
        if not reads:
            assert all("Our staff is looking into it." in each.text for each in answers)
            assert answers[0].json()["attention"][0]["kind"] == "workflow_terminated"
            assert answers[1].json()[0]["code"] == "ENDED"


async def ids_of(caller: Caller, **query: str) -> set[str]:
    """The purchases that a caller lists."""
    answer = await caller.get("", page_size=100, **query)
    assert answer.status_code == 200
    return {each["purchase_id"] for each in answer.json()["purchases"]}
