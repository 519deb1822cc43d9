"""The records of ledger, provider and Temporal about a purchase, compared without I/O: for the
audit and for `restore`."""

import shlex
from collections.abc import Iterator, Sequence

from activities.amounts import format_amount
from activities.keys import workflow_id_of
from activities.ledger import PurchaseBalances
from activities.payments import ChargeRecord, RefundRecord
from activities.records import PurchaseRecords, hold_of
from activities.requests import Difference


def compare(records: PurchaseRecords) -> Iterator[Difference]:
    """Yield the differences of one purchase, each with what to do."""
    balances = records.balances
    if balances and records.is_money_inside and records.workflow != "open":
        places = [(balances.held, "escrow"), (balances.in_transit, "transit")]
        if records.moves.in_dispute:
            places.append((records.moves.in_dispute, "a bank dispute"))
        amounts = " and ".join(f"{_format(balances, each)} in {where}" for each, where in places)
        what = f"Purchase {records.purchase_id} has {amounts}, but its workflow is not running."
        if records.has_returned and records.workflow != "ended":
            yield difference(records, what, CASE_ENDED).model_copy(update={"is_news": True})
        else:
            yield difference(records, what, resume_advice(records))
    yield from _compare_disputes(records)
    if records.unreadable:
        for record in records.unreadable:
            what = f"the provider's record {record.reference} cannot be read: {record.why}."
            yield named_difference(records, what, UNREADABLE)
    elif balances is None:
        yield from _compare_without_hold(records)
    else:
        yield from _compare_charges(records, balances)
        yield from _compare_refunds(records, balances)


def _compare_disputes(records: PurchaseRecords) -> Iterator[Difference]:
    listed = {each.dispute_id for each in records.disputes}
    posted = records.moves.disputes
    for charge in records.charges:
        if charge.disputed and not charge.disputes and not posted | records.known_disputes:
            what = f"the client's bank disputes the payment of {charge.amount} ({charge.reference})"
            yield named_difference(records, f"{what}, or has disputed it.", DISPUTED)
        currency = records.balances.currency if records.balances else charge.amount.currency
        for dispute, has in records.moves.compare_disputes(
            charge.disputes, currency, records.known_disputes
        ):
            what = (
                f"the client's bank disputes {dispute.amount} ({dispute.dispute_id}: "
                f"{dispute.status} at the provider); the ledger has {has}."
            )
            is_new = dispute.dispute_id not in posted
            advice = {"opened": DISPUTED, "lost": BANK_KEEPS}.get(dispute.status, COMPARE)
            yield _news(named_difference(records, what, advice if is_new else COMPARE), records)
    if any(each.disputes or not each.disputed for each in records.charges):
        for dispute_id in sorted(posted - listed):
            what = f"the ledger has the bank dispute {dispute_id}, which the provider has not."
            yield named_difference(records, what, COMPARE)


def _compare_without_hold(records: PurchaseRecords) -> Iterator[Difference]:
    name, sent = f"Purchase {records.purchase_id}", records.not_failed
    if records.charged and records.workflow != "open":
        refunded = f" and refunded ({sum_of(sent)})" if sent else ""
        what = f"{name} was paid ({sum_of(records.charges)}){refunded}, but the ledger has no hold "
        yield difference(records, f"{what}for it.", if_registered(records, restore_advice(records)))
    elif records.refunds:
        yield difference(
            records,
            f"{name} was refunded at the provider, but the ledger has no posting for it.",
            restore_advice(records),
        )


def _compare_charges(records: PurchaseRecords, balances: PurchaseBalances) -> Iterator[Difference]:
    hold = str(hold_of(balances))
    if [str(each.amount) for each in records.charges] != [hold]:
        charged = ", ".join(str(each.amount) for each in records.charges) or "nothing"
        what = (
            f"Purchase {records.purchase_id} has a hold of {hold}; the provider charged {charged}."
        )
        yield difference(records, what, COMPARE)
    for charge in records.charges:
        refunds = [each for each in records.refunds if each.charge_reference == charge.reference]
        sent = [each for each in refunds if each.status != "failed"]
        # Providers differ in whether they still count a refund that has failed.
        possible = {sum(each.amount.amount for each in some) for some in (sent, refunds)}
        if charge.refunded is not None and charge.refunded not in possible:
            counted = format_amount(charge.refunded, charge.amount.currency)
            what = f"the provider counts {counted} of {charge.reference} as refunded, and lists "
            yield named_difference(records, f"{what}refunds of {sum_of(sent)}.", COUNTED)


