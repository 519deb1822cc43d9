"""`decide`: what an event does to a purchase. Pure: no Temporal, no I/O, no clock of its own.

Everything that needs the rules asks here: signal handlers, update validators, the `actions` query,
the diagram in the docs and the exhaustive tests.
"""

from datetime import datetime, timedelta

from activities.amounts import format_amount
from workflows.lifecycle import handlers
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.pending import awaits_calendar, clear_resolved, is_kind_pending
from workflows.lifecycle.rejections import known_sender, reject
from workflows.lifecycle.state import (
    Accepted,
    AttentionKind,
    DeadlineComputed,
    DeadlineExpired,
    DeadlineName,
    DecisionPosted,
    EffectBlocked,
    Event,
    Fact,
    Movement,
    Notify,
    Payment,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PlatformCancelled,
    PostDecision,
    Refund,
    RefundAnswered,
    RefundStatus,
    Rejection,
    SendRefund,
    SettlementPosted,
    Stage,
    State,
    TakePayment,
    Terms,
    VoidPayment,
)
from workflows.lifecycle.transitions import Rule, choice_of
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
        (DeadlineName.REQUIREMENTS, policy.requirements_window)
        if needed
        else (DeadlineName.FREELANCER_CANCEL, policy.freelancer_cancel_window)
    )
    state = State(
        terms=terms,
        stage=Stage.AWAITING_REQUIREMENTS if needed else Stage.FREELANCER_REVIEW,
        requirements_received=not needed,
        deadlines={
            # The payment window is the time the provider is given, so it starts with the asking.
            DeadlineName.PAYMENT: now + policy.payment_window,
            first[0]: terms.purchased_at + first[1],
        },
    )
    return Accepted(state, (TakePayment(),), "purchased", _say(state, _PURCHASED))


_PURCHASED = "{client} bought a project of {freelancer} for {escrow}."


def decide(state: State, event: Event, now: datetime) -> Accepted | Rejection:
    """What `event` does to `state` at `now`: a new state and the effects it asks for, or a refusal.

    A message is refused with a code and a sentence that says what could be done instead. A fact
    that no longer matters (a deadline that is not running, an answer that came twice) is accepted
    and changes nothing.
    """
    draft = Draft(state, event, now)
    if isinstance(event, Message):
        return _hear(draft, event)
    return _learn(draft, event)


# --- messages


def _hear(draft: Draft, message: Message) -> Accepted | Rejection:
    before = draft.state
    if rejection := known_sender(before, message):
        return rejection
    rule = _row(draft, message)
    if rule is None:
        return reject(draft, message)
    if rejection := rule.then(draft):
        return rejection
    if draft.state.stage is Stage.IN_PROGRESS and message.by.role in (Role.CLIENT, Role.FREELANCER):
        draft.start(DeadlineName.DORMANCY)
    overdue = [at for at in before.deadlines.values() if at <= draft.now]
    return _tell(
        draft,
        before,
        rule,
        by=message.by.role,
        words=_words(message),
        late_by=draft.now - min(overdue) if overdue else None,
    )


def _row(draft: Draft, message: Message) -> Rule | None:
    for rule in open_rules(draft, message.by.role):
        if rule.message == message.name and rule.choice in (None, choice_of(message)):
            return rule
    return None


def _words(message: Message) -> str | None:
    for name in ("text", "reason", "note"):
        if words := getattr(message, name, None):
            return str(words)
    return None


# --- facts


def _learn(draft: Draft, fact: Fact) -> Accepted:
    match fact:
        case DeadlineExpired(deadline):
            return _deadline(draft, deadline)
        case DeadlineComputed(deadline, at):
            _deadline_known(draft, deadline, at)
        case PaymentHeld(reference):
            _payment_held(draft, reference)
        case PaymentDeclined():
            _payment_over(draft, "payment_declined", "The payment was declined; nothing was paid.")
        case PaymentVoided():
            _payment_over(
                draft,
                "payment_failed",
                "The payment could not be made and was called off; nothing was paid.",
            )
        case DecisionPosted():
            _decision_posted(draft)
        case RefundAnswered(attempt, status, reference, text):
            handlers.refund_answered(draft, attempt, status, reference, text)
        case SettlementPosted():
            _settlement_posted(draft)
        case EffectBlocked(step, text):
            _step_blocked(draft, step, text)
        case PlatformCancelled():
            _platform_cancelled(draft)
    clear_resolved(draft)
    told = next((e for e in draft.effects if isinstance(e, Notify)), None)
    return Accepted(
        draft.state,
        tuple(draft.effects),
        told.transition if told else "",
        told.what if told else "",
    )


def _deadline(draft: Draft, deadline: DeadlineName) -> Accepted:
    before = draft.state
    rule = deadline_rule(draft, deadline)
    if deadline not in before.deadlines or rule is None:
        draft.stop(deadline)
        return Accepted(draft.state)
    draft.stop(deadline)
    rule.then(draft)
    return _tell(draft, before, rule, by=None, words=None)


