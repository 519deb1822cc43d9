"""What support staff read about a case: who acted, what both sides wrote, and why it ended."""

import json
from typing import Any

import pytest
import typer
from temporalio.client import Client

from demo.runner import until
from temporal.purchases import Purchase
from tests.starter.conftest import Cli, held
from tests.starter.test_purchase_command import DOCUMENT
from workflows.messages import Status

ANA, BO = ("--as", "client:ana"), ("--as", "freelancer:bo")
USD = ("--currency", "USD")


async def disputed(cli: Cli, purchase: Purchase, *options: str) -> Status:
    """A purchase in dispute, in which both sides have written."""
    await cli("cancel", purchase.id, *ANA, "--reason", "My plans have changed.")
    claim = ("--decision", "decline", "--claim", "100.00", *USD, "--note", "Half is done.")
    await cli("decide-refund", purchase.id, *BO, *claim, *options)
    await cli("open-dispute", purchase.id, *ANA, "--reason", "Nothing was done.")
    return await purchase.status()


async def test_the_timeline_says_who_acted_and_what_they_wrote(
    cli: Cli, cli_purchase: Purchase
) -> None:
    """In the status for programs, in the one for people, and on the card of the Web UI."""
    found = await disputed(cli, cli_purchase)

    written = [(entry.by, entry.by_id, entry.note) for entry in found.timeline[-3:]]
    assert written == [
        ("client", "ana", "My plans have changed."),
        ("freelancer", "bo", "Half is done."),
        ("client", "ana", "Nothing was done."),
    ]
    person = " ".join((await cli("status", cli_purchase.id)).out.split())
    metadata = await cli_purchase.handle.query("__temporal_workflow_metadata")
    for by, by_id, note in written:
        assert f"{by} {by_id}" in person
        assert str(note) in person
        assert f"({by} {by_id})" in str(metadata)
        assert str(note).rstrip(".") in str(metadata)


async def test_a_mediator_is_notified_as_soon_as_a_dispute_is_opened(
    cli: Cli, cli_purchase: Purchase
) -> None:
    """By the notice to staff, with the command that decides, not only 30 days later."""
    await disputed(cli, cli_purchase)
    for _ in range(50):
        listed = (await cli("notices", cli_purchase.id, "--json")).document
        if sent := [each for each in listed if each["role"] == "operator"]:
            break
    (notice,) = sent
    assert notice["transition"] == "dispute_opened"
    assert f"recourse resolve-dispute {cli_purchase.id} --as mediator:" in notice["text"]


async def test_why_a_payment_was_declined_is_in_the_status(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    terms = {**DOCUMENT, "purchase_id": "declined-why", "payment_method": "pm_sandbox_declined"}
    started = await cli.process("purchase", "--file", "-", stdin=json.dumps(terms))
    assert "declined" in started.err
    declined = Purchase(cli_client, "declined-why")
    await declined.handle.result()
    why = (await declined.status()).timeline[-1].text
    assert "The client's bank declined the charge" in why
    again = await cli.process("purchase", "--file", "-", stdin=json.dumps(terms))
    assert "The client's bank declined the charge" in again.err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person at a terminal is asked; the answer is no."""
    questions: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr(typer, "confirm", confirm)
    return questions


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at a terminal."""
    monkeypatch.setattr("starter.messages.at_terminal", lambda: True)


async def test_amounts_are_shown_as_money_before_they_are_sent(
    cli: Cli, cli_purchase: Purchase, asked: list[str], terminal: None
) -> None:
    """A slip of 100 is seen in time; with --yes nobody is asked."""
    await disputed(cli, cli_purchase, "--yes")
    words = ("resolve-dispute", cli_purchase.id, "--as", "mediator:m-1", "--refund", "2.00", *USD)

    refused = await cli(*words)

    assert asked == ["2.00 USD to Ana, 248.00 USD to Bo. Send?"]
    assert refused.rejection == (1, "NOT_CONFIRMED")
    assert (await cli_purchase.status()).stage == "disputed"
    assert (await cli(*words, "--yes")).status == 0
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("decision", "question"),
    [
        ("decline", "0.00 USD to Ana, 250.00 USD to Bo. Send?"),
        ("approve", "250.00 USD to Ana, 0.00 USD to Bo. Send?"),
    ],
)
async def test_a_decision_without_an_amount_is_shown_as_money_too(
    decision: str,
    question: str,
    cli: Cli,
    cli_purchase: Purchase,
    asked: list[str],
    terminal: None,
) -> None:
    """A forgotten --claim claims all of the escrow."""
    assert (await cli("cancel", cli_purchase.id, *ANA)).status == 0
    words = ("decide-refund", cli_purchase.id, *BO, "--decision", decision)

    assert (await cli(*words)).rejection == (1, "NOT_CONFIRMED")

    assert asked == [question]
    assert (await cli_purchase.status()).stage == "refund_requested"
    assert (await cli(*words, "--yes")).status == 0


async def test_a_typing_error_of_a_program_is_not_mailed_to_the_customer(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """Staff are notified and see it in the status; a rejection by the rules goes to its sender."""
    bought = await held(cli_client)
    by = {"role": "client", "id": "ana"}
    await bought.handle.signal("cancel", {"by": by, "reasn": "Plans."})
    await bought.handle.signal("accept_delivery", {"by": by})
    await until(bought.handle, lambda found: found.rejected_count == 2)
    for _ in range(50):
        listed = (await cli("notices", bought.id, "--json")).document
        rejected = [each for each in listed if each["transition"] == "message_rejected"]
        if len(rejected) == 2:
            break
    assert {each["role"] for each in rejected} == {"operator", "client"}
    (to_staff,) = (each for each in rejected if each["role"] == "operator")
    assert "reasn" in to_staff["text"]
    assert "in the name of the client" in to_staff["text"]
