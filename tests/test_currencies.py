"""The table of currencies is our own, so that a new release of ISO 4217 changes no purchase."""

import iso4217
import pytest

from activities.amounts import UnknownCurrency, check_for_new_purchases, format_amount
from activities.currencies import DECIMALS, WITHDRAWN

ISO_4217 = {each.code: each.exponent for each in iso4217.Currency if each.exponent is not None}


def test_the_table_has_every_currency_of_the_newest_iso_4217() -> None:
    """If this fails after an upgrade: add a new code to `_CODES`, and one that left to
    `WITHDRAWN`. Decimals that changed need a decision, because running purchases have the old
    ones."""
    current = {code: decimals for code, decimals in DECIMALS.items() if code not in WITHDRAWN}
    assert current == ISO_4217


def test_a_withdrawn_currency_stays_readable() -> None:
    """A running purchase in it shows its amounts; only a new one is rejected."""
    assert DECIMALS.keys() >= WITHDRAWN
    for currency in WITHDRAWN:
        assert format_amount(25_000, currency) == f"250.00 {currency}"
        with pytest.raises(UnknownCurrency, match="no longer in use"):
            check_for_new_purchases(currency)
