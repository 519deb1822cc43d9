"""The production worker as a process that tests can kill. An activity attempt times out after five
seconds, so that tests do not wait long for a killed worker's attempts. Two seconds were too short
on slow cores."""

from datetime import timedelta

import worker
from temporal.process import exit_process
from workflows import effects, notifying

for module, name in ((effects, "ATTEMPT_TIMEOUT"), (notifying, "DELIVERY_TIMEOUT")):
    setattr(module, name, timedelta(seconds=5))

if __name__ == "__main__":
    exit_process(worker.main())
