"""`recourse import`: purchases that run elsewhere continue here, and nothing is charged."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Money
from demo.runner import until
from docs.generate import HERE
from temporal.purchases import Purchase
from tests.purchases import numbers
from tests.starter.conftest import Cli
from workflows.messages import PurchaseStart

NOW = datetime.now(UTC)
IN_TWO_DAYS = (NOW + timedelta(days=2)).replace(microsecond=0)
USD = Money(amount=250_00, currency="USD")


@pytest.fixture
def sandbox(cli_environment: dict[str, str], cli_purchase: Purchase) -> Iterator[SandboxProvider]:
    """The provider of the command line and of its worker, which runs."""
    file = Path(cli_environment["RECOURSE_PAYMENTS"].removeprefix("sandbox:"))
    with closing(SandboxProvider(file, "local")) as provider:
        yield provider


def elsewhere(sandbox: SandboxProvider, **imported: Any) -> dict[str, Any]:
    """A purchase of another system, paid a month ago."""
    purchase_id = f"import-{next(numbers)}"
    paid = sandbox.make_happen(
        SandboxEvent.PAYMENT_MADE, f"shop-{purchase_id}", USD, NOW - timedelta(days=30)
    )
    return {
        "purchase_id": purchase_id,
        "title": "Logo design",
        "client": {"id": "ana", "name": "Ana", "email": "ana@example.com"},
        "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
        "price": {"amount": 25_000, "currency": "USD"},
        "payment_reference": paid.reference,
        "purchased_at": (NOW - timedelta(days=30)).isoformat(),
        "imported": imported
        or {"stage": "in_progress", "deadlines": {"dormancy": IN_TWO_DAYS.isoformat()}},
    }


CONTESTED = {
    "stage": "contested",
    "stage_before_request": "in_progress",
    "claim": 10_000,
    "deadlines": {"claim": IN_TWO_DAYS.isoformat()},
}


def written(folder: Path, *purchases: dict[str, Any] | str) -> str:
    """A file of JSON Lines, or of these very lines; its name."""
    file = folder / "purchases.jsonl"
    lines = (each if isinstance(each, str) else json.dumps(each) for each in purchases)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(file)


def flat(document: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The columns and cells of a document."""
    cells: dict[str, Any] = {}
    for name, value in document.items():
        cells |= (
            flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
        )
    return cells


async def results(cli: Cli, file: str, *options: str) -> dict[str, str]:
    """The result of each purchase."""
    answer = await cli("import", file, "--json", *options)
    return {each["purchase_id"]: each["result"] for each in answer.document["purchases"]}


