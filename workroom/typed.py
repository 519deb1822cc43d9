"""Reads amounts as people type them in their locale."""

import re
import unicodedata

from babel import Locale
from babel.numbers import get_decimal_symbol, get_group_symbol

from activities.amounts import InvalidAmount, parse_amount
from activities.notices.formats import Reader

SPACES = re.compile(r"[\s\u00a0\u202f\u2019']")
"""Groups digits in several locales, whichever of them somebody types."""

WIDE = str.maketrans("，．　", ",. ")
"""The wide forms that Japanese and Chinese keyboards write."""


def read_amount(text: str, currency: str, reader: Reader) -> int:
    """`1.234,50` in German or Portuguese, `1,234.50` in English → minor units.

    The currency may stand beside it. A separator counts only where the locale has it, and groups
    only of three digits (in India also of two): nothing is guessed, nothing rounded. Raises
    InvalidAmount with an example, in the reader's language.
    """
    example = example_of(currency, reader)
    digits = "".join(map(_digit, text.strip().translate(WIDE)))
    digits = digits.replace(currency, "").strip()
    group, decimal = separators(reader.locale)
    whole, point, fraction = digits.partition(decimal)
    if SPACES.fullmatch(group):
        whole, group = SPACES.sub(" ", whole), " "
    grouped = re.fullmatch(
        rf"\d{{1,3}}(?:{re.escape(group)}\d{{2,3}})*{re.escape(group)}\d{{3}}", whole
    )
    plain = whole.replace(group, "") if grouped else whole
    if not re.fullmatch(r"[0-9]+", plain) or (point and not re.fullmatch(r"[0-9]+", fraction)):
        raise InvalidAmount(reader.text("must be an amount, such as {example}", example=example))
    try:
        return parse_amount(f"{plain}.{fraction}" if point else plain, currency)
    except InvalidAmount:
        why = reader.text(
            "must be an amount in {currency}, such as {example}", currency=currency, example=example
        )
        raise InvalidAmount(why) from None


def written(minor: int, currency: str, reader: Reader) -> str:
    """An amount as `read_amount` reads it, without the currency."""
    text = reader.amount(minor, currency)
    kept = (*separators(reader.locale), "\u00a0", "\u202f")
    found = re.search(r"\d(?:[\d" + re.escape("".join(kept)) + r"]*\d)?", text)
    return found[0] if found else text


def example_of(currency: str, reader: Reader) -> str:
    """An amount as the reader would type it."""
    return written(parse_amount("100", currency), currency, reader)


def separators(locale: Locale) -> tuple[str, str]:
    """What groups digits, and what comes before decimals."""
    return get_group_symbol(locale), get_decimal_symbol(locale)


def _digit(character: str) -> str:
    """The ASCII digit of a digit of any script."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
