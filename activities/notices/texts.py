"""What notices say, for each transition: one sentence of what happened and one of the rule.

One sentence serves every reader: `{client}` is "you" to the client and the client's name to
everybody else, `{Client's}` is "Your" or "Ana's", and so for `{freelancer}`, for the `{actor}` and
for the `{other}` side. So verbs are in the past, or with may, can, did: "You cancelled", "Ana
cancelled". Amounts and windows are those of the purchase; `{division}` says who gets what.

To say something differently, edit these tables.
"""

from typing import NamedTuple


class Sentences(NamedTuple):
    """What happened and who acted; and which rule applies."""

    what: str
    rule: str


TRANSITIONS: dict[str, Sentences] = {
    "payment_held": Sentences(
        "{Client} paid {escrow}. We hold the money in escrow, where it is safe.",
        "The money stays in escrow until you both agree who gets it, or a rule of the purchase "
        "decides.",
    ),
    "payment_declined": Sentences(
        "The payment provider declined {client's} payment of {escrow}. Nothing was charged, and "
        "the purchase is closed.",
        "Without a payment there is no purchase.",
    ),
    "payment_failed": Sentences(
        "{Client's} payment of {escrow} did not go through within {payment_window}, so our system "
        "called it off. Nothing was charged, and the purchase is closed.",
        "A payment that does not go through in time is called off, so that nobody pays for "
        "nothing.",
    ),
    "requirements_submitted": Sentences(
        "{Client} sent the requirements.",
        "{Freelancer} may cancel within {freelancer_cancel_window} of receiving them; after that, "
        "{freelancer} can no longer cancel, only give the money back.",
    ),
    "requirements_timeout": Sentences(
        "{Client} did not send the requirements in time, so our system cancelled the project: "
        "{division}.",
        "If the requirements are not sent within {requirements_window} of the purchase, the "
        "project is cancelled and refunded in full.",
    ),
    "freelancer_cancelled": Sentences(
        "{Freelancer} cancelled the project: {division}.",
        "{Freelancer} may cancel before the requirements arrive, and within "
        "{freelancer_cancel_window} of receiving them. The refund is always in full.",
    ),
    "freelancer_committed": Sentences(
        "{Freelancer's} time to cancel is over. From now on {freelancer} can no longer cancel the "
        "project, only give the money back.",
        "{Freelancer} could cancel within {freelancer_cancel_window} of receiving the "
        "requirements, or of the purchase where none are needed.",
    ),
    "client_cancelled": Sentences(
        "{Client} cancelled the project and asked {freelancer} to refund {escrow}.",
        "{Freelancer} may approve, and all of the money goes back to {client}; or decline, and "
        "say how much of it the work was worth.",
    ),
    "client_dormant": Sentences(
        "Nothing happened in this project for {dormancy_window}, so our system asked {freelancer} "
        "in {client's} name to refund {escrow}.",
        "A project in which nobody does anything for {dormancy_window} is cancelled by our "
        "system, as if {client} had cancelled it.",
    ),
    "cancelled_free": Sentences(
        "{Client} cancelled the project: {division}.",
        "By the terms of this purchase, {client} could still cancel without asking {freelancer}.",
    ),
    "cancellation_withdrawn": Sentences(
        "{Client} took the cancellation back. The project goes on where it was.",
        "A cancellation can be taken back until it is decided. Deadlines that had stopped go on "
        "with the time they had left.",
    ),
    "refund_approved": Sentences(
        "{Freelancer} approved the refund: {division}.",
        "Once the refund is approved, the money in escrow is returned in full.",
    ),
    "refund_declined": Sentences(
        "{Freelancer} declined the refund and claimed {claimed}.",
        "{Client} may accept the claim, take the cancellation back, or open a dispute.",
    ),
    "freelancer_silent": Sentences(
        "{Freelancer} did not answer the refund request in time, so our system granted it: "
        "{division}.",
        "A refund request that is not answered within {refund_decision_window} is granted.",
    ),
    "request_resumed": Sentences(
        "{Freelancer} did not answer the refund request in time, so the request lapsed. The "
        "project goes on where it was.",
        "By the terms of this purchase, a refund request that is not answered within "
        "{refund_decision_window} lapses.",
    ),
    "decision_overdue": Sentences(
        "{Freelancer} did not answer the refund request in time, so our staff is looking into it.",
        "By the terms of this purchase, a mediator may decide when a refund request is not "
        "answered within {refund_decision_window}. Until then, {freelancer} can still answer.",
    ),
    "claim_accepted": Sentences(
        "{Client} accepted the claim: {division}.",
        "An accepted claim is paid from escrow, and the rest is refunded.",
    ),
    "claim_lapsed": Sentences(
        "{Client} did not answer the claim in time, so our system paid it: {division}.",
        "A claim that is not answered within {claim_window} is paid from escrow, and the rest is "
        "refunded.",
    ),
    "claim_resumed": Sentences(
        "{Client} did not answer the claim in time, so the cancellation ended. The project goes on "
        "where it was.",
        "By the terms of this purchase, a claim that is not answered within {claim_window} ends "
        "the cancellation.",
    ),
    "dispute_opened": Sentences(
        "{Client} opened a dispute about the {escrow} in escrow.",
        "A mediator hears you both and decides who gets what. Until then, you can still agree on "
        "a split between yourselves.",
    ),
    "dispute_overdue": Sentences(
        "The dispute has been open for {dispute_window}, so our staff is looking into it.",
        "Nothing in a dispute is decided by silence: the money stays in escrow until the mediator "
        "decides or you both agree.",
    ),
    "dispute_resolved": Sentences(
        "The mediator decided: {division}.",
        "In a dispute, or when nobody else can decide, a mediator divides the money in escrow.",
    ),
    "split_proposed": Sentences(
        "{Actor} offered a split: {offer}.",
        "{Other} may accept the offer as it stands; a newer offer replaces it.",
    ),
    "mutual_split": Sentences(
        "{Actor} accepted the split: {division}.",
        "You both agreed how to divide the money in escrow.",
    ),
    "delivered": Sentences(
        "{Freelancer} delivered the work.",
        "{Client} may accept the delivery, ask for changes, or cancel and ask for the money back.",
    ),
    "changes_requested": Sentences(
        "{Client} asked for changes to the delivery.",
        "The work goes on, and a new delivery starts a new review.",
    ),
    "delivery_accepted": Sentences(
        "{Client} accepted the delivery: {division}.",
        "An accepted delivery is paid from escrow in full.",
    ),
    "review_lapsed": Sentences(
        "{Client} did not answer the delivery in time, so it counts as accepted: {division}.",
        "A delivery that is not answered within {review_window} counts as accepted.",
    ),
    "freelancer_gave_refund": Sentences(
        "{Freelancer} gave a refund: {division}.",
        "Until it is decided who gets the money, {freelancer} may give all of it back.",
    ),
    "message_sent": Sentences(
        "{Actor} sent {other} a message.",
        "Messages help to sort things out. They change nothing by themselves, and deadlines run "
        "on.",
    ),
    "cancelled_by_platform": Sentences(
        "Our staff cancelled the purchase: {division}.",
        "When the marketplace cancels a purchase, the refund is always in full.",
    ),
    "settlement_late": Sentences(
        "{Client's} refund of {refund} is late, and we are sorry. Our staff is looking into it, "
        "and we keep asking the payment provider.",
        "A refund may take up to {settlement_window}; when it takes longer, our staff looks into "
        "it.",
    ),
    "refund_settled": Sentences(
        "{Client's} refund of {refund} has arrived.",
        "The purchase is closed; nothing is left in escrow.",
    ),
    "refund_retried": Sentences(
        "The payment provider could not send {client's} refund of {refund}, so our system is "
        "sending it once more. There is nothing {client} must do.",
        "A refund that fails is sent once more before a person looks into it.",
    ),
    "refund_failed": Sentences(
        "The payment provider could not send {client's} refund of {refund}. Our staff is looking "
        "into it; there is nothing {client} must do.",
        "The money is safe and stays set aside for {client} until it has arrived.",
    ),
}
"""What the parties are told. Operators read the lifecycle's own sentences, in the third person."""

