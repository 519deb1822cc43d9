"""THE table of deadlines. What happens when one expires is a row of `transitions.py`."""

from dataclasses import dataclass
from typing import Literal

from workflows.lifecycle import texts
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.lifecycle.texts import Text

(
    AWAITING_REQUIREMENTS,
    FREELANCER_REVIEW,
    IN_PROGRESS,
    DELIVERED,
    REFUND_REQUESTED,
    CONTESTED,
    DISPUTED,
    SETTLING,
    CLOSED,
) = Stage
BEFORE_REQUEST = (AWAITING_REQUIREMENTS, FREELANCER_REVIEW, IN_PROGRESS, DELIVERED)
UNDECIDED = (*BEFORE_REQUEST, REFUND_REQUESTED, CONTESTED, DISPUTED)
OPEN = (*UNDECIDED, SETTLING)


@dataclass(frozen=True, kw_only=True)
class DeadlineRule:
    """A row of the table of deadlines.

    `stages`: where the deadline may be open; entering another stage ends it, or suspends it
    (`suspended_by_request`). `window`: the field
    of the policy that says how long, in elapsed time or in business days. `starts`: what starts it,
    for the docs; `starts_with` the stage whose beginning starts it. `waiting_for`: who must act
    until then. `governs`: the stage in which this is the deadline that people wait for. `label`:
    what is due, a template. `expiry`: the ids of the rows of `transitions.py` for its end, of which
    the first that is open applies.
    """

    name: DeadlineName
    stages: tuple[Stage, ...]
    window: str
    in_business_days: bool = False
    starts: str
    starts_with: Stage | None = None
    restarts_with_party_messages: bool = False
    suspended_by_request: bool = False
    """While a refund request is open it waits, and then goes on with the time it had left."""
    can_be_suspended: bool = True
    """Whether it is suspended with all others (`State.suspends_deadlines`)."""
    waiting_for: str
    governs: Stage | None = None
    decides_in_every_stage: bool = False
    """Its end decides who gets the money in each of its stages: people wait for it as well."""
    label: str
    reminds: Literal["client", "freelancer"] | None = None
    """Whom to remind, at the offsets of the policy's `reminders` of this name."""
    reminder: Text | None = None
    expiry: tuple[str, ...]
    usual: tuple[str, ...] = ()
    """The rows of `expiry` that lists take for granted, which read alike there. Default: all."""

    def is_waited_for(self, stage: str) -> bool:
        """Whether it is a deadline that people wait for in this stage."""
        return self.governs == stage or self.decides_in_every_stage


def rule_named(rules: tuple[DeadlineRule, ...], name: DeadlineName) -> DeadlineRule:
    """The row of a deadline."""
    return next(rule for rule in rules if rule.name is name)


DEADLINES: tuple[DeadlineRule, ...] = (
    DeadlineRule(
        name=DeadlineName.PAYMENT,
        stages=OPEN,
        window="payment_window",
        can_be_suspended=False,
        starts="the purchase",
        waiting_for="payments",
        label="{client's} payment is due",
        expiry=("R-06",),
    ),
    DeadlineRule(
        name=DeadlineName.REQUIREMENTS,
        stages=UNDECIDED,
        window="requirements_window",
        starts="the purchase",
        waiting_for="client",
        governs=AWAITING_REQUIREMENTS,
        decides_in_every_stage=True,
        label="{client's} requirements are due",
        reminds="client",
        reminder=texts.REQUIREMENTS_REMINDER,
        expiry=("R-11",),
    ),
    DeadlineRule(
        name=DeadlineName.FREELANCER_CANCEL,
        stages=UNDECIDED,
        window="freelancer_cancel_window",
        starts="the requirements (or the purchase, if none are needed)",
        waiting_for="freelancer",
        governs=FREELANCER_REVIEW,
        label="{freelancer's} time to cancel ends",
        reminds="freelancer",
        reminder=texts.FREELANCER_CANCEL_REMINDER,
        expiry=("R-12", "R-13"),
    ),
    DeadlineRule(
        name=DeadlineName.REFUND_DECISION,
        stages=(REFUND_REQUESTED,),
        window="refund_decision_window",
        starts="the client's cancel",
        starts_with=REFUND_REQUESTED,
        waiting_for="freelancer",
        governs=REFUND_REQUESTED,
        label="{freelancer's} answer to the refund request is due",
        reminds="freelancer",
        reminder=texts.REFUND_DECISION_REMINDER,
        expiry=("R-35", "R-36", "R-37"),
        usual=("R-35",),
    ),
    DeadlineRule(
        name=DeadlineName.CLAIM,
        stages=(CONTESTED,),
        window="claim_window",
        in_business_days=True,
        starts="the decline",
        starts_with=CONTESTED,
        waiting_for="client",
        governs=CONTESTED,
        label="{client's} answer to the claim is due",
        reminds="client",
        reminder=texts.CLAIM_REMINDER,
        expiry=("R-38", "R-39"),
        usual=("R-38",),
    ),
    DeadlineRule(
        name=DeadlineName.REVIEW,
        stages=(DELIVERED,),
        window="review_window",
        starts="each delivery",
        starts_with=DELIVERED,
        suspended_by_request=True,
        waiting_for="client",
        governs=DELIVERED,
        label="{client's} answer to the delivery is due",
        reminds="client",
        reminder=texts.REVIEW_REMINDER,
        expiry=("R-17",),
    ),
    DeadlineRule(
        name=DeadlineName.DORMANCY,
        stages=(IN_PROGRESS,),
        window="dormancy_window",
        starts="the work, and again each message of a party",
        starts_with=IN_PROGRESS,
        restarts_with_party_messages=True,
        waiting_for="freelancer",
        governs=IN_PROGRESS,
        label="the next message or delivery is due",
        expiry=("R-18",),
    ),
    DeadlineRule(
        name=DeadlineName.DISPUTE,
        stages=(DISPUTED,),
        window="dispute_window",
        starts="the dispute",
        starts_with=DISPUTED,
        waiting_for="mediator",
        governs=DISPUTED,
        label="the mediator's decision is due",
        expiry=("R-42",),
    ),
    DeadlineRule(
        name=DeadlineName.SETTLEMENT,
        stages=(SETTLING,),
        window="settlement_window",
        in_business_days=True,
        starts="the refund",
        waiting_for="payments",
        governs=SETTLING,
        label="{client's} refund is due",
        expiry=("R-64", "R-61"),
    ),
)
