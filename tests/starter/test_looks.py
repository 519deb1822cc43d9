"""Commands that look: cards and tables for people, one JSON document for programs."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities import fields
from activities.services import Services, Settings
from demo.runner import until
from starter import queries
from temporal.purchases import Purchase
from tests.purchases import CLIENT, FREELANCER, purchase
from tests.starter.conftest import HOUSE, Cli, held
from workflows.messages import MESSAGES, SendMessage, Status

ANA = ("--as", "client:ana")
RIGHT_TO_LEFT = "\u202e"


async def send(bought: Purchase, name: str, by: dict[str, str], **fields: object) -> None:
    """Send a message without the command line."""
    await bought.send(MESSAGES[name].model_validate({"by": by, "message_id": name, **fields}))


async def test_status_for_people_and_programs(cli: Cli, cli_purchase: Purchase) -> None:
    """Stage, turn, money, deadlines and timeline; the contract's status as JSON."""
    await send(cli_purchase, "submit_requirements", CLIENT, requirements="A lighthouse.")
    await send(cli_purchase, "propose_split", FREELANCER, refund=15_000)

    program = await cli.process("status", cli_purchase.id, "--json")
    person = await cli("status", cli_purchase.id)

    found = Status.model_validate_json(program.out)
    assert (found.stage, found.waiting_for) == ("freelancer_review", "freelancer")
    for shown in (
        "freelancer_review",
        "250.00 USD held in escrow",
        "freelancer: 150.00 USD to client, 100.00 USD to freelancer",
        f"{found.deadlines[0].at:%Y-%m-%d %H:%M:%S} UTC",
        "Ana sent the requirements.",
    ):
        assert shown in person.out


