"""The worker as a process of its own, to be killed: the real one, but a lost attempt at an activity
is given up after five seconds, so that tests need not wait. On slow cores two were too few."""

from datetime import timedelta

import worker
from workflows import errands, notices
from workflows.server import leave

for module, name in ((errands, "ONE_ATTEMPT"), (notices, "ONE_DELIVERY")):
    setattr(module, name, timedelta(seconds=5))

if __name__ == "__main__":
    leave(worker.main())
