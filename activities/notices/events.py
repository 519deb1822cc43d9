"""Delivers the events of transitions to other systems, as CloudEvents in structured mode.

The delivery log is the outbox: an event is stored once, then posted until a consumer has it. The
events of a purchase are posted in order to each consumer; one that cannot take an event now gets
no later one of that purchase before it.
"""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.headerregistry import Address
from weakref import WeakValueDictionary

from sqlalchemy.exc import SQLAlchemyError
from temporalio import activity

from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import DeliveryLog, Notice, retried_until
from activities.notices.message import Outgoing, message_id
from activities.notices.webhook import WebhookChannel, webhook_from_url
from activities.requests import CONSUMER, EventRecord
from activities.sanitize import trace
from activities.spans import span

SCHEMA = "urn:recourse:event:1#/$defs/EventData"
"""What `dataschema` names: the schema of `data` in docs/contract/event.schema.json."""

PROBES = 3
"""How many posts at once may wait for a consumer that has failed to answer: the others leave their
event pending, so that it takes few slots from the notices of people."""

LONGEST_ATTEMPT = 60
"""Seconds after which an attempt posts no further event; the next attempt continues."""

LONGEST_RIDE = 1
"""The same for an attempt that brings events along: a notice may be waiting for its end."""


@dataclass(frozen=True)
class Sent:
    """What became of an attempt. `pending`: some events could not be sent now. `stored`: False if
    the log could not be reached."""

    failed: Sequence[Notice] = ()
    pending: bool = False
    stored: bool = True


