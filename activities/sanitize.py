"""Makes text from other people safe to show: names, titles, notes, replies of servers.

The only sanitizer: for mail, the Web UI's summary, details and card, the terminal and logs. Nothing
here trusts its input. The results have no control characters and no invisible format characters
except joiners and closed isolates, so they cannot start a header line or reorder the text around
them.
"""

import re
import traceback
import unicodedata

_LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
_JOINERS = "\u200c\u200d"
"""Format characters that are kept: Persian, Indic scripts and many emoji need them."""

_MAX_MARKS = 4
"""Combining marks kept on one letter. No script needs more, and more would cover other lines."""

_ZERO_WIDTH_SPACE = "\u200b"
_ISOLATE, _POP = "\u2068", "\u2069"
"""Start and end of an isolate."""

_KEPT = _JOINERS + _ISOLATE + _POP

_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""The blocks that Unicode reserves for scripts written from right to left. Listed, because the
timeline has names that are isolated, and a replay must not depend on Unicode's version."""

_OWN_ISOLATE = re.compile(
    f"({_ISOLATE}(?=[^{_ISOLATE}{_POP}]*{_POP})[^{_ISOLATE}{_POP}]*{_RIGHT_TO_LEFT.pattern}[^{_ISOLATE}{_POP}]*{_POP})"
    f"|[{_ISOLATE}{_POP}]"
)
"""What `isolated` writes around a name, which is kept; or another start or end, which is not. The
lookahead keeps a long text without an end from taking seconds."""

_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_LINKABLE = re.compile(r"(?<=[^\W\d]):(?=\S)|[.。．｡](?=[^\W\d])|(?<=www)\.|@(?=\S)", re.IGNORECASE)
"""What a program needs to see a link: a colon after a scheme, a dot before a letter (every
top-level domain starts with a letter) or after www, or an at sign."""

_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#+!|~&]|^[-=]")
"""What Markdown takes for markup in a single line. `&` starts an entity, which may stand for a
bidirectional override."""

_LIST_NUMBER = re.compile(r"^(\d+)\.(?=\s|$)")
_ADDRESS = re.compile(r"([^\s<>\"'(),;:@])[^\s<>\"'(),;:@]{0,255}@")


def _visible(text: str) -> str:
    """The text in NFC without control and format characters; every line break is a newline."""
    kept: list[str] = []
    marks = 0
    text = _OWN_ISOLATE.sub(lambda match: match[1] or "", text)
    for character in unicodedata.normalize("NFC", text):
        if character in _LINE_BREAKS:
            kept.append("\n")
            continue
        category = unicodedata.category(character)
        if character == "\t" or category == "Zs":
            kept.append(" ")
        elif category not in ("Cc", "Cf", "Cs") or character in _KEPT:
            marks = marks + 1 if category in ("Mn", "Me") else 0
            if marks <= _MAX_MARKS:
                kept.append(character)
    return "".join(kept)


def _shortened(text: str, limit: int) -> str:
    """At most `limit` characters; what closes isolates is not counted."""
    if len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    return text + _POP * (text.count(_ISOLATE) - text.count(_POP))


def one_line(text: str, limit: int = 200) -> str:
    """One line of at most `limit` characters; a longer one ends with an ellipsis."""
    return _shortened(" ".join(_visible(text[: 8 * limit]).split()), limit)


def lines(text: str, limit: int = 5000, most: int = 80) -> str:
    """Several lines: at most `limit` characters and `most` lines, blank lines never in a row."""
    text = text[: 8 * limit].replace("\r\n", "\n")
    rows = "\n".join(row.rstrip() for row in _visible(text).split("\n"))
    rows = re.sub(r"\n{3,}", "\n\n", rows).strip("\n")
    kept = rows.split("\n")
    return _shortened("\n".join(kept[:most] + (["…"] if len(kept) > most else [])), limit)


def unlinked(text: str) -> str:
    """The text with invisible spaces, so that mail programs make no link of any part of it."""
    return _LINKABLE.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)


def plain_text(text: str, limit: int) -> str:
    """One line of at most `limit` characters, of which mail programs make no link."""
    return unlinked(one_line(text, limit))


def markdown(text: str, limit: int = 300) -> str:
    """One line that Markdown shows literally: no markup, no link, no image, no bare address that
    becomes a link."""
    escaped = _LIST_NUMBER.sub(r"\1\\.", _MARKUP.sub(r"\\\g<0>", one_line(text, limit)))
    return _LINKABLE.sub(_apart, escaped)


def _apart(match: re.Match[str]) -> str:
    # remark and cmark find links after backslashes are resolved and read on over invisible spaces;
    # markdown-it finds them before, but counts such spaces as letters. So both, on both sides.
    escape = "\\" if match[0].isascii() else ""
    return f"{_ZERO_WIDTH_SPACE}{escape}{match[0]}{_ZERO_WIDTH_SPACE}"


def isolated_markdown(text: str) -> str:
    """A text of somebody else between words of ours, in Markdown."""
    return markdown(isolated(text))


def isolated(text: str) -> str:
    """The text without bidirectional controls, isolated if it is written from right to left: the
    text around it keeps its order."""
    text = _BIDI_CONTROLS.sub("", text)
    return f"{_ISOLATE}{text}{_POP}" if _RIGHT_TO_LEFT.search(text) else text


def header(text: str, limit: int = 120) -> str:
    """One line that is safe as a header value: it holds no encoded word."""
    return one_line(text, limit).replace("=?", "= ?")


def redacted(text: str, address: str = "") -> str:
    """One line for logs and errors in which mail addresses read `a***@example.com`."""
    if address:
        local, at, domain = address.rpartition("@")
        text = text.replace(address, f"{local[:1]}***{at}{domain}")
    return one_line(_ADDRESS.sub(r"\1***@", text))


def trace(error: BaseException) -> str:
    """A traceback for the log, with mail addresses redacted."""
    return _ADDRESS.sub(r"\1***@", "".join(traceback.format_exception(error)))
