"""A pytest plugin for `make mutants`.

It runs the fastest tests first, since the first failure ends a mutant's run. And it makes mutants
of functions that run at import take effect: mutmut imports the code once, without a mutant, and
tests each mutant in a fork of that process. So the modules are imported again in the fork.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from mutmut.state import state

OURS = {
    *("activities", "demo", "docs", "starter", "temporal", "tests", "worker"),
    *("workflows", "workroom"),
}
"""Top-level modules of this repository."""
DURATIONS = Path("mutmut-stats.json")
"""How long each test took without a mutant. mutmut writes it to the folder it runs tests in."""
AT_IMPORT = Path("functions-called-at-import.json")
"""The functions that ran when the tests were imported; written next to DURATIONS."""
SLOW_SETUP = ("/test_walk.py::", "[postgresql")
"""Parts of the ids of tests whose fixtures take seconds, which the durations do not include."""


def mutant() -> str:
    """The mutant of this process; empty in the test run without mutants."""
    return os.environ.get("MUTANT_UNDER_TEST", "")


def called_at_import() -> set[str]:
    """The functions that ran at import, by their names in mutmut."""
    return set(json.loads(AT_IMPORT.read_text())) if AT_IMPORT.exists() else set()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Import our modules again if the mutant is of a function that runs at import. The run without
    mutants does so too: it shows that this alone makes no test fail."""
    if not mutant() or mutant().partition("__mutmut_")[0] in called_at_import():
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]


def pytest_collection_finish() -> None:
    """While mutmut records which tests call which function: store those called so far."""
    if mutant() == "stats":
        AT_IMPORT.write_text(json.dumps(sorted(called_at_import() | state()._stats)))


def pytest_runtest_setup() -> None:
    """What runs at import may concern every test."""
    if mutant() == "stats":
        state()._stats.update(called_at_import())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by duration; those with slow fixtures come last."""
    if not DURATIONS.exists():
        return
    seconds = json.loads(DURATIONS.read_text())["duration_by_test"]

    def cost(item: pytest.Item) -> tuple[bool, float]:
        slow = any(part in item.nodeid for part in SLOW_SETUP)
        return slow, seconds.get(item.nodeid, 0.0)

    items.sort(key=cost)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A mutant with which the tests cannot be collected is killed: exit as for a failed test."""
    if session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