async def test_what_others_wrote_cannot_break_the_terminal(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """Markup stays text, invisible characters stay out, JSON is ASCII."""
    bought = await held(cli_client, title=f"[red]Logo[/red] :bomb: {RIGHT_TO_LEFT}\u00fc")
    signal = SendMessage.model_validate({"by": {"role": "client", "id": "[/b]"}, "text": "\x1b[2J"})
    await bought.signal(signal)

    person, program = await cli("status", bought.id), await cli("status", bought.id, "--json")

    assert "[red]Logo[/red] :bomb: \u00fc" in person.out
    assert "Rejected signals (1)" in person.out
    for answer in (person, program, await cli("list"), await cli("notices", bought.id)):
        assert RIGHT_TO_LEFT not in answer.out
        assert "\x1b" not in answer.out
    assert program.out.isascii()
    assert RIGHT_TO_LEFT in program.document["title"]


async def test_watching_ends_when_the_purchase_closes(
    cli: Cli, cli_purchase: Purchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown last is the closed purchase."""
    monkeypatch.setattr(queries, "REFRESH_EVERY", queries.REFRESH_EVERY / 20)
    watching = asyncio.create_task(cli("status", cli_purchase.id, "--watch"))
    await send(cli_purchase, "submit_requirements", CLIENT, requirements="A lighthouse.")
    await send(cli_purchase, "deliver", FREELANCER)
    await send(cli_purchase, "accept_delivery", CLIENT)

    answer = await watching

    assert answer.status == 0
    assert "released (delivery_accepted)" in answer.out
    twice = await cli("status", cli_purchase.id, "--watch", "--json")
    assert (twice.status, json.loads(twice.err)["code"]) == (2, "INVALID_INPUT")


async def test_watching_ends_with_ctrl_c(cli: Cli, cli_purchase: Purchase) -> None:
    """Nothing is said about it."""
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "status", cli_purchase.id, "--watch"),
        env=cli.environment,
        cwd=HOUSE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A shell starts background jobs with SIGINT ignored, and this process would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert watching.stdout is not None
    await watching.stdout.readuntil(b"awaiting_requirements")
    watching.send_signal(signal.SIGINT)

    _, err = await watching.communicate()

    assert (watching.returncode, err) == (0, b"")


async def test_actions(cli: Cli, cli_purchase: Purchase) -> None:
    """Each message with whether and until when; only for who is a party."""
    program = await cli("actions", cli_purchase.id, *ANA, "--json")
    person = await cli("actions", cli_purchase.id, *ANA)

    allowed = {item["message"]: item["allowed"] for item in program.document}
    assert set(allowed) == set(MESSAGES)
    assert (allowed["cancel"], allowed["deliver"]) == (True, False)
    assert "submit-requirements" in person.out
    other = await cli("actions", cli_purchase.id, "--as", "client:someone-else")
    assert other.rejection == (1, "NOT_A_PARTY")


@pytest.mark.parametrize("odd", ["o'b%", "o'b\\x\"%"])
async def test_list_finds_by_who_and_where(
    odd: str, cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """Values are never read as a query."""
    party = {"id": odd, "name": "Ana", "email": "ana@example.com"}
    bought = await held(cli_client, client=party)
    query = ("list", "--client", odd, "--freelancer", "bo", "--stage", "awaiting_requirements")
    found = await eventually(cli, *query)

    assert [item["purchase_id"] for item in found] == [bought.id]
    assert found[0]["next_deadline"].endswith("Z")
    person = await cli(*query)
    assert bought.id in person.out
    assert f"Logo design · 250.00 USD · {odd} → bo" in person.out
    for narrower in (
        ("--client", "'OR'1'='1"),
        ("--client", odd, "--stage", "disputed"),
        ("--client", odd, "--needs-attention"),
    ):
        assert (await cli("list", *narrower, "--json")).document == []
    assert (await cli("list", "--client", "")).rejection == (2, "INVALID_INPUT")


async def eventually(cli: Cli, *words: str) -> Any:
    """What a command finds, a moment after it has happened."""
    for _ in range(100):
        answer = await cli(*words, "--json")
        if answer.out and answer.document:
            return answer.document
        await asyncio.sleep(0.05)
    raise AssertionError(answer)


async def test_ledger_and_notices(cli: Cli, cli_purchase: Purchase) -> None:
    """Transfers and balances; what was sent to whom, each as it was sent."""
    transfers = await cli.process("ledger", cli_purchase.id, "--json")
    assert transfers.document["balances"]["held"] == 25_000
    assert transfers.document["transfers"][0]["key"] == f"{cli_purchase.workflow_id}/hold"
    assert "250.00 USD held in escrow" in (await cli("ledger", cli_purchase.id)).out

    sent = await eventually(cli, "notices", cli_purchase.id)
    assert {item["role"] for item in sent} == {"client", "freelancer"}
    listed = (await cli("notices", cli_purchase.id)).out
    assert f"Notices of purchase {cli_purchase.id}" in listed
    assert "payment held" in listed
    assert "client ana@example.com" in listed
    shown = await cli("notices", cli_purchase.id, "--show", "1")
    assert "Send the requirements" in shown.out
    assert "sign in where this project was" in shown.out
    assert "client ana@example.com" in shown.out
    assert "sent (maildir)" in shown.out
    one = await cli("notices", cli_purchase.id, "--show", "1", "--json")
    assert one.document["subject"].startswith("Payment is in escrow")
    beyond = await cli("notices", cli_purchase.id, "--show", "99")
    assert beyond.rejection == (2, "INVALID_INPUT")


@pytest.mark.usefixtures("cli_purchase")
async def test_ledger_and_notices_of_nobody(cli: Cli) -> None:
    """Neither knows the purchase."""
    assert (await cli("ledger", "nobody")).rejection == (1, "NOT_FOUND")
    assert (await cli("notices", "nobody")).rejection == (1, "NOT_FOUND")


async def test_audit(
    cli: Cli, cli_purchase: Purchase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Clean, then money that no workflow looks after, and money that the ledger does not know."""
    assert await cli.differences(cli_purchase.id) == []

    empty = f"sqlite:///{tmp_path_factory.mktemp('empty')}/recourse.db"
    assert (await cli("setup", RECOURSE_DATABASE_URL=empty)).status == 0
    unknown = await cli("audit", "--json", RECOURSE_DATABASE_URL=empty)
    assert unknown.status == 1
    assert cli_purchase.id in {item["purchase_id"] for item in unknown.document["differences"]}

    rebuilt = await cli("restore", cli_purchase.id, "--json", RECOURSE_DATABASE_URL=empty)
    assert (rebuilt.status, rebuilt.document["differences"]) == (0, [])
    assert [each["amount"] for each in rebuilt.document["rebuilt"]] == [25_000]
    repeated = await cli("restore", cli_purchase.id, RECOURSE_DATABASE_URL=empty)
    assert (repeated.status, repeated.out) == (0, "1 purchase had nothing to restore.\n")
    nobody = await cli("restore", "nobody", "--json")
    assert (nobody.status, nobody.document["rebuilt"]) == (1, [])
    assert "do not know it" in nobody.document["differences"][0]["what"]

    await cli_purchase.handle.terminate("for the test")
    [abandoned] = await cli.differences(cli_purchase.id)
    assert "its workflow is not running" in abandoned["what"]
    person = await cli("audit")
    assert person.status == 1
    assert "its workflow is not running" in " ".join(person.out.split())

    assert (await cli("adopt", cli_purchase.id, *ANA)).rejection == (2, "INVALID_INPUT")
    adopted = await cli.process("adopt", cli_purchase.id, "--as", "operator:o-1", "--json")
    assert (adopted.status, adopted.document["purchase_id"]) == (0, cli_purchase.id)
    found = await cli("status", cli_purchase.id, "--json")
    assert found.document["timeline"][-1]["by_id"] == "o-1"
    assert await cli.differences(cli_purchase.id) == []
    assert (await cli("adopt", cli_purchase.id)).rejection == (1, "RUNNING")
    assert (await cli("adopt", "nobody")).rejection == (1, "NOT_FOUND")


async def test_schema(cli: Cli) -> None:
    """Every message and answer by its name, and all as one document."""
    everything = (await cli.process("schema")).document
    assert set(everything) == {
        *MESSAGES,
        "start",
        "status",
        "receipt",
        "result",
        "actions",
        "event",
    }
    for name in ("start", "decide-refund", "resolve_attention", "actions"):
        schema = (await cli("schema", name, "--json")).document
        assert schema == everything[name.replace("-", "_")]
    assert (await cli("schema", "nothing")).rejection == (2, "INVALID_INPUT")


async def test_setup_may_be_repeated(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first run migrates; the second finds nothing to do and says so."""
    url = f"sqlite:///{tmp_path_factory.mktemp('setup')}/recourse.db"
    first = await cli("setup", "--json", RECOURSE_DATABASE_URL=url)
    again = await cli("setup", "--json", RECOURSE_DATABASE_URL=url)

    assert first.document["database"] == "migrated"
    assert again.document == {
        "database": "up_to_date",
        "search_attributes_registered": [],
        "server_limits_missing": None,
        "schedules_registered": [],
    }
    assert "up to date" in (await cli("setup", RECOURSE_DATABASE_URL=url)).out
    Services(Settings(database_url=url, payments=f"sandbox:{url[10:]}.sandbox")).close()


async def test_demo_leaves_with_its_own_status(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo itself has its own tests."""

    async def demo(*, exit_at_once: bool, json_output: bool) -> int:
        print(json.dumps([exit_at_once, json_output]))
        return 1

    monkeypatch.setattr("demo.demo.demo", demo)
    answer = await cli("demo", "--exit", "--json")
    assert (answer.status, answer.document) == (1, [True, True])


NEEDS_SERVER = (
    ("status", "p"),
    ("actions", "p", *ANA),
    ("list",),
    ("audit",),
    ("restore",),
    ("adopt", "p"),
    ("setup",),
    ("cancel", "p", *ANA),
    ("cancel", "p", *ANA, "--signal"),
)


@pytest.mark.parametrize("words", NEEDS_SERVER, ids=" ".join)
async def test_no_server(words: tuple[str, ...], cli: Cli) -> None:
    """Exit 3 and one sentence."""
    answer = await cli(*words, TEMPORAL_ADDRESS="localhost:1")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert "localhost:1" in answer.err


async def test_no_such_namespace_or_profile(cli: Cli) -> None:
    """It is distinguished from a server that cannot be reached."""
    answer = await cli.process("list", "--json")
    assert answer.status == 0
    for changed in ({"TEMPORAL_NAMESPACE": "nowhere"}, {"TEMPORAL_CONFIG_FILE": str(HOUSE)}):
        assert (await cli("list", **changed)).rejection == (3, "SERVER_UNREACHABLE")


NEEDS_DATABASE = (
    ("ledger", "p"),
    ("notices", "p"),
    ("audit",),
    ("restore",),
    ("adopt", "p"),
    ("setup",),
)


@pytest.mark.parametrize("words", NEEDS_DATABASE, ids=" ".join)
async def test_no_database(words: tuple[str, ...], cli: Cli) -> None:
    """Exit 3 for one that is away, 2 for a setting that cannot be right."""
    away = "postgresql+psycopg://nobody@localhost:1/none"
    for url in (away, "sqlite:////proc/none/recourse.db"):
        answer = await cli(*words, RECOURSE_DATABASE_URL=url)
        assert answer.rejection == (3, "DATABASE_UNREACHABLE")
    for url in ("mysql://localhost/x", "no url"):
        answer = await cli(*words, RECOURSE_DATABASE_URL=url)
        assert answer.rejection == (2, "WRONG_SETTING")


@pytest.mark.parametrize("name", ["status", "ledger", "notices", "restore"])
async def test_a_purchase_id_that_is_none(name: str, cli: Cli) -> None:
    """White space and control characters are in no id."""
    for bad in ("a b", "", "\x1b", "x" * 65):
        assert (await cli(name, bad)).rejection == (2, "INVALID_INPUT")


@pytest.mark.parametrize(
    "words",
    [(), ("nothing",), ("list", "--stage", "nowhere"), ("list", "--client"), ("audit", "p")],
    ids=str,
)
async def test_wrong_usage(words: tuple[str, ...], cli: Cli) -> None:
    """Exit 2."""
    assert (await cli(*words)).status == 2


@pytest.mark.parametrize("odd", ["\U0001f600" * 63 + "1", "\U0001d160" * 21, "\U0001fae9\u0378-"])
@pytest.mark.usefixtures("cli_worker")
async def test_the_server_takes_every_id(odd: str, cli: Cli, cli_client: Client) -> None:
    """As a workflow id and in the search attributes; the longest, and later Unicode's."""
    party = {"id": odd, "name": "Ana", "email": "ana@example.com"}
    bought = Purchase(cli_client, fields.identifier(odd))
    await bought.start(purchase(purchase_id=bought.id, client=party))
    await until(bought.handle, lambda found: found.payment == "held")

    found = await eventually(cli, "list", "--client", odd)

    assert [item["purchase_id"] for item in found] == [bought.id]


async def test_purchases_are_found_by_a_persons_address_or_name(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """By the index in the database; the server's search attributes have ids only."""
    zoe = {"id": "zoe", "name": "Zoë Kravčenko", "email": "zoe@example.com"}
    bought = await held(cli_client, client=zoe)
    await eventually(cli, "list", "--client", "zoe")
    for text in ("ZOE@example.com", "zoë kravčenko", "Kravčenko"):
        found = (await cli("list", "--person", text, "--json")).document
        assert [each["purchase_id"] for each in found] == [bought.id]
    assert (await cli("list", "--person", "nobody@example.com")).rejection == (1, "NOT_FOUND")


READS = [
    (("ledger", "p"), "RECOURSE_DATABASE_URL"),
    (("notices", "p"), "RECOURSE_DATABASE_URL"),
    (("audit",), "RECOURSE_DATABASE_URL"),
    (("audit",), "RECOURSE_PAYMENTS"),
]


@pytest.mark.parametrize(("words", "name"), READS, ids=str)
@pytest.mark.usefixtures("cli_purchase")
async def test_a_command_that_reads_creates_nothing(
    words: tuple[str, ...],
    name: str,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a folder without them, the defaults name no file: it says which one, and how to set it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("activities.services.CHECKOUT", tmp_path)

    answer = await cli(*words, **{name: None})

    assert answer.rejection == (3, "DATABASE_UNREACHABLE")
    assert f"{tmp_path}/var/" in answer.err
    assert f"set {name}" in answer.err
    assert _files(tmp_path) == []


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())