def _compare_refunds(records: PurchaseRecords, balances: PurchaseBalances) -> Iterator[Difference]:
    sent, amounts = records.not_failed, sum_of(records.not_failed)
    decided = balances.in_transit + records.settled
    made_elsewhere = sum(
        each.amount.amount
        for each in records.refunds
        if each.status != "failed" and records.moves.has_refund(each)
    )
    if made_elsewhere != records.moves.elsewhere:
        what = f"the ledger has refunds of {_format(balances, records.moves.elsewhere)} made "
        what += f"elsewhere, the provider {_format(balances, made_elsewhere)}."
        yield named_difference(records, what, COMPARE)
    if sent and not records.decided:
        what = f"the provider refunded {amounts}; the ledger has no decision about it."
        yield named_difference(records, what, restore_advice(records))
    elif records.sent not in (0, decided) or any(
        each.amount.currency != balances.currency for each in sent
    ):
        what = f"the provider refunded {amounts}; the ledger's decision is to refund "
        yield named_difference(records, f"{what}{_format(balances, decided)}.", WHO_REFUNDED)
    elif balances.in_transit and records.is_refunded_elsewhere:
        what = f"the provider refunded {amounts}, and not for this purchase's request."
        yield named_difference(records, what, ELSEWHERE)
    elif records.settled:
        yield from _compare_settlement(records, balances)


def _compare_settlement(
    records: PurchaseRecords, balances: PurchaseBalances
) -> Iterator[Difference]:
    """A refund that the ledger has as settled, which may be presumed after it was sent. A person's
    proof says that the client has the money, and nothing about the refund at the provider, which
    may still arrive or come back."""
    settled = sum(
        each.amount.amount for each in records.not_failed if each.status in ("sent", "settled")
    )
    states = ", ".join(sorted({each.status for each in records.own_refunds})) or "unknown"
    what = f"the ledger has the refund of {_format(balances, records.settled)} as settled "
    if _is_by_provider(records):
        if settled < records.settled:
            what += f"({records.proof}), but at the provider it is {states}."
            if records.not_failed:
                yield named_difference(records, what, STILL_PENDING)
            elif records.own_refunds:
                yield _news(named_difference(records, what, CAME_BACK), records)
            else:
                yield named_difference(records, what, NOT_ARRIVED)
    elif records.not_failed:
        what += f"by another proof ({records.proof}), and at the provider it is {states}."
        yield named_difference(records, what, PERHAPS_TWICE)


def _news(found: Difference, records: PurchaseRecords) -> Difference:
    """Mark what an aftercare case is opened for."""
    return found.model_copy(update={"is_news": records.is_closed})


def is_settled_without_refund(records: PurchaseRecords) -> bool:
    """Whether the ledger has a refund as settled that the provider does not have."""
    return bool(records.settled) and not records.not_failed and not _is_by_provider(records)


def _is_by_provider(records: PurchaseRecords) -> bool:
    """Whether the proof of the settlement names the provider's refund."""
    names = {
        name
        for each in records.refunds
        for name in (each.refund_id, each.reference, each.bank_reference)
    }
    names.add(f"{workflow_id_of(records.purchase_id)}/refund")
    return any(name and name in (records.proof or "") for name in names)


def resume_advice(records: PurchaseRecords, *, decided: bool = False) -> str:
    """What to do about money inside, if its workflow is not running. A purchase that continues may
    pay it out, so nobody else may have done so. `decided`: the refunds are those of its decision,
    which the ledger need not have yet."""
    if records.workflow != "ended":
        return restore_advice(records)
    if records.is_disputed:
        return f"Do not resume it yet. {DISPUTED}"
    undecided = not decided and not records.decided
    if (undecided and records.not_failed) or records.is_refunded_elsewhere:
        return f"Do not resume it: a part of the money was refunded by somebody else. {COMPARE}"
    return (
        "Resume the purchase, so that its money moves by the rules: "
        f"recourse adopt {shlex.quote(records.purchase_id)}"
    )


