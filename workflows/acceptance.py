"""How a run begins: from the state of an earlier run, or from terms that are accepted once.

What a release makes of a start input depends on its defaults, its models and its rules for
identifiers. So an activity validates the input, and its answer, with every default, stands in the
history. A replay reads the answer instead of validating again: no later release changes the terms
of a purchase.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from activities.amounts import check_movable
from activities.fields import UtcDatetime, identifier
from activities.keys import aftercare_id_of, purchase_of_workflow, workflow_id_of
from activities.requests import (
    LOAD_CLOSED,
    LOAD_STATE,
    ActivityType,
    Answer,
    ClosedPurchase,
    ClosedPurchaseRequest,
    LedgerDecision,
    Model,
    Request,
    SavedStateRequest,
)
from workflows import budget, lifecycle
from workflows.imported import check_deadlines
from workflows.lifecycle import texts
from workflows.messages import PurchaseStart
from workflows.policy import LONGEST
from workflows.receiving.encrypted import RawAnswer, Undecipherable
from workflows.receiving.parsing import json_of, parse, parse_answer, read
from workflows.workflow_state import AcceptedStart, WorkflowState

FUTURE_ALLOWED = timedelta(minutes=5)
"""How far clocks may differ before `purchased_at` counts as lying in the future."""

RULES_PATCH = "rules-"
"""A patch id is this and a version of the rules."""

ANSWERED_WITHIN = timedelta(seconds=10)
"""Bounds one attempt. It computes for a millisecond, but a busy worker may start it late."""


SHORTEST_TASK_TIMEOUT = timedelta(seconds=10)
"""The server's default. With less, the workflow tasks of a busy worker time out again and again."""

DELAYED = timedelta(minutes=1)
"""A first workflow task that comes later had no worker, or the caller has set a start delay."""


class UnreadableState(Exception):
    """This worker cannot read the state that the run was continued as new with, such as one of a
    newer release. The task fails, and the purchase waits, unharmed, for a worker that can."""


class StartToAccept(Model):
    """Validate the start input of the workflow with this id. It was started `at` this time, had its
    first task at `began`, and the caller has set `unsuitable` on it."""

    document: str
    workflow_id: str
    at: UtcDatetime
    began: UtcDatetime
    unsuitable: tuple[str, ...] = ()


class Acceptance(Model):
    """The terms, and when the workflow starts, after its start delay. None: the start input is
    invalid, and `problem` says why."""

    terms: AcceptedStart | None = None
    starts_at: UtcDatetime | None = None
    problem: str = ""


ACCEPT_PURCHASE = ActivityType("accept_purchase", StartToAccept, Acceptance)


class AcceptanceActivities:
    """Validates starts."""

    def __init__(
        self, mail_problem: Callable[[str], Awaitable[str]], *, events: bool = False
    ) -> None:
        """`mail_problem` says why an address can get no mail from here; empty if it can. `events`:
        whether other systems receive the events of purchases that begin now."""
        self._mail_problem = mail_problem
        self._events = events

    @activity.defn(name=ACCEPT_PURCHASE.name)
    async def accept_purchase(self, request: StartToAccept) -> Acceptance:
        """Validate a start; the answer is recorded."""
        try:
            _check_settings(request.unsuitable)
            terms = accept(request.document, request.workflow_id, request.began)
        except ValueError as error:
            return Acceptance(problem=str(error))
        for role, party in (("client", terms.client), ("freelancer", terms.freelancer)):
            if problem := await self._mail_problem(party.email):
                return Acceptance(problem=f"{role}.email {problem}")
        late = request.began - request.at > DELAYED
        starts_at = request.at + (await _start_delay() if late else timedelta(0))
        terms = terms.model_copy(update={"events": self._events})
        return Acceptance(terms=terms, starts_at=min(starts_at, request.began))


async def _start_delay() -> timedelta:
    """The start delay of the workflow, which only its history has."""
    info = activity.info()
    assert info.workflow_id  # this activity belongs to a workflow
    handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    first = await anext(handle.fetch_history_events(page_size=1))
    return (
        first.workflow_execution_started_event_attributes.first_workflow_task_backoff.ToTimedelta()
    )


def accept(document: str, workflow_id: str, now: datetime) -> AcceptedStart:
    """The terms in a start input, with every default. Raises ValueError with a sentence for an
    input that cannot be right."""
    start = read(PurchaseStart, document)
    expected = workflow_id_of(start.purchase_id)
    if workflow_id != expected:
        raise ValueError(f"Purchase {start.purchase_id} must run as {expected}, not {workflow_id}.")
    check_movable(start.price.amount, start.price.currency)
    purchased_at = purchase_time(start.purchased_at, now)
    if start.imported:
        check_deadlines(start.imported, now)
        check_movable(start.imported.claim or 0, start.price.currency)
    return AcceptedStart.of(start.model_copy(update={"purchased_at": purchased_at}), now)


