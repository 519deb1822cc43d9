"""`decide`: what an event does to a purchase. Pure: no Temporal, no I/O, no clock of its own.

Everything that needs the rules asks here: signal handlers, update validators, the `actions` query,
the diagram in the docs and the exhaustive tests.
"""

from datetime import datetime, timedelta

from activities.amounts import format_amount
from workflows.lifecycle import act
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.refuse import known_sender, refuse
from workflows.lifecycle.rules import Rule, choice_of
from workflows.lifecycle.state import (
    Accepted,
    AttentionKind,
    CallOffPayment,
    Clock,
    DeadlineKnown,
    DeadlineReached,
    DecisionPosted,
    Event,
    Fact,
    Movement,
    Notify,
    Payment,
    PaymentCalledOff,
    PaymentDeclined,
    PaymentHeld,
    PlatformCancelled,
    PostDecision,
    Refund,
    RefundAnswered,
    RefundStatus,
    Refusal,
    SendRefund,
    SettlementPosted,
    Stage,
    State,
    StepBlocked,
    TakePayment,
    Terms,
)
from workflows.lifecycle.turn import Turn
from workflows.lifecycle.unfinished import awaits_calendar, forget_unblocked, in_hand
from workflows.lifecycle.versions import deadline_rule, open_rules
from workflows.messages import Message, Role

_PAYMENT_METHOD = "the client's payment method"
_ESCROW = "escrow"
_FREELANCER = "the freelancer's balance"
_DECIDED = (Stage.SETTLING, Stage.CLOSED)


def begin(terms: Terms, now: datetime) -> Accepted:
    """The purchase at its first moment: the payment is asked for, and the stages already run."""
    policy = terms.policy
    needed = terms.requirements_needed
    first = (
        (Clock.REQUIREMENTS, policy.requirements_window)
        if needed
        else (Clock.FREELANCER_CANCEL, policy.freelancer_cancel_window)
    )
    state = State(
        terms=terms,
        stage=Stage.AWAITING_REQUIREMENTS if needed else Stage.FREELANCER_REVIEW,
        requirements_received=not needed,
        clocks={
            # The payment window is the time the provider is given, so it starts with the asking.
            Clock.PAYMENT: now + policy.payment_window,
            first[0]: terms.purchased_at + first[1],
        },
    )
    return Accepted(state, (TakePayment(),), "purchased", _say(state, _PURCHASED))


_PURCHASED = "{client} bought a project of {freelancer} for {escrow}."


def decide(state: State, event: Event, now: datetime) -> Accepted | Refusal:
    """What `event` does to `state` at `now`: a new state and the effects it asks for, or a refusal.

    A message is refused with a code and a sentence that says what could be done instead. A fact
    that no longer matters (a deadline that is not running, an answer that came twice) is accepted
    and changes nothing.
    """
    turn = Turn(state, event, now)
    if isinstance(event, Message):
        return _hear(turn, event)
    return _learn(turn, event)


# --- messages


def _hear(turn: Turn, message: Message) -> Accepted | Refusal:
    before = turn.state
    if refusal := known_sender(before, message):
        return refusal
    rule = _row(turn, message)
    if rule is None:
        return refuse(turn, message)
    if refusal := rule.then(turn):
        return refusal
    if turn.state.stage is Stage.IN_PROGRESS and message.by.role in (Role.CLIENT, Role.FREELANCER):
        turn.start(Clock.DORMANCY)
    overdue = [at for at in before.clocks.values() if at <= turn.now]
    return _tell(
        turn,
        before,
        rule,
        by=message.by.role,
        words=_words(message),
        late_by=turn.now - min(overdue) if overdue else None,
    )


def _row(turn: Turn, message: Message) -> Rule | None:
    for rule in open_rules(turn, message.by.role):
        if rule.message == message.name and rule.choice in (None, choice_of(message)):
            return rule
    return None


def _words(message: Message) -> str | None:
    for name in ("text", "reason", "note"):
        if words := getattr(message, name, None):
            return str(words)
    return None


# --- facts


def _learn(turn: Turn, fact: Fact) -> Accepted:
    match fact:
        case DeadlineReached(clock):
            return _deadline(turn, clock)
        case DeadlineKnown(clock, at):
            _deadline_known(turn, clock, at)
        case PaymentHeld(reference):
            _payment_held(turn, reference)
        case PaymentDeclined():
            _payment_over(turn, "payment_declined", "The payment was declined; nothing was paid.")
        case PaymentCalledOff():
            _payment_over(
                turn,
                "payment_failed",
                "The payment could not be made and was called off; nothing was paid.",
            )
        case DecisionPosted():
            _decision_posted(turn)
        case RefundAnswered(attempt, status, reference, text):
            act.refund_answered(turn, attempt, status, reference, text)
        case SettlementPosted():
            _settlement_posted(turn)
        case StepBlocked(step, text):
            _step_blocked(turn, step, text)
        case PlatformCancelled():
            _platform_cancelled(turn)
    forget_unblocked(turn)
    told = next((e for e in turn.effects if isinstance(e, Notify)), None)
    return Accepted(
        turn.state,
        tuple(turn.effects),
        told.transition if told else "",
        told.what if told else "",
    )


