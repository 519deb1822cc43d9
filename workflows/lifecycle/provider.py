"""What the rows do about money that moves at the provider without us: bank disputes, and what is
common to them and to refunds that others made (`elsewhere.py`).

While a bank has money that the purchase still has to pay, the purchase is frozen: deadlines are
suspended with the time they have left, and nothing is paid. What was paid before stays paid.
"""

from dataclasses import replace
from typing import cast

from activities.requests import MoveAccount
from workflows.lifecycle.draft import BANK, ESCROW, IN_TRANSIT, Draft
from workflows.lifecycle.events import (
    BankDisputeReported,
    CheckPayment,
    PaymentChecked,
    ProviderMovePosted,
    Rejection,
)
from workflows.lifecycle.pending import is_unposted
from workflows.lifecycle.state import (
    NOT_PAID,
    AttentionKind,
    BankDispute,
    Code,
    Payment,
    RefundStatus,
    State,
)

UNSENT = (RefundStatus.UNSENT, *NOT_PAID)
"""The provider has no such refund, so it can still be kept from sending it."""


def rejected_while_frozen(state: State) -> Rejection:
    """The rejection of what would pay money that the bank has."""
    dispute = state.frozen
    assert dispute is not None
    return Rejection(
        Code.FROZEN,
        f"The client's bank has taken {state.terms.format_amount(dispute.amount)} of this payment "
        "back and is looking into it. Nothing is paid until the bank has decided. Messages, "
        "requirements, deliveries and propose_split still work.",
    )


# --- what guards ask


def reported(draft: Draft) -> BankDisputeReported:
    """The event, in a row about bank disputes."""
    return cast(BankDisputeReported, draft.event)


def known(draft: Draft) -> BankDispute | None:
    """The reported dispute as this purchase knows it."""
    dispute_id = reported(draft).dispute_id
    return next((d for d in draft.state.bank_disputes if d.dispute_id == dispute_id), None)


def payable_from(state: State) -> MoveAccount | None:
    """Where the money is that the purchase still has to pay; None if nothing can be kept back."""
    if state.payment is not Payment.HELD:
        return None
    if not state.decision_posted:
        return "escrow" if state.held else None
    unsent = state.refund is not None and state.refund.status in UNSENT
    return "in_transit" if unsent and state.in_transit else None


def rest_after_loss(draft: Draft) -> int | None:
    """What is left to pay if the bank keeps what it took; None if it took nothing of it."""
    state, dispute = draft.state, known(draft)
    account: MoveAccount | None
    if dispute and dispute.status == "opened" and dispute.account:
        taken, account = dispute.amount, dispute.account
    elif (dispute is None or dispute.status == "inquiry") and (account := payable_from(state)):
        taken = min(reported(draft).amount, _left(state, account))
    else:
        return None
    return (state.escrow if account == "escrow" else state.refund_amount) - taken


def _left(state: State, account: str) -> int:
    return state.held if account == "escrow" else state.in_transit


# --- bank disputes


def note_dispute(
    draft: Draft, account: MoveAccount | None = None, taken: int | None = None
) -> BankDispute:
    """Remember the dispute as it is reported; `taken` was taken from `account`, if anything."""
    event, before = reported(draft), known(draft)
    at = before.since if before else draft.now
    amount = event.amount if taken is None else taken
    dispute = BankDispute(event.dispute_id, event.status, amount, at, event.reason, account or "")
    others = (d for d in draft.state.bank_disputes if d.dispute_id != event.dispute_id)
    draft.set(bank_disputes=(*others, dispute))
    draft.quote_reason(event.reason)
    draft.values["reference"] = event.dispute_id
    return dispute


def note_inquiry(draft: Draft) -> None:
    """The bank asks; no money was withdrawn."""
    note_dispute(draft)


def freeze(draft: Draft) -> None:
    """The bank has taken money that the purchase still has to pay."""
    _take(draft)
    draft.raise_alert(
        AttentionKind.BANK_DISPUTE,
        "The client's bank has taken money back. Answer the dispute at the payment provider; the "
        "purchase is frozen until the bank has decided.",
    )


def _take(draft: Draft) -> BankDispute:
    account = payable_from(draft.state)
    assert account is not None
    taken = min(reported(draft).amount, _left(draft.state, account))
    dispute = note_dispute(draft, account, taken)
    source = ESCROW if account == "escrow" else IN_TRANSIT
    draft.move(taken, source, BANK)
    draft.record_move("bank_dispute_opened", account, taken, dispute.dispute_id)
    return dispute


def win_dispute(draft: Draft) -> None:
    """The money is back where the bank took it from; the purchase goes on where it was."""
    before = known(draft)
    assert before is not None
    assert before.account
    note_dispute(draft, before.account, before.amount)
    target = ESCROW if before.account == "escrow" else IN_TRANSIT
    draft.move(before.amount, BANK, target)
    draft.record_move("bank_dispute_won", before.account, before.amount, before.dispute_id)
    _unfreeze(draft)
    draft.resume_payout()


