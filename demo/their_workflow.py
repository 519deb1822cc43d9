"""A workflow and an activity of another team, in whose worker purchases run."""

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class TheirWorkflow:
    """Runs in the SDK's sandbox."""

    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(
            double, number, start_to_close_timeout=timedelta(seconds=10)
        )