async def test_purchases_continue_where_they_stand_and_nothing_is_charged(
    cli: Cli, cli_client: Client, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    """Stage, claim and deadline as elsewhere, the same charge held in escrow, and no notice."""
    working, contested = elsewhere(sandbox), elsewhere(sandbox, **CONTESTED)
    charges = {charge.reference for charge in sandbox.charges()}

    answer = await cli("import", written(tmp_path, working, contested))

    assert (answer.status, answer.err) == (0, "")
    assert {charge.reference for charge in sandbox.charges()} - charges <= {
        working["payment_reference"],
        contested["payment_reference"],
    }
    found = await Purchase(cli_client, contested["purchase_id"]).status()
    assert (found.stage, found.claim, found.escrow.held) == ("contested", 10_000, 25_000)
    assert [(each.name, each.at) for each in found.deadlines] == [("claim", IN_TWO_DAYS)]
    assert found.timeline[-1].transition == "imported"
    assert (await cli("notices", contested["purchase_id"])).rejection == (1, "NOT_FOUND")
    accepted = await cli("accept-claim", contested["purchase_id"], "--as", "client:ana")
    assert accepted.status == 0
    handle = Purchase(cli_client, contested["purchase_id"]).handle
    divided = await until(handle, lambda found: found.escrow.held == 0)
    assert (divided.escrow.in_transit, divided.escrow.released) == (15_000, 10_000)
    assert await cli.differences(working["purchase_id"], contested["purchase_id"]) == []


async def test_a_dry_run_says_what_can_be_imported_and_changes_nothing(
    cli: Cli, cli_client: Client, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    good = elsewhere(sandbox)
    unknown = {**elsewhere(sandbox), "payment_reference": "ch_nobody"}
    cheaper = {**elsewhere(sandbox), "price": {"amount": 100, "currency": "USD"}}
    over = elsewhere(
        sandbox, stage="in_progress", deadlines={"dormancy": (NOW - timedelta(1)).isoformat()}
    )
    broken = ({"purchase_id": "half"}, '{"purchase_id": "cut", "tit')
    file = written(tmp_path, good, unknown, cheaper, over, *broken)

    answer = await cli("import", file, "--dry-run", "--json")

    assert answer.status == 1
    assert answer.document["results"] == {"can_be_imported": 1, "rejected": 5}
    why = {each["purchase_id"]: each["text"] for each in answer.document["purchases"]}
    assert "does not know this payment" in why[unknown["purchase_id"]]
    assert "a payment of 250.00 USD, not 1.00 USD" in why[cheaper["purchase_id"]]
    assert "imported.deadlines.dormancy is over" in why[over["purchase_id"]]
    assert why["half"].startswith("Line 5: ")
    assert why["line 6"] == ("Line 6: this is not JSON: EOF while parsing a string at column 27.")
    assert await Purchase(cli_client, good["purchase_id"]).newest() is None
    person = await cli("import", file, "--dry-run")
    assert "nothing was changed" in person.out


async def test_a_dry_run_says_what_each_purchase_would_become(
    cli: Cli, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    """Stage, money and deadlines of each, and how much in all; then the import makes just that."""
    working, contested = elsewhere(sandbox), elsewhere(sandbox, **CONTESTED)
    file = written(tmp_path, working, contested)

    report = (await cli("import", file, "--dry-run", "--json")).document

    assert report["stages"] == {"in_progress": 1, "contested": 1}
    assert report["to_hold"] == {"USD": 50_000}
    becomes = {each["purchase_id"]: each["becomes"] for each in report["purchases"]}
    found = becomes[contested["purchase_id"]]
    (deadline,) = found.pop("deadlines")
    assert found == {"stage": "contested", "price": USD.model_dump(), "claim": 10_000}
    assert deadline["name"] == "claim"
    assert datetime.fromisoformat(deadline["at"]) == IN_TWO_DAYS
    assert "the claim is paid" in deadline["then"]
    person = " ".join((await cli("import", file, "--dry-run")).out.split())
    assert "500.00 USD would be held in escrow" in person
    assert "contested, claim of 100.00 USD" in person
    assert f"claim until {IN_TWO_DAYS:%Y-%m-%d %H:%M:%S} UTC" in person
    short = await cli("import", file, "--dry-run", "--limit", "1")
    assert "1 more; --limit 2 shows all." in short.out

    assert (await cli("import", file)).status == 0
    status = (await cli("status", contested["purchase_id"], "--json")).document
    assert status["stage"] == becomes[contested["purchase_id"]]["stage"]
    assert status["deadlines"] == [deadline]


async def test_a_repeated_import_continues_and_imports_nothing_twice(
    cli: Cli, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    first, second = elsewhere(sandbox), elsewhere(sandbox)
    assert await results(cli, written(tmp_path, first)) == {first["purchase_id"]: "imported"}

    both = await results(cli, written(tmp_path, first, second))
    again = await results(cli, written(tmp_path, first, second))

    assert both == {first["purchase_id"]: "already_imported", second["purchase_id"]: "imported"}
    assert set(again.values()) == {"already_imported"}
    changed = {**first, "title": "Another logo"}
    assert await results(cli, written(tmp_path, changed)) == {first["purchase_id"]: "rejected"}


async def test_one_payment_is_held_for_one_purchase(
    cli: Cli, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    """In one file, and in two."""
    first = elsewhere(sandbox)
    second = {**elsewhere(sandbox), "payment_reference": first["payment_reference"]}
    assert set((await results(cli, written(tmp_path, first, second))).values()) == {"rejected"}
    assert await results(cli, written(tmp_path, first)) == {first["purchase_id"]: "imported"}
    assert await results(cli, written(tmp_path, second)) == {second["purchase_id"]: "rejected"}


async def test_a_spreadsheet_is_imported(
    cli: Cli, cli_client: Client, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    """A column for each field; an empty cell is a field that is left out."""
    purchases = [elsewhere(sandbox), elsewhere(sandbox, **CONTESTED)]
    rows = [flat(each) for each in purchases]
    file = tmp_path / "purchases.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)

    assert set((await results(cli, str(file))).values()) == {"imported"}
    found = await Purchase(cli_client, purchases[1]["purchase_id"]).status()
    assert (found.stage, found.claim) == ("contested", 10_000)


async def test_a_file_that_cannot_be_read(cli: Cli, cli_worker: None, tmp_path: Path) -> None:
    answer = await cli("import", str(tmp_path / "none.jsonl"))
    assert answer.rejection == (2, "INVALID_INPUT")
    assert answer.err.endswith("none.jsonl cannot be read: No such file or directory.\n")
    file = tmp_path / "other.csv"
    file.write_text("purchase_id,title\n", encoding="utf-16")
    answer = await cli("import", str(file))
    assert answer.rejection == (2, "INVALID_INPUT")
    assert answer.err.endswith("other.csv is not UTF-8: save it with this encoding.\n")


async def test_a_spreadsheet_with_other_separators_is_rejected_as_a_whole(
    cli: Cli, cli_worker: None, tmp_path: Path
) -> None:
    """Some programs separate by semicolons. Each line would lack every field."""
    file = tmp_path / "purchases.csv"
    file.write_text("purchase_id;title\np-1;Logo design\n", encoding="utf-8")
    answer = await cli("import", str(file), "--dry-run")
    assert answer.rejection == (2, "INVALID_INPUT")
    assert "names no column purchase_id" in answer.err
    assert "separated by commas" in answer.err


async def test_a_comma_without_quotation_marks_is_noticed(
    cli: Cli, sandbox: SandboxProvider, tmp_path: Path
) -> None:
    """It moves the cells after it; what no column is left for would be lost."""
    cells = flat(elsewhere(sandbox))
    file = tmp_path / "purchases.csv"
    line = ",".join([*map(str, cells.values()), " blue"])
    file.write_text(f"{','.join(cells)}\n{line}\n", encoding="utf-8")

    answer = await cli("import", str(file), "--dry-run", "--json")

    (outcome,) = answer.document["purchases"]
    assert (answer.status, outcome["result"]) == (1, "rejected")
    assert outcome["purchase_id"] == cells["purchase_id"]
    assert outcome["text"].startswith("Line 2: it has more cells than line 1 has columns.")


async def test_a_file_without_purchases(cli: Cli, cli_worker: None, tmp_path: Path) -> None:
    answer = await cli("import", written(tmp_path))
    assert (answer.status, answer.out) == (0, "The file has no purchases.\n")


def test_the_example_in_the_runbook_is_a_start_input() -> None:
    page = (HERE / "operations.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert PurchaseStart.model_validate_json(example).imported
