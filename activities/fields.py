"""What a field of the contract may hold: one definition for messages, activities, ledger and mail.

The types are at the end. Each function returns the text or raises ValueError with the end of a
sentence. The rules list code points instead of Unicode's categories, which grow with each version
of Python: a text that one worker accepts must not be rejected by another, today or in a replay.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from activities.amounts import MAX_AMOUNT, decimals

LONGEST_LINE = 200
LONGEST_ID = 64
LONGEST_LOCAL_PART = 64
"""Bytes before the @ of a mail address (RFC 5321)."""


def _chars(*ranges: tuple[int, int]) -> frozenset[str]:
    return frozenset(chr(code) for first, last in ranges for code in range(first, last + 1))


CONTROLS = _chars((0x00, 0x1F), (0x7F, 0x9F), (0x2028, 0x2029))
"""Control characters, and the separators of lines and paragraphs. This set never grows."""

NOT_CHARACTERS = _chars(
    (0xD800, 0xDFFF),
    (0xFDD0, 0xFDEF),
    *((plane + 0xFFFE, plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)),
)
"""Surrogates, which UTF-8 cannot encode, and the noncharacters."""

SPACES = _chars(
    *((code, code) for code in (0x20, 0xA0, 0x1680, 0x202F, 0x205F, 0x3000)), (0x2000, 0x200A)
)

INVISIBLE = _chars(
    *((code, code) for code in (0xAD, 0x34F, 0x61C, 0x6DD, 0x70F, 0x8E2, 0x2800, 0x3164)),
    *((0x600, 0x605), (0x890, 0x891), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD)),
    *((0x13430, 0x1343F), (0x16FE4, 0x16FE4), (0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159)),
    *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Format characters, fillers, joiners, variation selectors, and what Unicode reserves for more."""

PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
"""Private use: a font may show anything or nothing."""

_NOT_IN_LINES = CONTROLS | NOT_CHARACTERS
_NOT_SEEN = _NOT_IN_LINES | SPACES | INVISIBLE


def word(value: str) -> str:
    """Text in which everything can be seen: an id, or a key made of ids."""
    if not value or any(char in _NOT_SEEN or _is_private(char) for char in value):
        raise ValueError("must have no spaces, no invisible and no control characters")
    return value


def identifier(value: str) -> str:
    """An id, in the form in which ids are compared."""
    value = composed(word(value))
    if len(value) > LONGEST_ID:  # some characters become several
        raise ValueError(f"must have at most {LONGEST_ID} characters")
    return value


def line(value: str) -> str:
    """One line of text: a title, a name, a reference."""
    if is_blank(value) or not _NOT_IN_LINES.isdisjoint(value):
        raise ValueError("must be one line of text, without control characters")
    return value


def text(value: str) -> str:
    """Text of any number of lines."""
    if is_blank(value) or "\x00" in value:
        raise ValueError("must not be blank, and must not contain a NUL character")
    return value


# The HTML standard's "valid e-mail address", without addresses that look like an encoded word.
_ADDRESS = re.compile(
    r"(?!.*=\?)([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})"
    r"@([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*)"
)


_LETTERS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})
"""Unicode's categories of what IDNA 2008 allows in a domain."""
_CAPITALS = frozenset({"Lu", "Lt"})


def mail_address(value: str) -> tuple[str, str]:
    """The local part and the domain of a mail address; a domain beyond ASCII in its IDNA form.

    Letters beyond ASCII in the local part need SMTPUTF8 at every mail server on the way.
    """
    local, _, domain = value.rpartition("@")
    local = composed(local)
    plain = "".join("x" if _is_letter(char, _LETTERS | _CAPITALS) else char for char in local)
    match = _ADDRESS.fullmatch(f"{plain}@{'.'.join(map(_ascii_label, domain.split('.')))}")
    if match is None or len(local.encode()) > LONGEST_LOCAL_PART:
        raise ValueError("is not a mail address, such as ana@example.com")
    return local, match[2]


def _ascii_label(label: str) -> str:
    """A label of a domain as IDNA 2008 writes it. Python's codec `idna` is of 2003: it makes faß.de
    another domain, fass.de. Unchanged if it is ASCII, or cannot be part of a domain."""
    if label.isascii():
        return label
    label = composed("".join(char.lower() for char in label))
    allowed = all(char in "-0123456789" or _is_letter(char) for char in label)
    starts_with_mark = unicodedata.ucd_3_2_0.category(label[0]).startswith("M")
    if not allowed or starts_with_mark or label.strip("-") != label or label[2:4] == "--":
        return label
    return f"xn--{label.encode('punycode').decode()}"


def _is_letter(char: str, categories: frozenset[str] = _LETTERS) -> bool:
    """Whether a domain may have this character, except for some of ancient scripts. The categories
    of Unicode 3.2 never change, and neither does NFKC of its characters."""
    in_category = unicodedata.ucd_3_2_0.category(char) in categories or char == "〇"
    return in_category and unicodedata.normalize("NFKC", char) == char


def is_blank(value: str) -> bool:
    """Whether nothing of a text can be seen."""
    return _NOT_SEEN.issuperset(value)


def composed(value: str) -> str:
    """The text in Unicode's NFC, as far as Unicode 3.2 knows its characters.

    Later characters stay as they are. NFC of the others never changes (Unicode's stability policy),
    but a later version composes characters that an earlier one does not know. The library's frozen
    table, `ucd_3_2_0`, says which characters are known; its `normalize` is not frozen.
    """
    if value.isascii():
        return value
    return "".join(_composed(known, run) for known, run in groupby(value, _is_in_unicode_3_2))


def _composed(known: bool, run: Iterable[str]) -> str:
    text = "".join(run)
    return unicodedata.normalize("NFC", text) if known else text


def _is_in_unicode_3_2(char: str) -> bool:
    return unicodedata.ucd_3_2_0.category(char) != "Cn"


def _is_private(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in PRIVATE)


# --- types of fields

Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]
"""Minor units. Strict: 10.0, "1050" and true are not amounts."""


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An instant, kept in UTC."""


def _currency(value: str) -> str:
    decimals(value)
    return value


def _address(value: str) -> str:
    mail_address(value)
    return value


Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_ID), AfterValidator(identifier)]
"""Compared exactly, after Unicode normalisation (NFC)."""

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$"), AfterValidator(_currency)]

Line = Annotated[str, Field(min_length=1, max_length=LONGEST_LINE), AfterValidator(line)]

Address = Annotated[str, Field(max_length=254), AfterValidator(_address)]
"""A mail address."""
