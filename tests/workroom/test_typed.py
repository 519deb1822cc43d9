"""Amounts as people type them: nothing is guessed, nothing rounded."""

import pytest

from activities.amounts import InvalidAmount
from activities.notices.formats import Reader, reader
from activities.requests import Party
from workroom.typed import example_of, read_amount, written


def read(text: str, locale: str, currency: str = "USD") -> int:
    """As somebody in this locale types it."""
    return read_amount(text, currency, of(locale))


def of(locale: str) -> Reader:
    """A reader in a locale."""
    return reader(Party(id="a", name="A", email="a@example.com", locale=locale))


@pytest.mark.parametrize(
    ("text", "locale", "minor"),
    [
        ("100", "en_US", 10_000),
        ("1,234.50", "en_US", 123_450),
        ("1234.5", "en_US", 123_450),
        (" 1,234.50 USD ", "en_US", 123_450),
        ("1.234,50", "de_DE", 123_450),
        ("1234,5", "de_DE", 123_450),
        ("1.000", "de_DE", 100_000),
        ("100,00", "pt_PT", 10_000),
        ("1 234,50", "pt_PT", 123_450),
        ("1\u00a0234,50", "pt_PT", 123_450),
        ("1\u202f234,50", "fr_FR", 123_450),
        ("1’234.50", "de_CH", 123_450),
        ("1'234.50", "de_CH", 123_450),
        ("12,34,567.00", "en_IN", 123_456_700),
        ("１，２３４", "ja_JP", 123_400),
        ("٣٥", "ar_EG", 3_500),
        ("0", "en_US", 0),
    ],
)
def test_an_amount_is_read_as_its_locale_writes_it(text: str, locale: str, minor: int) -> None:
    assert read(text, locale) == minor


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("", "en_US"),
        ("-1", "en_US"),
        ("1e2", "en_US"),
        ("100,00", "en_US"),
        ("1,23", "en_US"),
        ("1.234", "en_US"),
        ("1.234.567", "en_US"),
        ("100.00", "de_DE"),
        ("1,234.50", "de_DE"),
        ("10.00", "pt_PT"),
        ("100 EUR", "en_US"),
        ("1..2", "en_US"),
        (",", "de_DE"),
        ("9" * 30, "en_US"),
        ("NaN", "en_US"),
        ("²", "en_US"),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read(text: str, locale: str) -> None:
    with pytest.raises(InvalidAmount, match=r"such as|zum Beispiel|por exemplo"):
        read(text, locale)


@pytest.mark.parametrize(
    ("text", "locale", "currency", "minor"),
    [
        ("100 €", "de_DE", "EUR", 10_000),
        ("€ 100", "de_DE", "EUR", 10_000),
        ("EUR 100", "de_DE", "EUR", 10_000),
        ("$100", "en_GB", "USD", 10_000),
        ("￥1000", "ja_JP", "JPY", 1_000),
        ("1000円", "ja_JP", "JPY", 1_000),
    ],
)
def test_the_currency_may_stand_beside_the_amount(
    text: str, locale: str, currency: str, minor: int
) -> None:
    assert read(text, locale, currency) == minor


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
@pytest.mark.parametrize(
    "locale", ["en_US", "de_DE", "de_CH", "pt_PT", "pt_BR", "fr_FR", "ja_JP", "en_IN", "ar_EG"]
)
def test_what_we_write_can_be_typed(locale: str, currency: str) -> None:
    for minor in (0, 5, 12_345, 123_456_789):
        assert read(written(minor, currency, of(locale)), locale, currency) == minor
    assert read(example_of(currency, of(locale)), locale, currency) > 0
