"""The commands and programs on the page docs/messages.md work on a real server, as printed."""

import asyncio
import json
import os
import re
import shlex
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, send, status, until
from docs.generate import HERE
from docs.samples import PURCHASE, SAMPLES
from temporal import embedded
from temporal.client import DEFAULT_ADDRESS
from temporal.purchases import Purchase
from tests.purchases import held, numbers, purchase_of
from workflows.messages import MESSAGES, Role, Status

UPDATE, SIGNAL = "update execute", "signal"
PAGE = (HERE / "messages.md").read_text(encoding="utf-8")

SEQUENCES: dict[str, tuple[str, ...]] = {
    "an agreement": (
        "submit_requirements",
        "send_message",
        "cancel",
        "withdraw_cancellation",
        "deliver",
        "request_changes",
        "propose_split",
        "accept_split",
    ),
    "a dispute": ("cancel", "decide_refund", "open_dispute", "resolve_dispute"),
    "a claim": ("cancel", "decide_refund", "accept_claim", "settlement_update"),
    "a delivery": ("submit_requirements", "check_payment", "deliver", "accept_delivery"),
    "a refund in doubt": ("give_refund", "resolve_attention"),
}
"""Per sequence, messages of the page in an order in which each is accepted."""


def blocks(language: str) -> list[str]:
    """The code blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def split_command(line: str) -> list[str]:
    """The arguments of a command, split as a shell does."""
    return shlex.split(line.replace("\\\n", ""))


def command(action: str, name: str = "") -> str:
    """The page's `temporal` command for this action, and for this message if one is given."""
    start = f"temporal workflow {action} "
    return next(
        block
        for block in blocks("sh")
        if block.startswith(start) and (not name or f"--name {name} " in block)
    )


@dataclass(frozen=True)
class Shell:
    """Runs the page's commands for a given purchase on the tests' server."""

    server: WorkflowEnvironment
    purchase: str
    folder: Path

    @property
    def handle(self) -> Handle:
        """A handle of the purchase."""
        return Purchase(self.server.client, self.purchase).handle

    def adapted(self, text: str) -> str:
        """A text of the page with this purchase's id and this server's address."""
        address = embedded.address(self.server.client)
        return text.replace(PURCHASE, self.purchase).replace(DEFAULT_ADDRESS, address)

    async def temporal(self, line: str) -> tuple[int, str, str]:
        """Run a command of the page: exit status, stdout and stderr."""
        _, *arguments = split_command(self.adapted(line))
        process = await asyncio.create_subprocess_exec(
            embedded.binary(),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "TEMPORAL_ADDRESS": embedded.address(self.server.client)},
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def python(self, source: str) -> str:
        """Run a program of the page in a thread with its own event loop; what it prints."""
        program = compile(self.adapted(source), "docs/messages.md", "exec")
        with chdir(self.folder), redirect_stdout(StringIO()) as printed:
            await asyncio.to_thread(exec, program, {})
        return printed.getvalue()


@pytest.fixture
def shell(server: WorkflowEnvironment, worker: object, tmp_path: Path) -> Shell:
    """A shell for a purchase that is not started yet, with the two files that the page says to
    save."""
    shell = Shell(server, f"shown-{next(numbers)}", tmp_path)
    documents = blocks("json")
    start = next(text for text in documents if '"payment_method"' in text)
    requirements = next(text for text in documents if '"message_id"' in text)
    (tmp_path / "start.json").write_text(shell.adapted(start), encoding="utf-8")
    (tmp_path / "requirements.json").write_text(shell.adapted(requirements), encoding="utf-8")
    return shell


async def running(server: WorkflowEnvironment, folder: Path) -> Shell:
    """A shell for a purchase whose money is in escrow."""
    handle = await held(server)
    return Shell(server, purchase_of(handle), folder)


# --- every message


def test_every_message_of_the_page_is_sent() -> None:
    """The sequences contain every message of the page."""
    assert (
        {name for sequence in SEQUENCES.values() for name in sequence}
        == set(MESSAGES)
        == set(SAMPLES)
    )