def lose_dispute(draft: Draft) -> None:
    """The bank keeps what it took. A decision that was not posted was about more money than there
    is now: it is dropped. A refund that was posted shrinks by what the client has already."""
    before = known(draft)
    if before is None or before.status == "inquiry":
        before = _take(draft)
    assert before.account
    note_dispute(draft, before.account, before.amount)
    draft.record_move("bank_dispute_lost", before.account, before.amount, before.dispute_id)
    if refund := draft.state.refund:
        draft.set(refund=replace(refund, amount=refund.amount - before.amount))
        if refund.amount == before.amount:
            draft.clear_alert(AttentionKind.REFUND_FAILED)
    elif draft.state.decision:
        draft.drop_decision()
    beyond = max(0, reported(draft).amount - before.amount)  # what was not here to be taken
    _record_loss(draft, before.dispute_id, beyond)
    state = draft.state
    if not (state.refund_amount if before.account == "in_transit" else state.escrow):
        draft.set(reason="bank_dispute_lost")
    lapse_above_escrow(draft)
    _unfreeze(draft)
    if draft.state.refund and draft.state.refund.amount:
        draft.resume_payout()


def _unfreeze(draft: Draft) -> None:
    if not draft.state.frozen:
        draft.clear_alert(AttentionKind.BANK_DISPUTE)


def alert_after_payout(draft: Draft) -> None:
    """The money was paid before: staff get the evidence, and what the bank keeps is a loss."""
    dispute, state = note_dispute(draft), draft.state
    evidence = f" The refund {state.refund_name} was sent before." if state.refund else ""
    draft.values["evidence"] = evidence
    lost = dispute.status == "lost"
    if lost:
        _record_loss(draft, dispute.dispute_id, dispute.amount)
    if lost and state.in_aftercare:  # no person is needed: the loss is posted, and that is all
        _clear_alert_of_disputes(draft)
        return
    if not lost:
        draft.values["debt"] = draft.amount(debt_of_freelancer(state, dispute.amount))
    draft.raise_alert(
        AttentionKind.BANK_DISPUTE,
        f"Bank dispute {dispute.dispute_id} about {draft.amount(dispute.amount)}: "
        f"{dispute.status}.{evidence} Send the evidence to the payment provider.",
    )


def end_dispute(draft: Draft) -> None:
    """A dispute that took nothing of what was still to be paid ended well."""
    note_dispute(draft)
    _clear_alert_of_disputes(draft)


def _clear_alert_of_disputes(draft: Draft) -> None:
    if all(dispute.status != "opened" for dispute in draft.state.bank_disputes):
        draft.clear_alert(AttentionKind.BANK_DISPUTE)


def alert_changed_dispute(draft: Draft) -> None:
    """The bank decided otherwise than before. What was booked stays, and nothing is paid until a
    person has looked into it."""
    event, before = reported(draft), known(draft)
    assert before is not None
    draft.set(
        bank_disputes=tuple(
            replace(it, changed_to=event.status) if it is before else it
            for it in draft.state.bank_disputes
        )
    )
    draft.values["reference"] = event.dispute_id
    draft.raise_alert(
        AttentionKind.BANK_DISPUTE_CHANGED,
        f"Bank dispute {event.dispute_id} was {before.newest} and is {event.status} now. Nothing "
        "more is paid meanwhile. Compare the ledger with the payment provider. Then send "
        "resolve_attention with retry to pay what is decided.",
    )


def debt_of_freelancer(state: State, amount: int) -> int:
    """What the policy lays on the freelancer if a bank keeps `amount` of money that was paid out;
    no more than was released."""
    if state.terms.policy.chargeback_after_release == "platform":
        return 0
    owed = sum(move.amount for move in state.moves if move.account == "freelancer_receivable")
    return max(0, min(amount - state.refund_amount, state.released - owed))


def _record_loss(draft: Draft, dispute_id: str, amount: int) -> None:
    """What a bank keeps of money that was paid out: the platform bears it, but for the freelancer's
    debt."""
    theirs = debt_of_freelancer(draft.state, amount)
    draft.values["debt"] = draft.amount(theirs)
    draft.record_move("bank_dispute_loss", "platform_losses", amount - theirs, dispute_id)
    draft.record_move("bank_dispute_loss", "freelancer_receivable", theirs, dispute_id)


def lapse_above_escrow(draft: Draft) -> None:
    """An offer or a claim above what is left has no meaning any more."""
    offer, claim = draft.state.offer, draft.state.claim
    if offer and offer.refund > draft.state.escrow:
        draft.set(offer=None)
    if claim and claim > draft.state.escrow:
        draft.set(claim=None)


# --- both, and refunds made elsewhere


def request_payment_check(draft: Draft) -> None:
    """Ask the provider for everything about the payment."""
    draft.set(payment_checks=draft.state.payment_checks + 1)
    if draft.state.payment is Payment.HELD:
        draft.emit(CheckPayment(draft.state.payment_checks))


def record_checked(draft: Draft) -> None:
    """The provider has answered."""
    draft.set(payment_checks_done=cast(PaymentChecked, draft.event).number)


def posted_number(draft: Draft) -> int:
    """Which move the ledger has, in a row about postings."""
    return cast(ProviderMovePosted, draft.event).number


def record_posted(draft: Draft) -> None:
    """The ledger has what moved at the provider."""
    number = posted_number(draft)
    moves = list(draft.state.moves)
    moves[number] = replace(moves[number], posted=True)
    draft.set(moves=tuple(moves))


def close_by_provider(draft: Draft) -> None:
    """Nothing is left to pay: a bank or somebody else has given it to the client."""
    record_posted(draft)
    state = draft.state
    assert state.reason is not None
    draft.close("charged_back" if state.charged_back else "refunded", state.reason)


def nothing_left(draft: Draft) -> bool:
    """Whether this posting is the last, and nothing is held or in transit."""
    state = draft.state
    if state.in_aftercare:
        return False
    number = posted_number(draft)
    others = all(move.posted for n, move in enumerate(state.moves) if n != number)
    unpaid = state.held or state.in_transit or is_unposted(state) or state.frozen
    return others and not unpaid
