"""Amounts as people read and write them, with the decimals of their currency."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial

from activities.currencies import DECIMALS, STEPS, WITHDRAWN

MAX_AMOUNT = 2**53 - 1
"""Bounds every amount, in minor units: the largest integer that JavaScript reads exactly."""


class UnknownCurrency(ValueError):
    """No purchase can be in this currency: unknown, without a minor unit (gold), or withdrawn."""


class InvalidAmount(ValueError):
    """The text is not an amount of its currency."""


def decimals(currency: str) -> int:
    """Digits after the decimal point of `currency`. Raises UnknownCurrency."""
    if currency not in DECIMALS:
        raise UnknownCurrency(
            f"the currency {currency!r} is not in ISO 4217; write for example USD"
        )
    return DECIMALS[currency]


def check_for_new_purchases(currency: str) -> None:
    """Raises UnknownCurrency if no purchase may begin in this currency any more."""
    if currency in WITHDRAWN:
        raise UnknownCurrency(
            f"the currency {currency} is no longer in use; give the price in another one"
        )


def format_amount(amount: int, currency: str, digits: int | None = None) -> str:
    """`25000`, `USD` → `250.00 USD`. `digits`: decimals that are recorded elsewhere. An unknown
    currency has none: `25000 minor units of XYZ`."""
    digits = DECIMALS.get(currency) if digits is None else digits
    if digits is None:
        return f"{amount} minor units of {currency}"
    return f"{Decimal(amount).scaleb(-digits):f} {currency}"


def step_of(currency: str) -> int:
    """The smallest amount that payment providers move in `currency`, in minor units. They move its
    multiples only."""
    return STEPS.get(currency, 1)


def check_movable(amount: int, currency: str) -> None:
    """Raises InvalidAmount with a sentence if payment providers cannot move this price."""
    step = step_of(currency)
    if amount % step:
        written = partial(format_amount, currency=currency)
        raise InvalidAmount(why_unmovable(amount, step, step, MAX_AMOUNT, written))


def why_unmovable(
    amount: int, step: int, least: int, most: int, written: Callable[[int], str]
) -> str:
    """Why an amount that is no multiple of `step` cannot be moved, and the nearest amounts from
    `least` to `most` that can."""
    below = amount // step * step
    nearest = [written(each) for each in (below, below + step) if least <= each <= most]
    possible = f" The nearest possible: {' or '.join(nearest)}." if nearest else ""
    return (
        f"{written(amount)} cannot be paid: the payment provider moves multiples of {written(step)}"
        f" only.{possible}"
    )


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