def purchase_time(given: datetime | None, now: datetime) -> datetime | None:
    """When the purchase was made, if the input says so; never after `now`, because it could be
    cancelled for free until then. Raises ValueError with a sentence."""
    if given is None:
        return None
    if given > now + FUTURE_ALLOWED:
        raise ValueError("purchased_at is in the future; send the time of the purchase or nothing.")
    if given < now - LONGEST:  # the zero time of some language, for example
        raise ValueError(
            "purchased_at is over ten years ago; send the time of the purchase or nothing."
        )
    return min(given, now)


async def accepted_terms(
    given: Sequence[object], began: datetime
) -> tuple[AcceptedStart, datetime]:
    """The recorded terms of this purchase, whose first task was at `began`, and when its workflow
    started: a reset, or a worker that was down, does not move that time. Raises ValueError with a
    sentence."""
    info = workflow.info()
    request = StartToAccept(
        document=document_of(given),
        workflow_id=info.workflow_id,
        at=info.workflow_start_time,
        began=began,
        unsuitable=_unsuitable(
            {
                # By default, the server ends a child together with its parent.
                "a parent workflow": info.parent,
                f"a task timeout under {SHORTEST_TASK_TIMEOUT.seconds} s": (
                    info.task_timeout < SHORTEST_TASK_TIMEOUT
                ),
            }
        ),
    )
    while True:
        try:
            answer = await _answer(ACCEPT_PURCHASE, request, "Validate the terms of the purchase")
        except ActivityError:  # an operator has failed it by hand
            await workflow.sleep(ANSWERED_WITHIN, summary="The terms are validated again")
            continue
        if answer.terms is None:
            raise ValueError(answer.problem)
        if _is_answer_to(request.document, answer.terms):
            return answer.terms, answer.starts_at or began
        workflow.logger.warning("answer_of_another_purchase")  # completed by hand; asked again


def _is_answer_to(document: str, terms: AcceptedStart) -> bool:
    """Whether the terms have the id of this workflow, and price and payment of the start input,
    which no release changes when it validates them."""
    if workflow_id_of(terms.purchase_id) != workflow.info().workflow_id:
        return False
    try:
        given = json.loads(document)
        payment = [given.get(name) or "" for name in ("payment_method", "payment_reference")]
        is_paid_so = payment == [terms.payment_method, terms.payment_reference]
        return is_paid_so and given["price"] == terms.price.model_dump()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False  # not one that validation accepts


def _unsuitable(settings: Mapping[str, object]) -> tuple[str, ...]:
    """The names of the settings that the caller has set."""
    return tuple(name for name, value in settings.items() if value)


def _check_settings(unsuitable: Sequence[str]) -> None:
    if unsuitable:
        raise ValueError(
            f"a purchase runs once, until it is closed: start it without {unsuitable[0]}."
        )


async def _answer(kind: ActivityType[Request, Answer], request: Request, summary: str) -> Answer:
    """The answer of an activity; one that cannot be read, of an operator, is asked for again."""
    while True:
        payload = await workflow.execute_activity(
            kind.name,
            request,
            result_type=RawAnswer,
            start_to_close_timeout=ANSWERED_WITHIN,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            summary=summary,
        )
        try:
            return parse_answer(kind.answer, kind.name, payload, LARGEST_STATE_ANSWER)
        except ValueError as error:
            workflow.logger.warning("answer_unreadable", extra={"problem": str(error)})


LARGEST_STATE_ANSWER = budget.LARGEST_STATE + budget.LARGEST_ANSWER
"""Bytes of an answer that contains a state."""

ADOPTED_RUN = "adopted_run"
"""The memo in which `recourse adopt` names the ended run that a new run continues."""

ADOPTED_BY = "adopted_by"
"""The memo in which `recourse adopt` says which operator ran it."""

LONGEST_RUN_ID = 1_000
"""Characters. The name of a run is its id, or what `recourse adopt` has made of one. A memo of
megabytes would not fit into the activity's input."""


def adopted_run() -> str:
    """The ended run that this one continues; empty for any other start. Raises ValueError with a
    sentence: everybody who starts workflows can write a memo."""
    run_id = _memo(ADOPTED_RUN)
    if run_id is None or len(run_id) > LONGEST_RUN_ID:
        raise ValueError(f"the memo {ADOPTED_RUN} is not a run id; leave it out.")
    return run_id


def _adopter() -> str | None:
    """The id of the operator who continued the purchase, if the memo has one."""
    try:
        return identifier(_memo(ADOPTED_BY) or "")
    except ValueError:
        return None


