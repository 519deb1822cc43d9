"""How a run begins: from the state of an earlier run, or from terms that are accepted once.

What a release makes of a start input depends on its defaults, its models and its rules for
identifiers. So an activity validates the input, and its answer, with every default, stands in the
history. A replay reads the answer instead of validating again: no later release changes the terms
of a purchase.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from activities.keys import workflow_id_of
from activities.requests import ActivityType, Model, UtcDatetime
from workflows import budget, lifecycle
from workflows.messages import PurchaseStart
from workflows.policy import LONGEST
from workflows.receiving.encrypted import Deciphered
from workflows.receiving.parsing import json_of, parse, parse_answer, read
from workflows.workflow_state import AcceptedStart, WorkflowState

FUTURE_ALLOWED = timedelta(minutes=5)
"""How far clocks may differ before `purchased_at` counts as lying in the future."""

RULES_PATCH = "rules-"
"""A patch id is this and a version of the rules."""

ANSWERED_WITHIN = timedelta(seconds=10)
"""Bounds one attempt. It computes for a millisecond, but a busy worker may start it late."""


class StartToAccept(Model):
    """Validate the start input of the workflow with this id, which began `at` this time."""

    document: str
    workflow_id: str
    at: UtcDatetime


class Acceptance(Model):
    """The terms. None: the start input is invalid, and `problem` says why."""

    terms: AcceptedStart | None = None
    problem: str = ""


ACCEPT_PURCHASE = ActivityType("accept_purchase", StartToAccept, Acceptance)


@activity.defn(name=ACCEPT_PURCHASE.name)
async def accept_purchase(request: StartToAccept) -> Acceptance:
    """Validate a start input; the answer is recorded."""
    try:
        return Acceptance(terms=accept(request.document, request.workflow_id, request.at))
    except ValueError as error:
        return Acceptance(problem=str(error))


def accept(document: str, workflow_id: str, now: datetime) -> AcceptedStart:
    """The terms in a start input, with every default. Raises ValueError with a sentence for an
    input that cannot be right."""
    start = read(PurchaseStart, document)
    expected = workflow_id_of(start.purchase_id)
    if workflow_id != expected:
        raise ValueError(f"Purchase {start.purchase_id} must run as {expected}, not {workflow_id}.")
    purchased_at = purchase_time(start.purchased_at, now)
    return AcceptedStart.of(start.model_copy(update={"purchased_at": purchased_at}))


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


async def accepted_terms(given: Sequence[object], at: datetime) -> AcceptedStart:
    """The recorded terms of this purchase, whose workflow began `at` this time. Raises ValueError
    with a sentence."""
    request = StartToAccept(
        document=document_of(given), workflow_id=workflow.info().workflow_id, at=at
    )
    while True:
        payload = await workflow.execute_activity(
            ACCEPT_PURCHASE.name,
            request,
            result_type=Deciphered,
            start_to_close_timeout=ANSWERED_WITHIN,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            summary="Validate the terms of the purchase",
        )
        try:
            answer = parse_answer(Acceptance, ACCEPT_PURCHASE.name, payload)
        except ValueError as error:
            workflow.logger.warning("answer_unreadable", extra={"problem": str(error)})
            continue
        if answer.terms is None:
            raise ValueError(answer.problem)
        return answer.terms


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
    """The state of an earlier run; None for anything else. Raises ValueError with a sentence."""
    if len(given) != 1 or b'"continued":true' not in json_of(given)[:32]:
        return None
    state = parse(WorkflowState, given)
    lifecycle.rules_of(state.purchase)  # raises before anything needs the rules
    _patched(state.purchase.terms.rules_version)
    return state


def rules_version() -> int:
    """The version of the rules for a purchase that begins now: the newest activated one."""
    return next(filter(_patched, range(lifecycle.newest(), 0, -1)))


def _patched(version: int) -> bool:
    """Whether the purchase has this version of the rules. A marker in the history of each run says
    so; the server also shows it as the search attribute `TemporalChangeVersion`. The first version
    has no marker. Whether a new purchase gets a version is decided by the worker, once."""
    return version == 1 or workflow.patched(f"{RULES_PATCH}{version}")
