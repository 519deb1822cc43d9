"""For `make mutants`: a mutant meets the quickest tests first, and the first that fails ends it."""

import json
from pathlib import Path

import pytest

MEASURED = Path("mutmut-stats.json")
"""How long each test took without a mutant; mutmut writes it where it runs the tests."""
SLOW_TO_SET_UP = ("/test_walk.py::", "[postgresql")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, those last whose fixtures take seconds."""
    if not MEASURED.exists():
        return
    seconds = json.loads(MEASURED.read_text())["duration_by_test"]

    def cost(item: pytest.Item) -> tuple[bool, float]:
        slow = any(mark in item.nodeid for mark in SLOW_TO_SET_UP)
        return slow, seconds.get(item.nodeid, 0.0)

    items.sort(key=cost)
