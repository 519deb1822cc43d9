"""What the parties and staff have written to each other: the texts of the messages in a purchase's
history. Its status has none, so that it stays small; reading them needs no worker."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.links import form_of
from temporal.purchases import Purchase
from workflows.messages import PurchaseStart, Role, Sender
from workflows.receiving.parsing import InvalidMessage, parse_message
from workroom.access import is_party, party_id

FIELDS = ("text", "reason", "note")
"""The fields in which people write to each other."""
RUNS = 20
"""Runs of one purchase whose histories are read, the newest: one has up to 2 MB."""


@dataclass(frozen=True)
class Letter:
    """One text. `form`: the form of the workroom that sends such a message."""

    at: datetime
    sender: Sender
    form: str
    text: str


async def letters(purchase: Purchase, terms: PurchaseStart) -> list[Letter]:
    """The texts of a purchase, the newest first, also of messages that the rules have rejected.
    Raises Failure, RPCError."""
    purchase, found, run = await purchase.begun(), [], purchase.run_id
    for _ in range(RUNS):
        before = ""
        own: list[Letter] = []
        handle = purchase.client.get_workflow_handle(purchase.workflow_id, run_id=run)
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_execution_started_event_attributes"):
                begun = event.workflow_execution_started_event_attributes
                before = begun.continued_execution_run_id
            own += [each async for each in _letters(purchase.client, event, terms)]
        found += own[::-1]
        if not before:
            break
        run = before
    return found


async def _letters(
    client: Client, event: HistoryEvent, terms: PurchaseStart
) -> AsyncIterator[Letter]:
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
        yield Letter(event.event_time.ToDatetime(UTC), message.by, form, str(text))


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
