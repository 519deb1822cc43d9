"""A purchase as a plain workflow: in the SDK's sandbox, with its models in the same module, one
await after another, one notice to one recipient at a time. It does what the scenarios need and
rejects nothing. Its windows are those of our policy, which the sandbox does not load again."""

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from workflows.policy import Policy

QUEUE = "plain"
DAY = timedelta(days=1)
FIVE_BUSINESS_DAYS = 7 * DAY
POLICY = Policy()
REMINDERS = POLICY.reminders
STAGE = SearchAttributeKey.for_keyword("PurchaseStage")
DEADLINE = SearchAttributeKey.for_datetime("PurchaseDeadline")


class Party(BaseModel):
    """A client or freelancer."""

    id: str
    name: str
    email: str


class Start(BaseModel):
    """The start input. `settled_on`: the number of the daily check that finds the refund
    settled."""

    purchase_id: str
    client: Party
    freelancer: Party
    amount: int
    declined: bool = False
    settled_on: int


class Received(BaseModel):
    """A message."""

    message: str
    fields: dict[str, Any] = {}


class Request(BaseModel):
    """The input of the activity."""

    what: str
    purchase_id: str
    amount: int = 0
    to: str = ""


@activity.defn(name="plain_nothing")
async def nothing(request: Request) -> str:
    """Do nothing."""
    return request.what


@workflow.defn(name="PlainPurchase")
class PlainPurchase:
    """From the payment to the last cent."""

    def __init__(self) -> None:
        self.inbox: list[Received] = []
        self.cancelled = False

    @workflow.signal
    def receive(self, message: Received) -> None:
        """Receive a message."""
        self.inbox.append(message)

    @workflow.run
    async def run(self, start: Start) -> str:
        """Run the whole lifecycle; returns its reason."""
        self.start = start
        self.index("awaiting_requirements", POLICY.requirements_window)
        await self.call("take_payment", amount=start.amount)
        if start.declined:
            await self.notify("payment_declined")
            self.index("closed", None)
            return "declined"
        await self.notify("payment_held")
        window, reminders = POLICY.requirements_window, REMINDERS.requirements
        if await self.wait("awaiting_requirements", window, *reminders) is None:
            return await self.settle("requirements_timeout", refund=start.amount)
        await self.notify("requirements_submitted")
        return await self.work()

    async def work(self) -> str:
        """The freelancer's review, then the work."""
        window, reminders = POLICY.freelancer_cancel_window, REMINDERS.freelancer_cancel
        received = await self.wait("freelancer_review", window, *reminders)
        if received is None:
            await self.notify("freelancer_committed")
            received = await self.wait("in_progress", POLICY.dormancy_window)
        while received and received.message != "cancel":
            match received.message:
                case "deliver":
                    return await self.review()
                case "give_refund":
                    return await self.settle("given", refund=self.start.amount)
                case _:
                    received = await self.wait("in_progress", POLICY.dormancy_window)
        if received and received.fields.get("by") == "freelancer":
            return await self.settle("freelancer_cancelled", refund=self.start.amount)
        return await self.request()

    async def review(self) -> str:
        """The client's review of the delivery."""
        await self.notify("delivered")
        await self.wait("delivered", POLICY.review_window, *REMINDERS.review)
        return await self.settle("delivered", refund=0)

    async def request(self) -> str:
        """The client's refund request."""
        if self.cancelled:
            return await self.settle("cancelled_by_platform", refund=self.start.amount)
        await self.notify("client_cancelled")
        received = await self.answer()
        while received and received.message == "send_message":
            await self.call("notify: message", to="other party")
            received = await self.answer()
        if received is None:
            return await self.settle("freelancer_silent", refund=self.start.amount)
        match received.message:
            case "withdraw_cancellation":
                await self.notify("cancellation_withdrawn")
                return await self.work()
            case "propose_split":
                await self.notify("split_proposed")
                await self.answer()
                return await self.settle("mutual_split", refund=received.fields["refund"])
        if received.fields["decision"] == "approve":
            return await self.settle("refund_approved", refund=self.start.amount)
        return await self.contest(received.fields["claim"])

    async def answer(self) -> Received | None:
        """The answer to the request."""
        window = POLICY.refund_decision_window
        return await self.wait("refund_requested", window, *REMINDERS.refund_decision)

    async def contest(self, claim: int) -> str:
        """The freelancer's claim, and a possible dispute."""
        await self.call("compute deadline")
        await self.notify("refund_declined")
        received = await self.wait("contested", FIVE_BUSINESS_DAYS, *REMINDERS.claim)
        if received and received.message == "open_dispute":
            await self.notify("dispute_opened")
            received = await self.wait("disputed", POLICY.dispute_window)
            assert received is not None
            return await self.settle("dispute_resolved", refund=received.fields["refund"])
        return await self.settle("claim_accepted", refund=self.start.amount - claim)

    async def settle(self, reason: str, *, refund: int) -> str:
        """Move the money."""
        self.index("settling", FIVE_BUSINESS_DAYS)
        if refund:
            await self.call("compute deadline")
        await self.call("post decision", amount=refund)
        await self.notify(reason)
        if refund:
            await self.call("send refund", amount=refund)
            for check in range(1, self.start.settled_on + 1):
                await workflow.sleep(DAY)
                await self.call("check refund")
                if check == 7:
                    await self.call("notify: refund is late", to="client")
                    await self.call("notify: refund is late", to="operator")
            await self.call("post settlement", amount=refund)
            await self.notify("refund_settled")
        self.index("closed", None)
        return reason

    async def wait(self, stage: str, window: timedelta, *reminders: timedelta) -> Received | None:
        """Wait for the next message; returns None at the end of the window."""
        self.index(stage, window)
        ends = workflow.now() + window
        try:
            for before in reminders:
                if await self.received(ends - before - workflow.now()):
                    return self.inbox.pop(0)
                await self.call("remind", to="party")
            if await self.received(ends - workflow.now()):
                return self.inbox.pop(0)
        except asyncio.CancelledError:
            self.cancelled = True
            return Received(message="cancel")
        return None

    async def received(self, within: timedelta) -> bool:
        """Whether a message arrives in time."""
        try:
            await workflow.wait_condition(lambda: bool(self.inbox), timeout=within)
        except TimeoutError:
            return False
        return True

    def index(self, stage: str, window: timedelta | None) -> None:
        """Update the search attributes."""
        deadline = DEADLINE.value_set(workflow.now() + window) if window else DEADLINE.value_unset()
        workflow.upsert_search_attributes([STAGE.value_set(stage), deadline])

    async def notify(self, transition: str) -> None:
        """Notify both parties."""
        await self.call(f"notify: {transition}", to=self.start.client.email)
        await self.call(f"notify: {transition}", to=self.start.freelancer.email)

    async def call(self, what: str, amount: int = 0, to: str = "") -> str:
        """Run one activity."""
        request = Request(what=what, purchase_id=self.start.purchase_id, amount=amount, to=to)
        return await workflow.execute_activity(
            nothing, request, start_to_close_timeout=timedelta(seconds=30)
        )
