"""Which task comes first while many wait for a worker. Lower numbers are served first.

Only the number is set: a fairness key that a caller gives at the start, such as its tenant, is
inherited by every activity.
"""

from temporalio.common import Priority

MONEY = Priority(priority_key=1)
PAYMENT = Priority(priority_key=2)
CHECKS = Priority(priority_key=3)
REMINDERS = Priority(priority_key=4)
EVENTS = Priority(priority_key=4)
AUDIT = Priority(priority_key=5)
