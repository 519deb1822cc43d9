"""The tests. With `RECOURSE_UNCACHED` set (`make test-uncached`), workers cache no workflows, so
that every workflow task replays the whole history."""

import os

import pytest

import worker

# Assertions in helper modules show their values, as those in test modules do.
pytest.register_assert_rewrite("tests.lifecycle", "tests.model", "tests.notices", "tests.proof")

if os.environ.get("RECOURSE_UNCACHED"):
    worker.CACHED_WORKFLOWS = 0
