"""The bare engine: two scenarios with our timers, signals and activities, and nothing else.

No sandbox, no rules, no models, activities that do nothing. With `indexed`, the workflows also
update the search attributes of the contract; each update costs the server a write. What a purchase
costs beyond this is the cost of Recourse.
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import SearchAttributeUpdate

from workflows.policy import Policy
from workflows.view import CLIENT, DEADLINE, FREELANCER, NEEDS_ATTENTION, STAGE

QUEUE = "bare"
POLICY = Policy()
FIVE_BUSINESS_DAYS = timedelta(days=7)


@activity.defn
async def nothing(_: str) -> None:
    """Do nothing."""


def start_activity(name: str) -> asyncio.Task[None]:
    """Start an activity."""
    return asyncio.ensure_future(
        workflow.execute_activity(nothing, name, start_to_close_timeout=timedelta(seconds=30))
    )


def start_timer(duration: timedelta) -> asyncio.Task[None]:
    """Start a timer."""
    return asyncio.create_task(asyncio.sleep(duration.total_seconds()))


class _Settling:
    """What follows from the decision to refund, in both scenarios."""

    def __init__(self, indexed: bool) -> None:
        self.notices: list[asyncio.Task[None]] = []
        self.indexed = indexed

    def index(
        self, stage: str, window: timedelta | None, *others: SearchAttributeUpdate[Any]
    ) -> None:
        """Update the search attributes for stage and deadline."""
        if self.indexed:
            until = (
                DEADLINE.value_set(workflow.now() + window) if window else DEADLINE.value_unset()
            )
            workflow.upsert_search_attributes([STAGE.value_set(stage), until, *others])

    def index_start(self) -> None:
        """Set all search attributes."""
        ids = CLIENT.value_set("ana"), FREELANCER.value_set("bo")
        unblocked = NEEDS_ATTENTION.value_set(False)
        self.index("awaiting_requirements", POLICY.requirements_window, *ids, unblocked)

    def notify(self, transition: str) -> None:
        """Start a notice without waiting for it."""
        self.notices.append(start_activity(transition))

    async def settle(self, reason: str) -> None:
        """Post the decision, send the refund, post the settlement, and notify of both."""
        self.index("settling", FIVE_BUSINESS_DAYS)
        deadline, posted = start_activity("compute deadline"), start_activity("post decision")
        await deadline
        self.notify(reason)
        settlement = start_timer(FIVE_BUSINESS_DAYS)
        await posted
        await start_activity("send refund")
        settlement.cancel()
        await start_activity("post settlement")
        self.notify("settled")
        last = start_timer(timedelta(minutes=1))
        await asyncio.wait(self.notices)
        last.cancel()
        self.index("closed", None)


@workflow.defn(name="BareAutoCancel", sandboxed=False)
class AutoCancel(_Settling):
    """The requirements never arrive."""

    @workflow.init
    def __init__(self, window: float, indexed: bool = False) -> None:
        super().__init__(indexed)

    @workflow.run
    async def run(self, window: float, indexed: bool = False) -> None:
        """Hold, wait, refund."""
        self.index_start()
        payment = start_timer(POLICY.payment_window)
        requirements = start_timer(timedelta(seconds=window))
        await start_activity("hold")
        payment.cancel()
        self.notify("held")
        self.index("awaiting_requirements", POLICY.requirements_window)
        await requirements
        await self.settle("timeout")


@workflow.defn(name="BareApprovedRefund", sandboxed=False)
class ApprovedRefund(_Settling):
    """Requirements, cancellation and approval arrive as signals."""

    @workflow.init
    def __init__(self, indexed: bool = False) -> None:
        super().__init__(indexed)
        self.timers: list[asyncio.Task[None]] = []
        self.approved = asyncio.Event()

    @workflow.run
    async def run(self, indexed: bool = False) -> None:
        """Hold, wait for signals, refund."""
        self.index_start()
        payment = start_timer(POLICY.payment_window)
        self._replace_timers(POLICY.requirements_window, POLICY.reminders.requirements)
        await start_activity("hold")
        payment.cancel()
        self.notify("held")
        await workflow.wait_condition(self.approved.is_set)
        await self.settle("approved")

    @workflow.signal
    def submit_requirements(self, _: str) -> None:
        """Start the freelancer's window."""
        window = POLICY.freelancer_cancel_window
        self._replace_timers(window, POLICY.reminders.freelancer_cancel)
        self.index("freelancer_review", window)
        self.notify("requirements")

    @workflow.signal
    def cancel(self, _: str) -> None:
        """Request the refund."""
        window = POLICY.refund_decision_window
        self._replace_timers(window, POLICY.reminders.refund_decision)
        self.index("refund_requested", window)
        self.notify("cancelled")

    @workflow.signal
    def decide_refund(self, _: str) -> None:
        """Approve the refund."""
        self._stop_timers()
        self.notify("approved")
        self.approved.set()

    def _replace_timers(self, window: timedelta, reminders: tuple[timedelta, ...]) -> None:
        """Start the timers of the next deadline and of its first reminder."""
        self._stop_timers()
        self.timers = [start_timer(window), start_timer(window - reminders[0])]

    def _stop_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
