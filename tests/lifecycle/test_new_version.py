"""The README's recipe for a new rule, followed: a second version is registered, and the same tests
run over it as over the first."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = "tests.lifecycle.second_version"


def run_with_second_version(counts: Path, *arguments: str) -> str:
    """The end of what pytest prints when the second version is registered. `counts`: where to write
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


def test_a_new_version_is_walked_as_the_first_is(tmp_path: Path) -> None:
    """R-21, R-23: a replaced row and a new one. The table's tests and the walk cover version 2:
    money is conserved, every row is reached, every state has a way out."""
    output = run_with_second_version(
        tmp_path,
        "tests/lifecycle/test_table.py",
        "tests/lifecycle/test_walk.py",
        "-k",
        "2 and not permissions",
    )
    assert "every state walked, version 2, default: " in output
    assert " failed" not in output, output
    assert " passed" in output, output


def test_a_new_row_without_a_test_is_reported(tmp_path: Path) -> None:
    """R-23: the recipe ends with tests that cite the new rows by their ids."""
    output = run_with_second_version(
        tmp_path, "tests/lifecycle/test_coverage_of_rows.py", "-k", "cited_by_a_test"
    )
    assert "assert ['R-25'] == []" in output
    assert "1 failed, 1 passed" in output