REMINDERS: dict[str, str] = {
    "requirements": "The requirements have not arrived yet.",
    "freelancer_cancel": "{Freelancer} can still cancel the project, but not for long.",
    "refund_decision": "{Client} is still waiting for {freelancer's} answer to the refund request.",
    "claim": "{Freelancer's} claim is still waiting for {client's} answer.",
    "review": "{Freelancer's} delivery is still waiting for {client's} review.",
}
"""What a reminder says of the clock that runs out."""

REFUND_TAKES = (
    "{Client's} refund may take up to {settlement_window} to be deposited into {client's} account"
)

REMINDER_RULE = "We remind you before a deadline passes."

DEADLINES: dict[str, str] = {
    "payment": "{Client's} payment is due",
    "requirements": "{Client's} requirements are due",
    "freelancer_cancel": "{Freelancer's} time to cancel ends",
    "refund_decision": "{Freelancer's} answer to the refund request is due",
    "claim": "{Client's} answer to the claim is due",
    "review": "{Client's} answer to the delivery is due",
    "dormancy": "Longest time without any activity",
    "dispute": "The mediator's decision is due",
    "settlement": "{Client's} refund should have arrived",
}
"""What each clock gives time for."""

TURNS: dict[str, str] = {
    "requirements": "client",
    "freelancer_cancel": "freelancer",
    "refund_decision": "freelancer",
    "claim": "client",
    "review": "client",
}
"""Whose turn it is until then; the deadline stands out in that reader's notices."""

