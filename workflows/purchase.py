"""`ProjectPurchase`: one durable workflow per purchase, from the payment to the last cent.

What it guarantees:

- Nothing that a party or another system sends can stop it: whatever arrives is read by our own
  hand, and refused in words if it is not a message the rules accept.
- A decision about money is recorded once, at once, and carried out in order under keys that never
  change; what cannot be carried out is said, waits, and is tried again.
- Every open deadline is one visible timer to an absolute instant. A message that was recorded
  before a deadline took effect counts.
- Notifier people never delays money or clocks.
- It never fails once money may be inside: a business outcome completes it, and cancelling the
  workflow refunds.

The rules themselves are in `workflows.lifecycle`; this is only the shell that keeps time for them.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities.requests import ErrorType
from workflows import lifecycle, view
from workflows.card import card, span
from workflows.effect_runner import EffectRunner
from workflows.lifecycle.state import (
    Accepted,
    Code,
    DeadlineExpired,
    DeadlineName,
    Fact,
    Notify,
    PlatformCancelled,
    RecipientRole,
    Rejection,
    Stage,
)
from workflows.messages import (
    MESSAGES,
    Action,
    Message,
    PurchaseResult,
    PurchaseStart,
    Receipt,
    RejectedSignal,
    Role,
    Sender,
    Status,
    SubmitRequirements,
)
from workflows.notifying import Notifier
from workflows.receiving.encrypted import Undecipherable, check_deciphered
from workflows.receiving.handlers import Receiver, receives_every_message
from workflows.receiving.parsing import (
    LONGEST_NAME,
    InvalidMessage,
    effort,
    json_of,
    parse,
    parse_message,
)
from workflows.receiving.queue import MessageQueue
from workflows.workflow_state import WorkflowState

FUTURE_ALLOWED = timedelta(minutes=5)
"""How far clocks may differ before a purchase time counts as lying in the future."""

Timer = tuple[datetime, asyncio.Task[None]]


@workflow.defn(name="ProjectPurchase")
@receives_every_message
class ProjectPurchase(Receiver):
    """The lifecycle of one purchase. Receives every message as a signal and as an update."""

    @workflow.init
    def __init__(self, *given: RawValue) -> None:
        self._unfit: ValueError | Undecipherable | None = None
        self._changed = False
        self._shown = view.known(workflow.info().typed_search_attributes)
        self._timers: dict[DeadlineName, Timer] = {}
        self._reminder: Timer | None = None
        self._arrivals = MessageQueue()
        try:
            self._memory = _remember(given)
        except (ValueError, Undecipherable) as error:
            self._unfit = error
            return
        self._errands = EffectRunner(self._memory, self._happen)
        self._telling = Notifier(self._memory, lambda: self._errands.dates_known)

    @workflow.run
    async def run(self, *given: RawValue) -> PurchaseResult:
        """Live until closed; returns where the money went."""
        self._check_valid()
        self._errands.resume()
        self._telling.resume()
        while not self._closed:
            self._changed = False
            self._tend()
            await self._until(
                lambda: self._changed or self._long or self._errands.impossible is not None
            )
            if self._errands.impossible:
                raise _error(ErrorType.INVALID_INPUT, self._errands.impossible)
            if self._long and not self._closed:
                await self._continue_as_new()
        self._tend()
        await self._finish()
        return view.result(self._memory)

    # --- what others ask

    @workflow.query(description="Everything about the purchase: stage, money, deadlines, timeline.")
    def status(self, *_: RawValue) -> Status:
        """The `status` of the contract."""
        self._check_valid()
        return view.status(self._memory)

    @workflow.query(description='What a role may do now, and until when. Argument: "client".')
    def actions(self, *given: RawValue) -> list[Action]:
        """The `actions` of the contract, for one role."""
        self._check_valid()
        try:
            role = Role(json.loads(json_of(given)))
        except (ValueError, TypeError, RecursionError):
            roles = ", ".join(f'"{role}"' for role in Role)
            raise _error(Code.INVALID_MESSAGE, f"actions takes one role: {roles}.") from None
        return list(lifecycle.actions(self._memory.state, role, workflow.now()))

    def card(self) -> str:
        """The status card of the Web UI, in Markdown."""
        return str(self._unfit) if self._unfit else card(self._memory)

    def _check_valid(self) -> None:
        if isinstance(self._unfit, Undecipherable):
            raise self._unfit
        if self._unfit:
            raise _error(ErrorType.INVALID_INPUT, str(self._unfit))

    # --- what others say

    def receive_signal(self, name: str, payloads: Sequence[object]) -> None:
        """Take a signal in. A refused one is recorded, shown and answered; nothing raises."""
        if not self._unfit:
            work = partial(self._answer_signal, name, payloads, workflow.now())
            self._arrivals.take(work, effort(payloads))

    def check_update(self, name: str, payloads: Sequence[object]) -> None:
        """Refuse an update before it is recorded: ApplicationError with a code and a sentence.

        While messages wait that came before it, only what cannot be read is refused here.
        """
        self._check_valid()
        try:
            message = parse_message(name, payloads)
        except InvalidMessage as unreadable:
            _count_refused(name, unreadable.rejection.code)
            raise _error(unreadable.rejection.code, unreadable.rejection.text) from None
        if self._arrivals.waiting:
            return
        answer = self._memory.answers.first(message) or self._weigh(message, workflow.now())
        if isinstance(answer, Rejection):
            _count_refused(name, answer.code)
            raise _error(answer.code, answer.text)

    async def receive_update(self, name: str, payloads: Sequence[object]) -> Receipt:
        """Take an update in; its effect is readable by `status` when this returns."""
        message, now = parse_message(name, payloads), workflow.now()
        given: asyncio.Future[Receipt | Rejection] = asyncio.get_running_loop().create_future()
        self._arrivals.take(lambda: given.set_result(self._answer(message, now)), effort(payloads))
        answer = await given
        if isinstance(answer, Rejection):
            raise _error(answer.code, answer.text)
        return answer

    def _answer_signal(self, name: str, payloads: Sequence[object], at: datetime) -> None:
        try:
            message = parse_message(name, payloads)
        except InvalidMessage as unreadable:
            self._reject(name, unreadable.rejection, unreadable.sender, at)
            return
        if self._memory.answers.first(message) is None:
            answer = self._hear(message, at)
            if isinstance(answer, Rejection):
                self._reject(name, answer, message.by, at)

    def _answer(self, message: Message, at: datetime) -> Receipt | Rejection:
        return self._memory.answers.first(message) or self._hear(message, at)

    def _hear(self, message: Message, at: datetime) -> Receipt | Rejection:
        answer = self._weigh(message, at)
        if isinstance(answer, Rejection):
            self._memory.answers.remember(message, answer)
            return answer
        if isinstance(message, SubmitRequirements):
            self._memory.requirements = message.requirements
        self._accept(answer, message.by.role.value, at)
        deadline = lifecycle.next_deadline(self._memory.state)
        receipt = Receipt(
            stage=self._memory.state.stage.value,
            text=answer.text,
            next_deadline=deadline.at if deadline else None,
        )
        self._memory.answers.remember(message, receipt)
        return receipt

    def _reject(self, name: str, rejection: Rejection, sender: Sender | None, at: datetime) -> None:
        memory, code, shown = self._memory, rejection.code.value, name[:LONGEST_NAME]
        if not memory.has_rejected(code, at):
            workflow.logger.warning("signal_rejected", extra={"code": code, "message_name": shown})
        _count_refused(name, rejection.code)
        memory.reject(
            RejectedSignal(at=at, name=shown, code=code, text=rejection.text, sender=sender)
        )
        self._changed = True
        recipient = _party(memory.start, sender)
        if recipient and not self._closed and memory.should_notify_rejection(recipient, code, at):
            self._telling.tell(lifecycle.rejection(shown, rejection, recipient), at)

    # --- what happens

    def _weigh(self, event: Message | Fact, at: datetime) -> Accepted | Rejection:
        return lifecycle.decide(self._memory.state, event, at)

    def _happen(self, fact: Fact) -> None:
        now = workflow.now()
        answer = self._weigh(fact, now)
        if isinstance(answer, Accepted):
            by_platform = isinstance(fact, PlatformCancelled)
            self._accept(answer, "operator" if by_platform else "system", now)

    def _accept(self, answer: Accepted, by: str, at: datetime) -> None:
        self._memory.record(answer, by, at)
        self._changed = True
        for effect in answer.effects:
            if isinstance(effect, Notify):
                self._telling.tell(effect, at)
            else:
                self._errands.add(effect)

    @property
    def _closed(self) -> bool:
        return self._memory.state.stage is Stage.CLOSED

    @property
    def _long(self) -> bool:
        """Whether a fresh history should begin: with nothing waiting that is in no memory."""
        return workflow.info().is_continue_as_new_suggested() and not self._arrivals.waiting

    # --- time

    def _tend(self) -> None:
        """Timers and search attributes as the state wants them."""
        memory, deadlines = self._memory, self._memory.state.deadlines
        for deadline, (at, timer) in list(self._timers.items()):
            if deadlines.get(deadline) != at:
                timer.cancel()
                del self._timers[deadline]
        for deadline, at in deadlines.items():
            if deadline not in self._timers:
                self._timers[deadline] = (at, asyncio.create_task(self._reach(deadline, at)))
        self._tend_reminder()
        shown = view.searchable(memory.state)
        if changes := view.updates(self._shown, shown):
            workflow.upsert_search_attributes(changes)
        self._shown = shown

    async def _reach(self, deadline: DeadlineName, at: datetime) -> None:
        then = lifecycle.then(self._memory.state, deadline)
        await _sleep_until(at, f"{lifecycle.AWAITED[deadline]}, then {then}")
        self._arrivals.take(partial(self._reached, deadline, at))

    def _reached(self, deadline: DeadlineName, at: datetime) -> None:
        if self._memory.state.deadlines.get(deadline) == at:
            self._happen(DeadlineExpired(deadline))

    def _tend_reminder(self) -> None:
        upcoming = lifecycle.next_reminder(self._memory.state, self._memory.reminded_until)
        at = upcoming[0] if upcoming else None
        if self._reminder and self._reminder[0] != at:
            self._reminder[1].cancel()
            self._reminder = None
        if at and not self._reminder:
            self._reminder = (at, asyncio.create_task(self._remind(at)))

    async def _remind(self, at: datetime) -> None:
        await _sleep_until(at, "then a reminder")
        memory, now = self._memory, workflow.now()
        upcoming = lifecycle.next_reminder(memory.state, memory.reminded_until)
        memory.reminded_until = now
        self._reminder = None
        self._changed = True
        for deadline in upcoming[1] if upcoming and upcoming[0] == at else ():
            if memory.state.deadlines[deadline] > now:
                self._telling.tell(lifecycle.reminder(deadline), now)

    # --- waiting

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait; a cancellation of the workflow meanwhile is the platform's cancellation."""
        while True:
            try:
                return await workflow.wait_condition(condition)
            except asyncio.CancelledError:
                self._arrivals.take(lambda: self._happen(PlatformCancelled()))

    async def _undisturbed(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work finish that a cancellation of the workflow must not cut short."""
        task = asyncio.create_task(work)
        await self._until(task.done)
        task.result()

    async def _continue_as_new(self) -> None:
        """A fresh history with the same memory: no message is lost and no deadline moves."""
        await self._undisturbed(self._telling.rest())
        await self._undisturbed(self._errands.rest())
        await self._until(lambda: self._heard_all)
        workflow.continue_as_new(self._memory)

    async def _finish(self) -> None:
        """Let go of everything: what is under way ends, the last notices get a moment."""
        await self._undisturbed(self._errands.rest())
        await self._undisturbed(self._telling.finish())
        await self._until(lambda: self._heard_all)

    @property
    def _heard_all(self) -> bool:
        """Whether everything that was sent has been dealt with and answered."""
        return not self._arrivals.waiting and workflow.all_handlers_finished()


async def _sleep_until(at: datetime, then: str) -> None:
    left = at - workflow.now()
    if left > timedelta(0):
        await workflow.sleep(left, summary=f"{span(left)}: {then}"[:200])


def _remember(given: Sequence[object]) -> WorkflowState:
    """The memory of an earlier run, or a new one from a start input.

    Raises ValueError with a sentence for an input that cannot be right, and Undecipherable, which
    only delays the purchase, where a key is missing.
    """
    check_deciphered(given)
    now = workflow.now()
    if b'"continued":true' in json_of(given)[:32]:
        memory = parse(WorkflowState, given)
        lifecycle.tables(memory.state)  # raises before anything begins that would need them
        _mark(memory.state.terms.rules_version)
        return memory
    start = parse(PurchaseStart, given)
    workflow_id = workflow.info().workflow_id
    if workflow_id != f"purchase-{start.purchase_id}":
        raise ValueError(
            f"purchase {start.purchase_id} has to run as purchase-{start.purchase_id}, "
            f"not as {workflow_id}."
        )
    if start.purchased_at and start.purchased_at > now + FUTURE_ALLOWED:
        raise ValueError("purchased_at: lies in the future.")
    return WorkflowState.fresh(start, now, _newest_rules())


def _newest_rules() -> int:
    """The newest rules there were when the purchase began: its history keeps which."""
    return next(filter(_mark, range(lifecycle.newest(), 0, -1)))


def _mark(version: int) -> bool:
    """Whether it has this version, by a marker in the history of each run, which the server also
    shows as the search attribute `TemporalChangeVersion`. The first version has none."""
    return version == 1 or workflow.patched(f"rules-{version}")


def _count_refused(name: str, code: Code) -> None:
    """For the metrics of the worker; in a replay the SDK counts nothing again."""
    known = name if name in MESSAGES else "unknown"
    rejected = workflow.metric_meter().create_counter(
        "recourse_messages_rejected", "Signals and updates that the rules refused"
    )
    rejected.add(1, {"message": known, "code": code.value})


def _party(start: PurchaseStart, sender: Sender | None) -> RecipientRole | None:
    """The party that a sender is, if it is one."""
    match sender:
        case Sender(role=Role.CLIENT, id=start.client.id):
            return "client"
        case Sender(role=Role.FREELANCER, id=start.freelancer.id):
            return "freelancer"
    return None


def _error(code: str, text: str) -> ApplicationError:
    return ApplicationError(text, type=code, non_retryable=True)
