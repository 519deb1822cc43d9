"""The forms of the workroom: which message each sends, what it asks for, and what it answers.

A message that asks for nothing but a text has a form without being named here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from activities.links import form_of
from workflows.lifecycle.state import Stage
from workflows.lifecycle.transition import Transition
from workflows.lifecycle.versions import newest_rules
from workflows.messages import MESSAGES, Message, Role, Status

CLIENT, FREELANCER, MEDIATOR, OPERATOR = Role.CLIENT, Role.FREELANCER, Role.MEDIATOR, Role.OPERATOR
PEOPLE = (CLIENT, FREELANCER)
STAFF = (MEDIATOR, OPERATOR)
OPTIONAL = " (optional)"
ANYWHERE = tuple(Stage)


@dataclass(frozen=True)
class Question:
    """One field of a form. `amount`: in the purchase's currency, as the reader types it.

    Its errors are whole sentences: `missing` where it is required, for an amount also `most`, and
    `zero` where nothing is not an answer.
    """

    name: str
    label: str
    kind: Literal["text", "line", "amount", "choice", "hidden"] = "text"
    required: bool = False
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    missing: str = "Fill in this field"
    most: str = ""
    zero: str = ""


@dataclass(frozen=True)
class Form:
    """One form: its path, the message it sends, who has it, and its texts.

    `title` and `button` may name the parties, as `{freelancer}`. `money`: which way money goes, in
    terms of the typed amount. `confirms`: another page repeats what will be sent. `fixed`: fields
    that are not asked for. `first`: another form to try first, and why. `sent`: what a person reads
    after sending. `kind`: what a text that it sends is called. `expected_in`: the stages that wait
    for it; of several that are possible, the one that fewer stages wait for is shown first.
    """

    path: str
    message: str
    roles: tuple[Role, ...]
    title: str
    button: str
    advice: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    fixed: Mapping[str, str] | None = None
    money: Literal["", "request", "refund", "release", "claim", "split"] = ""
    confirms: bool = True
    first: tuple[str, str] | None = None
    sent: str = field(kw_only=True)
    kind: str = "note"
    expected_in: tuple[Stage, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """What its visible fields are called, by their names."""
        shown = (each for each in self.questions if each.kind != "hidden")
        return {each.name: each.label.removesuffix(OPTIONAL) for each in shown}

    @property
    def asks_for_money(self) -> bool:
        """Whether somebody types an amount."""
        return any(each.kind == "amount" for each in self.questions)


NOTE = Question("note", "Note to the other side (optional)")
STAFF_NOTE = Question("note", "Reasons, for both sides (optional)")
REFUND = Question(
    "refund", "How much goes back to the client?", "amount", True, "The freelancer gets the rest.",
    missing="Say how much goes back to the client", most="The most that can go back is {amount}",
)  # fmt: skip
TEXT_QUESTIONS = {
    "note": NOTE,
    "reason": Question("reason", "Why? (optional)", missing="Say why"),
    "text": Question("text", "Your message (optional)", missing="Write your message"),
}
"""The questions of plain messages, by the field."""


def plain_forms(
    rows: Sequence[Transition], messages: Mapping[str, type[Message]] = MESSAGES
) -> Iterator[Form]:
    """The forms of messages whose own fields are all in `TEXT_QUESTIONS`, one for each role of a
    person that may send it. Title and button are the label of the first row for that role, and
    what a person reads after sending is the summary of that row."""
    for name, kind in messages.items():
        own = [each for each in kind.model_fields if each not in Message.model_fields]
        if not TEXT_QUESTIONS.keys() >= set(own):
            continue
        for role in (*PEOPLE, *STAFF):
            if texts := _texts(rows, name, role):
                label, sent = texts
                asked = tuple(_text_question(kind, each, role) for each in own)
                confirms = bool(asked)
                yield Form(
                    name, name, (role,), label, label, (), asked, confirms=confirms, sent=sent
                )


def _texts(rows: Sequence[Transition], message: str, role: Role) -> tuple[str, str] | None:
    """The label and the summary of the first row under which a role may send a message."""
    found = (
        (row.form.label, row.text.summary)
        for row in rows
        if row.form and row.cause.message == message and role in row.cause.by
    )
    return next(found, None)


def _text_question(kind: type[Message], field: str, role: Role) -> Question:
    question = STAFF_NOTE if field == "note" and role in STAFF else TEXT_QUESTIONS[field]
    if not kind.model_fields[field].is_required():
        return question
    label = question.label.removesuffix(OPTIONAL)
    return replace(question, label=label, required=True)


_PLAIN = {(form.message, *form.roles): form for form in plain_forms(newest_rules().transitions)}
_SPECIAL: tuple[Form, ...] = (
    Form(
        "cancel", "cancel", (CLIENT,), "Cancel Contract", "Send escrow refund request",
        ("A refund is not guaranteed: you ask for it, and the freelancer may decline and claim "
         "what the work was worth.",),
        (Question("reason", "Why do you cancel? (optional)", hint="The freelancer reads this."),),
        money="request",
        first=("send_message", "Send a message first: most things can be solved by talking."),
        sent="Your refund request was sent to {freelancer}.",
        kind="reason for cancelling",
    ),
    Form(
        "approve_refund", "decide_refund", (FREELANCER,), "Approve the refund",
        "Approve the refund", questions=(NOTE,), fixed={"decision": "approve"}, money="refund",
        sent="You have approved the refund.",
        kind="reply to the request", expected_in=(Stage.REFUND_REQUESTED,),
    ),
    Form(
        "cancel", "cancel", (FREELANCER,), "Cancel Contract", "Cancel and give the money back",
        ("All of the money goes back to the client.",),
        (Question("reason", "Why do you cancel? (optional)", hint="The client reads this."),),
        money="refund", sent="You have cancelled the project.",
        kind="reason for cancelling",
    ),
    Form(
        "decline_refund", "decide_refund", (FREELANCER,), "Decline and claim",
        "Decline and claim",
        ("Claim what the work was worth. The client may accept the claim or open a dispute.",),
        (Question("claim", "How much do you claim?", "amount", True,
                  missing="Say how much you claim", most="The most you can claim is {amount}",
                  zero="To claim nothing, approve the refund"),
         Question("note", "Why? (optional)", hint="The client reads this.")),
        {"decision": "decline"}, "claim", sent="Your claim was sent to {client}.",
        kind="reply to the request",
    ),
    replace(
        _PLAIN["withdraw_cancellation", CLIENT], advice=("The work goes on where it was.",),
        sent="You have taken the cancellation back.",
        kind="cancellation taken back",
    ),
    replace(
        _PLAIN["accept_claim", CLIENT], money="claim", sent="You have accepted the claim.",
        kind="reply to the claim", expected_in=(Stage.CONTESTED,),
    ),
    replace(
        _PLAIN["open_dispute", CLIENT],
        advice=("A mediator reads both sides and decides who gets what.",),
        questions=(Question("reason", "What happened?", required=True,
                            hint="The freelancer and the mediator read this.",
                            missing="Say what happened"),),
        sent="Your dispute is open, and a mediator decides.",
        kind="reason for the dispute",
    ),
    Form(
        "propose_split", "propose_split", PEOPLE, "Propose a split", "Send the offer",
        ("The other side may accept it. A newer offer replaces it.",), (REFUND, NOTE),
        money="split", sent="Your offer was sent to {other}.",
        kind="proposed split",
    ),
    Form(
        "accept_split", "accept_split", PEOPLE, "Accept the proposed split", "Accept the split",
        questions=(Question("refund", "To the client", "hidden", True), NOTE), money="split",
        sent="You have accepted the split.",
        kind="reply to the proposed split", expected_in=ANYWHERE,
    ),
    Form(
        "accept_delivery", "accept_delivery", (CLIENT,), "Accept the delivery",
        "Accept and release the money", questions=(NOTE,), money="release",
        sent="You have accepted the delivery.",
        kind="reply to the delivery", expected_in=(Stage.DELIVERED,),
    ),
    replace(
        _PLAIN["request_changes", CLIENT],
        questions=(Question("note", "What should change? (optional)"),), confirms=False,
        sent="Your request for changes was sent to {freelancer}.",
        kind="requested changes",
    ),
    Form(
        "submit_requirements", "submit_requirements", (CLIENT,), "Send the requirements",
        "Send the requirements",
        questions=(Question("requirements", "What is needed?", required=True,
                            missing="Say what is needed"),), confirms=False,
        sent="Your requirements were sent to {freelancer}.",
        expected_in=(Stage.AWAITING_REQUIREMENTS,),
    ),
    replace(
        _PLAIN["deliver", FREELANCER],
        questions=(Question("note", "What do you deliver? (optional)",
                            hint="Say where the client finds it."),), confirms=False,
        sent="Your delivery was sent to {client}.",
        kind="delivery", expected_in=(Stage.FREELANCER_REVIEW, Stage.IN_PROGRESS),
    ),
    replace(
        _PLAIN["give_refund", FREELANCER], button="Give the money back", money="refund",
        sent="You have given the money back.",
        kind="money given back",
    ),
    Form(
        "send_message", "send_message", PEOPLE, "Send a message", "Send",
        questions=(Question("text", "Your message", required=True,
                            missing="Write your message"),), confirms=False,
        sent="Your message was sent to {other}.",
        kind="message",
    ),
    Form(
        "resolve_dispute", "resolve_dispute", (MEDIATOR,), "Decide who gets what", "Decide",
        ("A decision about money is never taken back.",), (REFUND, STAFF_NOTE), money="split",
        sent="Your decision is recorded.",
        kind="reasons for the decision", expected_in=(Stage.DISPUTED,),
    ),
    Form(
        "resolve_attention", "resolve_attention", (OPERATOR,), "Resolve what needs attention",
        "Resolve",
        questions=(
            Question("action", "What do you do?", "choice", True,
                     choices=(("retry", "Try again"),
                              ("mark_settled", "Record that it is settled")),
                     missing="Choose what you do"),
            Question("reference", "Where is the proof?", "line",
                     hint="Required if you record that it is settled."),
        ),
        sent="Your answer is recorded.",
        expected_in=ANYWHERE,
    ),
)  # fmt: skip
_HAVE_ONE = {(form.message, role) for form in _SPECIAL for role in form.roles}
FORMS = _SPECIAL + tuple(form for key, form in _PLAIN.items() if key not in _HAVE_ONE)
"""Every form, in the order of the buttons."""


def form_at(path: str, role: Role) -> Form | None:
    """The form that a role has at a path."""
    return next((each for each in FORMS if each.path == path and role in each.roles), None)


def same_as(form: Form) -> str:
    """What the rules call the forms that do the same as this one; empty if there is no other."""
    labels = (
        row.form.same_as
        for row in newest_rules().transitions
        if row.form
        and form_of(row.cause.message, {"decision": row.cause.choice}) == form.path
        and set(row.cause.by) & set(form.roles)
    )
    return next(labels, "")


def kind_of(path: str) -> str:
    """What a text from the form at a path is called, in English."""
    return next((each.kind for each in FORMS if each.path == path), Form.kind)


def prefilled(form: Form, status: Status) -> dict[str, str]:
    """What a form shows before anybody has typed."""
    if form.path == "accept_split" and status.offer:
        return {"refund": str(status.offer.refund)}
    return {}
