"""Text of other people comes out harmless and otherwise unchanged."""

import pytest

from activities.sanitize import header, isolated, lines, one_line, redacted, trace, unlinked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ana\r\nBcc: x@example.com", "Ana Bcc: x@example.com"),
        ("Ana\u2028Bo\x85Cy", "Ana Bo Cy"),
        ("tab\tbell\x07 null\x00", "tab bell null"),
        ("exe.\u202egnp\u2066\u200f", "exe.gnp"),
        ("zero\u200bwidth\ufeff soft\u00adhyphen", "zerowidth softhyphen"),
        ("  many   spaces\xa0", "many spaces"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("👩\u200d💻 Zoë", "👩\u200d💻 Zoë"),
        ("Z" + "\u0336" * 60, "Z" + "\u0336" * 4),
        ("", ""),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_long_text_ends_with_an_ellipsis() -> None:
    assert one_line("x" * 500, 60) == "x" * 59 + "…"
    assert len(lines("y" * 9000, 100)) == 100
    assert lines("a\n" * 500, most=3) == "a\na\na\n…"


def test_lines_keep_paragraphs_but_no_gaps() -> None:
    assert lines("one\r\n\r\n\r\n\r\ntwo  \rthree\n\n") == "one\n\ntwo\nthree"


@pytest.mark.parametrize(
    "text",
    ["www.evil.com", "http://evil.com", "x@evil.com", "EVIL.example", "tel:123", "пример。рф"],
)
def test_nothing_is_left_to_link(text: str) -> None:
    assert text not in unlinked(text)
    assert unlinked(text).replace("\u200b", "") == text


@pytest.mark.parametrize("text", ["3.50 at 14:30", "Done. Thanks: all well.", "Bo B."])
def test_plain_text_is_not_touched(text: str) -> None:
    assert unlinked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ana", "Ana"),
        ("花子", "花子"),
        ("דנה", "\u2068דנה\u2069"),
        ("250 ر.س", "\u2068250 ر.س\u2069"),
    ],
)
def test_what_runs_from_right_to_left_is_set_apart(text: str, shown: str) -> None:
    assert isolated(text) == shown


def test_headers_carry_no_encoded_words() -> None:
    assert "=?" not in header("=?utf-8?q?a=0D=0ABcc:_x@example.com?=")


def test_addresses_are_redacted() -> None:
    assert redacted("550 <ana@example.com>: no such user") == "550 <a***@example.com>: no such user"
    assert "maria" not in redacted('550 "ana maria"@example.com', '"ana maria"@example.com')
    assert trace(ValueError("no ana@example.com")) == "ValueError: no a***@example.com\n"
