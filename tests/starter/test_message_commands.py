"""One command per message: what it sends, what it answers, and how it refuses."""

import json
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.requests import TASK_QUEUE
from demo.runner import until
from temporal import deployment, purchases
from temporal.purchases import Purchase
from tests.starter.conftest import Cli, held
from tests.starter.test_purchase_command import DOCUMENT, options
from workflows.messages import MESSAGES

ANA, BO = ("--as", "client:ana"), ("--as", "freelancer:bo")
MEDIATOR, OPERATOR = ("--as", "mediator:m-1"), ("--as", "operator:o-1")
USD = ("--currency", "USD")

WALKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "disputed": (
        ("submit-requirements", *ANA, "--text", "A lighthouse, in blue."),
        ("send-message", *BO, "--text", "Gladly."),
        ("cancel", *ANA, "--reason", "Plans have changed."),
        ("withdraw-cancellation", *ANA, "--note", "Or not."),
        ("cancel", *ANA),
        ("decide-refund", *BO, "--decision", "decline", "--claim", "100.00", *USD),
        ("open-dispute", *ANA, "--reason", "Nothing was delivered."),
        ("resolve-dispute", *MEDIATOR, "--refund", "0", *USD),
    ),
    "delivered": (
        ("submit-requirements", *ANA, "--text", "A lighthouse."),
        ("deliver", *BO),
        ("request-changes", *ANA, "--note", "Bluer."),
        ("deliver", *BO, "--note", "Bluer."),
        ("accept-delivery", *ANA),
    ),
    "split": (
        ("propose-split", *BO, "--refund", "150.00", *USD),
        ("accept-split", *ANA, "--refund", "150", *USD),
    ),
    "claimed": (
        ("cancel", *ANA),
        ("decide-refund", *BO, "--decision", "decline"),
        ("accept-claim", *ANA),
    ),
    "approved": (
        ("cancel", *ANA),
        ("decide-refund", *BO, "--decision", "approve", "--note", "Of course."),
    ),
}
ENDS = {
    "disputed": "dispute_resolved",
    "delivered": "delivery_accepted",
    "split": "mutual_split",
    "claimed": "claim_accepted",
    "approved": "refund_approved",
}


def command(words: tuple[str, ...], purchase: Purchase) -> list[str]:
    """The command with its purchase."""
    name, *rest = words
    return [name, purchase.id, *rest]


@pytest.mark.parametrize("walk", WALKS)
async def test_messages_are_sent_and_answered(walk: str, cli: Cli, cli_purchase: Purchase) -> None:
    """Each is a receipt for people, and the purchase ends as it should."""
    for words in WALKS[walk]:
        answer = await cli(*command(words, cli_purchase))
        assert (answer.status, answer.err) == (0, "")
        assert "Stage" in answer.out
    found = await cli_purchase.status()
    assert found.reason == ENDS[walk] or ENDS[walk] in {e.transition for e in found.timeline}


async def test_messages_about_a_refund(cli: Cli, cli_client: Client, cli_worker: None) -> None:
    """Failures are reported, one after the other, until a person has the proof."""
    bought = await held(cli_client, method="pm_sandbox_slow")
    given = await cli.process("give-refund", bought.id, *BO, "--json")
    assert (given.status, given.document["stage"]) == (0, "settling")
    await until(bought.handle, lambda found: found.escrow.in_transit > 0)

    async def fails(refund: str) -> None:
        report = ("--refund-id", f"purchase-{bought.id}/{refund}", "--status", "failed")
        reported = await cli("settlement-update", bought.id, "--as", "payments:bank", *report)
        assert (reported.status, reported.err) == (0, "")

    await fails("refund")
    assert not (await bought.status()).attention
    await fails("refund-2")
    await until(bought.handle, lambda found: bool(found.attention))

    retried = await cli("resolve-attention", bought.id, *OPERATOR, "--action", "retry")
    assert (retried.status, retried.err) == (0, "")
    assert not (await bought.status()).attention
    await fails("refund-3")
    await until(bought.handle, lambda found: bool(found.attention))
    proof = ("--action", "mark_settled", "--reference", "bank letter 7")
    marked = await cli("resolve-attention", bought.id, *OPERATOR, *proof)
    assert (marked.status, marked.err) == (0, "")
    assert (await bought.handle.result()).outcome == "refunded"


