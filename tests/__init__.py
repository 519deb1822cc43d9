"""With `RECOURSE_UNCACHED` every worker of the tests forgets a purchase after each of its tasks, so
that each task replays the whole history: `make test-uncached`."""

import os

import pytest

import worker

# What a helper asserts is shown like what a test asserts itself.
pytest.register_assert_rewrite("tests.lifecycle", "tests.model", "tests.notices", "tests.proof")

if os.environ.get("RECOURSE_UNCACHED"):
    worker.CACHED_WORKFLOWS = 0
