"""Names, addresses and payment methods stay out of what many people can read: logs, ids, search
attributes and failure messages."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from temporalio.testing import WorkflowEnvironment

from activities.logs import configure_logs
from demo.runner import send, start, until
from temporal import embedded
from tests.http_processes import read
from tests.purchases import purchase
from tests.test_worker import environment, run
from workflows.messages import Role

SECRET = ("Anastasia", "Bonifatius", "anastasia@example.com", "bonifatius@example.com")
METHOD = "pm_sandbox_flaky"


def parties() -> dict[str, Any]:
    """Client and freelancer with names that occur nowhere else."""
    names = zip(("client", "freelancer"), ("ana", "bo"), SECRET[:2], SECRET[2:], strict=True)
    return {role: {"id": id_, "name": name, "email": email} for role, id_, name, email in names}


async def test_a_failing_purchase_shows_no_personal_data_in_logs_ids_and_failures(
    bare_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """The production worker handles a flaky provider and a mail server that is down."""
    worker = await run(
        environment(
            tmp_path,
            TEMPORAL_ADDRESS=embedded.address(bare_server.client),
            RECOURSE_MAIL_URL="smtp://127.0.0.1:1",
        )
    )
    assert worker.stderr is not None
    lines: list[str] = []
    reading = asyncio.create_task(read(worker.stderr, lines))
    handle = await start(bare_server.client, purchase(METHOD, **parties()))
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.FREELANCER, "give_refund")
    await handle.signal("cancel", {"by": "anastasia@example.com"})
    await until(handle, lambda found: found.escrow.in_transit > 0 and found.rejected_count > 0)
    await failing(lines, "send_notices")
    worker.terminate()
    await worker.wait()
    await reading

    described = (await handle.describe()).raw_description
    searched = described.workflow_execution_info.search_attributes.SerializeToString()
    failures = str([pending.last_failure for pending in described.pending_activities])
    assert "127.0.0.1" in failures, "the mail server is not reported as down"
    for word in (*SECRET, METHOD):
        assert word not in "".join(lines), word
        assert word.encode() not in searched, word
        assert word not in failures, word
    await handle.terminate("seen")


async def failing(lines: list[str], activity: str) -> None:
    """Wait until the log has a failed attempt of this activity."""
    async with asyncio.timeout(30):
        while not any("failed" in line and activity in line for line in lines):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_log_lines_of_libraries_are_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """Redaction covers message, arguments, fields and stack trace of a library's log line."""
    kept = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs()
        try:
            raise ValueError("no such mailbox: anastasia@example.com")
        except ValueError:
            logging.getLogger("smtp").exception("cannot reach %s", "bonifatius@example.com")
        structlog.get_logger().info("charged", method="pm_card_visa", to=["anastasia@example.com"])
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = kept
        structlog.reset_defaults()
    output = capsys.readouterr().err
    assert [json.loads(line)["event"] for line in output.splitlines()] == [
        "cannot reach (redacted)",
        "charged",
    ]
    for word in (*SECRET, "pm_card_visa"):
        assert word not in output
