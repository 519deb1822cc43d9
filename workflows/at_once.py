"""Short activities within the workflow task: local activities, which need no further task.

Each is tried once, for seconds. What does not succeed at once is carried out by the ordinary
activity of the same name and with the same request, whose retries and failures are visible.

A query that meets the task ends it early: what follows from the answer is then in the next task,
while a replay knows the answer in the first one, in which it does not see the patches of the next.
So `workflow.patched` is called before a local activity, never after it in the same task.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

from activities.requests import ActivityType, Answer, Request
from workflows.receiving.encrypted import Deciphered
from workflows.receiving.parsing import parse_answer

PATIENCE = timedelta(seconds=3)
"""For the wait for its turn and the attempt. Less than the timeout of a workflow task, so that a
slow database does not end one."""


async def answer_at_once(
    kind: ActivityType[Request, Answer], request: Request, summary: str
) -> Answer | None:
    """The answer; None if there is none yet."""
    try:
        payload = await workflow.execute_local_activity(
            kind.name,
            request,
            result_type=Deciphered,
            schedule_to_close_timeout=PATIENCE,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary=summary[:200],
        )
        return parse_answer(kind.answer, kind.name, payload)
    except (FailureError, ValueError):  # a replay raises the cause of the ActivityError
        return None
