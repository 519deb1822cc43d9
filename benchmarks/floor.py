"""The engine's floor: two stories with the timers, signals and activities of ours and nothing else.

No sandbox, no rules, no models; activities that do nothing. Search attributes, each change of which
costs the server a write, only for a workflow that `shows` where it is, as the contract has ours do.
What a purchase costs beyond this is ours.
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import SearchAttributeUpdate

from workflows.view import CLIENT, DEADLINE, FREELANCER, NEEDS_ATTENTION, STAGE

QUEUE = "floor"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@activity.defn
async def nothing(_: str) -> None:
    """Does nothing."""


def do(what: str) -> asyncio.Task[None]:
    """Begin an activity."""
    return asyncio.ensure_future(
        workflow.execute_activity(nothing, what, start_to_close_timeout=timedelta(seconds=30))
    )


def clock(duration: timedelta) -> asyncio.Task[None]:
    """Start a timer."""
    return asyncio.create_task(asyncio.sleep(duration.total_seconds()))


class _Settling:
    """What follows from a decision to refund, in both stories."""

    def __init__(self, shows: bool) -> None:
        self.told: list[asyncio.Task[None]] = []
        self.shows = shows

    def show(
        self, stage: str, window: timedelta | None, *whose: SearchAttributeUpdate[Any]
    ) -> None:
        """Where it is, and until when."""
        if self.shows:
            until = (
                DEADLINE.value_set(workflow.now() + window) if window else DEADLINE.value_unset()
            )
            workflow.upsert_search_attributes([STAGE.value_set(stage), until, *whose])

    def show_beginning(self) -> None:
        """Whose it is, too."""
        ids = CLIENT.value_set("ana"), FREELANCER.value_set("bo")
        self.show("awaiting_requirements", 2 * DAY, *ids, NEEDS_ATTENTION.value_set(False))

    def tell(self, what: str) -> None:
        """Beside everything else."""
        self.told.append(do(what))

    async def settle(self, reason: str) -> None:
        """Post, send, post that it has arrived; tell of both."""
        self.show("settling", 7 * DAY)
        date, posted = do("find the date"), do("post the decision")
        await date
        self.tell(reason)
        settlement = clock(7 * DAY)
        await posted
        await do("send the refund")
        settlement.cancel()
        await do("post the arrival")
        self.tell("arrived")
        last = clock(timedelta(minutes=1))
        await asyncio.wait(self.told)
        last.cancel()
        self.show("closed", None)


@workflow.defn(name="FloorAutoCancel", sandboxed=False)
class AutoCancel(_Settling):
    """The requirements never come."""

    @workflow.init
    def __init__(self, window: float, shows: bool = False) -> None:
        super().__init__(shows)

    @workflow.run
    async def run(self, window: float, shows: bool = False) -> None:
        """Hold, wait, refund."""
        self.show_beginning()
        payment, requirements = clock(HOUR), clock(timedelta(seconds=window))
        held = do("hold")
        await held
        payment.cancel()
        self.tell("held")
        self.show("awaiting_requirements", 2 * DAY)
        await requirements
        await self.settle("timeout")


@workflow.defn(name="FloorApprovedRefund", sandboxed=False)
class ApprovedRefund(_Settling):
    """Requirements, cancellation, approval; each when its signal comes."""

    @workflow.init
    def __init__(self, shows: bool = False) -> None:
        super().__init__(shows)
        self.deadlines: list[asyncio.Task[None]] = []
        self.approved = asyncio.Event()

    @workflow.run
    async def run(self, shows: bool = False) -> None:
        """Hold, listen, refund."""
        self.show_beginning()
        payment = clock(HOUR)
        self._instead(2 * DAY, DAY)
        await do("hold")
        payment.cancel()
        self.tell("held")
        await workflow.wait_condition(self.approved.is_set)
        await self.settle("approved")

    @workflow.signal
    def submit_requirements(self, _: str) -> None:
        """The freelancer's window starts."""
        self._instead(DAY, 18 * HOUR)
        self.show("freelancer_review", DAY)
        self.tell("requirements")

    @workflow.signal
    def cancel(self, _: str) -> None:
        """The freelancer is asked."""
        self._instead(7 * DAY, 3 * DAY)
        self.show("refund_requested", 7 * DAY)
        self.tell("cancelled")

    @workflow.signal
    def decide_refund(self, _: str) -> None:
        """Yes."""
        self._instead()
        self.tell("approved")
        self.approved.set()

    def _instead(self, *durations: timedelta) -> None:
        for each in self.deadlines:
            each.cancel()
        self.deadlines = [clock(duration) for duration in durations]
