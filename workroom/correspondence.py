"""What the parties and staff have written to each other: the texts of the messages in a purchase's
history. Its status has none, so that it stays small; reading them needs no worker."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.links import form_of
from temporal.access import is_party, party_id
from temporal.purchases import Purchase
from workflows.acceptance import ADOPTED_RUN
from workflows.messages import PurchaseStart, Role, Sender
from workflows.receiving.parsing import InvalidMessage, parse_message
from workroom.forms import kind_of

FIELDS = ("text", "reason", "note")
"""The fields in which people write to each other."""
RUNS = 20
"""Runs of one purchase whose histories are read, the newest: one has up to 2 MB."""

GONE = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)
"""The server has deleted the history of an earlier run; or that of a purchase that was adopted from
its terms, whose memo then names no run."""


@dataclass(frozen=True)
class WrittenMessage:
    """One text. `form`: the form of the workroom that sends such a message."""

    at: datetime
    sender: Sender
    form: str
    text: str
    message_id: str | None

    @property
    def kind(self) -> str:
        """What the text is, in English."""
        return kind_of(self.form)


async def written_messages(purchase: Purchase, terms: PurchaseStart) -> list[WrittenMessage]:
    """The texts of a purchase, the newest first, also of messages that the rules have rejected. A
    message that was sent again is shown once. Raises Failure, RPCError."""
    found: list[WrittenMessage] = []
    run: Purchase | None = await purchase.begun()
    for _ in range(RUNS):
        if run is None:
            break
        try:
            own, run = await _messages_of_run(run, terms)
        except RPCError as error:
            if error.status not in GONE:
                raise
            break
        found += own
    return _once(found)


def _once(found: list[WrittenMessage]) -> list[WrittenMessage]:
    """The texts without repetitions under one `message_id`; the oldest of each stays."""
    kept: dict[object, WrittenMessage] = {}
    for number, each in enumerate(reversed(found)):
        again = (each.sender, each.message_id, each.form, each.text)
        kept.setdefault(again if each.message_id else number, each)
    return list(kept.values())[::-1]


async def _messages_of_run(
    run: Purchase, terms: PurchaseStart
) -> tuple[list[WrittenMessage], Purchase | None]:
    """The texts of one run, the newest first, and the run that it continues:
    the one before continue-as-new, or the one whose state it adopted."""
    found: list[WrittenMessage] = []
    before = ""
    async for event in run.handle.fetch_history_events():
        if event.HasField("workflow_execution_started_event_attributes"):
            begun = event.workflow_execution_started_event_attributes
            before = begun.continued_execution_run_id
        found += [each async for each in _messages(run.client, event, terms)]
    before = before or await run.memo(ADOPTED_RUN)
    return found[::-1], replace(run, run_id=before) if before else None


async def _messages(
    client: Client, event: HistoryEvent, terms: PurchaseStart
) -> AsyncIterator[WrittenMessage]:
    """The text that an event brings, if any."""
    name, given = _message(event)
    if not name:
        return
    try:
        message = parse_message(name, await client.data_converter.decode(given.payloads))
    except (InvalidMessage, ValueError, RuntimeError):
        return
    text = next(filter(None, (getattr(message, each, None) for each in FIELDS)), "")
    if text and _is_theirs(message.by, terms):
        form = form_of(name, {"decision": getattr(message, "decision", "")})
        at = event.event_time.ToDatetime(UTC)
        yield WrittenMessage(at, message.by, form, str(text), message.message_id)


def _message(event: HistoryEvent) -> tuple[str, Payloads]:
    """The name and the input of a signal or an update; empty for other events."""
    if event.HasField("workflow_execution_signaled_event_attributes"):
        signal = event.workflow_execution_signaled_event_attributes
        return signal.signal_name, signal.input
    if event.HasField("workflow_execution_update_accepted_event_attributes"):
        update = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        return update.name, update.args
    return "", Payloads()


def _is_theirs(sender: Sender, terms: PurchaseStart) -> bool:
    """Whether a sender is a party of the purchase, or staff. Others are rejected."""
    if is_party(sender):
        return party_id(terms, sender.role) == sender.id
    return sender.role in (Role.MEDIATOR, Role.OPERATOR)
