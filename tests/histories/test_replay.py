"""Purchases of every earlier release continue under this code: their recorded histories replay."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.worker import Replayer, Worker

from demo.scenarios import SCENARIOS
from tests.histories import record
from tests.histories.record import CONTINUED, HERE, RELEASE
from tests.histories.replay import HISTORIES, read
from tests.proof.counts import counted
from workflows import view
from workflows.lifecycle import handlers, versions
from workflows.lifecycle.versions import FIRST, VERSIONS, Rules

REMEDY = """
The history {name} does not replay: open purchases of release {release} would be stuck under this
code, with their money. Do one of these: - keep the old order of commands for them: put the new one
behind `if workflow.patched("...")`; - if a rule changed, restore its row and add a version
(workflows/lifecycle/versions.py); - if no purchase of that release is open anywhere, delete its
folder in tests/histories. Do not record the history again: that does not change the histories of
running purchases.

{why}"""


async def replay(path: Path, worker: Worker) -> None:
    """Replay a history as that worker would. The failure says what to do."""
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


def test_a_recorded_history_contains_no_file_paths() -> None:
    """No recorded history contains a path of the recording machine."""
    for path in HISTORIES:
        assert not re.search(r"site-packages|\.py\b", path.read_text()), path.name


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_recorded_purchases_replay(
    path: Path, worker: Worker, record_property: Callable[[str, object], None]
) -> None:
    """Every history of every release replays with the converter, interceptors and runner of the
    production worker."""
    await replay(path, worker)
    record_property("proof", counted("recorded purchases replayed", {"histories": 1}))


def test_every_scenario_is_recorded() -> None:
    """Every scenario of this release has a history; `make histories` records missing ones."""
    recorded = {path.stem for path in HISTORIES if path.parent.name == RELEASE}
    assert {scenario.name for scenario in SCENARIOS} <= recorded, "run `make histories`"
    assert {f"{CONTINUED}-1", f"{CONTINUED}-2"} <= recorded


def test_a_recorded_history_contains_no_process_or_host() -> None:
    """No recorded history names a process or a host."""
    for path in HISTORIES:
        text = path.read_text()
        assert "@" not in text
        assert '"identity":"recorder"' in text


async def test_a_recorded_release_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    """`make histories` changes nothing and says why when the release has all its histories."""
    before = {path: path.stat().st_mtime_ns for path in HISTORIES}
    assert await record.record() == 1
    assert "they are never overwritten" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in sorted(HERE.glob("*/*.json"))} == before


# --- the test detects changes


def a_rule_edited_in_place() -> dict[int, Rules]:
    """The first version of the rules, changed: an expired review refunds the client."""
    first = VERSIONS[FIRST]
    rows = (
        replace(row, handler=handlers.refund_all("review_lapsed")) if row.id == "R-17" else row
        for row in first.transitions
    )
    return {FIRST: Rules(tuple(rows), first.deadlines)}


async def test_a_rule_edited_in_place_is_detected(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that changes without a new version makes a history fail to replay."""
    monkeypatch.setattr(versions, "VERSIONS", a_rule_edited_in_place())
    with pytest.raises(pytest.fail.Exception, match="add a version"):
        await replay(HERE / RELEASE / "change_of_mind.json", worker)


async def test_a_changed_sequence_of_commands_is_detected(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When search attributes are no longer written, replay fails and says what to do."""
    monkeypatch.setattr(view, "updates", lambda *_: [])
    with pytest.raises(pytest.fail.Exception, match=r"(?s)workflow\.patched.*Nondeterminism"):
        await replay(HERE / RELEASE / "refund_approved.json", worker)