def _deadline(turn: Turn, clock: Clock) -> Accepted:
    before = turn.state
    rule = deadline_rule(turn, clock)
    if clock not in before.clocks or rule is None:
        turn.stop(clock)
        return Accepted(turn.state)
    turn.stop(clock)
    rule.then(turn)
    return _tell(turn, before, rule, by=None, words=None)


def _deadline_known(turn: Turn, clock: Clock, at: datetime) -> None:
    if awaits_calendar(turn.state, clock):
        # An answer about an earlier claim, coming late, shortens nothing.
        turn.run_until(clock, max(at, turn.state.clocks.get(clock, at)))


def _payment_held(turn: Turn, reference: str) -> None:
    if turn.state.payment not in (Payment.PENDING, Payment.CALLING_OFF):
        return
    turn.stop(Clock.PAYMENT)
    turn.set(payment=Payment.HELD, charge_reference=reference)
    turn.ask(
        Notify(
            "payment_held",
            "system",
            _say(turn.state, "{client} paid {escrow}; it is held in escrow."),
            "The money stays in escrow until both sides agree or a rule decides.",
            ("client", "freelancer"),
            movements=(Movement(turn.state.terms.amount, _PAYMENT_METHOD, _ESCROW),),
        )
    )
    if turn.state.decision:
        turn.carry_out()


def _payment_over(turn: Turn, outcome: str, what: str) -> None:
    if turn.state.payment not in (Payment.PENDING, Payment.CALLING_OFF):
        return
    turn.set(payment=Payment.NONE)
    turn.close(outcome, outcome)
    turn.ask(
        Notify(
            outcome,
            "payments",
            what,
            "Without a payment there is no purchase.",
            ("client", "freelancer"),
        )
    )


def _decision_posted(turn: Turn) -> None:
    decision = turn.state.decision
    if decision is None or not in_hand(turn.state, PostDecision.kind):
        return
    turn.set(posted=True)
    if decision.refund:
        turn.set(refund=Refund(decision.refund))
        turn.ask(SendRefund(1))
    else:
        turn.close("released", decision.reason)


def _settlement_posted(turn: Turn) -> None:
    decision, refund = turn.state.decision, turn.state.refund
    if refund is None or refund.status is not RefundStatus.ARRIVED:
        return
    assert decision is not None
    turn.set(refund=Refund(refund.amount, refund.attempt, RefundStatus.SETTLED, refund.references))
    turn.close("split" if decision.release else "refunded", decision.reason)
    turn.ask(
        Notify(
            "refund_settled",
            "payments",
            _say(turn.state, "The refund of {refund} has arrived at {client}."),
            "The purchase is closed; nothing is left in escrow.",
            ("client", "freelancer"),
            movements=(Movement(refund.amount, "refunds in transit", _PAYMENT_METHOD),),
        )
    )


def _step_blocked(turn: Turn, step: str, text: str) -> None:
    if not in_hand(turn.state, step):
        return
    known = any(item.step == step for item in turn.state.attention)
    unknown_payment = step == CallOffPayment.kind
    kind = AttentionKind.PAYMENT_UNKNOWN if unknown_payment else AttentionKind.STEP_BLOCKED
    turn.alert(kind, text, step)
    if not known:
        turn.ask(
            Notify(
                kind.value,
                "system",
                f"The step “{step.replace('_', ' ')}” is held up: {text}",
                "What was decided stands. The step is tried again by itself from time to time, "
                "and at once when an operator says so.",
                ("operator",),
            )
        )


def _platform_cancelled(turn: Turn) -> None:
    if turn.state.stage in _DECIDED:
        return
    before = turn.state
    act.refund_all("cancelled_by_platform")(turn)
    turn.ask(
        Notify(
            "cancelled_by_platform",
            "operator",
            _say(
                turn.state, "The platform cancelled the purchase; {escrow} goes back to {client}."
            ),
            "The platform may cancel a purchase; the client gets all of the money back.",
            ("client", "freelancer"),
            movements=_movements(turn, before),
        )
    )


# --- telling


def _tell(
    turn: Turn,
    before: State,
    rule: Rule | DeadlineRule,
    *,
    by: Role | None,
    words: str | None,
    late_by: timedelta | None = None,
) -> Accepted:
    forget_unblocked(turn)
    what = _say(turn.state, rule.says, by=by)
    if rule.readers:
        turn.ask(
            Notify(
                rule.transition,
                by.value if by else "system",
                what,
                rule.rule,
                rule.readers,
                words,
                _movements(turn, before),
            )
        )
    return Accepted(turn.state, tuple(turn.effects), rule.transition, what, late_by)


def _movements(turn: Turn, before: State) -> tuple[Movement, ...]:
    decision = turn.state.decision
    if decision is None or before.decision is not None:
        return ()
    parts = (
        Movement(decision.refund, _ESCROW, _PAYMENT_METHOD),
        Movement(decision.release, _ESCROW, _FREELANCER),
    )
    return tuple(part for part in parts if part.amount)


def _say(state: State, sentence: str, by: Role | None = None) -> str:
    terms = state.terms
    names = {Role.CLIENT: terms.client.name, Role.FREELANCER: terms.freelancer.name}
    used = {
        name: format_amount(minor, terms.currency)
        for name, minor in state.amounts.items()
        if f"{{{name}}}" in sentence
    }
    speaker = names.get(by, by.value) if by else "the system"
    return sentence.format(
        client=terms.client.name, freelancer=terms.freelancer.name, by=speaker, **used
    )
