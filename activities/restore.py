"""Restore: posts again what the ledger has lost, from the workflows' and the provider's records.

For the case that the ledger's database was restored from an old backup. A posting is made only if
its workflow has requested it and the provider's records agree; it has the old key, the old amounts
and the old instant. Workflows are only queried and the provider is only read, so no deadline moves,
no notice is sent and no money moves. What does not agree is not posted and is listed for a person.
Until then the ledger accepts no decision for that purchase: without its hold it rejects every one,
and if the provider shows a refund, `post_decision` does.

It may run while workers run, and any number of times.
"""

import asyncio
import shlex
from collections.abc import Collection, Iterator
from dataclasses import replace

from activities.amounts import format_amount
from activities.audit import QUERIES_AT_ONCE, PurchaseDirectory, StatusUnavailable
from activities.comparison import (
    COMPARE,
    DISPUTED,
    NOT_ARRIVED,
    NOT_REGISTERED,
    RESEND,
    UNREADABLE,
    WHO_REFUNDED,
    decision_of,
    if_registered,
    named_difference,
    resume_advice,
    sum_of,
)
from activities.fields import UtcDatetime
from activities.keys import purchase_of
from activities.ledger import Ledger, LedgerRejected
from activities.payments import PaymentProvider
from activities.records import PurchaseRecords, hold_of, records_of
from activities.requests import (
    DecisionPosting,
    Difference,
    Model,
    PaymentRequest,
    ProviderMovePosting,
    SettlementPosting,
    WorkflowPostings,
)

Posting = PaymentRequest | DecisionPosting | SettlementPosting | ProviderMovePosting

DECIDED = {"key", "purchase_id", "refund", "release", "currency", "at"}
"""The fields of a decision that the ledger has."""


class Rebuilt(Model):
    """A posting that the ledger had lost. Amounts are minor units; `at` is the old instant."""

    purchase_id: str
    key: str
    amount: int
    currency: str
    at: UtcDatetime


class RestoreReport(Model):
    """What was posted again, which purchases had and have nothing to restore, and what a person
    must look at."""

    rebuilt: tuple[Rebuilt, ...]
    agreed: tuple[str, ...]
    differences: tuple[Difference, ...]


async def restore(
    ledger: Ledger,
    provider: PaymentProvider,
    directory: PurchaseDirectory,
    purchase_id: str | None = None,
) -> RestoreReport:
    """Restore one purchase, or every purchase that the server, the ledger or the provider knows.

    Purchases continue meanwhile, so a difference is reported only if a second reading finds it too.
    Raises DatabaseUnreachable, SchemaMismatch, ProviderUnreachable, and what `directory` raises.
    """
    only = None if purchase_id is None else {purchase_id}
    first = await _restore(ledger, provider, directory, only)
    differing = {str(found.purchase_id) for found in first.differences}
    if not differing:
        return first
    again = await _restore(ledger, provider, directory, differing)
    return RestoreReport(
        rebuilt=first.rebuilt + again.rebuilt,
        agreed=tuple(sorted({*first.agreed, *again.agreed})),
        differences=again.differences,
    )


async def _restore(
    ledger: Ledger,
    provider: PaymentProvider,
    directory: PurchaseDirectory,
    only: Collection[str] | None,
) -> RestoreReport:
    # What is read first is never ahead of what is read later: a workflow decides, then posts, then
    # sends the refund. Only the charge comes before its workflow's record; see `restore`.
    statement = await asyncio.to_thread(provider.statement)
    snapshot = await asyncio.to_thread(ledger.snapshot)
    found = {each.purchase_id: each for each in records_of(snapshot, statement)}
    wanted = only if only is not None else found.keys() | await directory.known()
    slots = asyncio.Semaphore(QUERIES_AT_ONCE)

    async def one(purchase_id: str) -> RestoreReport:
        records = found.get(purchase_id, PurchaseRecords(purchase_id))
        async with slots:
            return await _restore_one(ledger, directory, records)

    reports = await asyncio.gather(*map(one, sorted(wanted)))
    return RestoreReport(
        rebuilt=tuple(each for report in reports for each in report.rebuilt),
        agreed=tuple(each for report in reports for each in report.agreed),
        differences=tuple(each for report in reports for each in report.differences),
    )


