"""The forms of the workroom: which message each sends, what it asks for, and where money goes.

A message that asks for nothing but a text has a form without being named here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from activities.amounts import InvalidAmount
from activities.notices.formats import Reader
from activities.requests import Model, Money
from workflows.lifecycle.transition import Transition
from workflows.lifecycle.versions import newest_rules
from workflows.messages import MESSAGES, Message, Role, Sender, Status
from workflows.receiving.parsing import problems
from workroom.typed import read_amount, written

CLIENT, FREELANCER, MEDIATOR, OPERATOR = Role.CLIENT, Role.FREELANCER, Role.MEDIATOR, Role.OPERATOR
PEOPLE = (CLIENT, FREELANCER)
STAFF = (MEDIATOR, OPERATOR)
OPTIONAL = " (optional)"
TOO_MUCH = "The amount is more than what is in escrow."


@dataclass(frozen=True)
class Question:
    """One field of a form. `amount`: in the purchase's currency, as the reader types it."""

    name: str
    label: str
    kind: Literal["text", "line", "amount", "choice", "hidden"] = "text"
    required: bool = False
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Form:
    """One form: its path, the message it sends, who has it, and its texts.

    `title` and `button` may name the parties, as `{freelancer}`. `money`: which way money goes, in
    terms of the typed amount. `confirms`: another page repeats what will be sent. `fixed`: fields
    that are not asked for.
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

    @property
    def labels(self) -> dict[str, str]:
        """What its fields are called, by their names."""
        return {each.name: each.label.removesuffix(OPTIONAL) for each in self.questions}


NOTE = Question("note", "Note to the other side (optional)")
STAFF_NOTE = Question("note", "Reasons, for both sides (optional)")
REFUND = Question(
    "refund", "How much goes back to the client?", "amount", True, "The freelancer gets the rest."
)
TEXT_QUESTIONS = {
    "note": NOTE,
    "reason": Question("reason", "Why? (optional)"),
    "text": Question("text", "Your message (optional)"),
}
"""The questions of plain messages, by the field."""


def plain_forms(
    rows: Sequence[Transition], messages: Mapping[str, type[Message]] = MESSAGES
) -> Iterator[Form]:
    """The forms of messages whose own fields are all in `TEXT_QUESTIONS`, one for each role of a
    person that may send it. Title and button are the label of the first row for that role."""
    for name, kind in messages.items():
        own = [field for field in kind.model_fields if field not in Message.model_fields]
        if not TEXT_QUESTIONS.keys() >= set(own):
            continue
        for role in (*PEOPLE, *STAFF):
            if label := _label(rows, name, role):
                asked = tuple(_text_question(kind, field, role) for field in own)
                yield Form(name, name, (role,), label, label, (), asked, confirms=bool(asked))


def _label(rows: Sequence[Transition], message: str, role: Role) -> str | None:
    """The label of the first row under which a role may send a message."""
    labels = (
        row.form.label
        for row in rows
        if row.form and row.cause.message == message and role in row.cause.by
    )
    return next(labels, None)


def _text_question(kind: type[Message], field: str, role: Role) -> Question:
    question = STAFF_NOTE if field == "note" and role in STAFF else TEXT_QUESTIONS[field]
    if not kind.model_fields[field].is_required():
        return question
    return replace(question, label=question.label.removesuffix(OPTIONAL), required=True)


_PLAIN = {(form.message, *form.roles): form for form in plain_forms(newest_rules().transitions)}
_SPECIAL: tuple[Form, ...] = (
    Form(
        "cancel", "cancel", (CLIENT,), "Cancel Contract", "Send escrow refund request",
        ("Send a message first: most things can be solved by talking.",
         "A refund is not guaranteed: you ask for it, and the freelancer may decline and claim "
         "what the work was worth."),
        (Question("reason", "Why do you cancel? (optional)", hint="The freelancer reads this."),),
        money="request",
    ),
    Form(
        "cancel", "cancel", (FREELANCER,), "Cancel Contract", "Cancel and give the money back",
        ("All of the money goes back to the client.",),
        (Question("reason", "Why do you cancel? (optional)", hint="The client reads this."),),
        money="refund",
    ),
    Form(
        "approve_refund", "decide_refund", (FREELANCER,), "Approve the refund",
        "Approve the refund", questions=(NOTE,), fixed={"decision": "approve"}, money="refund",
    ),
    Form(
        "decline_refund", "decide_refund", (FREELANCER,), "Decline and claim",
        "Decline and claim",
        ("Claim what the work was worth. The client may accept the claim or open a dispute.",),
        (Question("claim", "How much do you claim? (optional)", "amount",
                  hint="Leave it empty to claim all of the money."),
         Question("note", "Why? (optional)", hint="The client reads this.")),
        {"decision": "decline"}, "claim",
    ),
    replace(
        _PLAIN["withdraw_cancellation", CLIENT], advice=("The work goes on where it was.",)
    ),
    replace(_PLAIN["accept_claim", CLIENT], money="claim"),
    replace(
        _PLAIN["open_dispute", CLIENT],
        advice=("A mediator reads both sides and decides who gets what.",),
        questions=(Question("reason", "What happened?", required=True,
                            hint="The freelancer and the mediator read this."),),
    ),
    Form(
        "propose_split", "propose_split", PEOPLE, "Propose a split", "Send the offer",
        ("The other side may accept it. A newer offer replaces it.",), (REFUND, NOTE),
        money="split",
    ),
    Form(
        "accept_split", "accept_split", PEOPLE, "Accept the proposed split", "Accept the split",
        questions=(Question("refund", "To the client", "hidden", True), NOTE), money="split",
    ),
    Form(
        "accept_delivery", "accept_delivery", (CLIENT,), "Accept the delivery",
        "Accept and release the money", questions=(NOTE,), money="release",
    ),
    replace(
        _PLAIN["request_changes", CLIENT],
        questions=(Question("note", "What should change? (optional)"),), confirms=False,
    ),
    Form(
        "submit_requirements", "submit_requirements", (CLIENT,), "Send the requirements",
        "Send the requirements",
        questions=(Question("requirements", "What is needed?", required=True),), confirms=False,
    ),
    replace(
        _PLAIN["deliver", FREELANCER],
        questions=(Question("note", "What do you deliver? (optional)",
                            hint="Say where the client finds it."),), confirms=False,
    ),
    replace(
        _PLAIN["give_refund", FREELANCER], button="Give the money back", money="refund",
    ),
    Form(
        "send_message", "send_message", PEOPLE, "Send a message", "Send",
        questions=(Question("text", "Your message", required=True),), confirms=False,
    ),
    Form(
        "resolve_dispute", "resolve_dispute", (MEDIATOR,), "Decide who gets what", "Decide",
        ("A decision about money is never taken back.",), (REFUND, STAFF_NOTE), money="split",
    ),
    Form(
        "resolve_attention", "resolve_attention", (OPERATOR,), "Resolve what needs attention",
        "Resolve",
        questions=(
            Question("action", "What do you do?", "choice", True,
                     choices=(("retry", "Try again"),
                              ("mark_settled", "Record that it is settled"))),
            Question("reference", "Where is the proof?", "line",
                     hint="Required if you record that it is settled."),
        ),
    ),
)  # fmt: skip
_HAVE_ONE = {(form.message, role) for form in _SPECIAL for role in form.roles}
FORMS = _SPECIAL + tuple(form for key, form in _PLAIN.items() if key not in _HAVE_ONE)
"""Every form, in the order of the buttons."""


def form_at(path: str, role: Role) -> Form | None:
    """The form that a role has at a path."""
    return next((each for each in FORMS if each.path == path and role in each.roles), None)


class Invalid(Exception):
    """What was typed is not valid: what is wrong, by the name of the field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors


