"""A purchase written the plain way: in the SDK's sandbox with its models beside it, one await after
another, one notice to one reader at a time. It does what the stories need and refuses nothing."""

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

QUEUE = "plain"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAGE = SearchAttributeKey.for_keyword("PurchaseStage")
DEADLINE = SearchAttributeKey.for_datetime("PurchaseDeadline")


class Party(BaseModel):
    """Somebody."""

    id: str
    name: str
    email: str


class Start(BaseModel):
    """What is bought. `settled_on`: at which asking the refund has arrived."""

    purchase_id: str
    client: Party
    freelancer: Party
    amount: int
    declined: bool = False
    settled_on: int


class Said(BaseModel):
    """A message."""

    message: str
    fields: dict[str, Any] = {}


class Step(BaseModel):
    """What an activity is asked."""

    what: str
    purchase_id: str
    amount: int = 0
    to: str = ""


@activity.defn(name="plain_step")
async def step(request: Step) -> str:
    """Does nothing."""
    return request.what


@workflow.defn(name="PlainPurchase")
class PlainPurchase:
    """From the payment to the last cent."""

    def __init__(self) -> None:
        self.inbox: list[Said] = []
        self.cancelled = False

    @workflow.signal
    def said(self, message: Said) -> None:
        """Somebody says something."""
        self.inbox.append(message)

    @workflow.run
    async def run(self, start: Start) -> str:
        """The life of a purchase."""
        self.start = start
        self.show("awaiting_requirements", 48 * HOUR)
        await self.do("take_payment", amount=start.amount)
        if start.declined:
            await self.tell("payment_declined")
            self.show("closed", None)
            return "declined"
        await self.tell("payment_held")
        if await self.wait("awaiting_requirements", 48 * HOUR, 24 * HOUR, 4 * HOUR) is None:
            return await self.settle("requirements_timeout", refund=start.amount)
        await self.tell("requirements_submitted")
        return await self.work()

    async def work(self) -> str:
        """The freelancer's day, then the work."""
        said = await self.wait("freelancer_review", DAY, 6 * HOUR)
        if said is None:
            await self.tell("freelancer_committed")
            said = await self.wait("in_progress", 90 * DAY)
        while said and said.message != "cancel":
            match said.message:
                case "deliver":
                    return await self.review()
                case "give_refund":
                    return await self.settle("given", refund=self.start.amount)
                case _:
                    said = await self.wait("in_progress", 90 * DAY)
        if said and said.fields.get("by") == "freelancer":
            return await self.settle("freelancer_cancelled", refund=self.start.amount)
        return await self.request()

    async def review(self) -> str:
        """The client looks at what was delivered."""
        await self.tell("delivered")
        await self.wait("delivered", 14 * DAY, 2 * DAY)
        return await self.settle("delivered", refund=0)

    async def request(self) -> str:
        """The client wants the money back."""
        if self.cancelled:
            return await self.settle("cancelled_by_platform", refund=self.start.amount)
        await self.tell("client_cancelled")
        said = await self.wait("refund_requested", 7 * DAY, 4 * DAY, DAY, 4 * HOUR)
        while said and said.message == "send_message":
            await self.do("tell the other side", to="other")
            said = await self.wait("refund_requested", 7 * DAY, 4 * DAY, DAY, 4 * HOUR)
        if said is None:
            return await self.settle("freelancer_silent", refund=self.start.amount)
        match said.message:
            case "withdraw_cancellation":
                await self.tell("cancellation_withdrawn")
                return await self.work()
            case "propose_split":
                await self.tell("split_proposed")
                await self.wait("refund_requested", 7 * DAY, 4 * DAY, DAY, 4 * HOUR)
                return await self.settle("mutual_split", refund=said.fields["refund"])
        if said.fields["decision"] == "approve":
            return await self.settle("refund_approved", refund=self.start.amount)
        return await self.claim(said.fields["claim"])

    async def claim(self, claim: int) -> str:
        """The freelancer wants to keep a part."""
        await self.do("find the date")
        await self.tell("refund_declined")
        said = await self.wait("contested", 7 * DAY, DAY)
        if said and said.message == "open_dispute":
            await self.tell("dispute_opened")
            said = await self.wait("disputed", 30 * DAY)
            assert said is not None
            return await self.settle("dispute_resolved", refund=said.fields["refund"])
        return await self.settle("claim_accepted", refund=self.start.amount - claim)

    async def settle(self, reason: str, *, refund: int) -> str:
        """Move the money."""
        self.show("settling", 7 * DAY)
        if refund:
            await self.do("find the date")
        await self.do("post the decision", amount=refund)
        await self.tell(reason)
        if refund:
            await self.do("send the refund", amount=refund)
            for asked in range(1, self.start.settled_on + 1):
                await workflow.sleep(DAY)
                await self.do("ask about the refund")
                if asked == 7:
                    await self.do("tell of the delay", to="client")
                    await self.do("tell of the delay", to="operator")
            await self.do("post the arrival", amount=refund)
            await self.tell("refund_settled")
        self.show("closed", None)
        return reason

    async def wait(self, stage: str, window: timedelta, *reminders: timedelta) -> Said | None:
        """The next message, or None at the end of the window."""
        self.show(stage, window)
        ends = workflow.now() + window
        try:
            for before in reminders:
                if await self.heard(ends - before - workflow.now()):
                    return self.inbox.pop(0)
                await self.do("remind", to="somebody")
            if await self.heard(ends - workflow.now()):
                return self.inbox.pop(0)
        except asyncio.CancelledError:
            self.cancelled = True
            return Said(message="cancel")
        return None

    async def heard(self, within: timedelta) -> bool:
        """Whether somebody says something in time."""
        try:
            await workflow.wait_condition(lambda: bool(self.inbox), timeout=within)
        except TimeoutError:
            return False
        return True

    def show(self, stage: str, window: timedelta | None) -> None:
        """In the list of purchases."""
        deadline = DEADLINE.value_set(workflow.now() + window) if window else DEADLINE.value_unset()
        workflow.upsert_search_attributes([STAGE.value_set(stage), deadline])

    async def tell(self, what: str) -> None:
        """Both parties."""
        await self.do(f"tell of {what}", to=self.start.client.email)
        await self.do(f"tell of {what}", to=self.start.freelancer.email)

    async def do(self, what: str, amount: int = 0, to: str = "") -> str:
        """One activity."""
        request = Step(what=what, purchase_id=self.start.purchase_id, amount=amount, to=to)
        return await workflow.execute_activity(
            step, request, start_to_close_timeout=timedelta(seconds=30)
        )
