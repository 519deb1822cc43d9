"""The production worker as a process that keeps a few purchases in its cache."""

from datetime import timedelta

import worker
from temporal.process import exit_process

worker.CACHED_WORKFLOWS = 5
worker.SHUTDOWN_GRACE = worker.NOTICES_GRACE = worker.STOPPED_AFTER = timedelta(seconds=1)

if __name__ == "__main__":
    exit_process(worker.main())
