"""Reads what was typed into a form: the fields of its message, and where the money goes."""

from collections.abc import Mapping

from pydantic import ValidationError

from activities.amounts import InvalidAmount
from activities.notices.formats import Reader
from activities.requests import Model, Money
from workflows.lifecycle.state import Payment
from workflows.messages import MESSAGES, Message, Sender, Status
from workflows.receiving.parsing import problems
from workroom.forms import Form, Question
from workroom.typed import read_amount

TOO_MUCH = "The amount is more than what is in escrow."

Fields = dict[str, str | int]


class Invalid(Exception):
    """What was typed is not valid: a sentence for each field, by its name; empty for the whole
    form."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors


class Division(Model):
    """Who gets what of the escrow, in minor units. `if_accepted`: the other side may decide
    otherwise."""

    refund: int
    release: int
    if_accepted: bool = False


def read(form: Form, typed: Mapping[str, str], price: Money, reader: Reader) -> Fields:
    """The message's fields; no amount is above the price. Raises Invalid."""
    fields: Fields = dict(form.fixed or {})
    errors = {}
    for question in form.questions:
        text = typed.get(question.name, "").replace("\r\n", "\n").strip()
        if not text:
            if question.required:
                errors[question.name] = reader.text(question.missing)
        elif question.kind == "amount":
            try:
                fields[question.name] = _amount(question, text, price, reader)
            except InvalidAmount as error:
                errors[question.name] = str(error)
        elif question.kind == "hidden":
            fields[question.name] = int(text) if text.isascii() and text.isdecimal() else -1
        else:
            fields[question.name] = text
    if errors:
        raise Invalid(errors)
    return fields


def _amount(question: Question, text: str, price: Money, reader: Reader) -> int:
    found = read_amount(text, price.currency, reader)
    if found > price.amount:
        most = reader.amount(price.amount, price.currency)
        raise InvalidAmount(reader.text(question.most, amount=most))
    if found == 0 and question.zero:
        raise InvalidAmount(reader.text(question.zero))
    return found


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
                _field(where): _problem(form, _field(where), why, item.get("ctx", {}), reader)
                for (where, why), item in found
            }
        ) from None


def _field(where: tuple[str | int, ...]) -> str:
    return str(where[0]) if where else ""


def _problem(
    form: Form, field: str, why: str, context: Mapping[str, object], reader: Reader
) -> str:
    """What is wrong with a field, as a sentence in the reader's language."""
    if most := context.get("max_length"):
        return reader.text("Use at most {count} characters", count=most)
    if reader.catalogue is None:
        return f"{form.labels[field]}: {why}" if field in form.labels else why
    return reader.text("This cannot be sent; write it in another way")


def division(form: Form, fields: Mapping[str, str | int], status: Status) -> Division | None:
    """Where the money goes if the form is sent; None if none moves. Raises Invalid for more than
    what is in escrow."""
    found = _division(form, fields, status)
    if found and min(found.refund, found.release) < 0:
        raise Invalid({"": TOO_MUCH})
    return found


def _division(form: Form, fields: Mapping[str, str | int], status: Status) -> Division | None:
    if not (escrow := escrow_of(status)):
        return None
    match form.money:
        case "request" | "refund":
            return Division(refund=escrow, release=0)
        case "release":
            return Division(refund=0, release=escrow)
        case "claim":
            asked = form.path == "decline_refund"
            claim = int(fields["claim"]) if asked else (status.claim or 0)
            return Division(refund=escrow - claim, release=claim, if_accepted=asked)
        case "split":
            refund = int(fields["refund"])
            proposed = form.path == "propose_split"
            return Division(refund=refund, release=escrow - refund, if_accepted=proposed)
    return None


def escrow_of(status: Status) -> int:
    """What a decision divides: what is in escrow, what will be once it is paid, and what the
    client's bank has of it while it looks into a dispute."""
    if status.payment == Payment.PENDING:
        return status.price.amount
    taken = status.frozen.amount if status.frozen else 0
    return min(status.escrow.held + taken, status.price.amount)
