"""With `RECOURSE_UNCACHED` every worker of the tests forgets a purchase after each of its tasks, so
that each task replays the whole history: `make test-uncached`."""

import os

import worker

if os.environ.get("RECOURSE_UNCACHED"):
    worker.CACHED_WORKFLOWS = 0
