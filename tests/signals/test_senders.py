"""Senders: ids are compared exactly, after Unicode normalisation, and no sender has two roles."""

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, status
from tests.purchases import CLIENT, FREELANCER, held, rejection
from workflows.messages import Receipt

COMPOSED, DECOMPOSED = "andr\u00e9", "andre\u0301"


def client(sender: str) -> dict[str, str]:
    """A sender that claims to be the client."""
    return {"role": "client", "id": sender}


async def write(handle: Handle, sender: str, message_id: str) -> Receipt:
    """Send a text as the client."""
    message = {"by": client(sender), "message_id": message_id, "text": "Hello?"}
    receipt: Receipt = await handle.execute_update("send_message", message, result_type=Receipt)
    return receipt


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """One purchase, by the client ana from the freelancer bo."""
    return await held(server)


@pytest.mark.parametrize(
    ("bought_as", "speaks_as"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]
)
async def test_ids_are_compared_after_unicode_normalisation(
    bought_as: str, speaks_as: str, server: WorkflowEnvironment, worker: object
) -> None:
    """A composed é equals a decomposed one, in the ids of senders and in message ids."""
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
async def test_an_id_that_only_resembles_the_clients_is_rejected(
    stranger: str, target: Handle
) -> None:
    """Another case, a letter of another alphabet, a part of the id, and the freelancer's id."""
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
async def test_an_id_with_white_space_or_invisible_characters_is_rejected(
    invisible: str, target: Handle
) -> None:
    """At the end, the beginning or the middle of the sender's id, and in a `message_id`."""
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
async def test_a_message_is_accepted_from_its_role_only(
    name: str, message: dict[str, Any], target: Handle
) -> None:
    """The rejection WRONG_ROLE names the role whose message it is."""
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
async def test_a_party_cannot_act_as_staff(
    party: str, role: str, name: str, fields: dict[str, Any], target: Handle
) -> None:
    """Client and freelancer cannot send the messages of mediator, operator or payments."""
    error = await rejection(target, name, {"by": {"role": role, "id": party}, **fields})

    assert error.type == "WRONG_ROLE"
    assert "is a party" in error.message


async def test_the_recorded_answer_to_one_sender_is_never_returned_to_another(
    target: Handle,
) -> None:
    """Pairs of sender and message id stay distinct even where their joined texts are equal."""
    await write(target, "ana", "x:m")

    stranger = {"by": client("ana:x"), "message_id": "m", "text": "Hello?"}
    error = await rejection(target, "send_message", stranger)

    assert error.type == "NOT_A_PARTY"
