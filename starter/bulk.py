"""`send`: one message to every purchase that a query finds. Without --yes it only checks."""

import sys
import uuid
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import RenderableType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.amounts import format_amount
from activities.keys import purchase_of_workflow
from starter import batch, show
from starter.batch import Outcome, Rate, Report
from starter.exits import ExitStatus, command
from starter.messages import AMOUNTS, division, whole
from starter.options import SHOWN, Json, Limit, read_id, read_model, read_object, read_sender
from temporal.client import connect
from temporal.errors import InvalidInput, Rejected, Unreachable
from temporal.executions import executions
from temporal.purchases import Purchase
from temporal.runs import RUNNING, WORKFLOW_TYPE
from workflows.messages import MESSAGES, Message, Sender

PLATFORM = "cancel-by-platform"
"""Not a message: Temporal's cancellation of the workflow, which refunds the client."""

Name = Annotated[
    str,
    typer.Argument(
        metavar="MESSAGE",
        help=f"A message, such as resolve-attention; or {PLATFORM}, which gives all of the escrow "
        "back and needs no --as.",
    ),
]
Where = Annotated[
    str,
    typer.Option(
        help="A query in Temporal's language over running purchases, such as "
        "\"PurchaseNeedsAttention = true AND PurchaseStage = 'settling'\"."
    ),
]
Data = Annotated[
    str, typer.Option(help="The message's own fields as JSON, amounts in minor units.")
]
BySender = Annotated[
    str | None,
    typer.Option("--as", metavar="ROLE:ID", help="The sender, for example operator:o-1."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Send. Without it, only check and report.")]
MessageId = Annotated[
    str | None,
    typer.Option(
        help="The id of the message in every purchase. With the id of an interrupted batch it "
        "goes on, and each purchase counts the message once."
    ),
]


@command
async def send(
    name: Name,
    where: Where,
    sender: BySender = None,
    data: Data = "{}",
    yes: Yes = False,
    message_id: MessageId = None,
    rate: Rate = 20,
    limit: Limit = SHOWN,
    as_json: Json = False,
) -> int:
    """Send one message to every purchase that a query finds; without --yes, only check it.

    The check decides as each purchase would, by its rules, the message and its sender. An
    interrupted batch is continued with its --message-id. Exit 1 if a purchase does not take the
    message.
    """
    batch_id = read_id(message_id or f"batch-{uuid.uuid4().hex[:12]}", "--message-id")
    message = _message(name, sender, data, batch_id)
    client = await connect()
    work = Send(client, name, message, dry_run=not yes)
    found = await _found(client, where)
    if yes and found and message:
        print(
            f"Message id {batch_id}: to go on after an interruption, add --message-id {batch_id}",
            file=sys.stderr,
        )
    again = to_go_on(batch_id) if yes and message else batch.SAME_COMMAND
    report = await batch.run(found, work.to, rate=rate, dry_run=not yes, to_go_on=again)
    answer = {"message_id": batch_id, **report.model_dump()}
    show.answer(answer, _shown(report, name, limit, sent=yes), as_json=as_json)
    return 0 if report.complete else ExitStatus.REJECTED


def to_go_on(message_id: str) -> str:
    """How to go on with a batch that has this message id."""
    return f"To go on, run the same command with --message-id {message_id}."


def _shown(report: Report, name: str, limit: int, *, sent: bool) -> RenderableType:
    count = len(report.purchases)
    if not count:
        return "The query finds no running purchase."
    title = f"{name} to {count} {'purchase' if count == 1 else 'purchases'}"
    checked = f"Check of {title}; nothing was sent. --yes sends it."
    return batch.shown(report, title if sent else checked, limit=limit)


def _message(name: str, sender: str | None, data: str, message_id: str) -> Message | None:
    """The message for every purchase; None for a cancellation by the platform."""
    if name == PLATFORM:
        if sender is not None or read_object(data, "--data"):
            raise InvalidInput(
                f"{PLATFORM} is Temporal's cancellation of the workflow: it names no sender and "
                "has no fields. Leave out --as and --data."
            )
        return None
    kind = MESSAGES.get(name.replace("-", "_"))
    if kind is None:
        known = ", ".join(each.replace("_", "-") for each in MESSAGES)
        raise InvalidInput(f"MESSAGE: {name!r} is unknown; known are {known} and {PLATFORM}.")
    if sender is None:
        raise InvalidInput("--as is missing: who sends the message, such as operator:o-1?")
    by: Sender = read_sender(sender)
    given = read_object(data, "--data")
    return read_model(kind, {**given, "by": by.model_dump(), "message_id": message_id})


async def _found(client: Client, where: str) -> list[str]:
    """The ids of the running purchases that the query finds, each once. Raises InvalidInput."""
    query = f"{RUNNING} AND ({where})"
    try:
        runs = [each async for each in executions(client, query)]
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise InvalidInput(
            f"--where: the server does not take this query: {error.message}. If it names search "
            "attributes of Recourse, has `recourse setup` registered them?"
        ) from None
    return list(
        dict.fromkeys(
            purchase_of_workflow(each.id)
            for each in runs
            if each.type == WORKFLOW_TYPE and each.is_open
        )
    )


@dataclass
class Send:
    """Sends the message to one purchase after the other, or checks whether each takes it."""

    client: Client
    name: str
    message: Message | None
    dry_run: bool
    unanswered: int = field(default=0, init=False)
    """How many in a row had no answer: without a worker, none has one."""

    async def to(self, purchase_id: str) -> Outcome:
        """Send it to one. Raises Unreachable if the server, or every worker, is."""
        purchase = Purchase(self.client, purchase_id)
        try:
            outcome = await (self._check(purchase) if self.dry_run else self._send(purchase))
        except (Rejected, InvalidInput) as error:
            outcome = _outcome(purchase, "rejected", f"{error.code}: {error.text}")
        except Unreachable as error:
            self.unanswered += 1
            if error.code != "NO_WORKER" or self.unanswered > batch.CONCURRENT:
                raise
            return _outcome(purchase, "unanswered", error.text)
        self.unanswered = 0
        return outcome

    async def _check(self, purchase: Purchase) -> Outcome:
        if self.message is None:
            money = (await purchase.status()).escrow
            held = format_amount(money.held, money.currency)
            if money.held:
                return _outcome(purchase, "can_be_cancelled", f"{held} goes back to the client.")
            return _outcome(purchase, "rejected", "Nothing is held in escrow.")
        for each in await purchase.actions(self.message.by.role):
            if each.message == self.message.name and not each.allowed:
                return _outcome(purchase, "rejected", f"{each.code}: {each.why_not}")
        if rejection := await purchase.rejection_of(self.message):
            return _outcome(purchase, "rejected", f"{rejection.code}: {rejection.text}")
        typed = self.message.model_dump(include=set(AMOUNTS), exclude_none=True)
        given = typed or whole(self.message)
        return _outcome(purchase, "can_be_sent", await division(purchase, given) if given else "")

    async def _send(self, purchase: Purchase) -> Outcome:
        if self.message is None:
            checked = await self._check(purchase)
            if not checked.done:
                return checked
            await purchase.handle.cancel()
            return _outcome(purchase, "cancellation_requested")
        receipt = await purchase.send(self.message)
        return _outcome(purchase, "accepted", receipt.text)


def _outcome(purchase: Purchase, result: str, text: str = "") -> Outcome:
    is_done = result not in ("rejected", "unanswered")
    return Outcome(purchase_id=purchase.id, result=result, done=is_done, text=text)