class EventDelivery:
    """Stores and posts events. At least once: a consumer recognises an event by its id."""

    def __init__(
        self, log: DeliveryLog, consumers: Sequence[WebhookChannel], source: str, origin: Address
    ) -> None:
        """`consumers` have different names. `source` is the CloudEvents `source` of all events."""
        self._log = log
        self._consumers = {consumer.name: consumer for consumer in consumers}
        self._source = source
        self._origin = origin
        self._failed_at: dict[str, float] = {}
        """When each consumer that does not answer has failed last."""
        self._posting: Counter[str] = Counter()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def deliver(self, purchase_id: str, events: Sequence[EventRecord] = ()) -> Sent:
        """Store these events and post all that are pending of the purchase, in order. With events
        it does not wait for another call that posts those of the same purchase."""
        began = time.monotonic()
        # One at a time for each purchase: two would send the same events, the later one first.
        lock = self._locks.setdefault(purchase_id, asyncio.Lock())
        try:
            refused = await asyncio.to_thread(self._store, purchase_id, events)
            if events and lock.locked():
                return Sent(refused, pending=True)
            async with lock:
                limit = LONGEST_RIDE if events else LONGEST_ATTEMPT
                attempted = await self._send_pending(purchase_id, began, limit)
        except SQLAlchemyError as error:
            # Without the error's text: it holds the statement.
            activity.logger.warning("events_not_logged", extra={"why": type(error).__name__})
            return Sent(pending=True, stored=False)
        failed = [*refused, *(one for one in attempted if one.status == "failed")]
        for one in failed:
            activity.logger.warning(
                f"Event {one.transition} to {one.channel} is given up: {one.last_error}"
            )
        return Sent(failed, any(one.status == "pending" for one in attempted))

    async def resend(
        self, given_up: Sequence[Notice], report: Callable[[str], None]
    ) -> Sequence[Notice]:
        """Post events again that were given up, those of each purchase in order, and record which
        arrive. A consumer that does not answer gets no further ones. Returns those that were not
        sent, with the newest error. Raises SQLAlchemyError."""
        began, left = time.monotonic(), []
        purchases: dict[str, list[Notice]] = {}
        for event in given_up:
            purchases.setdefault(event.purchase_id, []).append(event)
        for number, events in enumerate(purchases.values(), 1):
            report(f"Purchase {number} of {len(purchases)}")
            attempted = await self._post(events, began, math.inf)
            if sent := [one for one in attempted if one.status == "sent"]:
                await asyncio.to_thread(self._log.record, sent)
            errors = {one.message_id: one for one in attempted}
            arrived = {one.message_id for one in sent}
            left += [errors.get(e.message_id, e) for e in events if e.message_id not in arrived]
        return left

    async def _send_pending(self, purchase_id: str, began: float, limit: float) -> Sequence[Notice]:
        pending = await asyncio.to_thread(self._log.pending_events, purchase_id)
        attempted = await self._post(pending, began, limit)
        if tried := [one for one in attempted if one.last_error != _WAITS]:
            await asyncio.to_thread(self._log.record, tried)
        return attempted

    async def _post(self, events: Sequence[Notice], began: float, limit: float) -> Sequence[Notice]:
        """Post events of one purchase to all consumers at the same time; those attempted."""
        streams = (
            self._post_in_order(name, [one for one in events if one.channel == name], began, limit)
            for name in self._consumers
        )
        return [one for each in await asyncio.gather(*streams) for one in each]

    def _store(self, purchase_id: str, events: Sequence[EventRecord]) -> Sequence[Notice]:
        """Store what is new. Returns those of them that have failed in an earlier attempt."""
        if not events:
            return ()
        rows = [self._row(purchase_id, event, name) for event in events for name in self._consumers]
        return [row for row in self._log.insert_if_absent(rows) if row.status == "failed"]

    def _row(self, purchase_id: str, event: EventRecord, channel: str) -> Notice:
        return Notice(
            purchase_id=purchase_id,
            transition_id=event.id,
            transition=event.transition,
            role=CONSUMER,
            address=channel,
            at=event.at,
            channel=channel,
            message_id=message_id(purchase_id, event.id, CONSUMER, channel, self._origin.domain),
            subject=event.type,
            text=cloud_event(event, purchase_id, self._source),
        )

    async def _post_in_order(
        self, name: str, events: Sequence[Notice], began: float, limit: float
    ) -> Sequence[Notice]:
        """Post to one consumer up to the first event that it cannot take now."""
        attempted: list[Notice] = []
        for event in events:
            is_late = time.monotonic() - began > limit
            if is_late or not self._may_post(name, began):
                return [*attempted, replace(event, last_error=_WAITS)]
            attempted.append(await self._attempt(self._consumers[name], event))
            if attempted[-1].status == "pending":
                break
        return attempted

    def _may_post(self, name: str, began: float) -> bool:
        """Whether to try a consumer: not if it failed while this call was waiting, and not if
        enough others are trying one that has failed."""
        failed_at = self._failed_at.get(name)
        return failed_at is None or (failed_at <= began and self._posting[name] < PROBES)

    async def _attempt(self, consumer: WebhookChannel, event: Notice) -> Notice:
        """Post one event; never raises. Returns it with its status."""
        self._posting[consumer.name] += 1
        try:
            with span(f"event {consumer.name}", id=event.message_id, role=CONSUMER):
                await consumer.deliver(Outgoing(event, consumer.name, self._origin))
        except PermanentFailure as error:
            self._failed_at.pop(consumer.name, None)
            return replace(event, status="failed", last_error=str(error))
        except Exception as error:
            self._failed_at[consumer.name] = time.monotonic()
            why = str(error)
            if not isinstance(error, TransientFailure):
                why = f"Internal error: {type(error).__name__}."
                activity.logger.error("%s\n%s", why, trace(error))
            over = datetime.now(UTC) >= retried_until(event)
            return replace(event, status="failed" if over else "pending", last_error=why)
        finally:
            self._posting[consumer.name] -= 1
        self._failed_at.pop(consumer.name, None)
        return replace(event, status="sent", last_error="")


_WAITS = "An earlier event is still being sent."


def cloud_event(event: EventRecord, purchase_id: str, source: str) -> str:
    """The event as CloudEvents 1.0 JSON. The same record always gives the same text."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": source,
            "type": event.type,
            "subject": purchase_id,
            "time": event.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "data": event.data,
        },
        separators=(",", ":"),
    )


def source_of(deployment: str) -> str:
    """The CloudEvents `source` of a deployment."""
    return f"/recourse/{deployment}"


def consumers_from_urls(urls: str, secret: str = "") -> tuple[WebhookChannel, ...]:
    """The consumers at `urls`, which are separated by white space; none for no URL. One without
    `?secret=` gets events signed with `secret`. Raises ChannelUrlError."""
    for url in urls.split():
        if not url.startswith(("webhook+https:", "webhook+http:")):
            raise ChannelUrlError("Events go to webhook+https://HOST/PATH?secret=whsec_… only.")
    consumers = tuple(webhook_from_url(url, secret) for url in urls.split())
    names = [consumer.name for consumer in consumers]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ChannelUrlError(f"Two consumers have the name {double}; leave one out.")
    return consumers
