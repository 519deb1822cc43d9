"""Who is speaking: ids are compared exactly, after Unicode normalisation; nobody wears two hats."""

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, status
from tests.purchases import CLIENT, FREELANCER, held, rejection
from workflows.messages import Receipt

COMPOSED, DECOMPOSED = "andr\u00e9", "andre\u0301"


def client(sender: str) -> dict[str, str]:
    """Somebody who says to be the client."""
    return {"role": "client", "id": sender}


async def write(handle: Handle, sender: str, message_id: str) -> Receipt:
    """Send a few words as the client."""
    message = {"by": client(sender), "message_id": message_id, "text": "Hello?"}
    receipt: Receipt = await handle.execute_update("send_message", message, result_type=Receipt)
    return receipt


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """One purchase, of the client ana from the freelancer bo."""
    return await held(server)


@pytest.mark.parametrize(
    ("bought_as", "speaks_as"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]
)
async def test_one_letter_written_in_two_ways_is_one_id(
    bought_as: str, speaks_as: str, server: WorkflowEnvironment, worker: object
) -> None:
    """An é is an é, composed or not; also for the ids that messages are recognised by."""
    buyer = {"id": bought_as, "name": "André", "email": "andre@example.com"}
    handle = await held(server, client=buyer)

    first = await write(handle, speaks_as, f"m-{speaks_as}")
    again = await write(handle, bought_as, f"m-{bought_as}")

    found = await status(handle)
    assert first == again
    assert found.client == COMPOSED
    assert [entry.transition for entry in found.timeline].count("message_sent") == 1
    await handle.terminate("seen")


@pytest.mark.parametrize(
    "stranger", ["eve", "Ana", "ANA", "\u0430na", "\uff41na", "an", "anaa", "bo"]
)
async def test_nobody_else_is_the_client(stranger: str, target: Handle) -> None:
    """Neither another case, nor a letter of another alphabet, nor the freelancer."""
    error = await rejection(target, "cancel", {"by": client(stranger)})

    assert error.type == "NOT_A_PARTY"


@pytest.mark.parametrize(
    "invisible",
    [
        " ",
        "\t",
        "\n",
        "\u00a0",
        "\u2003",
        "\u200b",
        "\u200d",
        "\u2028",
        "\u2060",
        "\u202e",
        "\ufeff",
        "\u034f",
        "\u115f",
        "\u1160",
        "\u2800",
        "\u3164",
        "\uffa0",
        "\ufe0f",
        "\U000e0100",
    ],
    ids=lambda char: f"U+{ord(char):04X}",
)
async def test_white_space_in_an_id_is_refused(invisible: str, target: Handle) -> None:
    """Whether it can be seen or not, and wherever it stands; also in a `message_id`."""
    for sender in (f"ana{invisible}", f"{invisible}ana", f"a{invisible}na"):
        error = await rejection(target, "cancel", {"by": client(sender)})
        assert (error.type, "by.id" in error.message) == ("INVALID_MESSAGE", True)
    error = await rejection(target, "cancel", {"by": CLIENT, "message_id": f"m{invisible}1"})
    assert (error.type, "message_id" in error.message) == ("INVALID_MESSAGE", True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deliver", {"by": CLIENT}),
        ("submit_requirements", {"by": FREELANCER, "requirements": "A logo."}),
        ("resolve_dispute", {"by": {"role": "operator", "id": "olga"}, "refund": 1}),
        ("resolve_attention", {"by": {"role": "mediator", "id": "mia"}, "action": "retry"}),
        ("cancel", {"by": {"role": "payments", "id": "sandbox"}}),
    ],
)
async def test_message_is_for_its_role_only(
    name: str, message: dict[str, Any], target: Handle
) -> None:
    """WRONG_ROLE says whose message it is."""
    error = await rejection(target, name, message)

    assert error.type == "WRONG_ROLE"
    assert f"{name} is for the" in error.message


@pytest.mark.parametrize("party", ["ana", "bo"])
@pytest.mark.parametrize(
    ("role", "name", "fields"),
    [
        ("mediator", "resolve_dispute", {"refund": 1}),
        ("operator", "resolve_attention", {"action": "retry"}),
        ("payments", "settlement_update", {"refund_id": "refund-1", "status": "settled"}),
    ],
)
async def test_nobody_acts_as_party_and_staff(
    party: str, role: str, name: str, fields: dict[str, Any], target: Handle
) -> None:
    """Whoever buys or sells decides nothing about the purchase as its staff."""
    error = await rejection(target, name, {"by": {"role": role, "id": party}, **fields})

    assert error.type == "WRONG_ROLE"
    assert "is a party" in error.message


async def test_answers_of_one_sender_never_answer_for_another(target: Handle) -> None:
    """Two pairs of ids that look alike when joined are two pairs."""
    await write(target, "ana", "x:m")

    stranger = {"by": client("ana:x"), "message_id": "m", "text": "Hello?"}
    error = await rejection(target, "send_message", stranger)

    assert error.type == "NOT_A_PARTY"