@pytest.mark.parametrize("action", [UPDATE, SIGNAL])
@pytest.mark.parametrize("sequence", SEQUENCES)
async def test_each_command_of_the_page_is_accepted(
    sequence: str, action: str, server: WorkflowEnvironment, worker: object, tmp_path: Path
) -> None:
    """Each command is accepted as an update, and with `signal` in place of `update execute`."""
    shell = await running(server, tmp_path)
    for name in SEQUENCES[sequence]:
        await _prepare(shell.handle, name)
        before = await status(shell.handle)
        line = command(UPDATE, name).replace(UPDATE, action, 1)

        code, out, err = await shell.temporal(line)

        assert (code, err) == (0, ""), name
        assert action == SIGNAL or "accepted:true" in out
        await until(shell.handle, lambda found, old=before: _has_new_transition(found, old))  # type: ignore[misc]
    assert (await status(shell.handle)).rejected == ()


async def _prepare(handle: Handle, name: str) -> None:
    """Bring the purchase into a state in which this message is accepted."""
    first, second = f"{handle.id}/refund", f"{handle.id}/refund-2"
    if name == "settlement_update":
        await until(handle, lambda found: _is_sent(found, first))
    if name == "resolve_attention":
        for refund in (first, second):
            await until(handle, lambda found, refund=refund: _is_sent(found, refund))  # type: ignore[misc]
            await send(
                handle, Role.PAYMENTS, "settlement_update", refund_id=refund, status="failed"
            )


def _is_sent(found: Status, refund_id: str) -> bool:
    """Whether the provider has accepted this refund, which is now pending."""
    refund = found.refund
    return refund is not None and (refund.refund_id, refund.status) == (refund_id, "pending")


def _has_new_transition(found: Status, before: Status) -> bool:
    return found.timeline[-1].number > before.timeline[-1].number


# --- the top of the page


async def test_python_sends_a_signal_and_an_update(
    server: WorkflowEnvironment, worker: object, tmp_path: Path
) -> None:
    """The page's program sends `cancel` as a signal, which is accepted, and again as an update,
    whose rejection it prints."""
    shell = await running(server, tmp_path)

    printed = await shell.python(blocks("python")[0])

    assert printed.startswith("ALREADY_REQUESTED ")
    assert (await status(shell.handle)).stage == "refund_requested"


async def test_a_rejection_looks_as_on_the_page(
    server: WorkflowEnvironment, worker: object, tmp_path: Path
) -> None:
    """A rejected update exits with status 1 and the text on the page; a rejected signal is in the
    status."""
    shell = await running(server, tmp_path)

    code, out, err = await shell.temporal(command(UPDATE, "accept_claim"))

    assert (code, out, err) == (1, "", blocks("text")[0])
    await shell.temporal(command(UPDATE, "accept_claim").replace(UPDATE, SIGNAL, 1))
    await until(shell.handle, lambda found: found.rejected_count == 1)
    assert '"NOT_ALLOWED_NOW"' in (await shell.temporal(command("query") + " -o json"))[1]


def test_the_page_shows_the_same_json_for_command_line_and_web_ui() -> None:
    """The JSON block of each message equals the JSON in its command."""
    shown = [json.loads(text) for text in blocks("json")]
    for name in MESSAGES:
        assert json.loads(split_command(command(UPDATE, name))[-1]) in shown


# --- requirements sent along with the purchase


CLI_WITH_START = ("execute-update-with-start", "signal-with-start")
PYTHON_WITH_START = ("update_with_start", "signal_with_start")


@pytest.mark.parametrize("action", CLI_WITH_START)
async def test_the_temporal_command_line_sends_requirements_with_the_start(
    action: str, shell: Shell
) -> None:
    """Twice: the message counts once."""
    for _ in range(2):
        code, _, err = await shell.temporal(command(action))
        assert (code, err) == (0, "")
    await _requirements_came_once(shell)


@pytest.mark.parametrize("function", PYTHON_WITH_START)
async def test_python_sends_requirements_with_the_start(function: str, shell: Shell) -> None:
    """Twice: the message counts once."""
    program = blocks("python")[1].replace("main(update_with_start)", f"main({function})")
    for _ in range(2):
        assert await shell.python(program)
    await _requirements_came_once(shell)


async def _requirements_came_once(shell: Shell) -> None:
    found: Any = await until(shell.handle, lambda found: found.payment == "held")
    transitions = [entry.transition for entry in found.timeline]
    assert transitions.count("requirements_submitted") == 1
    assert found.requirements == SAMPLES["submit_requirements"]["requirements"]
    assert found.rejected == ()
