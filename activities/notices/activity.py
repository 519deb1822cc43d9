"""The activities that notify people and other systems of transitions: write, deliver and log."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.links import LinkKeys
from activities.notices.channels import Channel
from activities.notices.events import EventDelivery, Sent
from activities.notices.failures import PermanentFailure, TransientFailure
from activities.notices.log import DeliveryLog, Notice, Status
from activities.notices.message import Outgoing, mail_address, message_id, sender, web_address
from activities.notices.render import Rendered, party_of, render, render_alert
from activities.requests import (
    ALERT_OPERATORS,
    SEND_EVENTS,
    SEND_NOTICES,
    ErrorType,
    EventsRequest,
    NoticeAnswer,
    NoticeRequest,
    OperatorAlert,
    Recipient,
    Undelivered,
)
from activities.sanitize import one_line, trace
from activities.spans import span

SENDER = "Recourse <notices@recourse.invalid>"
OPERATORS = "Operators"
ALERT = "alert"
_LOG_UNREACHABLE = "The delivery log cannot be reached"


class NoticeActivities:
    """Sends notices through every channel and logs their delivery.

    Readers and channels do not wait for each other. Each notice is sent at least once and shown
    once: sent ones are skipped, and a retry after a lost answer sends the same bytes under the same
    Message-ID.
    """

    def __init__(
        self,
        log: DeliveryLog,
        channels: Sequence[Channel],
        *,
        operator_email: str,
        base_url: str | None = None,
        keys: LinkKeys | None = None,
        sender_address: str = SENDER,
        events: EventDelivery | None = None,
    ) -> None:
        """`channels` have different names. `keys` sign the links of a `base_url`. `events`: None if
        no other system receives events.

        Raises ValueError for an invalid mail address of the sender or the operators, and for a
        `base_url` that is not a web address.
        """
        self._log = log
        self._channels = {channel.name: channel for channel in channels}
        self._operator_email = mail_address(operator_email)
        self._base_url = web_address(base_url) if base_url else None
        self._keys = keys
        self._sender = sender(sender_address)
        self._events = events

    @activity.defn(name=SEND_NOTICES.name)
    async def send_notices(self, request: NoticeRequest) -> NoticeAnswer:
        """Notify every recipient of `request` through every channel, and send its events.

        Returns when each notice is sent or has failed finally. While some are pending, raises a
        retryable ApplicationError NOTICE_DELAYED whose detail is the NoticeAnswer so far. No notice
        waits for an event: `events_pending` in the answer says that `send_events` has to be called.
        """
        recipients = {recipient.role: recipient for recipient in request.recipients}
        parties = {role: party_of(request, recipient) for role, recipient in recipients.items()}
        names: dict[str, str] = {role: party.name for role, party in parties.items() if party}
        return await self._deliver(
            lambda: [self._draft(request, recipient) for recipient in recipients.values()],
            names,
            EventsRequest(purchase_id=request.purchase_id, events=request.events),
        )

    @activity.defn(name=SEND_EVENTS.name)
    async def send_events(self, request: EventsRequest) -> NoticeAnswer:
        """Store the events and send all that are pending of the purchase, in order.

        With events it returns after one attempt. Without events it returns when none is pending, or
        when some have failed finally; until then it raises a retryable ApplicationError
        NOTICE_DELAYED. It raises that, too, while the log cannot be reached.
        """
        sent = await self._send_events(request)
        retries = sent.pending and not request.events and not sent.failed
        if retries or not sent.stored:
            why = "A consumer cannot take events now" if sent.stored else _LOG_UNREACHABLE
            raise _delayed(f"{why}; retried.", _answer([], sent))
        return _answer([], sent)

    async def _send_events(self, request: EventsRequest) -> Sent:
        if self._events is None:
            return Sent()
        return await self._events.deliver(request.purchase_id, request.events)

    @activity.defn(name=ALERT_OPERATORS.name)
    async def alert_operators(self, alert: OperatorAlert) -> NoticeAnswer:
        """Send operators an alert that belongs to no single purchase, once per `alert_id`.

        Returns and raises like `send_notices`. The log stores it with an empty purchase id.
        """
        draft = Notice(
            purchase_id="",
            transition_id=alert.alert_id,
            transition=ALERT,
            role="operator",
            address=self._operator_email,
            at=alert.at,
        )
        return await self._deliver(
            lambda: [self._with_texts(draft, lambda: render_alert(alert))], {}
        )

    async def _deliver(
        self,
        write: Callable[[], Sequence[Notice]],
        names: Mapping[str, str],
        events: EventsRequest | None = None,
    ) -> NoticeAnswer:
        """Write and store the notices of one transition, and send those that are pending; at the
        same time its events."""
        sending = self._send_events(events) if events and events.events else _nothing()
        notices, sent = await asyncio.gather(self._notify(write, names), sending)
        return _answered(notices, sent)

    async def _notify(
        self, write: Callable[[], Sequence[Notice]], names: Mapping[str, str]
    ) -> Sequence[Notice]:
        stored, is_logged = await asyncio.to_thread(self._store, write)
        if not is_logged:
            return stored
        sending = (self._send(notice, names.get(notice.role, OPERATORS)) for notice in stored)
        sent = await asyncio.gather(*sending)
        attempted = [after for after, before in zip(sent, stored, strict=True) if after != before]
        if attempted and not await asyncio.to_thread(self._record, attempted):
            sent = [_unlogged(notice) if notice in attempted else notice for notice in sent]
        return sent

    def _store(self, write: Callable[[], Sequence[Notice]]) -> tuple[Sequence[Notice], bool]:
        """The notices as the log has them, and whether it could be reached."""
        notices = write()
        drafts = [
            self._for_channel(channel, notice) for channel in self._channels for notice in notices
        ]
        try:
            return self._log.insert_if_absent(drafts), True
        except SQLAlchemyError as error:
            _warn_unlogged(error)
            return [replace(draft, last_error=_LOG_UNREACHABLE) for draft in drafts], False

    def _record(self, attempted: Sequence[Notice]) -> bool:
        try:
            self._log.record(attempted)
        except SQLAlchemyError as error:
            _warn_unlogged(error)
            return False
        return True

    def _draft(self, request: NoticeRequest, recipient: Recipient) -> Notice:
        party = party_of(request, recipient)
        notice = Notice(
            purchase_id=request.purchase_id,
            transition_id=request.transition_id,
            transition=request.transition,
            role=recipient.role,
            address=one_line(party.email if party else self._operator_email, 254),
            at=request.at,
        )
        return self._with_texts(notice, lambda: self._render(request, recipient))

    def _render(self, request: NoticeRequest, recipient: Recipient) -> Rendered:
        return render(request, recipient, self._base_url, self._keys)

    def _for_channel(self, channel: str, notice: Notice) -> Notice:
        """The notice for one channel."""
        names = (notice.purchase_id, notice.transition_id, notice.role, channel)
        number = message_id(*names, self._sender.domain)
        return replace(notice, channel=channel, message_id=number)

    def _with_texts(self, notice: Notice, write: Callable[[], Rendered]) -> Notice:
        """The notice with subject and texts. One that cannot be written has failed finally."""
        try:
            rendered = write()
        except Exception as error:
            why = f"The notice could not be written: {type(error).__name__}."
            activity.logger.error("%s (%s)\n%s", why, notice.role, trace(error))
        else:
            return replace(notice, subject=rendered.subject, text=rendered.text, html=rendered.html)
        return replace(notice, status="failed", last_error=why)

    async def _send(self, notice: Notice, name: str) -> Notice:
        """Attempt to send one notice; never raises. Returns it with its status."""
        if notice.status != "pending":
            return notice
        status, why = await self._attempt(notice, name)
        return replace(notice, status=status, last_error=why, attempts=notice.attempts + 1)

    async def _attempt(self, notice: Notice, name: str) -> tuple[Status, str]:
        try:
            channel = self._channels[notice.channel]
            with span(f"notice {notice.channel}", id=notice.message_id, role=notice.role):
                await channel.deliver(Outgoing(notice, name, self._sender))
        except PermanentFailure as error:
            return "failed", str(error)
        except TransientFailure as error:
            return "pending", str(error)
        except Exception as error:
            why = f"Internal error: {type(error).__name__}."
            activity.logger.error("%s (%s)\n%s", why, notice.role, trace(error))
            return "pending", why
        return "sent", ""


def _warn_unlogged(error: SQLAlchemyError) -> None:
    # Without the error's text: it holds the statement with its addresses.
    activity.logger.warning("%s: %s", _LOG_UNREACHABLE, type(error).__name__)


def _unlogged(notice: Notice) -> Notice:
    """What was attempted and could not be recorded is attempted again."""
    return replace(notice, status="pending", last_error=notice.last_error or _LOG_UNREACHABLE)


async def _nothing() -> Sent:
    return Sent()


def _answered(notices: Sequence[Notice], events: Sent) -> NoticeAnswer:
    """The answer. Raises NOTICE_DELAYED if notices are pending or events are not stored."""
    missing = [notice for notice in notices if notice.status != "sent"]
    for notice in missing:
        activity.logger.warning(
            f"Notice {notice.transition} to the {notice.role} by {notice.channel} is "
            f"{notice.status}: {notice.last_error}"
        )
    answer = _answer(notices, events)
    if delayed := [notice for notice in missing if notice.status == "pending"]:
        raise _delayed(
            f"{len(delayed)} of {len(notices)} notices could not be delivered yet and will "
            f"be retried: {delayed[0].last_error}",
            answer,
        )
    if not events.stored:
        raise _delayed(f"{_LOG_UNREACHABLE}; the events are retried.", answer)
    return answer


def _answer(notices: Sequence[Notice], events: Sent) -> NoticeAnswer:
    missing = [notice for notice in notices if notice.status != "sent"]
    return NoticeAnswer(
        delivered=len(notices) - len(missing),
        undelivered=tuple(
            Undelivered(
                transition=notice.transition,
                role=notice.role,
                channel=notice.channel,
                at=notice.at,
                why=notice.last_error,
            )
            for notice in (*missing, *events.failed)
        ),
        events_pending=events.pending,
    )


def _delayed(text: str, answer: NoticeAnswer) -> ApplicationError:
    return ApplicationError(
        text,
        answer,
        type=ErrorType.NOTICE_DELAYED,
        category=ApplicationErrorCategory.BENIGN,  # logged above; no traceback
    )