async def _restore_one(
    ledger: Ledger, directory: PurchaseDirectory, records: PurchaseRecords
) -> RestoreReport:
    purchase_id, difference, rebuilt = records.purchase_id, None, []
    try:
        status = await directory.workflow_status(purchase_id)
        workflow = await directory.postings(purchase_id) if status else None
        records = replace(records, workflow=status)
        for finding in examine(records, workflow):
            if isinstance(finding, Difference):
                difference = finding
            elif await asyncio.to_thread(post, ledger, finding, records.charge_reference):
                rebuilt.append(_rebuilt(finding))
    except StatusUnavailable as error:
        if records.balances or records.charges:  # else there is nothing to restore
            difference = named_difference(records, str(error), error.what_to_do)
    except LedgerRejected as error:
        difference = named_difference(records, error.text, "Run: recourse audit")
    return RestoreReport(
        rebuilt=tuple(rebuilt),
        agreed=() if rebuilt or difference else (purchase_id,),
        differences=(difference,) if difference else (),
    )


def post(ledger: Ledger, posting: Posting, charge: str = "") -> bool:
    """Post it, unless the ledger has it. Returns whether it had not. Raises LedgerRejected.

    `charge`: the provider's name for the charge of a hold."""
    match posting:
        case PaymentRequest(key=key, purchase_id=purchase, price=price, at=at):
            return ledger.hold(
                key=key,
                purchase_id=purchase,
                amount=price.amount,
                currency=price.currency,
                at=at,
                charge=charge,
            )
        case DecisionPosting():
            return ledger.decide(**posting.model_dump(include=DECIDED))
        case SettlementPosting():
            return ledger.settle(**posting.model_dump())
        case ProviderMovePosting():
            return ledger.provider_moved(**posting.model_dump())


def _rebuilt(posting: Posting) -> Rebuilt:
    match posting:
        case PaymentRequest(price=price):
            amount, currency = price.amount, price.currency
        case DecisionPosting(refund=refund, release=release):
            amount, currency = refund + release, posting.currency
        case SettlementPosting() | ProviderMovePosting():
            amount, currency = posting.amount, posting.currency
    return Rebuilt(
        purchase_id=posting.purchase_id,
        key=posting.key,
        amount=amount,
        currency=currency,
        at=posting.at,
    )


# --- the comparison, without I/O


def examine(
    records: PurchaseRecords, workflow: WorkflowPostings | None
) -> Iterator[Posting | Difference]:
    """Yield what to post, in order, then at most one difference. Nothing: all agrees.

    `workflow`: None if the server has no workflow of this purchase.
    """
    if records.unreadable:
        records_ = ", ".join(each.reference for each in records.unreadable)
        yield named_difference(records, f"the provider's {records_} cannot be read.", UNREADABLE)
        return
    if workflow is None:
        yield from _without_workflow(records)
        return
    if not workflow.held and records.workflow != "open" and _is_paid_out(records):
        return  # the purchase is closed; this is a later run under its id, which never began
    if workflow.hold is None:
        if unpaid := _unpaid(records):
            yield unpaid
        return
    of_escrow, of_refunds, of_paid_out = _moves(records, workflow)
    for found in (
        _hold(records, workflow),
        *of_escrow,
        _decision(records, workflow),
        *of_refunds,
        _settlement(records, workflow),
        *of_paid_out,
    ):
        if found is not None:
            yield found
        if isinstance(found, Difference):
            return
    if records.workflow == "ended" and _is_inside(workflow):
        advice = resume_advice(records, decided=workflow.decision is not None)
        yield named_difference(records, "its workflow was ended with money inside.", advice)


def _hold(records: PurchaseRecords, workflow: WorkflowPostings) -> Posting | Difference | None:
    balances, hold = records.balances, workflow.hold
    assert hold is not None
    charged = sum_of(records.charges)
    if not workflow.held:
        if records.workflow == "ended" and records.charges:
            return named_difference(
                records, f"it was ended when {charged} was paid.", resume_advice(records)
            )
        return None  # the workflow is posting it
    if balances and hold_of(balances) != hold.price:
        what = f"its workflow has a hold of {hold.price}, the ledger {hold_of(balances)}."
        return named_difference(records, what, COMPARE)
    if [each.amount for each in records.charges] != [hold.price]:
        what = f"its workflow has a hold of {hold.price}; the provider charged {charged}."
        return named_difference(records, what, COMPARE)
    return None if balances else hold


def _moves(
    records: PurchaseRecords, workflow: WorkflowPostings
) -> tuple[list[Posting | Difference], ...]:
    """The moves of the provider that the ledger lacks, as it accepts them: before the decision,
    before the settlement, and after it. They need not be confirmed: the money has moved."""
    places: tuple[list[Posting | Difference], ...] = ([], [], [])
    for move in workflow.moves:
        if move.key in records.moves.keys:
            continue
        found: Posting | Difference = move
        if not records.has_moved(move):
            what = f"its workflow has {move.kind.replace('_', ' ')} of {_format(move, move.amount)}"
            what += f" ({move.reference}); the provider has not."
            found = named_difference(records, what, COMPARE)
        is_dispute_of_refund = move.account == "in_transit" and move.kind != "refund_returned"
        places[0 if move.account == "escrow" else 1 if is_dispute_of_refund else 2].append(found)
    return places