class Division(Model):
    """Who gets what of the escrow, in minor units. `if_accepted`: the other side may decide
    otherwise."""

    refund: int
    release: int
    if_accepted: bool = False


def prefilled(form: Form, status: Status) -> dict[str, str]:
    """What a form shows before anybody has typed."""
    if form.path == "accept_split" and status.offer:
        return {"refund": str(status.offer.refund)}
    return {}


def read(
    form: Form, typed: Mapping[str, str], price: Money, reader: Reader
) -> dict[str, str | int]:
    """The message's fields; no amount is above the price. Raises Invalid."""
    fields: dict[str, str | int] = dict(form.fixed or {})
    errors = {}
    for question in form.questions:
        text = typed.get(question.name, "").replace("\r\n", "\n").strip()
        if not text:
            if question.required:
                errors[question.name] = reader.text("is missing")
        elif question.kind == "amount":
            try:
                fields[question.name] = read_amount(text, price.currency, reader)
            except InvalidAmount as error:
                errors[question.name] = str(error)
            else:
                if int(fields[question.name]) > price.amount:
                    most = written(price.amount, price.currency, reader)
                    errors[question.name] = reader.text(
                        "must be at most {amount}: so much was paid", amount=most
                    )
        elif question.kind == "hidden":
            fields[question.name] = int(text) if text.isascii() and text.isdecimal() else -1
        else:
            fields[question.name] = text
    if errors:
        raise Invalid(errors)
    return fields


def message_of(
    form: Form,
    fields: Mapping[str, str | int],
    sender: Sender,
    message_id: str,
    reader: Reader,
) -> Message:
    """The message to send. Raises Invalid."""
    by = sender.model_dump(mode="json")
    try:
        return MESSAGES[form.message].model_validate({"by": by, "message_id": message_id, **fields})
    except ValidationError as error:
        found = zip(problems(error), error.errors(include_url=False), strict=True)
        raise Invalid(
            {
                str(where[0]) if where else "": _problem(why, dict(item.get("ctx", {})), reader)
                for (where, why), item in found
            }
        ) from None


def _problem(why: str, context: Mapping[str, object], reader: Reader) -> str:
    """What is wrong with a field, in the reader's language."""
    if reader.catalogue is None:
        return why
    if most := context.get("max_length"):
        return reader.text("must have at most {count} characters", count=most)
    return reader.text("cannot be sent like this; write it in another way")


def division(form: Form, fields: Mapping[str, str | int], status: Status) -> Division | None:
    """Where the money goes if the form is sent; None if none moves. Raises Invalid for more than
    what is in escrow."""
    found = _division(form, fields, status)
    if found and min(found.refund, found.release) < 0:
        raise Invalid({"": TOO_MUCH})
    return found


def _division(form: Form, fields: Mapping[str, str | int], status: Status) -> Division | None:
    escrow = escrow_of(status)
    match form.money:
        case "request" | "refund":
            return Division(refund=escrow, release=0)
        case "release":
            return Division(refund=0, release=escrow)
        case "claim":
            asked = form.path == "decline_refund"
            claim = int(fields.get("claim", escrow)) if asked else (status.claim or 0)
            return Division(refund=escrow - claim, release=claim, if_accepted=asked)
        case "split":
            refund = int(fields["refund"])
            proposed = form.path == "propose_split"
            return Division(refund=refund, release=escrow - refund, if_accepted=proposed)
    return None


def escrow_of(status: Status) -> int:
    """What is in escrow, or will be once it is paid."""
    return status.escrow.held or status.price.amount
