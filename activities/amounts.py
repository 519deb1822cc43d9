"""Amounts as people read and write them, with the decimals that ISO 4217 gives a currency."""

import re
from decimal import Decimal

from iso4217 import Currency

MAX_AMOUNT = 2**53 - 1
"""Bounds every amount, in minor units: the largest integer that JavaScript reads exactly."""


class UnknownCurrency(ValueError):
    """The code is not in ISO 4217, or has no minor unit (gold, test codes)."""


class InvalidAmount(ValueError):
    """The text is not an amount of its currency."""


def decimals(currency: str) -> int:
    """Digits after the decimal point of `currency`. Raises UnknownCurrency."""
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise UnknownCurrency(
            f"the currency {currency!r} is not in ISO 4217; write for example USD"
        )
    return exponent


def format_amount(amount: int, currency: str) -> str:
    """`25000`, `USD` → `250.00 USD`."""
    return f"{Decimal(amount).scaleb(-decimals(currency)):f} {currency}"


def parse_amount(text: str, currency: str) -> int:
    """`250.00`, `USD` → `25000`.

    Nothing is rounded. Raises UnknownCurrency, or InvalidAmount if `text` is not a number of at
    least zero with at most the currency's decimals.
    """
    digits = decimals(currency)
    match = re.fullmatch(r"([0-9]{1,16})(?:\.([0-9]{1,16}))?", text)
    if match is None:
        raise InvalidAmount(f"the amount {text!r} is not a number; write for example 250.00")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > digits:
        raise InvalidAmount(f"the amount {text!r} has too many decimals: {currency} has {digits}")
    minor = int(whole + fraction.ljust(digits, "0"))
    if minor > MAX_AMOUNT:
        raise InvalidAmount(f"the amount {text!r} is over {MAX_AMOUNT} minor units")
    return minor