def _unpaid(records: PurchaseRecords) -> Difference | None:
    """What to do about a payment that the workflow does not know: it is sent back only if nothing
    else knows it either."""
    left = records.charged - records.sent
    if records.balances is None and left <= 0:
        return None  # there was no payment, or the client has it back
    what = f"its workflow ended without a payment; the provider charged {sum_of(records.charges)}"
    what += f" and refunded {sum_of(records.not_failed)}." if records.sent else "."
    if records.balances:
        advice = f"The ledger has a hold of {hold_of(records.balances)} for it. {COMPARE}"
    elif records.is_disputed:
        advice = DISPUTED
    elif not records.registered:
        advice = NOT_REGISTERED
    else:
        currency = records.charges[0].amount.currency
        advice = f"Refund {format_amount(left, currency)} of the payment at the provider."
    return named_difference(records, what, advice)


def _is_paid_out(records: PurchaseRecords) -> bool:
    """Whether the ledger has paid out all that was held."""
    return records.balances is not None and not records.is_money_inside


def _decision(records: PurchaseRecords, workflow: WorkflowPostings) -> Posting | Difference | None:
    balances, decision = records.balances, workflow.decision
    made_elsewhere = {each.reference for each in workflow.moves if each.account == "escrow"}
    refunds = [each for each in records.not_failed if each.reference not in made_elsewhere]
    if decision is None:
        if balances and records.decided:
            what = f"the ledger has a decision: {decision_of(records, balances)}."
            what += " Its workflow has none."
            return named_difference(records, what, RESEND)
        if refunds:
            what = f"the provider refunded {sum_of(refunds)}; its workflow has no decision."
            return named_difference(records, what, WHO_REFUNDED)
        return None
    decided = f"its workflow decided to refund {_format(decision, decision.refund)}"
    if balances and records.decided:
        if decision.refund != records.decided - balances.released:
            what = f"{decided}; the ledger has {decision_of(records, balances)}."
            return named_difference(records, what, COMPARE)
        return None
    if refunds:
        # An equal refund that somebody else made would be sent again, if the charge covers it.
        is_decided = [(each.amount.amount, each.amount.currency) for each in refunds] == [
            (decision.refund, decision.currency)
        ]
        is_ours = purchase_of(refunds[0].refund_id) == records.purchase_id
        if not is_decided or not (is_ours or decision.release == 0):
            what = f"{decided}; the provider refunded {sum_of(refunds)}."
            return named_difference(records, what, WHO_REFUNDED)
        return decision
    return decision if workflow.decision_posted else None  # else the workflow is posting it


def _settlement(
    records: PurchaseRecords, workflow: WorkflowPostings
) -> Posting | Difference | None:
    settlement = workflow.settlement
    if settlement is None or not workflow.settlement_posted or records.settled:
        return None
    if records.not_failed or workflow.proved_by_person:
        return settlement
    what = (
        f"its workflow has the refund of {_format(settlement, settlement.amount)} as settled "
        f"({settlement.reference}); the provider has none, or it has failed."
    )
    return named_difference(records, what, NOT_ARRIVED)


def _is_inside(workflow: WorkflowPostings) -> bool:
    """Whether a held purchase has money in escrow or in transit."""
    released = workflow.decision_posted and workflow.decision and not workflow.decision.refund
    return workflow.held and not (released or workflow.settlement_posted)


def _without_workflow(records: PurchaseRecords) -> Iterator[Difference]:
    balances = records.balances
    if balances is None and not records.charges:
        what = "the server, the ledger and the provider do not know it."
        yield named_difference(records, what, "Check its id.")
        return
    if _is_paid_out(records):
        return  # closed, and its history was deleted after the retention period
    what = f"the server has no workflow of it; the provider charged {sum_of(records.charges)}"
    what += f" and refunded {sum_of(records.refunds)}." if records.refunds else "."
    again = f"recourse adopt {shlex.quote(records.purchase_id)} --from-terms"
    advice = (
        "If Temporal has lost it, begin it again with the same terms: "
        f"{again if records.registered else 'recourse purchase --file TERMS'}. Its charge is "
        "found, not made again. If the purchase was closed, its history is deleted: keep what the "
        "provider shows as the proof."
    )
    if balances is None and records.sent >= records.charged:
        advice = "The client has the money back. Keep what the provider shows as the proof."
    elif balances is None:
        advice = if_registered(records, advice)
    yield named_difference(records, what, advice)


def _format(posting: DecisionPosting | SettlementPosting | ProviderMovePosting, amount: int) -> str:
    return format_amount(amount, posting.currency)