def _memo(name: str) -> str | None:
    """The memo's text; empty without one, None if it is none."""
    try:
        value = workflow.memo_value(name, "", type_hint=str)
    except Undecipherable:
        raise
    except Exception:  # a converter may raise anything for invalid bytes
        return None
    return value if isinstance(value, str) else None


async def adopted_state(at: datetime, run_id: str) -> WorkflowState:
    """The state that the run continues, from the ledger's database; with `at` as its beginning if
    only the terms are known. Raises ValueError with a sentence."""
    info = workflow.info()
    purchase_id = purchase_of_workflow(info.workflow_id)
    request = SavedStateRequest(
        purchase_id=purchase_id, run_id=run_id, first_run=info.first_execution_run_id
    )
    try:
        answer = await _answer(LOAD_STATE, request, "Load the state of the ended run")
    except ActivityError as error:
        raise ValueError(_why(error)) from None
    document = json.dumps(answer.document)
    if answer.kind == "state":
        state = _restored(WorkflowState.model_validate_json(document))
        _check_decision(state, answer.decision)
        state.record_adopted(at, _adopter(), texts.ADOPTED)
        return state
    terms = AcceptedStart.model_validate_json(document)
    state = WorkflowState.begin_again(terms, at, rules_version(), answer.decision)
    state.record_adopted(at, _adopter(), texts.BEGUN_AGAIN)
    return state


def _check_decision(state: WorkflowState, posted: LedgerDecision | None) -> None:
    """A workflow decides before it posts, so a state without the ledger's decision is older than
    the ledger: another run has decided since. Raises ValueError with a sentence."""
    decided = state.purchase.decision
    if posted and (
        decided is None or (decided.refund, decided.release) != (posted.refund, posted.release)
    ):
        raise ValueError(
            "the saved state is older than the ledger, which has a decision that it does not have. "
            f"Run: recourse adopt {quote(state.start.purchase_id)} --from-terms"
        )


async def closed_purchase(purchase_id: str, at: datetime) -> ClosedPurchase:
    """What ledger and provider have of a closed purchase. Raises ValueError with a sentence."""
    request = ClosedPurchaseRequest(purchase_id=purchase_id, at=at)
    try:
        return await _answer(LOAD_CLOSED, request, "Load the closed purchase from the ledger")
    except ActivityError as error:
        raise ValueError(_why(error)) from None


def _why(error: ActivityError) -> str:
    return error.cause.message if isinstance(error.cause, ApplicationError) else str(error)


def _restored(state: WorkflowState) -> WorkflowState:
    workflow_id = workflow.info().workflow_id
    purchase_id, purchase = state.start.purchase_id, state.purchase
    expected = aftercare_id_of(purchase_id) if purchase.in_aftercare else purchase.terms.key
    if workflow_id != expected or purchase.terms.key != workflow_id_of(purchase_id):
        raise ValueError(f"the state is of the purchase {state.start.purchase_id}.")
    lifecycle.rules_of(state.purchase)  # raises before anything needs the rules
    _patched(state.purchase.terms.rules_version)
    return state


def document_of(given: Sequence[object]) -> str:
    """The JSON of a start input. Raises ValueError with a sentence."""
    data = json_of(given)
    if len(data) > budget.LARGEST_START:
        most = budget.LARGEST_START
        raise ValueError(f"the start input is too large; send at most {most} bytes.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the start input is not UTF-8; send JSON in UTF-8.") from None


def carried_state(given: Sequence[object]) -> WorkflowState | None:
    """The state of the run that this one continues as new; None for any other start. A start from
    outside carries no state. Raises ValueError with a sentence, and UnreadableState."""
    info = workflow.info()
    is_first = info.continued_run_id is None
    set_by_caller = {
        # With these the server runs the workflow again, with the caller's input as its state.
        "a cron schedule": info.cron_schedule,
        "a retry policy": info.attempt > 1,
        # With these it ends the purchase with the money inside.
        "an execution timeout": is_first and info.execution_timeout,
        "a run timeout": is_first and info.run_timeout,
    }
    _check_settings(_unsuitable(set_by_caller))
    if is_first:
        return None
    try:
        return _restored(parse(WorkflowState, given))
    except ValueError as error:  # would fail the workflow, with the money inside
        raise UnreadableState(
            f"This worker cannot read the state that the purchase was continued with: {error} "
            "Deploy the release that wrote it, or a newer one."
        ) from None


def rules_version() -> int:
    """The version of the rules for a purchase that begins now: the newest activated one."""
    return next(filter(_patched, range(lifecycle.newest(), 0, -1)))


def _patched(version: int) -> bool:
    """Whether the purchase has this version of the rules. A marker in the history of each run says
    so; the server also shows it as the search attribute `TemporalChangeVersion`. The first version
    has no marker. Whether a new purchase gets a version is decided by the worker, once."""
    return version == 1 or workflow.patched(f"{RULES_PATCH}{version}")
