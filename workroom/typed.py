"""Reads amounts as people type them in their locale."""

import re
import unicodedata
from functools import cache
from string import ascii_uppercase

from babel import Locale
from babel.numbers import (
    get_currency_name,
    get_currency_symbol,
    get_decimal_symbol,
    get_group_symbol,
)

from activities.amounts import InvalidAmount, parse_amount
from activities.notices.formats import Reader

SPACES = re.compile(r"[\s\u00a0\u202f\u2019']")
"""Groups digits in several locales, whichever of them somebody types."""

WIDE = str.maketrans("，．　￥＄", ",. ¥$")
"""The wide forms that Japanese and Chinese keyboards write."""

INVISIBLE = re.compile(r"[\u200e\u200f\u061c\u2066-\u2069]")
"""Marks of direction: our own amounts have them, and people copy these."""


def read_amount(text: str, currency: str, reader: Reader) -> int:
    """`1.234,50` in German or Portuguese, `1,234.50` in English → minor units.

    The currency may stand before or after it, as its code, its name or its symbol (`$` for US$,
    too). A separator counts only where the locale has it, and groups
    only of three digits (in India also of two): nothing is guessed, nothing rounded. Raises
    InvalidAmount with an example, in the reader's language.
    """
    example = example_of(currency, reader)
    digits = _without_currency("".join(map(_digit, _plain(text))), currency, reader.locale)
    group, decimal = separators(reader.locale)
    whole, point, fraction = digits.partition(decimal)
    if SPACES.fullmatch(group):
        whole, group = SPACES.sub(" ", whole), " "
    grouped = re.fullmatch(
        rf"\d{{1,3}}(?:{re.escape(group)}\d{{2,3}})*{re.escape(group)}\d{{3}}", whole
    )
    plain = whole.replace(group, "") if grouped else whole
    if not re.fullmatch(r"[0-9]+", plain) or (point and not re.fullmatch(r"[0-9]+", fraction)):
        raise InvalidAmount(reader.text("Enter an amount, such as {example}", example=example))
    try:
        return parse_amount(f"{plain}.{fraction}" if point else plain, currency)
    except InvalidAmount:
        why = reader.text(
            "Enter an amount in {currency}, such as {example}", currency=currency, example=example
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


def _without_currency(text: str, currency: str, locale: Locale) -> str:
    """The text without the currency, which stands before or after the amount."""
    for mark in _marks(currency, locale):
        if text.startswith(mark):
            return text.removeprefix(mark).strip()
        if text.endswith(mark):
            return text.removesuffix(mark).strip()
    return text


@cache
def _marks(currency: str, locale: Locale) -> list[str]:
    """How a reader may write a currency, the longest first: CLDR's narrow symbol is the end of the
    English one (`CA$`)."""
    english = get_currency_symbol(currency, "en_US")
    names = (get_currency_name(currency, count, locale) for count in (None, 1, 2))
    found = {currency, get_currency_symbol(currency, locale), english, *names}
    found.add(english.lstrip(ascii_uppercase))
    return sorted(filter(None, (_plain(each) for each in found)), key=len, reverse=True)


def _plain(text: str) -> str:
    """The text in narrow, small letters, without what is not seen."""
    return INVISIBLE.sub("", text).strip().translate(WIDE).casefold()


def _digit(character: str) -> str:
    """The ASCII digit of a digit of any script."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
