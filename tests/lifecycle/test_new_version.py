"""The README's recipe for a new rule, followed: another version is registered, and the same tests
run over it as over the others."""

import os
import subprocess
import sys
from pathlib import Path

from workflows.lifecycle import newest

ROOT = Path(__file__).parents[2]
PLUGIN = "tests.lifecycle.another_version"
VERSION = newest() + 1


def run_with_another_version(counts: Path, *arguments: str) -> str:
    """The end of what pytest prints when another version is registered. `counts`: where to write
    what it proved, which is not about a release."""
    command = (*(sys.executable, "-m", "pytest", "-p", PLUGIN, "-q", "-p", "no:cacheprovider"),)
    run = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=os.environ | {"RECOURSE_COUNTS": str(counts / "counts.json")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return run.stdout[-3000:] + run.stderr[-1000:]


def test_a_new_version_is_walked_as_the_others_are(tmp_path: Path) -> None:
    """R-21, R-23: a replaced row and a new one. The table's tests and the walk cover it: money is
    conserved, every row is reached, every state has a way out."""
    output = run_with_another_version(
        tmp_path,
        "tests/lifecycle/test_table.py",
        "tests/lifecycle/test_walk.py",
        "-k",
        f"{VERSION} and not permissions",
    )
    assert f"every state walked, version {VERSION}, default: " in output
    assert " failed" not in output, output
    assert " passed" in output, output


def test_a_new_row_without_a_test_is_reported(tmp_path: Path) -> None:
    """R-23: the recipe ends with tests that cite the new rows by their ids."""
    output = run_with_another_version(
        tmp_path, "tests/lifecycle/test_coverage_of_rows.py", "-k", "cited_by_a_test"
    )
    assert "assert ['R-29'] == []" in output
    assert f"1 failed, {VERSION - 1} passed" in output
