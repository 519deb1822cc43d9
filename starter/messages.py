"""Generates one command per message of the contract. Its options are the message's fields, so a
message added to the contract gets its command automatically."""

import inspect
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_origin

import typer
from pydantic.fields import FieldInfo

from activities.amounts import format_amount
from activities.sanitize import one_line
from starter import show
from starter.exits import command
from starter.options import (
    As,
    Given,
    Json,
    PurchaseId,
    option_of,
    read_amount,
    read_file,
    read_model,
    read_object,
    read_purchase,
    read_sender,
)
from temporal.aftercare import current
from temporal.client import connect
from temporal.errors import InvalidInput, Rejected
from temporal.purchases import Purchase
from workflows.messages import MESSAGES, DecideRefund, Message

AMOUNTS = ("claim", "refund")
"""Fields that people write as `100.00` with `--currency`."""

Amounts = Mapping[str, int | None]
"""One of these fields in minor units; None is all of the escrow."""

REQUIREMENTS = "requirements"
"""The field that is a text (`--text`) or a JSON object (`--file`)."""

HELP = {
    "claim": "How much to keep, such as 100.00, with --currency; all of it by default.",
    "refund": "How much goes to the client, such as 150.00, with --currency.",
    "note": "What the other side reads about it.",
    "reason": "Why, for the other side and for staff.",
    "reference": "The provider's reference, or where the proof is.",
}


def command_for(name: str) -> Callable[..., None]:
    """Return the command of a message, such as `accept-claim`."""
    return _command(MESSAGES[name.replace("-", "_")])


def _command(kind: type[Message]) -> Callable[..., None]:
    """Return the function for typer, with a signature built from the message's fields."""

    async def say(purchase_id: str, sender: str, as_json: bool, **given: Any) -> None:
        given = {name: value for name, value in given.items() if value is not None}
        await _say(kind, purchase_id, sender, given, as_json)

    parameters = _parameters(kind)
    say.__doc__ = kind.__doc__
    say.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    say.__annotations__ = {each.name: each.annotation for each in parameters}
    return command(say)


def _parameters(kind: type[Message]) -> list[inspect.Parameter]:
    found = [_parameter("purchase_id", PurchaseId), _parameter("sender", As)]
    for name, field in kind.model_fields.items():
        if name == REQUIREMENTS:
            found.append(_optional("text", "The requirements as text."))
            found.append(_optional("file", "The requirements as a JSON object; - for stdin."))
        elif name not in Message.model_fields:
            found.append(_of_field(name, field))
    if set(AMOUNTS) & set(kind.model_fields):
        found.append(_optional("currency", "The currency of the amount, such as USD."))
        yes = typer.Option("--yes", help="Send without asking whether the amounts are right.")
        found.append(_parameter("yes", Annotated[bool, yes], False))
    hint = "Your id for the message; sent again with it, it counts once."
    signal = typer.Option("--signal", help="Send as a signal, without waiting for an answer.")
    return [
        *found,
        _optional("message_id", hint),
        _parameter("signal", Annotated[bool, signal], False),
        _parameter("as_json", Json, False),
    ]


def _optional(name: str, help: str) -> inspect.Parameter:
    return _parameter(name, Annotated[str | None, typer.Option(help=help)], None)


def _of_field(name: str, field: FieldInfo) -> inspect.Parameter:
    choice = get_origin(field.annotation) is Literal
    kind: Any = field.annotation if choice else str
    option = typer.Option(help=HELP.get(name))
    if field.is_required():
        return _parameter(name, Annotated[kind, option])
    return _parameter(name, Annotated[kind | None, option], None)


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


async def _say(
    kind: type[Message], purchase_id: str, sender: str, given: Given, as_json: bool
) -> None:
    """Send the options as one message, and print the answer."""
    purchase_id = read_purchase(purchase_id)
    as_signal, currency = given.pop("signal"), given.pop("currency", None)
    confirmed = given.pop("yes", False)
    message_id = given.setdefault("message_id", str(uuid.uuid4()))
    amounts = _read_amounts(given, currency)
    if REQUIREMENTS in kind.model_fields:
        given[REQUIREMENTS] = _requirements(given)
    names = {name: option_of(name) for name in kind.model_fields}
    names[REQUIREMENTS] = "the requirements"
    document = {"by": read_sender(sender).model_dump(), **given, **amounts}
    message = read_model(kind, document, names)

    purchase = await (await current(Purchase(await connect(), purchase_id))).begun()
    if amounts:
        await _check_currency(purchase, currency)
    divided = amounts or whole(message)
    if divided and not confirmed and at_terminal():
        await _confirm(purchase, divided)
    if as_signal:
        await purchase.signal(message)
        text = f"Signal {kind.name} sent; `status {purchase_id}` shows its result."
        show.answer({"sent": True, "message_id": message_id}, text, as_json=as_json)
    else:
        receipt = await purchase.send(message)
        show.answer(receipt, show.receipt(receipt), as_json=as_json)


def _read_amounts(given: Given, currency: str | None) -> Given:
    amounts = {name: given.pop(name) for name in AMOUNTS if name in given}
    if amounts and currency is None:
        raise InvalidInput(f"--{next(iter(amounts))} needs --currency, for example --currency USD.")
    if currency is not None and not amounts:
        raise InvalidInput("--currency goes with an amount.")
    return {name: read_amount(text, currency or "", f"--{name}") for name, text in amounts.items()}


def _requirements(given: Given) -> object:
    text, file = given.pop("text", None), given.pop("file", None)
    if (text is None) == (file is None):
        raise InvalidInput("Give the requirements either as --text or as --file.")
    return text if file is None else read_object(read_file(file), "--file")


def at_terminal() -> bool:
    """Whether a person can be asked; a script has no terminal."""
    return sys.stdin.isatty()


def whole(message: Message) -> Amounts:
    """What a decision without an amount gives to one side: all of the escrow."""
    if not isinstance(message, DecideRefund):
        return {}
    return {"refund" if message.decision == "approve" else "claim": None}


async def division(purchase: Purchase, amounts: Amounts) -> str:
    """Who would get how much; empty if it is not possible: the rules say then what is."""
    terms, held = await purchase.terms(), (await purchase.status()).escrow.held
    ((name, given),) = amounts.items()
    amount = held if given is None else given
    refund = amount if name == "refund" else held - amount
    if not held or min(refund, held - refund) < 0:
        return ""
    shares = ((refund, terms.client.name), (held - refund, terms.freelancer.name))
    return ", ".join(
        f"{format_amount(amount, terms.price.currency)} to {one_line(name)}"
        for amount, name in shares
    )


async def _confirm(purchase: Purchase, amounts: Amounts) -> None:
    """Show who would get how much, and ask. Raises Failure NOT_CONFIRMED."""
    divided = await division(purchase, amounts)
    if divided and not typer.confirm(f"{divided}. Send?", err=True):
        raise Rejected("NOT_CONFIRMED", "Nothing was sent.")


async def _check_currency(purchase: Purchase, currency: str | None) -> None:
    expected = (await purchase.terms()).price.currency
    if currency != expected:
        raise InvalidInput(f"--currency: this purchase is in {expected}, not in {currency}.")