async def test_a_receipt_for_programs(cli: Cli, cli_purchase: Purchase, tmp_path: Path) -> None:
    """`--json` is the contract's receipt; a message id answers the same again."""
    file = tmp_path / "requirements.json"
    file.write_text('{"pages": 3, "colours": ["blue"]}')
    words = ("submit-requirements", cli_purchase.id, *ANA, "--file", str(file))

    first = await cli.process(*words, "--message-id", "m-1", "--json")
    again = await cli(*words, "--message-id", "m-1", "--json")

    assert first.document == again.document
    assert first.document["accepted"] is True
    assert first.document["stage"] == "freelancer_review"
    found = await cli_purchase.status()
    assert found.requirements == {"pages": 3, "colours": ["blue"]}


async def test_a_refusal_has_code_sentence_and_status(cli: Cli, cli_purchase: Purchase) -> None:
    """Exit 1; with --json the error is an object on stderr, and stdout stays empty."""
    person = await cli("deliver", cli_purchase.id, "--as", "freelancer:someone-else")
    program = await cli.process("accept-claim", cli_purchase.id, *ANA, "--json")

    assert person.rejection == (1, "NOT_A_PARTY")
    assert (program.status, program.out) == (1, "")
    assert json.loads(program.err)["code"] == "NOT_ALLOWED_NOW"


async def test_a_signal_is_sent_and_forgotten(cli: Cli, cli_purchase: Purchase) -> None:
    """Also one that the rules refuse: the status shows it."""
    answer = await cli("accept-claim", cli_purchase.id, *ANA, "--signal", "--message-id", "s-1")
    quiet = await cli("send-message", cli_purchase.id, *ANA, "--text", "Hi.", "--signal", "--json")

    assert answer.status == 0
    assert quiet.document["sent"] is True
    found = await cli_purchase.status()
    assert [item.code for item in found.rejected] == ["NOT_ALLOWED_NOW"]


async def test_nobody_there(cli: Cli, cli_client: Client, cli_worker: None) -> None:
    """An unknown purchase, and a closed one."""
    closed = Purchase(cli_client, "declined-card")
    terms = {**DOCUMENT, "purchase_id": closed.id, "payment_method": "pm_sandbox_declined"}
    await cli.process("purchase", "--file", "-", stdin=json.dumps(terms))
    await closed.handle.result()

    for how in ((), ("--signal",)):
        assert (await cli("cancel", "nobody", *ANA, *how)).rejection == (1, "NOT_FOUND")
        assert (await cli("cancel", closed.id, *ANA, *how)).rejection == (1, "CLOSED")
    assert (await cli("status", closed.id, "--json")).document["outcome"] == "payment_declined"
    assert (await cli("actions", closed.id, *ANA)).status == 0
    assert (await cli("status", "nobody")).rejection == (1, "NOT_FOUND")
    assert (await cli("actions", "nobody", *ANA)).rejection == (1, "NOT_FOUND")


