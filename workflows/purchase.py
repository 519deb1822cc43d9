"""`ProjectPurchase`: one durable workflow per purchase, from the payment to the last cent.

What it guarantees:

- No message can stop it: payloads are parsed here, and messages that break the rules are rejected
  with a code. No exception of a handler reaches the SDK.
- A decision about money is recorded once, at once, and carried out in order under keys that never
  change. What cannot be carried out is reported, waits, and is retried.
- Every open deadline is one visible timer to an absolute instant, once the first attempt to take
  the payment is answered. A message that was recorded before a deadline took effect counts.
- Notices never delay money or deadlines.
- It never fails while money may be inside: a business outcome completes it, and cancelling the
  workflow refunds.

The rules are in `workflows.lifecycle`; this shell receives messages, keeps the timers and runs the
effects.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities.requests import NOTICE_CAME_BACK, WorkflowPostings
from workflows import budget, lifecycle, view
from workflows.acceptance import (
    UnreadableState,
    accept,
    accepted_terms,
    adopted_run,
    adopted_state,
    carried_state,
    document_of,
    rules_version,
)
from workflows.activity_calls import postings
from workflows.card import card
from workflows.effects import EffectRunner
from workflows.failures import failure, id_already_used, never_started, not_continued
from workflows.lifecycle.events import Accepted, DeadlineExpired, Fact, PlatformCancelled, Rejection
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import (
    MESSAGES,
    Message,
    Permission,
    PurchaseResult,
    Receipt,
    RejectedSignal,
    Role,
    Sender,
    Status,
    SubmitRequirements,
)
from workflows.notifying import Notifier
from workflows.receiving.encrypted import Undecipherable, check_deciphered
from workflows.receiving.parsing import (
    LONGEST_NAME,
    InvalidMessage,
    json_of,
    parse_message,
    size_to_parse,
    undelivered_in,
)
from workflows.receiving.queue import MessageQueue
from workflows.receiving.receiver import Receiver, receives_every_message
from workflows.receiving.waiting import take_waiting, with_waiting
from workflows.shown import shown_stage
from workflows.summary import memo
from workflows.timers import Timers
from workflows.workflow_state import WorkflowState


@workflow.defn(name="ProjectPurchase")
@receives_every_message
class ProjectPurchase(Receiver):
    """The lifecycle of one purchase. Receives every message as a signal and as an update."""

    @workflow.init
    def __init__(self, *given: RawValue) -> None:
        self._input_error: ValueError | Undecipherable | UnreadableState | None = None
        self._changed = False
        self._indexed = view.known(workflow.info().typed_search_attributes)
        self._listed = None if view.LISTED in workflow.info().raw_memo else view.ListedNow()
        self._queue = MessageQueue()
        self._signals = 0
        self._given, self._began = given, workflow.now()
        self._adopted_run = ""
        self._accepted = False
        try:
            check_deciphered(given)
            self._adopted_run = adopted_run()
            if state := carried_state(given):
                self._begin(state)
        except (ValueError, Undecipherable, UnreadableState) as error:
            self._input_error = error

    @workflow.run
    async def run(self, *given: RawValue) -> PurchaseResult:
        """Run until the purchase is closed; return its result."""
        if not self._accepted:
            await self._accept()
        self._set_memo()
        self._effects.resume()
        self._notifier.resume()
        self._queue.open()
        while not self._closed:
            self._changed = False
            self._sync()
            await self._wait_until(
                lambda: (
                    self._changed
                    or self._should_continue_as_new
                    or self._effects.invalid_input is not None
                )
            )
            if self._effects.invalid_input and self._effects.id_is_used:
                raise id_already_used(self._effects.invalid_input)
            if self._effects.invalid_input:
                raise never_started(self._effects.invalid_input)
            if self._should_continue_as_new and not self._closed:
                await self._continue_as_new()
        self._sync()
        await self._finish()
        return view.result(self._state)

    async def _accept(self) -> None:
        """Begin with the recorded terms. What arrives before waits in the queue."""
        self._check_input()
        task = asyncio.create_task(self._first_state())
        await self._wait_until(task.done)
        try:
            state = task.result()
        except ValueError as error:
            self._input_error = error
        self._check_input()
        self._begin(state)
        for message in reversed(take_waiting(state)):
            name, payloads, at = message
            work = partial(self._handle_signal, name, payloads, at)
            self._queue.process_first(work, size_to_parse(payloads), message)

    def _set_memo(self) -> None:
        """Let lists show the terms also if another program has started it, without our memo."""
        if "terms" not in workflow.info().raw_memo:
            workflow.upsert_memo(memo(self._state.start))

    async def _first_state(self) -> WorkflowState:
        if self._adopted_run:
            return await adopted_state(workflow.info().workflow_start_time, self._adopted_run)
        version = rules_version()
        terms, started = await accepted_terms(self._given, self._began)
        return WorkflowState.begin(terms, self._began, version, started)

    def _begin(self, state: WorkflowState) -> None:
        self._state = state
        self._effects = EffectRunner(state, self._apply_fact)
        self._notifier = Notifier(state, lambda: self._effects.deadlines_known)
        self._timers = Timers(state, self._deadline_reached, self._remind)
        self._accepted = True

    # --- queries

    @workflow.query(description="Everything about the purchase: stage, money, deadlines, timeline.")
    def status(self, *_: RawValue) -> Status:
        """The contract's `status`."""
        return view.status(self._readable_state())

    @workflow.query(description='What a role may do now, and until when. Argument: "client".')
    def actions(self, *given: RawValue) -> list[Permission]:
        """The contract's `actions`, for one role."""
        state = self._readable_state()
        try:
            role = Role(json.loads(json_of(given)))
        except (ValueError, TypeError, RecursionError):
            roles = ", ".join(f'"{role}"' for role in Role)
            raise failure(Code.INVALID_MESSAGE, f"actions takes one role: {roles}.") from None
        return list(lifecycle.permissions(state.purchase, role, workflow.now()))

    @workflow.query(description="The postings that the ledger must have: for recourse restore.")
    def postings(self, *_: RawValue) -> WorkflowPostings:
        """What to post again if the ledger has lost it."""
        state = self._readable_state()
        return postings(state.purchase, state.start, workflow.info().first_execution_run_id)

    @workflow.query(description="The whole state of the purchase: for recourse adopt.")
    def saved_state(self, *_: RawValue) -> list[WorkflowState]:
        """What a new run needs to continue this one; nothing if it has not begun."""
        self._check_input()
        return [with_waiting(self._state, self._queue.received)] if self._accepted else []

    def card(self) -> str:
        """The status card of the Web UI, in Markdown."""
        try:
            return card(self._readable_state())
        except ApplicationError as error:
            return error.message
        except (Undecipherable, UnreadableState) as error:
            return str(error)

    def _check_input(self) -> None:
        if isinstance(self._input_error, Undecipherable | UnreadableState):
            raise self._input_error
        if self._input_error and self._adopted_run:
            raise not_continued(str(self._input_error))
        if self._input_error:
            raise never_started(str(self._input_error))

    def _readable_state(self) -> WorkflowState:
        """The state for queries. Until the terms are recorded, the one that the purchase will
        probably begin with."""
        self._check_input()
        if self._accepted:
            return self._state
        if self._adopted_run:
            raise failure(Code.NOT_ALLOWED_NOW, "The purchase is being continued; ask again.")
        try:
            document = document_of(self._given)
            terms = accept(document, workflow.info().workflow_id, self._began)
        except ValueError as error:
            raise never_started(str(error)) from None
        started = workflow.info().workflow_start_time
        return WorkflowState.begin(terms, self._began, lifecycle.newest(), started)

    # --- messages

    def receive_signal(self, name: str, payloads: Sequence[object]) -> None:
        """Handle a signal. A rejected one is kept, shown and answered by a notice."""
        self._signals += 1
        if not self._input_error:
            message = (name, payloads, workflow.now())
            work = partial(self._handle_signal, *message)
            self._queue.process(work, size_to_parse(payloads), message)

    def check_update(self, name: str, payloads: Sequence[object]) -> None:
        """Reject an update before it is recorded: ApplicationError with a code and a sentence.

        While earlier messages or the terms are waited for, only what cannot be parsed is rejected.
        """
        self._check_input()
        try:
            message = parse_message(name, payloads)
        except InvalidMessage as invalid:
            _count_rejected(name, invalid.rejection.code)
            raise failure(invalid.rejection.code, invalid.rejection.text) from None
        if self._queue.waiting or not self._accepted:
            return
        answer = self._state.answers.get(message) or lifecycle.decide(
            self._state.purchase, message, workflow.now()
        )
        if isinstance(answer, Rejection):
            _count_rejected(name, answer.code)
            raise failure(answer.code, answer.text)

    async def receive_update(self, name: str, payloads: Sequence[object]) -> Receipt:
        """Handle an update; its effect is readable by `status` when this returns."""
        message, now = parse_message(name, payloads), workflow.now()
        answered: asyncio.Future[Receipt | Rejection] = asyncio.get_running_loop().create_future()
        self._queue.process(
            lambda: answered.set_result(self._handle_message(message, now)),
            size_to_parse(payloads),
            (name, payloads, now),
        )
        answer = await answered
        if isinstance(answer, Rejection):
            raise failure(answer.code, answer.text)
        return answer

    def _handle_signal(self, name: str, payloads: Sequence[object], at: datetime) -> None:
        if name == NOTICE_CAME_BACK and (lost := undelivered_in(payloads)):
            if not self._closed:
                self._notifier.came_back(lost, at)
            return
        try:
            message = parse_message(name, payloads)
        except InvalidMessage as invalid:
            self._reject_signal(name, invalid.rejection, invalid.sender, at)
            return
        if not self._state.answers.is_repeated(message):
            answer = self._handle_message(message, at)
            if isinstance(answer, Rejection):
                self._reject_signal(name, answer, message.by, at)

    def _handle_message(self, message: Message, at: datetime) -> Receipt | Rejection:
        """Decide on a message and apply it; a repeated one gets its first answer again."""
        if known := self._state.answers.get(message):
            return known
        decided = lifecycle.decide(self._state.purchase, message, at)
        if isinstance(decided, Accepted):
            if isinstance(message, SubmitRequirements):
                self._state.requirements = message.requirements
            self._apply(decided, at, message)
            deadline = lifecycle.next_deadline(self._state.purchase)
            answer: Receipt | Rejection = Receipt(
                stage=shown_stage(self._state.purchase).value,
                text=budget.cut(decided.text, budget.LONGEST_SENTENCE),
                next_deadline=deadline.at if deadline else None,
            )
        else:
            answer = Rejection(decided.code, budget.cut(decided.text, budget.LONGEST_PROBLEM))
        self._state.answers.put(message, answer)
        return answer

    def _reject_signal(
        self, name: str, rejection: Rejection, sender: Sender | None, at: datetime
    ) -> None:
        state, code, shown = self._state, rejection.code.value, name[:LONGEST_NAME]
        if not state.has_rejected(code, at):
            workflow.logger.warning("signal_rejected", extra={"code": code, "message_name": shown})
        _count_rejected(name, rejection.code)
        state.add_rejected(
            RejectedSignal(at=at, name=shown, code=code, text=rejection.text, sender=sender)
        )
        self._changed = True
        party = view.party_of(state.start, sender)
        if party and not self._closed and state.should_notify_rejection(party, code, at):
            self._notifier.notify(lifecycle.rejection_notice(shown, rejection, party), at)

    # --- facts

    def _apply_fact(self, fact: Fact) -> None:
        now = workflow.now()
        answer = lifecycle.decide(self._state.purchase, fact, now)
        if isinstance(answer, Accepted):
            self._apply(answer, now)

    def _apply(self, answer: Accepted, at: datetime, message: Message | None = None) -> None:
        """A transition takes effect: the state, its effects, its notices and its event."""
        self._state.record(answer, at, message)
        self._changed = True
        for effect in answer.effects:
            self._effects.add(effect)
        notified = [self._notifier.notify(notice, at) for notice in answer.notices]
        if True not in notified:
            self._notifier.send_events()

    @property
    def _closed(self) -> bool:
        return self._state.purchase.stage is Stage.CLOSED

    # --- timers and search attributes

    def _sync(self) -> None:
        """Make timers, search attributes and the memo match the state."""
        self._timers.sync()
        attributes = view.search_attributes(self._state.purchase, workflow.now())
        if changes := view.updates(self._indexed, attributes):
            workflow.upsert_search_attributes(changes)
        self._indexed = attributes
        listed = view.listed(self._state.purchase, workflow.now())
        if listed != self._listed:
            written = listed.model_dump(mode="json", exclude_defaults=True)
            workflow.upsert_memo({view.LISTED: written})
            self._listed = listed

    def _deadline_reached(self, name: DeadlineName, at: datetime) -> None:
        """Queue the expiry behind all received messages; the deadline may have moved meanwhile. In
        one workflow task the SDK applies signals and updates before timers."""
        self._queue.process(partial(self._expire, name, at))

    def _expire(self, name: DeadlineName, at: datetime) -> None:
        if self._state.purchase.deadlines.get(name) == at:
            self._apply_fact(DeadlineExpired(name))

    def _remind(self, name: DeadlineName | None) -> None:
        self._changed = True
        if name:
            self._notifier.notify(lifecycle.reminder(self._state.purchase, name), workflow.now())

    # --- waiting and ending

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait. A cancellation of the workflow meanwhile is the platform's cancellation."""
        while True:
            try:
                return await workflow.wait_condition(condition)
            except asyncio.CancelledError:
                self._queue.process(lambda: self._apply_fact(PlatformCancelled()))

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish work that a cancellation of the workflow must not cut short."""
        task = asyncio.create_task(work)
        await self._wait_until(task.done)
        task.result()

    @property
    def _should_continue_as_new(self) -> bool:
        """History is long, and every message is in the state."""
        info = workflow.info()
        is_long = (
            info.is_continue_as_new_suggested()
            or info.get_current_history_size() > budget.LONG_HISTORY
            or self._signals >= budget.SIGNALS_PER_RUN
        )
        return is_long and not self._queue.waiting

    async def _continue_as_new(self) -> None:
        """A fresh history with the same state: no message is lost and no deadline moves."""
        await self._shielded(self._notifier.stop())
        await self._shielded(self._effects.stop())
        await self._wait_until(lambda: self._all_messages_handled)
        workflow.continue_as_new(self._state)

    async def _finish(self) -> None:
        """Wait for postings, records and running effects, and briefly for the last notices."""
        await self._shielded(self._effects.post_moves())
        await self._shielded(self._effects.record_news())
        await self._shielded(self._effects.stop())
        await self._shielded(self._notifier.finish())
        await self._wait_until(lambda: self._all_messages_handled)

    @property
    def _all_messages_handled(self) -> bool:
        return not self._queue.waiting and workflow.all_handlers_finished()


def _count_rejected(name: str, code: Code) -> None:
    """For the worker's metrics; the SDK does not count again in a replay."""
    known = name if name in MESSAGES else "unknown"
    rejected = workflow.metric_meter().create_counter(
        "recourse_messages_rejected", "Signals and updates that the rules rejected"
    )
    rejected.add(1, {"message": known, "code": code.value})
