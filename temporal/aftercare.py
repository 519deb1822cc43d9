"""Aftercare cases: where news about the payment of a closed purchase goes."""

from dataclasses import dataclass

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from activities.keys import aftercare_id_of
from activities.requests import TASK_QUEUE
from activities.sanitize import markdown
from temporal.errors import Failure, Rejected
from temporal.purchases import ANSWER_WITHIN, Purchase
from workflows.lifecycle.state import Stage
from workflows.messages import AttentionItem, CheckPayment, Message, Role, Sender, Status

log = structlog.get_logger()

WORKFLOW_TYPE = "PurchaseAftercare"
LONGEST_ID_SHOWN = 100
OVER = ("CLOSED", "NOT_FOUND")
"""Why a purchase takes no news: it was closed, and the server may have deleted its history."""


@dataclass(frozen=True)
class AftercareCase(Purchase):
    """The aftercare case of a closed purchase. It takes the same messages and queries."""

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return aftercare_id_of(self.id)

    async def open(self, news: Message) -> None:
        """Open the case, or send the news to the one that is open. Raises RPCError.

        A case checks the payment by itself; if it finds nothing, it ends.
        """
        purchase_id = markdown(self.id, LONGEST_ID_SHOWN)
        text = f"Aftercare of purchase {purchase_id}: news about its payment"
        await self.client.start_workflow(
            WORKFLOW_TYPE,
            {"purchase_id": self.id},
            id=self.workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=news.name,
            start_signal_args=[news],
            memo={"title": f"Aftercare of {self.id}", "terms": f"Aftercare case of {self.id}"},
            static_summary=text,
            rpc_timeout=ANSWER_WITHIN,
        )


async def current(purchase: Purchase) -> Purchase:
    """Return the open aftercare case of a purchase that is not running, or the purchase itself."""
    case = AftercareCase(purchase.client, purchase.id)
    if not await purchase.is_running() and await case.is_running():
        return case
    return purchase


EVENTS = ("stream", "sequence")
"""The fields of a status that say which event was the newest."""


async def status_of(purchase: Purchase) -> Status:
    """Return the status of a purchase. While an aftercare case is open, money, refund and what
    needs attention are as the case says. After the last case has ended, money and refund stay as
    it left them."""
    case = await current(purchase)
    if case is purchase:
        found = await purchase.status()
        return await _with_ended_case(found, purchase) if found.stage == Stage.CLOSED else found
    exists = await purchase.newest()  # or the server has deleted its history
    try:
        found = await case.status()
    except Rejected as rejected:
        if exists and rejected.code == "NO_ANSWER":  # it is just being opened
            return await purchase.status()
        raise
    if not exists:
        return _with_case(found, case)
    closed = await purchase.status()
    from_case = ("waiting_for", "escrow", "refund", "frozen", "deadlines", "attention", *EVENTS)
    changed = {name: getattr(found, name) for name in from_case}
    timeline = (*closed.timeline, *found.timeline)
    return _with_case(closed.model_copy(update={**changed, "timeline": timeline}), case)


async def _with_ended_case(closed: Status, purchase: Purchase) -> Status:
    case = AftercareCase(purchase.client, purchase.id)
    if await case.newest() is None:
        return closed
    try:
        found = await case.status()
    except Failure:  # it could not begin: the purchase was not closed by the ledger
        return closed
    from_case = ("escrow", "refund", *EVENTS)
    changed = {name: getattr(found, name) for name in from_case}
    timeline = (*closed.timeline, *found.timeline)
    return closed.model_copy(update={**changed, "timeline": timeline})


def _with_case(found: Status, case: Purchase) -> Status:
    text = f"An aftercare case is open; its workflow is {case.workflow_id}."
    items = [
        AttentionItem(kind="aftercare", text=text, since=entry.at) for entry in found.timeline[-1:]
    ]
    return found.model_copy(update={"attention": (*items, *found.attention)})


async def report_news(client: Client, purchase_id: str, news: Message, *, opens: bool) -> str:
    """Signal a purchase, or the aftercare case of a closed one. Return who got the news:
    `signalled` or `aftercare`.

    `opens`: the news opens a case if none is open. Raises Failure and RPCError.
    """
    try:
        await Purchase(client, purchase_id).signal(news)
        return "signalled"
    except Failure as failure:
        case = AftercareCase(client, purchase_id)
        if failure.code not in OVER or not (opens or await case.is_running()):
            raise
        await case.open(_check(news) if opens else news)
        return "aftercare"


def _check(news: Message) -> CheckPayment:
    """A case that begins does not know the refund of the news, so it checks the payment."""
    return CheckPayment(by=news.by, message_id=news.message_id)


AUDIT = Sender(role=Role.PAYMENTS, id="audit")


async def open_case(client: Client, purchase_id: str) -> None:
    """Open the case of a closed purchase for what the audit has found. The next audit retries."""
    try:
        news = CheckPayment(by=AUDIT)
        if await report_news(client, purchase_id, news, opens=True) == "aftercare":
            log.info("aftercare_opened", purchase_id=purchase_id)
    except (Failure, RPCError) as error:
        log.warning("aftercare_not_opened", purchase_id=purchase_id, why=str(error))
