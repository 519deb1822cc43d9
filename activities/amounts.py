"""Amounts as people read and write them: minor units with the ISO 4217 number of decimals."""

from decimal import Decimal, InvalidOperation

from iso4217 import Currency

MAX_AMOUNT = 2**53 - 1
"""The largest amount, in minor units, that every JSON reader (JavaScript too) reads exactly."""


class UnknownCurrency(ValueError):
    """The code is not one of ISO 4217, or has no minor unit (gold, test codes)."""


class InvalidAmount(ValueError):
    """The text is not an amount of its currency."""


def decimals(currency: str) -> int:
    """Digits after the decimal point of `currency`. Raises UnknownCurrency."""
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise UnknownCurrency(f"{currency!r} is not a currency of ISO 4217; write for example USD")
    return exponent


def format_amount(amount: int, currency: str) -> str:
    """`25000`, `USD` → `250.00 USD`."""
    return f"{Decimal(amount).scaleb(-decimals(currency)):f} {currency}"


def parse_amount(text: str, currency: str) -> int:
    """`250.00`, `USD` → `25000`. Raises UnknownCurrency, or InvalidAmount when `text` is not an
    amount of at least zero with at most the currency's decimals: nothing is rounded."""
    digits = decimals(currency)
    try:
        minor = Decimal(text).scaleb(digits)
    except InvalidOperation:
        raise InvalidAmount(f"{text!r} is not an amount; write for example 250.00") from None
    if not minor.is_finite() or minor < 0 or minor > MAX_AMOUNT:
        raise InvalidAmount(f"{text!r} is not an amount between zero and {MAX_AMOUNT} minor units")
    if minor != minor.to_integral_value():
        raise InvalidAmount(f"{text!r} has more than the {digits} decimals of {currency}")
    return int(minor)
