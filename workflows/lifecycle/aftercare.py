"""The rules of an aftercare case: news about the payment of a purchase that was closed.

A case has the state that the purchase closed with, made of what ledger and provider have, in the
stage `settling`. So the rows about refunds, bank disputes and refunds made elsewhere hold there,
too. It ends when nothing is open any more.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Literal, cast

from activities.requests import ClosedPurchase, HandledNews
from workflows.lifecycle.draft import IN_TRANSIT, PAYMENT_METHOD, Draft
from workflows.lifecycle.events import RefundReported, Rejection
from workflows.lifecycle.state import (
    RESTORED,
    Attention,
    AttentionKind,
    BankDispute,
    Code,
    Decision,
    Payment,
    ProviderMove,
    Refund,
    RefundElsewhere,
    RefundStatus,
    Settlement,
    Stage,
    State,
    Terms,
)

RETURNED = (
    "The refund came back. The money is in transit. Send resolve_attention: retry to send it "
    "again, or mark_settled with a reference to the proof of how it was paid."
)


def begin_case(terms: Terms, closed: ClosedPurchase, now: datetime) -> State:
    """The case at its first moment: it looks at the payment first. After the aftercare window it is
    closed at once."""
    is_late = now > closed.closed_at + terms.policy.aftercare_window
    decided = closed.decision
    state = State(
        terms,
        Stage.CLOSED if is_late else Stage.SETTLING,
        {},
        payment=Payment.HELD,
        charge_reference=closed.charge_reference,
        requirements_received=True,
        decision=Decision(RESTORED, decided.refund, decided.release, decided.at)
        if decided
        else None,
        decision_posted=decided is not None,
        bank_disputes=tuple(_disputes(closed)),
        moves=tuple(
            ProviderMove(m.kind, m.account, m.amount, m.reference, m.at, posted=True)
            for m in closed.moves
        ),
        refunds_elsewhere=tuple(_refunds_elsewhere(closed)),
        payment_checks=0 if is_late else 1,
        reason=RESTORED,
        closed_at=closed.closed_at,
        in_aftercare=True,
        settlements=closed.settlements,
    )
    if decided and decided.refund:
        state = _with_refund(state, closed)
    state = replace(state, outcome=_outcome(state))
    if state.refund and state.refund.status is RefundStatus.RETURNED and not is_late:
        alert = Attention(AttentionKind.REFUND_FAILED, RETURNED, now)
        state = replace(state, attention=(alert,))
    return state


def _with_refund(state: State, closed: ClosedPurchase) -> State:
    """The refund as it was settled, or as it came back before this case began."""
    assert closed.decision is not None
    lost = sum(
        move.amount
        for move in closed.moves
        if move.kind == "bank_dispute_lost" and move.account == "in_transit"
    )
    if not (amount := closed.decision.refund - lost):
        return state
    names = tuple(each.reference for each in closed.attempts) or ("",)
    refund = Refund(amount, len(names), RefundStatus.SETTLED, names, posted=True)
    if closed.in_transit or state.frozen:
        pending = closed.attempts and closed.attempts[-1].status != "failed"
        status = RefundStatus.PENDING if pending else RefundStatus.RETURNED
        return replace(state, refund=replace(refund, status=status, posted=False))
    number, at = closed.settled_attempt, closed.settled_at or closed.closed_at
    proof = (names[number - 1] or state.refund_id(number)) if number else ""
    return replace(
        state, refund=refund, settlement=Settlement(proof, at, proved_by_person=not number)
    )


def _disputes(closed: ClosedPurchase) -> Iterator[BankDispute]:
    """The bank disputes about which the ledger has a posting, as they ended, and those that were
    handled without one, as they were then."""
    found: dict[str, BankDispute] = {}
    for move in closed.moves:
        name = move.reference
        match move.kind:
            case "bank_dispute_opened":
                found[name] = BankDispute(name, "opened", move.amount, move.at, "", move.account)
            case "bank_dispute_won":
                found[name] = replace(found[name], status="won")
            case "bank_dispute_lost":
                found[name] = replace(found[name], status="lost")
            case "bank_dispute_loss":
                before = found[name].amount if name in found else 0
                found[name] = BankDispute(name, "lost", before + move.amount, move.at)
    posted = frozenset(found)
    for each in closed.handled:
        name = each.reference
        if each.kind != "dispute":
            continue
        if name not in posted:
            status = cast(Literal["inquiry", "opened", "won", "lost"], each.status)
            found[name] = BankDispute(name, status, each.amount, closed.closed_at)
        elif found[name].ended and found[name].status != each.status:
            found[name] = replace(found[name], changed_to=each.status)
    yield from found.values()


def _refunds_elsewhere(closed: ClosedPurchase) -> Iterator[RefundElsewhere]:
    """Those that the ledger has, and those that a person has settled."""
    made = {m.reference: m.amount for m in closed.moves if m.kind == "refunded_elsewhere"}
    failed = {m.reference for m in closed.moves if m.kind == "refund_elsewhere_failed"}
    for each in closed.handled:
        if each.kind == "refund" and each.status == "made":
            made.setdefault(each.reference, each.amount)
        elif each.kind == "refund":
            failed.add(each.reference)
    for reference, amount in made.items():
        yield RefundElsewhere(reference, amount, failed=reference in failed)


def handled_news(state: State) -> Iterator[HandledNews]:
    """The news about its payment that the purchase, or its case, has handled when it ends."""
    for it in state.bank_disputes:
        yield HandledNews(
            kind="dispute", reference=it.dispute_id, status=it.newest, amount=it.amount
        )
    for made in state.refunds_elsewhere:
        statuses = ("made", "failed") if made.failed else ("made",)
        for status in statuses:
            yield HandledNews(
                kind="refund", reference=made.reference, status=status, amount=made.amount
            )


def _outcome(state: State) -> str:
    if state.charged_back and not state.decision:
        return "charged_back"
    if state.released:
        return "split" if state.refund_amount else "released"
    return "refunded"


def is_over(draft: Draft) -> bool:
    """Whether nothing is open: no person is needed, no refund is on its way, no bank is deciding,
    everything is posted, and the provider was asked."""
    state = draft.state
    settled = state.refund is None or state.refund.posted or not state.refund.amount
    decided = all(dispute.status != "opened" for dispute in state.bank_disputes)
    posted = all(move.posted for move in state.moves)
    asked = state.payment_checks_done == state.payment_checks
    return state.in_aftercare and settled and decided and posted and asked and not state.attention


def take_back(draft: Draft) -> None:
    """The settled refund came back: its money is in transit again until a person decides."""
    event, refund = draft.event, draft.state.refund
    assert refund is not None
    assert draft.state.settlement is not None
    draft.quote_reason(event.text if isinstance(event, RefundReported) else "")
    draft.record_move(
        "refund_returned", "in_transit", refund.amount, draft.state.settlement.reference
    )
    draft.move(refund.amount, PAYMENT_METHOD, IN_TRANSIT)
    draft.set(refund=replace(refund, status=RefundStatus.RETURNED, posted=False), settlement=None)
    draft.raise_alert(AttentionKind.REFUND_FAILED, RETURNED)


def record_settled(draft: Draft) -> None:
    """The ledger has the settlement of the refund that came back."""
    refund = draft.state.refund
    assert refund is not None
    draft.set(refund=replace(refund, posted=True), settlements=draft.state.settlements + 1)
    draft.move(refund.amount, IN_TRANSIT, PAYMENT_METHOD)


def acknowledge(draft: Draft) -> Rejection | None:
    """An operator has settled a refund made elsewhere without Recourse. A dispute that the bank has
    not decided stays open."""
    before = draft.state.attention
    draft.clear_alert(AttentionKind.REFUNDED_ELSEWHERE, AttentionKind.REFUND_ELSEWHERE_FAILED)
    if draft.state.attention == before:
        return Rejection(
            Code.NOT_ALLOWED_NOW,
            "Nothing here can be marked as settled: the case waits for the bank, or for a retry.",
        )
    return None
