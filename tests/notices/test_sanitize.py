"""Text from other people becomes harmless and is otherwise unchanged."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from activities.sanitize import (
    header,
    isolated,
    lines,
    markdown,
    one_line,
    redacted,
    trace,
    unlinked,
)


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
    [
        *("www.evil.com", "WWW.163.com", "http://evil.com", "x@evil.com", "EVIL.example"),
        *("tel:123", "пример。рф"),
    ],
)
def test_no_part_of_a_text_can_become_a_link(text: str) -> None:
    assert text not in unlinked(text)
    assert unlinked(text).replace("\u200b", "") == text


@pytest.mark.parametrize("text", ["3.50 at 14:30", "Done. Thanks: all well.", "Bo B."])
def test_text_without_addresses_is_unchanged(text: str) -> None:
    assert unlinked(text) == text


GITHUB_LINK = re.compile(r"https?://|www\.|mailto:|[-.\w+]@[-\w]", re.IGNORECASE)
"""What the GitHub extension of Markdown makes a link of, in text whose escapes are resolved."""

MARKUP = (
    "<script>alert(1)</script> <b>bold</b>",
    "[a](https://evil.example) ![b](https://evil.example/x.png) [c]: https://evil.example",
    "<https://evil.example> https://evil.example www.evil.com www.163.com x@evil.example",
    "mailto:x@evil.example //evil.example javascript:alert(1) EVIL.example",
    "# heading",
    "- item",
    "* item",
    "1. item",
    "2) item",
    "> quote",
    "---",
    "===",
    "`code` ```fence``` ~~gone~~ **bold** __bold__ _it_ *it*",
    "a | b",
    "&lt;b&gt; &#8238;evil&#x202e; &amp;",
    "back\\slash \\<b> \\[a](b)",
    "line\n\n# heading\n- item",
    "    code",
    "3.50 at 14:30. Done: all well.",
    "",
)


def literal(text: str) -> None:
    """Check that Markdown shows the text and nothing else."""
    source = markdown(text, 5_000)
    parser = MarkdownIt("gfm-like", {"linkify": True})
    for place in (source, f"- {source}", f"> {source}"):
        tokens = [one for token in parser.parse(place) for one in token.children or ()]
        assert {one.type for one in tokens} <= {"text", "text_special"}, source
        shown = "".join(one.content for one in tokens)
        assert shown.replace("\u200b", "").strip() == one_line(text, 5_000)
        assert not GITHUB_LINK.search(shown), shown


@pytest.mark.parametrize("text", MARKUP)
def test_markdown_shows_the_text_literally(text: str) -> None:
    literal(text)


@given(
    st.text(
        st.one_of(st.sampled_from("\\`*_{}[]<>()#+-!|~&=.:;@/1w \n\"'$^"), st.characters()),
        max_size=60,
    )
)
def test_markdown_shows_any_text_literally(text: str) -> None:
    literal(text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("Paid 250.00 USD at 14:30. Done.", "Paid 250.00 USD at 14:30. Done."),
        ("3.50 is due", "3.50 is due"),
        ("Bo's note (new)", "Bo's note \\(new\\)"),
        ("x" * 400, "x" * 299 + "…"),
        ("exe.\u202egnp", "exe\u200b\\.\u200bgnp"),
    ],
)
def test_markdown_is_readable_as_plain_text(text: str, source: str) -> None:
    assert markdown(text) == source


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ana", "Ana"),
        ("花子", "花子"),
        ("דנה", "\u2068דנה\u2069"),
        ("250 ر.س", "\u2068250 ر.س\u2069"),
    ],
)
def test_text_from_right_to_left_is_isolated(text: str, shown: str) -> None:
    assert isolated(text) == shown


def test_headers_hold_no_encoded_words() -> None:
    assert "=?" not in header("=?utf-8?q?a=0D=0ABcc:_x@example.com?=")


def test_addresses_are_redacted() -> None:
    assert redacted("550 <ana@example.com>: no such user") == "550 <a***@example.com>: no such user"
    assert "maria" not in redacted('550 "ana maria"@example.com', '"ana maria"@example.com')
    assert trace(ValueError("no ana@example.com")) == "ValueError: no a***@example.com\n"
