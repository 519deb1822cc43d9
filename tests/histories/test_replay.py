"""Purchases that began under any release go on under this code: their histories replay."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, Worker

from demo.scenarios import SCENARIOS
from tests.histories import record
from tests.histories.record import CONTINUED, HERE, RELEASE
from tests.proof.counts import counted
from workflows import view
from workflows.lifecycle import handlers, versions
from workflows.lifecycle.state import DeadlineName
from workflows.lifecycle.versions import FIRST, VERSIONS, Tables

HISTORIES = sorted(HERE.glob("*/*.json"))

REMEDY = """
The history {name} does not replay: purchases that began under release {release} would stand still
under this code, their money with them. Do one of these:
- keep the old order of commands for them: put the new one behind `if workflow.patched("...")`;
- a rule changed: leave its row as it is and add a version (workflows/lifecycle/versions.py);
- no purchase of that release is open any more, anywhere: delete its folder in tests/histories.
Recording the history again is no remedy: the histories of running purchases stay as they are.

{why}"""


def read(path: Path) -> WorkflowHistory:
    """A recorded history."""
    recorded = json.loads(path.read_text())
    started = recorded["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], recorded)


async def replay(path: Path, worker: Worker) -> None:
    """Replay a history as that worker would. Fails with the remedy."""
    config = worker.config(active_config=True)
    replayer = Replayer(
        workflows=config["workflows"],
        workflow_runner=config["workflow_runner"],
        interceptors=config["interceptors"],
        data_converter=config["client"].data_converter,
    )
    history = read(path)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    if result.replay_failure:
        name = str(path.relative_to(HERE))
        pytest.fail(
            REMEDY.format(name=name, release=path.parent.name, why=result.replay_failure),
            pytrace=False,
        )


def test_a_recorded_history_tells_nothing_of_the_machine_that_recorded_it() -> None:
    """Whoever clones the project learns nobody's folders from it."""
    for path in HISTORIES:
        assert not re.search(r"site-packages|\.py\b", path.read_text()), path.name


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_recorded_purchases_replay(
    path: Path, worker: Worker, record_property: Callable[[str, object], None]
) -> None:
    """Every history of every release, with the converter, interceptors and runner of the worker
    that production runs."""
    await replay(path, worker)
    record_property("proof", counted("recorded purchases replayed", {"histories": 1}))


def test_every_story_is_recorded() -> None:
    """A story that this release can tell and no history shows: `make histories` records it."""
    recorded = {path.stem for path in HISTORIES if path.parent.name == RELEASE}
    assert {scenario.name for scenario in SCENARIOS} <= recorded, "run `make histories`"
    assert {f"{CONTINUED}-1", f"{CONTINUED}-2"} <= recorded


def test_histories_tell_nothing_of_the_machine_that_recorded_them() -> None:
    """No process, host or path."""
    for path in HISTORIES:
        text = path.read_text()
        assert "@" not in text
        assert '"identity":"recorder"' in text


async def test_nothing_is_recorded_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """`make histories` refuses in a sentence when the release has all of its histories."""
    before = {path: path.stat().st_mtime_ns for path in HISTORIES}
    assert await record.record() == 1
    assert "they are never overwritten" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in sorted(HERE.glob("*/*.json"))} == before


# --- the proof can fail


def a_rule_edited_in_place() -> dict[int, Tables]:
    """The first version itself is changed: a review that runs out pays the client back."""
    first = VERSIONS[FIRST]
    rows = (
        replace(row, then=handlers.refund_all("review_lapsed"))
        if row.deadline is DeadlineName.REVIEW
        else row
        for row in first.deadlines
    )
    return {FIRST: replace(first, deadlines=tuple(rows))}


async def test_a_rule_that_is_edited_in_place_is_found(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new version, purchases that began before would decide otherwise."""
    monkeypatch.setattr(versions, "VERSIONS", a_rule_edited_in_place())
    with pytest.raises(pytest.fail.Exception, match="add a version"):
        await replay(HERE / RELEASE / "change_of_mind.json", worker)


async def test_a_changed_sequence_of_commands_is_found(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search attributes that are no longer written: the failure says what to do."""
    monkeypatch.setattr(view, "updates", lambda *_: [])
    with pytest.raises(pytest.fail.Exception, match=r"(?s)workflow\.patched.*Nondeterminism"):
        await replay(HERE / RELEASE / "refund_approved.json", worker)
