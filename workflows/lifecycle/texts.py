"""The texts of the rules: for each transition, reminder and rejection.

`activities.formatter` describes the names in braces. One summary serves the timeline (in the third
person) and every reader's notice ("you"). No text holds a literal duration: windows are named, and
each purchase fills in its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Text:
    """The texts of one row.

    `summary`: what happened and who acted, one or two sentences. `explanation`: the rule behind it.
    `expiry`: for a deadline's row, what happens if nobody acts, as the end of a sentence;
    `expiry_in_lists`: the same where only the stage is known, if it differs. `advice`: paragraphs
    for one reader only.
    """

    heading: str
    summary: str
    explanation: str
    expiry: str = ""
    expiry_in_lists: str = ""
    advice: "Advice" = field(default_factory=dict)

    @property
    def listed_expiry(self) -> str:
        """What happens if nobody acts, where only the stage is known."""
        return self.expiry_in_lists or self.expiry


Advice = Mapping[Literal["client", "freelancer", "operator"], tuple[str, ...]]


_LATER = (
    "You may message {freelancer} to see if they can take the project at a later time, "
    "or choose another project entirely."
)
_TALK_FIRST = (
    "Before you go on, consider messaging {freelancer}: freelancers are often more than happy "
    "to work with you if your approach to the project has changed."
)
_NOT_GUARANTEED = (
    "A refund is not guaranteed: {freelancer} may have begun or even finished the work. "
    "We ask for your money back, but the decision is theirs."
)
_ARRIVES = "the refund counts as arrived, or our staff looks into it"

# --- payment

PURCHASED = Text(
    heading="Purchased",
    summary="{Client} bought a project from {freelancer} for {escrow}.",
    explanation="The payment must be made within {payment_window}.",
)
PAYMENT_HELD = Text(
    heading="Payment is in escrow",
    summary="{Client} paid {escrow}. The money is held in escrow.",
    explanation="The money stays in escrow until both sides agree who gets it, or a rule of the "
    "purchase decides.",
)
PAYMENT_HELD_AND_DECIDED = Text(
    heading="The payment was made, and is divided",
    summary="{Client} paid {escrow}. What was decided before is carried out now: {division}.",
    explanation="What is decided before the payment is made is carried out once it is made.",
)
PAYMENT_DECLINED = Text(
    heading="Payment declined",
    summary="The payment provider declined {client's} payment of {escrow}{because}. No money was "
    "taken for this purchase, and it is closed.",
    explanation="Without a payment there is no purchase.",
    advice={"client": ("You are welcome to buy the project again with another way to pay.",)},
)
PAYMENT_UNUSABLE = Text(
    heading="Payment could not be used",
    summary="{Client's} payment of {escrow}, made before the purchase, could not be used for "
    "it{because}. The purchase is closed.",
    explanation="A payment that was made elsewhere is used only if the payment provider has all of "
    "it, and for one purchase only.",
    advice={
        "client": (
            "If you have paid, your money is still with the payment provider. Please do not pay "
            "again: our staff looks into it.",
        ),
        "operator": (
            "Look the payment up at the provider. If the client has paid, start the purchase again "
            "under a new id with the right payment_reference, or send the payment back there.",
        ),
    },
)
PAYMENT_FAILED = Text(
    heading="Payment did not go through",
    summary="{Client's} payment of {escrow} did not go through within {payment_window}, so our "
    "system cancelled it. Nothing was charged, and the purchase is closed.",
    explanation="A payment that does not go through in time is cancelled, so that nobody pays for "
    "a purchase that is closed.",
    advice={"client": ("You are welcome to buy the project again.",)},
)
PAYMENT_WINDOW_EXPIRED = Text(
    heading="Payment is being cancelled",
    summary="{Client's} payment of {escrow} did not go through within {payment_window}; it is "
    "being cancelled.",
    explanation="A payment that cannot be made within its window is cancelled at the provider.",
    expiry="the payment is cancelled and nothing is charged",
)
PAYMENT_UNKNOWN = Text(
    heading="Payment not confirmed yet",
    summary="It is not known whether {client's} payment of {escrow} was made: {problem}",
    explanation="The payment provider is asked again every {interval}, and at once when an "
    "operator sends resolve_attention.",
)

PAYMENT_NEEDS_CLIENT = Text(
    heading="Please confirm your payment",
    summary="{Client's} bank asks {client} to confirm the payment of {escrow}. Nothing is paid "
    "until then.",
    explanation="A payment that is not confirmed within {payment_window} of the purchase is "
    "cancelled.",
    advice={"client": ("Confirm the payment on the page of the payment provider.",)},
)

IMPORTED = Text(
    heading="Continued from another system",
    summary="The purchase was continued from another system, where {client} had paid {escrow}. The "
    "money is held in escrow, and every deadline goes on.",
    explanation="A purchase that runs elsewhere is continued where it stands. Nothing is charged, "
    "no deadline begins anew, and nobody is notified, because nothing changes for them.",
)

ADOPTED = "Our staff continued the purchase after it had been ended."
BEGUN_AGAIN = "Our staff began the purchase again with its terms."
"""What the timeline says after `recourse adopt`; the second one if only the terms were known."""

# --- the work

REQUIREMENTS_SUBMITTED = Text(
    heading="Requirements received",
    summary="{Client} sent the requirements.",
    explanation="{Freelancer} may cancel within {freelancer_cancel_window} of receiving them; "
    "after that, {freelancer} can no longer cancel, only give the money back.",
    advice={"freelancer": ("You can read them with the purchase.",)},
)
REQUIREMENTS_TIMEOUT = Text(
    heading="Cancelled: no requirements in time",
    summary="{Client} did not send the requirements in time, so our system cancelled the project: "
    "{division}.",
    explanation="If the requirements are not sent within {requirements_window} of the purchase, "
    "the project is cancelled and refunded in full.",
    expiry="the project is cancelled and all of the money goes back to {client}",
    advice={"client": (_LATER,)},
)
FREELANCER_COMMITTED = Text(
    heading="{Freelancer} can no longer cancel",
    summary="{Freelancer's} time to cancel is over. From now on {freelancer} can no longer cancel "
    "the project, only give the money back.",
    explanation="{Freelancer} could cancel within {freelancer_cancel_window} of receiving the "
    "requirements, or of the purchase where none are needed.",
    expiry="{freelancer} can no longer cancel, only give the money back",
)
DELIVERED = Text(
    heading="Work delivered",
    summary="{Freelancer} delivered the work.",
    explanation="{Client} may accept the delivery, ask for changes, or cancel and ask for the "
    "money back.",
)
CHANGES_REQUESTED = Text(
    heading="Changes requested",
    summary="{Client} asked for changes to the delivery.",
    explanation="The work goes on, and a new delivery starts a new review.",
)
DELIVERY_ACCEPTED = Text(
    heading="Delivery accepted",
    summary="{Client} accepted the delivery: {division}.",
    explanation="An accepted delivery is paid from escrow in full.",
)
REVIEW_LAPSED = Text(
    heading="Review time is over: payment released",
    summary="{Client} did not answer the delivery in time, so it counts as accepted: {division}.",
    explanation="A delivery that is not answered within {review_window} counts as accepted.",
    expiry="the delivery counts as accepted and all of the money goes to {freelancer}",
)
CLIENT_DORMANT = Text(
    heading="Cancelled after a long time without activity",
    summary="Nothing happened in this project for {dormancy_window}, so our system asked "
    "{freelancer} in {client's} name to refund {escrow}.",
    explanation="A project in which nobody does anything for {dormancy_window} is cancelled by our "
    "system, as if {client} had cancelled it.",
    expiry="our system asks {freelancer} in {client's} name for a refund",
    advice={
        "client": (
            "Nobody pressed cancel. If you want the project to go on, take the cancellation back.",
            _NOT_GUARANTEED,
        ),
        "freelancer": (
            "{Client} did not press cancel. The decision is yours: approve the refund, or decline "
            "and say how much of the money the work was worth.",
        ),
    },
)

# --- cancellation

FREELANCER_CANCELLED = Text(
    heading="{Freelancer} cancelled the project",
    summary="{Freelancer} cancelled the project: {division}.",
    explanation="{Freelancer} may cancel before the requirements arrive, and within "
    "{freelancer_cancel_window} of receiving them. The refund is always in full.",
    advice={"client": (_LATER,)},
)
CANCELLED_FREE = Text(
    heading="Cancelled, with a full refund",
    summary="{Client} cancelled the project: {division}.",
    explanation="By the terms of this purchase, {client} could still cancel without asking "
    "{freelancer}.",
)
CLIENT_CANCELLED = Text(
    heading="{Client} cancelled and asked for a refund",
    summary="{Client} cancelled the project and asked {freelancer} to refund {escrow}.",
    explanation="{Freelancer} may approve, and all of the money goes back to {client}; or decline, "
    "and say how much of it the work was worth.",
    advice={"client": (_TALK_FIRST, _NOT_GUARANTEED), "freelancer": ("The decision is yours.",)},
)
CANCELLATION_WITHDRAWN = Text(
    heading="Cancellation withdrawn",
    summary="{Client} took the cancellation back. The project goes on where it was.",
    explanation="A cancellation can be taken back until it is decided. Deadlines that were "
    "suspended go on with the time they had left.",
)
REFUND_APPROVED = Text(
    heading="Refund approved",
    summary="{Freelancer} approved the refund: {division}.",
    explanation="Once the refund is approved, the money in escrow is returned in full.",
)
REFUND_DECLINED = Text(
    heading="Refund request declined",
    summary="{Freelancer} declined the refund and claimed {claimed}.",
    explanation="{Client} may accept the claim, take the cancellation back, or open a dispute.",
    advice={
        "client": (
            "If you cannot agree with {freelancer}, you may open a dispute: choose “Open a "
            "dispute” and say in your own words what went wrong. A mediator then hears both of you "
            "and decides who gets what.",
        )
    },
)
FREELANCER_SILENT = Text(
    heading="Refund granted: no answer in time",
    summary="{Freelancer} did not answer the refund request in time, so our system granted it: "
    "{division}.",
    explanation="A refund request that is not answered within {refund_decision_window} is granted.",
    expiry="all of the money goes back to {client}",
)
REQUEST_RESUMED = Text(
    heading="No answer in time: the project goes on",
    summary="{Freelancer} did not answer the refund request in time, so the request lapsed. The "
    "project goes on where it was.",
    explanation="By the terms of this purchase, a refund request that is not answered within "
    "{refund_decision_window} lapses.",
    expiry="the request lapses and the project goes on",
)
DECISION_OVERDUE = Text(
    heading="Refund decision is overdue",
    summary="{Freelancer} did not answer the refund request in time, so our staff is looking into "
    "it.",
    explanation="By the terms of this purchase, a mediator may decide when a refund request is not "
    "answered within {refund_decision_window}. Until then, {freelancer} can still answer.",
    expiry="our staff looks into it",
)
CLAIM_ACCEPTED = Text(
    heading="Claim accepted",
    summary="{Client} accepted the claim: {division}.",
    explanation="An accepted claim is paid from escrow, and the rest is refunded.",
)
CLAIM_LAPSED = Text(
    heading="Claim paid: no answer in time",
    summary="{Client} did not answer the claim in time, so our system paid it: {division}.",
    explanation="A claim that is not answered within {claim_window} is paid from escrow, and the "
    "rest is refunded.",
    expiry="the claim is paid: {claim_division}",
    expiry_in_lists="the claim is paid",
)
CLAIM_RESUMED = Text(
    heading="No answer in time: the project goes on",
    summary="{Client} did not answer the claim in time, so the cancellation ended. The project "
    "goes on where it was.",
    explanation="By the terms of this purchase, a claim that is not answered within {claim_window} "
    "ends the cancellation.",
    expiry="the cancellation ends and the project goes on",
)

# --- dispute, split, refund given

DISPUTE_OPENED = Text(
    heading="{Client} opened a dispute",
    summary="{Client} opened a dispute about the {escrow} in escrow.",
    explanation="A mediator hears both sides and decides who gets what. Until then, both sides can "
    "still agree on a split between themselves.",
    advice={"operator": ("A mediator is needed: read what both sides wrote, and decide.",)},
)
DISPUTE_OVERDUE = Text(
    heading="Dispute is overdue",
    summary="The dispute has been open for {dispute_window}, so our staff is looking into it.",
    explanation="This deadline does not decide the dispute: the money stays in escrow until the "
    "mediator decides or both sides agree.",
    expiry="our staff looks into it; the money stays in escrow",
)
DISPUTE_RESOLVED = Text(
    heading="Dispute resolved",
    summary="The mediator decided: {division}.",
    explanation="In a dispute, or when nobody else can decide, a mediator divides the money in "
    "escrow.",
)
SPLIT_PROPOSED = Text(
    heading="{Actor} proposed a split",
    summary="{Actor} offered a split: {offer}.",
    explanation="{Other} may accept the offer as it stands; a newer offer replaces it.",
)
MUTUAL_SPLIT = Text(
    heading="Split agreed",
    summary="{Actor} accepted the split: {division}.",
    explanation="Both sides agreed how to divide the money in escrow.",
)
FREELANCER_GAVE_REFUND = Text(
    heading="{Freelancer} gave a refund",
    summary="{Freelancer} gave a refund: {division}.",
    explanation="Until it is decided who gets the money, {freelancer} may give all of it back.",
)
CANCELLED_BY_PLATFORM = Text(
    heading="Cancelled by the marketplace",
    summary="Our staff cancelled the purchase: {division}.",
    explanation="When the marketplace cancels a purchase, the refund is always in full.",
)
MESSAGE_SENT = Text(
    heading="New message from {actor}",
    summary="{Actor} sent {other} a message.",
    explanation="Messages help to sort things out. They change nothing by themselves, and "
    "deadlines go on.",
)

# --- refund and settlement

RELEASE_POSTED = Text(
    heading="Money released",
    summary="{Freelancer} received {release}; the purchase is closed.",
    explanation="A release is complete when the ledger has it.",
)
REFUND_POSTED = Text(
    heading="Refund posted",
    summary="The refund of {refund} was posted and is sent to the payment provider.",
    explanation="A refund is posted before it is sent, so that it is sent once.",
)
REFUND_PENDING = Text(
    heading="Refund accepted by the provider",
    summary="The payment provider is sending {client's} refund of {refund}.",
    explanation="The provider is asked again and again until the refund is settled or failed.",
)
REFUND_CONFIRMED = Text(
    heading="Refund confirmed",
    summary="The payment provider says that {client's} refund of {refund} is settled.",
    explanation="The settlement is posted to the ledger; then the purchase closes.",
)
REFUND_DELAYED = Text(
    heading="Refund is delayed",
    summary="The payment provider has not sent {client's} refund of {refund} yet{because}.",
    explanation="Our system keeps asking the provider. If the provider needs something from "
    "{client}, it asks {client} directly.",
)
REFUND_SENT = Text(
    heading="Refund is on its way",
    summary="The payment provider has sent {client's} refund of {refund}. Its reference is "
    "{reference}.",
    explanation="A bank may take up to {settlement_window} to deposit a refund. With the "
    "reference, the bank can find it.",
)
ARRIVAL_PRESUMED = Text(
    heading="Refund should have arrived",
    summary="The refund of {refund} was sent and has not come back within {settlement_window}.",
    explanation="A refund that was sent and does not come back within {settlement_window} counts "
    "as arrived.",
    expiry="the refund counts as arrived",
    expiry_in_lists=_ARRIVES,
)
REFUND_PRESUMED = Text(
    heading="Refund should have arrived",
    summary="{Client's} refund of {refund} was sent and should be in {client's} account by now.",
    explanation="The purchase is closed; nothing is left in escrow.",
    advice={
        "client": (
            "If you cannot find the money, ask your bank to look for it; give the bank the "
            "reference of the refund. If the bank cannot find it either, write to us.",
        )
    },
)
REFUND_SETTLED = Text(
    heading="Refund has arrived",
    summary="{Client's} refund of {refund} has arrived.",
    explanation="The purchase is closed; nothing is left in escrow.",
)
REFUND_RETURNED = Text(
    heading="Refund came back",
    summary="{Client's} refund of {refund} came back from the bank{because}. The money is safe: "
    "our staff sends it again, or asks {client} how else to pay it.",
    explanation="A bank may return a refund weeks after it was sent, for example because the "
    "account is closed.",
    advice={
        "client": ("If your card or account has changed, write to us.",),
        "operator": (
            "The money is in transit again. Send it again with resolve_attention retry, or "
            "record how it was paid: mark_settled with a reference to the proof.",
        ),
    },
)
AFTERCARE_ENDED = Text(
    heading="Aftercare case ended",
    summary="Nothing about the payment is open any more.",
    explanation="News about the payment of a closed purchase opens an aftercare case for "
    "{aftercare_window}.",
)
REFUND_RETRIED = Text(
    heading="Refund is being sent again",
    summary="{Client's} refund of {refund} did not arrive{because}. The payment provider is "
    "sending it again. {Client} need not do anything.",
    explanation="A refund that fails is sent once more before a person looks into it. One that "
    "somebody has cancelled is not.",
)
REFUND_FAILED = Text(
    heading="Refund failed",
    summary="{Client's} refund of {refund} did not arrive{because}. Our staff is looking into it. "
    "{Client} need not do anything.",
    explanation="The money is safe and stays set aside for {client} until it has arrived.",
)
REFUND_DOUBTFUL = Text(
    heading="Refund may arrive twice",
    summary="Refund attempt {attempt}, once reported as failed, is settled; attempt {newest} may "
    "be settled, too. Compare with the payment provider.",
    explanation="A refund must reach the client once.",
)
SETTLEMENT_REPORTED = Text(
    heading="Report from the payment provider",
    summary="The payment provider repeated a report on the refund; it changed nothing.",
    explanation="Each report counts once. A failure reported after the settlement is left to the "
    "audit.",
)
SETTLEMENT_LATE = Text(
    heading="Refund is late",
    summary="{Client's} refund of {refund} is late. We are sorry. Our staff is looking into it "
    "and keeps asking the payment provider.",
    explanation="A refund may take up to {settlement_window}. If it takes longer, our staff looks "
    "into it.",
    expiry="our staff looks into it and asks the payment provider",
    expiry_in_lists=_ARRIVES,
)
MARKED_SETTLED = Text(
    heading="Refund marked as settled",
    summary="An operator recorded the proof that {client's} refund of {refund} is settled.",
    explanation="A person has seen the proof of the settlement.",
)

# --- the client's bank, and refunds made elsewhere

_BANK_DISPUTE = (
    "When a client disputes a payment at the bank, the bank takes the money back and decides who "
    "gets it. That takes weeks."
)
_SUSPENDED = (
    "Until the bank decides, all deadlines are suspended and nobody is paid. You can still write "
    "to each other, deliver, and propose a split."
)
PAYMENT_CHECKED = Text(
    heading="Payment is being checked",
    summary="Our system asks the payment provider about the payment.",
    explanation="The provider's own records say whether a bank disputes the payment, and what was "
    "refunded.",
)
PAYMENT_ANSWERED = Text(
    heading="Payment was checked",
    summary="The payment provider has answered.",
    explanation="Each new fact has its own entry in the timeline.",
)
BANK_INQUIRY = Text(
    heading="A bank asks about the payment",
    summary="{Client's} bank asks about the payment of {escrow}{because}. No money was taken.",
    explanation="Answer the inquiry {reference} at the payment provider. Deadlines and payments go "
    "on.",
)
BANK_DISPUTE_OPENED = Text(
    heading="The bank took the payment back for now",
    summary="{Client's} bank has taken {disputed} back{because}. The purchase is frozen until the "
    "bank decides.",
    explanation=_BANK_DISPUTE,
    advice={
        "client": (
            _SUSPENDED,
            "If you did not mean to dispute the payment, ask your bank to withdraw the dispute.",
        ),
        "freelancer": (
            _SUSPENDED,
            "Our staff answers the bank. Send us what shows that you did the work.",
        ),
        "operator": ("Answer the dispute {reference} at the payment provider.",),
    },
)
BANK_DISPUTE_WON = Text(
    heading="The bank gave the money back",
    summary="{Client's} bank has ended the dispute and given {disputed} back. The purchase "
    "continues.",
    explanation="Deadlines go on with the time they had left.",
)
_LOST_OPERATOR = (
    "Dispute {reference} is lost. If the bank allows it, appeal at the payment provider."
)
BANK_DISPUTE_LOST = Text(
    heading="The bank gave the money to {client}",
    summary="{Client's} bank has decided for {client}: it gives {disputed} back to {client}. "
    "Nothing is left in escrow, and the purchase is closed.",
    explanation=_BANK_DISPUTE,
    advice={
        "client": ("The money comes from your bank. Our system sends you no refund.",),
        "freelancer": ("You are not paid for this purchase. If you disagree, write to our staff.",),
        "operator": (_LOST_OPERATOR,),
    },
)
BANK_DISPUTE_LOST_PART = Text(
    heading="The bank gave a part of the money to {client}",
    summary="{Client's} bank has decided for {client}: it gives {disputed} back to {client}. A "
    "mediator decides who gets the remaining {escrow}.",
    explanation=_BANK_DISPUTE,
    advice={"operator": (_LOST_OPERATOR,)},
)
BANK_DISPUTE_LOST_REFUND = Text(
    heading="The bank gave a part of the refund to {client}",
    summary="{Client's} bank has decided for {client}: it gives {disputed} back to {client}. The "
    "rest of the refund is being sent.",
    explanation=_BANK_DISPUTE,
    advice={"operator": (_LOST_OPERATOR,)},
)
BANK_DISPUTE_AFTER_PAYOUT = Text(
    heading="A bank disputes money that was paid out",
    summary="{Client's} bank disputes {disputed} of the payment{because}. The money was paid out "
    "before.{evidence}",
    explanation="Send the evidence about {reference} to the payment provider. If the bank keeps "
    "money, the policy says who bears it: the platform, or the freelancer.",
)
BANK_DISPUTE_AFTER_RELEASE = Text(
    heading="A bank disputes money that was released",
    summary="{Client's} bank disputes {disputed} of the payment{because}. The money was released "
    "to {freelancer} before. If the bank decides for {client}, {freelancer} must pay back {debt}.",
    explanation="By the policy of this purchase, what a bank takes back after a release is a debt "
    "of the freelancer (dispute {reference}).",
    advice={
        "freelancer": (
            "Our staff answers the bank. Send us what shows that you did the work. You need not "
            "pay anything now.",
        ),
        "operator": ("Send the evidence about {reference} to the payment provider.",),
    },
)
BANK_DISPUTE_DEBT = Text(
    heading="A bank took back money that was released",
    summary="{Client's} bank has decided that {disputed} of the payment stay with {client}"
    "{because}. The money was released to {freelancer} before, so {freelancer} must pay back "
    "{debt}.",
    explanation="By the policy of this purchase, what a bank takes back after a release is a debt "
    "of the freelancer (dispute {reference}).",
    advice={"freelancer": ("Our staff will write to you about it. Nothing is taken by itself.",)},
)
BANK_DISPUTE_ENDED = Text(
    heading="A bank dispute has ended",
    summary="{Client's} bank has ended its dispute about {disputed}. The bank keeps no money.",
    explanation="Nothing more needs to be done about {reference}.",
)
BANK_DISPUTE_NO_DEBT = Text(
    heading="A bank dispute has ended",
    summary="{Client's} bank has ended its dispute about {disputed}. The bank keeps no money, and "
    "{freelancer} need not pay anything back.",
    explanation="Nothing more needs to be done about {reference}.",
)
BANK_DISPUTE_CHANGED = Text(
    heading="A bank changed its decision",
    summary="{Client's} bank has changed its decision about dispute {reference}. Nothing more is "
    "paid until a person has looked into it.",
    explanation="What was booked stays until then.",
    advice={"operator": ("Compare the ledger with the payment provider.",)},
)
_MADE_ELSEWHERE: Advice = {
    "client": ("It may take {settlement_window} until the money is on your account.",),
    "freelancer": ("If you think that this refund is a mistake, write to our staff.",),
    "operator": (
        "If none of you made this refund, look at it at the payment provider. It cannot be undone "
        "here.",
    ),
}
REFUNDED_ELSEWHERE = Text(
    heading="Refunded at the payment provider",
    summary="Somebody refunded {elsewhere} to {client} directly at the payment provider. Nothing "
    "is left in escrow.",
    explanation="Our system did not send this refund. Its reference is {reference}. When nothing "
    "is left in escrow, the purchase is closed.",
    advice=_MADE_ELSEWHERE,
)
REFUNDED_ELSEWHERE_PART = Text(
    heading="A part was refunded at the payment provider",
    summary="Somebody refunded {elsewhere} to {client} directly at the payment provider. Now "
    "{escrow} is left in escrow.",
    explanation="Our system did not send this refund. Its reference is {reference}. An offer above "
    "what is left is no longer open.",
    advice=_MADE_ELSEWHERE,
)
REFUNDED_ELSEWHERE_CLAIM = Text(
    heading="A part was refunded at the payment provider",
    summary="Somebody refunded {elsewhere} to {client} directly at the payment provider. Now "
    "{escrow} is left in escrow, less than {freelancer} claimed. So {freelancer} can answer the "
    "refund request again.",
    explanation="Our system did not send this refund. Its reference is {reference}.",
)
REFUNDED_ELSEWHERE_BEYOND = Text(
    heading="Refunded at the payment provider after the decision",
    summary="Somebody refunded {elsewhere} to {client} directly at the payment provider, more than "
    "was decided. A mediator decides who gets the remaining {escrow}.",
    explanation="Our system did not send this refund. Its reference is {reference}. It was made "
    "before the decision was carried out.",
)
REFUNDED_ELSEWHERE_LATE = Text(
    heading="The client may be refunded twice",
    summary="Somebody refunded {elsewhere} directly at the payment provider ({reference}). Our "
    "system refunds {refund} ({ours}).",
    explanation="Nothing more is paid until a person has compared the two.",
)
REFUND_ELSEWHERE_FAILED = Text(
    heading="A refund made at the payment provider has failed",
    summary="The refund of {failed} that somebody made directly at the payment provider did not "
    "reach {client}{because}. The money is back in escrow: now it has {escrow}.",
    explanation="Our system did not send this refund. Its reference is {reference}. The money "
    "is divided with the rest of the escrow. If that was decided already, it goes to {client}.",
)
REFUND_ELSEWHERE_FAILED_LATE = Text(
    heading="A refund made at the payment provider has failed",
    summary="The refund of {failed} that somebody made directly at the payment provider "
    "({reference}) did not reach {client}{because}. {next}",
    explanation="Our system did not send this refund, and does not send it again.",
)
CLOSED_BY_PROVIDER = Text(
    heading="Purchase closed",
    summary="Nothing is left in escrow; the purchase is closed.",
    explanation="The client already has all of the money, from the bank or from a refund that was "
    "made elsewhere.",
)
PROVIDER_MOVE_POSTED = Text(
    heading="Movement posted",
    summary="The ledger has recorded what moved at the payment provider.",
    explanation="The ledger follows the provider's records.",
)

# --- staff

EFFECT_BLOCKED = Text(
    heading="Blocked: a person is needed",
    summary="“{effect}” is blocked: {problem}",
    explanation="What was decided stands. It is tried again every {interval}, and at once when an "
    "operator sends resolve_attention.",
)
ATTENTION_RETRIED = Text(
    heading="Being retried",
    summary="An operator asked for a retry.",
    explanation="What is blocked or failed is retried at once.",
)
DEADLINE_COMPUTED = Text(
    heading="Deadline computed",
    summary="The calendar answered when the window ends.",
    explanation="The answer is recorded: a later holiday table cannot change it.",
)
NOTICE_UNDELIVERED = Text(
    heading="Notice not delivered",
    summary="The notice “{notice}” could not be delivered {problem}.",
    explanation="Money and deadlines do not wait for notices. Inform the reader in another way.",
)

# --- reminders, by the deadline's row in deadlines.py

_REMINDED = "We remind you before a deadline passes."
REQUIREMENTS_REMINDER = Text(
    heading="Reminder: the requirements are due",
    summary="The requirements have not arrived yet.",
    explanation=_REMINDED,
)
FREELANCER_CANCEL_REMINDER = Text(
    heading="Reminder: your time to cancel is ending",
    summary="{Freelancer} can still cancel the project, but not for long.",
    explanation=_REMINDED,
)
REFUND_DECISION_REMINDER = Text(
    heading="Reminder: please answer the refund request",
    summary="{Client} is still waiting for {freelancer's} answer to the refund request.",
    explanation=_REMINDED,
)
CLAIM_REMINDER = Text(
    heading="Reminder: please answer the claim",
    summary="{Freelancer's} claim is still waiting for {client's} answer.",
    explanation=_REMINDED,
)
REVIEW_REMINDER = Text(
    heading="Reminder: please answer the delivery",
    summary="{Freelancer's} delivery is still waiting for {client's} review.",
    explanation=_REMINDED,
)

CHANGED_SINCE = (
    "The purchase has changed since then. The next notice says what happened, and who has to act."
)
REFUND_TAKES = (
    "{Client's} refund may take up to {settlement_window} to be deposited into {client's} account"
)
"""The start of a sentence; the latest date or a full stop follows."""

DECISION_WAITS = (
    "{Client's} payment is not confirmed yet. Once it is, the decision is carried out; if the "
    "payment fails, {client} will not be charged"
)
"""A full stop follows."""

# --- rejections

WHY_REJECTED: Mapping[str, str] = {
    "NOT_ALLOWED_NOW": "This is not possible at this point of the purchase.",
    "NOT_A_PARTY": "It was sent under an id that is not yours.",
    "WRONG_ROLE": "This is not yours to do.",
    "WINDOW_CLOSED": "Your time to cancel is over. You can still give the money back.",
    "TOO_LATE": "The money is already decided, and such a decision is never taken back.",
    "ALREADY_REQUESTED": "A refund is already requested; the deadline for the answer stays.",
    "ALREADY_SETTLED": "It is already decided who gets the money.",
    "CANCELLATION_PENDING": "{Client's} cancellation has to be answered or taken back first.",
    "NO_OFFER": "There is no offer to accept.",
    "INVALID_AMOUNT": "The amount does not fit.",
    "INVALID_MESSAGE": "It is not a valid message.",
    "UNKNOWN_MESSAGE": "There is no message of that name.",
    "FROZEN": "{Client's} bank has taken the money back for now; nothing is paid until it decides.",
    "CLOSED": "The purchase is closed.",
}
"""Why a message was rejected, by the code of the rejection."""


def rejected(why: str) -> Text:
    """The notice of a rejected message; `why` is one of WHY_REJECTED."""
    return Text(
        heading="Message not accepted",
        summary=f"Your message “{{message}}” was not accepted. {why}",
        explanation="The exact answer: {code}. {answer}",
    )


UNREADABLE = Text(
    heading="A program sent an invalid message",
    summary="The message “{message}”, sent in the name of the {sender}, is invalid, so nothing "
    "changed. The {sender} was not notified.",
    explanation="The exact answer: {code}. {answer}",
    advice={"operator": ("Correct the program that sends it, and send the message again.",)},
)
