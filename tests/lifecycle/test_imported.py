"""Purchases that ran elsewhere continue where they stand: with their stage, deadlines and claim."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from docs.samples import START
from tests.lifecycle.builders import ESCROW, NOON, Purchase, terms
from workflows.acceptance import accept
from workflows.imported import (
    DEADLINES,
    KEPT_BY_REQUEST,
    REQUESTED,
    GivenDeadline,
    GivenImport,
    GivenStage,
    Imported,
)
from workflows.lifecycle import begin, begin_again, continue_imported, newest_rules
from workflows.lifecycle.deadlines import BEFORE_REQUEST, UNDECIDED
from workflows.lifecycle.events import Accepted, DeadlineExpired, PaymentHeld, Rejection
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import PurchaseStart

IN_TWO_DAYS = NOON + timedelta(days=2)
A_MONTH_AGO = NOON - timedelta(days=30)


def standing(stage: str, before: str | None = None) -> dict[str, Any]:
    """An import in this stage that says everything that it has to."""
    given: dict[str, Any] = {"stage": stage, "deadlines": {DEADLINES[stage]: IN_TWO_DAYS}}
    if stage in REQUESTED:
        given["stage_before_request"] = before or "in_progress"
    if before in KEPT_BY_REQUEST:
        given["deadlines"][DEADLINES[before]] = IN_TWO_DAYS + timedelta(hours=1)
    if before == "delivered":
        given["review_time_left"] = "PT36H"
    if stage in ("contested", "disputed"):
        given["claim"] = 10_000
    return given


EVERY = [
    *(standing(stage) for stage in DEADLINES if stage not in REQUESTED),
    *(
        standing(stage, before)
        for stage in REQUESTED
        for before in DEADLINES
        if before not in REQUESTED
    ),
]


def imported(
    given: dict[str, Any], *, held: bool = True, purchased_at: datetime = A_MONTH_AGO
) -> Purchase:
    """The purchase at noon, a month after it was bought elsewhere."""
    bought = Purchase(held=False)
    its_terms = replace(terms(), purchased_at=purchased_at, imported_at=NOON)
    where = Imported.model_validate(GivenImport.model_validate(given).model_dump())
    bought.state = continue_imported(begin(its_terms, NOON).state, where)
    if held:
        bought.last = bought.fact(PaymentHeld("ch_1"))
    return bought


def test_each_stage_that_can_be_imported_has_the_deadline_that_it_waits_for() -> None:
    governing = {rule.governs: rule.name for rule in newest_rules().deadlines}
    assert {stage: governing[stage] for stage in UNDECIDED} == DEADLINES


@pytest.mark.parametrize("given", EVERY, ids=str)
def test_an_imported_purchase_stands_where_it_stood_and_nobody_is_notified(
    given: dict[str, Any],
) -> None:
    """R-08: stage, deadlines and claim as given; the money is held and nothing else happens."""
    bought = imported(given)
    assert bought.state.stage == given["stage"]
    assert bought.state.deadlines == given["deadlines"]
    assert bought.state.claim == given.get("claim")
    assert bought.state.held == ESCROW
    assert bought.last.transition == "imported"
    assert (bought.last.notices, bought.last.effects) == ((), ())


@pytest.mark.parametrize("given", EVERY, ids=str)
def test_what_happened_elsewhere_follows_from_its_stages(given: dict[str, Any]) -> None:
    """R-08: whether the requirements came and the work was delivered, since when its freelancer is
    committed, and how much time its review has left."""
    state = imported(given).state
    stages = {given["stage"], given.get("stage_before_request")}
    is_review = "review_time_left" in given
    assert state.requirements_received is ("awaiting_requirements" not in stages)
    assert state.suspended == ({DeadlineName.REVIEW: timedelta(hours=36)} if is_review else {})
    if state.requirements_received and "freelancer_review" not in stages:
        window = state.terms.policy.freelancer_cancel_window
        assert state.cancel_window_closed_at == A_MONTH_AGO + window
    else:
        assert state.cancel_window_closed_at is None


def test_its_freelancer_was_committed_at_the_import_at_the_latest() -> None:
    """R-08: elsewhere the window may have been shorter than here."""
    bought = imported(standing("in_progress"), purchased_at=NOON - timedelta(hours=1))
    assert bought.state.cancel_window_closed_at == NOON


@pytest.mark.parametrize("given", EVERY, ids=str)
def test_its_deadline_takes_effect_when_it_would_have(given: dict[str, Any]) -> None:
    """R-08: and not a whole window later."""
    bought = imported(given)
    name = DeadlineName(DEADLINES[given["stage"]])
    assert bought.deadline(name).transition
    assert bought.now == IN_TWO_DAYS


def test_a_late_cancel_of_its_freelancer_is_rejected_with_the_end_of_the_window() -> None:
    answer = imported(standing("in_progress")).freelancer("cancel")
    assert isinstance(answer, Rejection)
    assert answer.code is Code.WINDOW_CLOSED


def test_a_withdrawn_request_goes_back_and_the_review_has_the_time_it_had() -> None:
    bought = imported(standing("refund_requested", "delivered"))
    answer = bought.client("withdraw_cancellation")
    assert isinstance(answer, Accepted)
    assert bought.state.stage is Stage.DELIVERED
    assert bought.state.deadlines == {DeadlineName.REVIEW: NOON + timedelta(hours=36)}


def test_its_claim_lapses_as_if_it_had_begun_here() -> None:
    bought = imported(standing("contested"))
    bought.now = IN_TWO_DAYS
    bought.fact(DeadlineExpired(DeadlineName.CLAIM))
    decision = bought.state.decision
    assert decision is not None
    assert (decision.refund, decision.release) == (ESCROW - 10_000, 10_000)


def test_a_payment_that_is_not_there_closes_it_and_nothing_is_charged() -> None:
    bought = imported(standing("in_progress"), held=False)
    assert bought.state.held == 0


def test_adopted_from_its_terms_it_has_the_time_that_it_had_when_it_came() -> None:
    """Its messages since then are lost; its deadlines are as far ahead as at the import."""
    bought = imported(standing("contested"), held=False)
    later = begin_again(bought.state, NOON + timedelta(days=5), None)
    assert later.deadlines[DeadlineName.CLAIM] == IN_TWO_DAYS + timedelta(days=5)
    assert (later.stage, later.claim) == (Stage.CONTESTED, 10_000)


# --- the start input


def start(**changed: Any) -> dict[str, Any]:
    """A valid start input of an imported purchase."""
    given = {name: value for name, value in START.items() if name != "payment_method"}
    return {
        **given,
        "payment_reference": "ch_1",
        "purchased_at": A_MONTH_AGO.isoformat(),
        "imported": standing("in_progress"),
        **changed,
    }


WRONG = {
    "payment_reference": start(payment_reference=None, payment_method="pm_1"),
    "purchased_at": start(purchased_at=None),
    "decided": start(imported={"stage": "settling", "deadlines": {}}),
    "no deadline": start(imported={"stage": "in_progress", "deadlines": {}}),
    "a deadline of another stage": start(
        imported={"stage": "in_progress", "deadlines": {"review": IN_TWO_DAYS}}
    ),
    "no claim": start(imported={**standing("contested"), "claim": None}),
    "a claim where there is none": start(imported={**standing("in_progress"), "claim": 1}),
    "a claim above the price": start(imported={**standing("contested"), "claim": 25_001}),
    "no stage before": start(
        imported={"stage": "refund_requested", "deadlines": {"refund_decision": IN_TWO_DAYS}}
    ),
    "no requirements needed": start(
        requirements_needed=False, imported=standing("awaiting_requirements")
    ),
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_an_import_that_cannot_be_right_is_rejected(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PurchaseStart.model_validate(given)


@pytest.mark.parametrize("given", EVERY, ids=str)
def test_every_import_that_is_complete_is_accepted(given: dict[str, Any]) -> None:
    document = PurchaseStart.model_validate(start(imported=given)).model_dump_json()
    accepted = accept(document, "purchase-p-1001", NOON)
    assert accepted.imported is not None
    assert accepted.imported_at == NOON
    assert accepted.imported.deadlines == given["deadlines"]


@pytest.mark.parametrize("at", [NOON, NOON + timedelta(days=3_651)])
def test_a_deadline_that_is_over_or_absurd_is_rejected(at: datetime) -> None:
    """It belongs to the other system, and here it would move money at once."""
    given = start(imported={"stage": "in_progress", "deadlines": {"dormancy": at}})
    document = PurchaseStart.model_validate(given).model_dump_json()
    with pytest.raises(ValueError, match=r"imported\.deadlines\.dormancy"):
        accept(document, "purchase-p-1001", NOON)


def test_the_limits_of_an_import_are_those_of_the_table() -> None:
    """A deadline that goes on while a request is open is given too."""
    governing = {rule.governs: rule for rule in newest_rules().deadlines}
    kept = {stage for stage in BEFORE_REQUEST if Stage.REFUND_REQUESTED in governing[stage].stages}
    assert set(get_args(GivenStage)) == set(UNDECIDED)
    assert set(get_args(GivenDeadline)) == {governing[stage].name for stage in UNDECIDED}
    assert set(KEPT_BY_REQUEST) == kept
    assert set(REQUESTED) == set(UNDECIDED) - set(BEFORE_REQUEST)
