"""A pytest plugin for `make mutants`: runs the fastest tests first, since the first failure ends a
mutant's run."""

import json
from pathlib import Path

import pytest

DURATIONS = Path("mutmut-stats.json")
"""How long each test took without a mutant. mutmut writes it to the folder it runs tests in."""
SLOW_SETUP = ("/test_walk.py::", "[postgresql")
"""Parts of the ids of tests whose fixtures take seconds, which the durations do not include."""


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