COMPARE = "Compare with the payment provider's records before any more money moves."
LOOK = "Open its workflow in the Web UI."
RESEND = (
    "Temporal was restored to an older state. Send the messages that led to the decision again; "
    "the ledger rejects a different decision."
)
WHO_REFUNDED = (
    "Find out at the provider who sent the other refund. Leave the ledger as it is: settle the "
    "difference with the client, or with the freelancer whose money it was."
)
ELSEWHERE = (
    "Look it up at the provider. The purchase asks for a refund of its own; if the provider "
    "rejects that one, record the one that the client got: resolve-attention with mark_settled and "
    "its reference. If the client gets both, ask for one of them back."
)
COUNTED = (
    "Look at the charge at the provider. Send no money before you know which of them is right."
)
DISPUTED = (
    "Answer the dispute at the provider. Until it is decided, send the client no money, because "
    "the bank may pay the same money back; if money is in escrow, press Pause in the Web UI."
)
BANK_KEEPS = (
    "The bank keeps this money: send the client none on top. The purchase posts it when the "
    "provider reports it; if it has not in a day, let the provider send the event again."
)
NOT_REGISTERED = (
    "Move no money. The ledger has never registered this purchase: the charge may be of another "
    "database under the same deployment name, where it is held, released or refunded."
)
NOT_ARRIVED = (
    "The client may not have the money. Ask the provider whether the refund may still arrive. Only "
    "if it cannot, send the money another way, and keep the proof. Leave the ledger as it is."
)
CAME_BACK = (
    "The refund came back. The daily audit opens an aftercare case, in which it can be sent again: "
    "see the purchase's status. If its aftercare window is over, ask the client how to pay the "
    "money, and keep the proof."
)
CASE_ENDED = (
    "A refund came back, and its aftercare case was ended before the money was paid. The daily "
    "audit opens another one."
)
STILL_PENDING = (
    "Wait, and ask the provider when the refund arrives. Send nothing another way meanwhile: the "
    "client would get the money twice."
)
PERHAPS_TWICE = (
    "If the money was sent another way as well, the client gets it twice: ask for one of them "
    "back. If the proof is of this very refund, nothing is wrong."
)
UNREADABLE = (
    "Nothing else at the provider was compared. Compare this purchase by hand, and send this "
    "sentence to the developers: the currency may be missing in activities/currencies.py."
)


def begin_again(records: PurchaseRecords) -> str:
    """How a workflow that cannot come to the ledger's decision carries it out."""
    return (
        "If Temporal was restored and the purchase cannot come to the ledger's decision again, as "
        "when it was made by time, terminate its workflow and begin it again with that decision: "
        f"recourse adopt {shlex.quote(records.purchase_id)} --from-terms"
    )


def restore_advice(records: PurchaseRecords) -> str:
    """What to do about records that the ledger may have lost."""
    return (
        "Post again what the ledger has lost, or see what else to do: "
        f"recourse restore {shlex.quote(records.purchase_id)}"
    )


def if_registered(records: PurchaseRecords, advice: str) -> str:
    """This advice, for a purchase that the ledger has registered before it lost the rest."""
    if records.registered:
        return advice
    return f"{NOT_REGISTERED} Otherwise: {advice[0].lower()}{advice[1:]}"


def decision_of(records: PurchaseRecords, balances: PurchaseBalances) -> str:
    """How the ledger's decision divides the money."""
    refund = _format(balances, records.decided - balances.released)
    return f"{refund} to refund, {_format(balances, balances.released)} released"


def difference(records: PurchaseRecords, what: str, what_to_do: str) -> Difference:
    """A difference of this purchase."""
    return Difference(purchase_id=records.purchase_id, what=what, what_to_do=what_to_do)


def sum_of(records: Sequence[ChargeRecord | RefundRecord]) -> str:
    """The amounts of these records, as a sum."""
    return " + ".join(str(each.amount) for each in records) or "nothing"


def named_difference(records: PurchaseRecords, what: str, what_to_do: str) -> Difference:
    """A difference of this purchase, whose sentence begins with its name."""
    return difference(records, f"Purchase {records.purchase_id}: {what}", what_to_do)


def _format(balances: PurchaseBalances, amount: int) -> str:
    return format_amount(amount, balances.currency)