async def test_without_a_worker_a_command_ends_with_an_error(
    cli: Cli, cli_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3, and how to repeat a message that may still arrive."""
    monkeypatch.setattr(purchases, "ANSWER_WITHIN", purchases.ANSWER_WITHIN / 20)
    for module in (purchases, deployment):
        monkeypatch.setattr(module, "TASK_QUEUE", f"{TASK_QUEUE}-that-nobody-serves")
    assert (await cli(*options(id="bare_server"))).status == 0

    assert (await cli("status", "bare_server")).rejection == (3, "NO_WORKER")
    sent = await cli("cancel", "bare_server", *ANA, "--message-id", "m-1")
    assert sent.rejection == (3, "NO_WORKER")
    assert "worker.py" in sent.err
    assert "repeat the message with the id m-1 (message_id, --message-id)" in sent.err
    await Purchase(cli_client, "bare_server").handle.terminate()


LONG = "x" * 10_001
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "requirements missing": (("submit-requirements", *ANA), "--text or as --file"),
    "requirements twice": (("submit-requirements", *ANA, "--text", "x", "--file", "-"), "--file"),
    "requirements empty": (("submit-requirements", *ANA, "--text", ""), "requirements"),
    "requirements too long": (("submit-requirements", *ANA, "--text", "x" * 70_000), "require"),
    "requirements no file": (("submit-requirements", *ANA, "--file", "/no/file"), "--file"),
    "requirements no object": (("submit-requirements", *ANA, "--file", "/dev/null"), "--file"),
    "reason empty": (("cancel", *ANA, "--reason", " "), "reason"),
    "reason too long": (("open-dispute", *ANA, "--reason", LONG), "reason"),
    "text with NUL": (("send-message", *ANA, "--text", "a\x00b"), "text"),
    "claim without currency": (
        ("decide-refund", *BO, "--decision", "decline", "--claim", "1"),
        "--currency",
    ),
    "claim with approve": (
        ("decide-refund", *BO, "--decision", "approve", "--claim", "1", *USD),
        "approve",
    ),
    "currency without claim": (
        ("decide-refund", *BO, "--decision", "decline", *USD),
        "--currency",
    ),
    "another currency": (
        ("decide-refund", *BO, "--decision", "decline", "--claim", "1", "--currency", "EUR"),
        "in USD",
    ),
    "split in words": (("propose-split", *ANA, "--refund", "half", *USD), "--refund"),
    "split below zero": (("propose-split", *ANA, "--refund", "-1", *USD), "--refund"),
    "split too fine": (("accept-split", *ANA, "--refund", "1.001", *USD), "--refund"),
    "split in no currency": (
        ("resolve-dispute", *MEDIATOR, "--refund", "1", "--currency", "QQQ"),
        "--currency",
    ),
    "refund id empty": (
        ("settlement-update", "--as", "payments:p", "--refund-id", "", "--status", "failed"),
        "--refund-id",
    ),
    "reference of two lines": (
        ("resolve-attention", *OPERATOR, "--action", "mark_settled", "--reference", "a\nb"),
        "reference",
    ),
    "message id with white space": (
        ("deliver", *BO, "--message-id", "a b"),
        "--message-id must have no spaces",
    ),
    "message id too long": (
        ("deliver", *BO, "--message-id", "x" * 65),
        "--message-id must have at most 64",
    ),
    **{
        f"{name}: {what}": ((name, "--as", sender, *rest), "--as")
        for name, rest in {
            "withdraw-cancellation": (),
            "accept-claim": (),
            "accept-delivery": (),
            "give-refund": (),
            "request-changes": (),
        }.items()
        for what, sender in {"no role": "ana", "unknown role": "boss:x", "no id": "client:"}.items()
    },
    **{
        f"{name}: note": ((name, *ANA, "--note", "\x00"), "note")
        for name in ("withdraw-cancellation", "accept-claim", "deliver", "request-changes")
    },
}


@pytest.mark.parametrize(("words", "says"), BAD.values(), ids=BAD)
async def test_what_cannot_be_right_is_not_sent(
    words: tuple[str, ...], says: str, cli: Cli, cli_bystander: Purchase
) -> None:
    """Exit 2 and a sentence that names the field; the purchase hears nothing."""
    answer = await cli(*command(words, cli_bystander))

    assert answer.rejection == (2, "INVALID_INPUT")
    assert says in answer.err
    assert len((await cli_bystander.status()).timeline) == 2


@pytest.fixture(scope="module")
async def cli_bystander(cli_client: Client, cli_worker: None) -> Purchase:
    """A purchase that nobody manages to send anything."""
    return await held(cli_client)


@pytest.mark.parametrize("name", MESSAGES)
async def test_every_command_explains_wrong_usage(name: str, cli: Cli) -> None:
    """No sender, an unknown option, a purchase id that is none: exit 2."""
    hyphens = name.replace("_", "-")
    for words in ((hyphens, "p"), (hyphens, "p", *ANA, "--unknown", "x"), (hyphens,)):
        answer = await cli(*words)
        assert (answer.status, answer.out) == (2, "")
        assert "Error" in answer.err


async def test_choices_are_checked(cli: Cli) -> None:
    """What is one of a few words is nothing else."""
    for words in (
        ("decide-refund", "p", *BO, "--decision", "maybe"),
        ("settlement-update", "p", *BO, "--refund-id", "r", "--status", "lost"),
        ("resolve-attention", "p", *OPERATOR, "--action", "ignore"),
    ):
        answer = await cli(*words)
        assert (answer.status, answer.out) == (2, "")
        assert "is not one of" in answer.err