SILENCE: dict[str, str] = {
    "payment_window_lapsed": "If it has not gone through by then, it is called off, and nothing "
    "is charged.",
    "requirements_timeout": "If they have not arrived by then, the project is cancelled and all of "
    "the money goes back to {client}.",
    "freelancer_committed": "After that, {freelancer} can no longer cancel, only give the money "
    "back.",
    "freelancer_silent": "Without an answer by then, all of the money goes back to {client}.",
    "request_resumed": "Without an answer by then, the request lapses and the project goes on.",
    "decision_overdue": "Without an answer by then, our staff looks into it.",
    "claim_lapsed": "Without an answer by then, the claim is paid: {claim_division}.",
    "claim_resumed": "Without an answer by then, the cancellation ends and the project goes on.",
    "review_lapsed": "Without an answer by then, the delivery counts as accepted and all of the "
    "money goes to {freelancer}.",
    "client_dormant": "If nobody does anything until then, our system asks {freelancer} in "
    "{client's} name for a refund.",
    "dispute_overdue": "Without a decision by then, our staff looks into it. Nothing is decided by "
    "silence.",
    "settlement_late": "If it has not arrived by then, our staff looks into it and asks the "
    "payment provider.",
}
"""What silence does, by the transition that it leads to."""

REFUSALS: dict[str, str] = {
    "NOT_ALLOWED_NOW": "This is not possible at this point of the purchase.",
    "WRONG_ROLE": "This is not yours to do.",
    "WINDOW_CLOSED": "Your time to cancel is over. You can still give the money back.",
    "TOO_LATE": "The money is already decided, and such a decision is never taken back.",
    "ALREADY_REQUESTED": "You have already cancelled, and the deadline for the answer runs on.",
    "ALREADY_SETTLED": "It is already decided who gets the money.",
    "CANCELLATION_PENDING": "{Client's} cancellation has to be answered or taken back first.",
    "NO_OFFER": "There is no offer to accept.",
    "INVALID_AMOUNT": "The amount does not fit.",
    "INVALID_MESSAGE": "We could not read it.",
    "UNKNOWN_MESSAGE": "There is no message of that name.",
}
"""Why a message was not accepted, by the code of the refusal."""