def _deadline_known(draft: Draft, deadline: DeadlineName, at: datetime) -> None:
    if awaits_calendar(draft.state, deadline):
        # An answer about an earlier claim, coming late, shortens nothing.
        draft.run_until(deadline, max(at, draft.state.deadlines.get(deadline, at)))


def _payment_held(draft: Draft, reference: str) -> None:
    if draft.state.payment not in (Payment.PENDING, Payment.VOIDING):
        return
    draft.stop(DeadlineName.PAYMENT)
    draft.set(payment=Payment.HELD, charge_reference=reference)
    draft.ask(
        Notify(
            "payment_held",
            "system",
            _say(draft.state, "{client} paid {escrow}; it is held in escrow."),
            "The money stays in escrow until both sides agree or a rule decides.",
            ("client", "freelancer"),
            movements=(Movement(draft.state.terms.amount, _PAYMENT_METHOD, _ESCROW),),
        )
    )
    if draft.state.decision:
        draft.carry_out()


def _payment_over(draft: Draft, outcome: str, what: str) -> None:
    if draft.state.payment not in (Payment.PENDING, Payment.VOIDING):
        return
    draft.set(payment=Payment.NONE)
    draft.close(outcome, outcome)
    draft.ask(
        Notify(
            outcome,
            "payments",
            what,
            "Without a payment there is no purchase.",
            ("client", "freelancer"),
        )
    )


def _decision_posted(draft: Draft) -> None:
    decision = draft.state.decision
    if decision is None or not is_kind_pending(draft.state, PostDecision.kind):
        return
    draft.set(posted=True)
    if decision.refund:
        draft.set(refund=Refund(decision.refund))
        draft.ask(SendRefund(1))
    else:
        draft.close("released", decision.reason)


def _settlement_posted(draft: Draft) -> None:
    decision, refund = draft.state.decision, draft.state.refund
    if refund is None or refund.status is not RefundStatus.ARRIVED:
        return
    assert decision is not None
    draft.set(refund=Refund(refund.amount, refund.attempt, RefundStatus.SETTLED, refund.references))
    draft.close("split" if decision.release else "refunded", decision.reason)
    draft.ask(
        Notify(
            "refund_settled",
            "payments",
            _say(draft.state, "The refund of {refund} has arrived at {client}."),
            "The purchase is closed; nothing is left in escrow.",
            ("client", "freelancer"),
            movements=(Movement(refund.amount, "refunds in transit", _PAYMENT_METHOD),),
        )
    )


def _step_blocked(draft: Draft, step: str, text: str) -> None:
    if not is_kind_pending(draft.state, step):
        return
    known = any(item.step == step for item in draft.state.attention)
    unknown_payment = step == VoidPayment.kind
    kind = AttentionKind.PAYMENT_UNKNOWN if unknown_payment else AttentionKind.EFFECT_BLOCKED
    draft.raise_alert(kind, text, step)
    if not known:
        draft.ask(
            Notify(
                kind.value,
                "system",
                f"The step “{step.replace('_', ' ')}” is held up: {text}",
                "What was decided stands. The step is tried again by itself from time to time, "
                "and at once when an operator says so.",
                ("operator",),
            )
        )


def _platform_cancelled(draft: Draft) -> None:
    if draft.state.stage in _DECIDED:
        return
    before = draft.state
    handlers.refund_all("cancelled_by_platform")(draft)
    draft.ask(
        Notify(
            "cancelled_by_platform",
            "operator",
            _say(
                draft.state, "The platform cancelled the purchase; {escrow} goes back to {client}."
            ),
            "The platform may cancel a purchase; the client gets all of the money back.",
            ("client", "freelancer"),
            movements=_movements(draft, before),
        )
    )


# --- telling


def _tell(
    draft: Draft,
    before: State,
    rule: Rule | DeadlineRule,
    *,
    by: Role | None,
    words: str | None,
    late_by: timedelta | None = None,
) -> Accepted:
    clear_resolved(draft)
    what = _say(draft.state, rule.says, by=by)
    if rule.recipients:
        draft.ask(
            Notify(
                rule.transition,
                by.value if by else "system",
                what,
                rule.rule,
                rule.recipients,
                words,
                _movements(draft, before),
            )
        )
    return Accepted(draft.state, tuple(draft.effects), rule.transition, what, late_by)


def _movements(draft: Draft, before: State) -> tuple[Movement, ...]:
    decision = draft.state.decision
    if decision is None or before.decision is not None:
        return ()
    services = (
        Movement(decision.refund, _ESCROW, _PAYMENT_METHOD),
        Movement(decision.release, _ESCROW, _FREELANCER),
    )
    return tuple(part for part in services if part.amount)


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
