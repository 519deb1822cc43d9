"""The typed Python client, as docs/integration.md shows it."""

from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from tests.integration_page import blocks, run_program


async def test_the_program_on_the_page_runs(
    server: WorkflowEnvironment, worker: object, tmp_path: Path
) -> None:
    """The second message repeats the first and gets its answer; the third is rejected."""
    program = next(each for each in blocks("python") if "Purchase(await connect()" in each)
    status, said = await run_program(server, program, tmp_path)
    assert status == 0, said
    first, again, rejected, waiting_for, actions = said.splitlines()
    assert first.startswith("refund_requested 20")
    assert again == first
    assert rejected.startswith("ALREADY_REQUESTED ")
    assert waiting_for == "freelancer"
    assert "'withdraw_cancellation'" in actions
