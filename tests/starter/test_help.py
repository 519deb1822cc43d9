"""The command line helps: it lists its commands in groups, completes them, and starts at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from typer.testing import CliRunner

from starter.app import app
from starter.commands import COMMANDS, GROUPS, MESSAGE, command
from temporal.purchases import Purchase
from tests.starter.conftest import HOUSE, Cli
from workflows.messages import MESSAGES

HEAVY = {"temporalio", "sqlalchemy", "rich.console", "babel"}
"""What takes seconds to import, and what imports it."""


def test_help_lists_every_command_in_its_group_with_a_whole_sentence() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    text = " ".join(shown.split())

    assert [line for line in shown.splitlines() if line.removesuffix(":") in GROUPS] == [
        f"{title}:" for title in GROUPS
    ]
    for name, (_, sentence) in COMMANDS.items():
        assert f"{name} {sentence}" in text
    assert "..." not in text.replace("[ARGS]...", "")


def test_help_needs_neither_the_sdk_nor_the_database() -> None:
    """Both take seconds to import; without them the list is there in a quarter of a second."""
    program = (
        "import sys; from typer.testing import CliRunner; from starter.app import app; "
        "CliRunner().invoke(app, ['--help']); print(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=HOUSE, check=True, capture_output=True, text=True
    )
    assert set(ran.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize("module", ["starter.queries", "starter.messages", "starter.start"])
def test_what_people_use_most_does_not_load_the_database(module: str) -> None:
    """Commands that ask the workflows: its library takes longer to load than all the rest."""
    program = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=HOUSE, check=True, capture_output=True, text=True
    )
    assert "sqlalchemy" not in ran.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_there_and_its_help_begins_with_the_sentence_of_the_list(name: str) -> None:
    text = " ".join((command(name).help or "").split())
    assert text.startswith(COMMANDS[name][1])


def test_every_message_has_a_command() -> None:
    listed = {name for name, (place, _) in COMMANDS.items() if place == MESSAGE}
    assert listed == {name.replace("_", "-") for name in MESSAGES}


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        environment = {"_RECOURSE_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        return CliRunner().invoke(app, prog_name="recourse", env=environment).stdout.split()

    assert completed("recourse accept") == ["accept-claim", "accept-split", "accept-delivery"]
    assert "--claim" in completed("recourse decide-refund p-1 --c")


def test_a_mistyped_command_is_answered_with_the_right_one() -> None:
    answer = CliRunner().invoke(app, ["cancle", "p-1"])
    assert answer.exit_code == 2
    assert "Did you mean 'cancel'?" in answer.stderr


@pytest.mark.parametrize("name", ["status", "actions", "ledger", "notices"])
async def test_a_workflow_id_names_its_purchase(
    name: str, cli: Cli, cli_purchase: Purchase
) -> None:
    """The Web UI shows workflow ids; people copy them from there."""
    sender = ("--as", "client:ana") if name == "actions" else ()
    while True:  # a notice may be sent between the two
        by_workflow = await cli(name, cli_purchase.workflow_id, *sender, "--json")
        by_purchase = await cli(name, cli_purchase.id, *sender, "--json")
        assert by_workflow.status == by_purchase.status == 0
        if by_workflow.document == by_purchase.document:
            return


async def test_commands_find_the_data_of_the_checkout_from_any_folder(
    cli: Cli, cli_purchase: Purchase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make run` leaves it; a folder with data of its own keeps it."""
    used = cli.environment["RECOURSE_DATABASE_URL"].removeprefix("sqlite:///")
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    (checkout / "var").mkdir(parents=True)
    elsewhere.mkdir()
    (checkout / "pyproject.toml").touch()
    for file in Path(used).parent.glob("recourse.db*"):
        (checkout / "var" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("activities.services.CHECKOUT", checkout)
    monkeypatch.chdir(elsewhere)

    found = await cli("ledger", cli_purchase.id, RECOURSE_DATABASE_URL=None)
    (elsewhere / "var").mkdir()
    own = await cli("ledger", cli_purchase.id, RECOURSE_DATABASE_URL=None)

    assert found.status == 0
    assert own.rejection == (3, "DATABASE_UNREACHABLE")


async def test_a_person_who_is_rejected_sees_a_sentence_and_no_stack_trace(
    cli_purchase: Purchase,
) -> None:
    """The Web UI shows everything that the update's result holds."""
    claim = {"by": {"role": "client", "id": "ana"}}
    for name, payload in (("accept_claim", claim), ("cancel", 7), ("no_such_message", claim)):
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await cli_purchase.handle.execute_update(name, payload)
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        failure = cause.failure
        assert failure is not None
        assert failure.message
        assert failure.stack_trace == ""
        assert not failure.HasField("cause")
