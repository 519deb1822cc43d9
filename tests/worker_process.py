"""The worker as a process of its own, to be killed: the real one, but a lost attempt at an activity
is given up after five seconds, so that tests need not wait. On slow cores two were too few."""

from datetime import timedelta

import worker
from temporal.client import exit_process
from workflows import effects, notifying

for module, name in ((effects, "ATTEMPT_TIMEOUT"), (notifying, "DELIVERY_TIMEOUT")):
    setattr(module, name, timedelta(seconds=5))

if __name__ == "__main__":
    exit_process(worker.main())
