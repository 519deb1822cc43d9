"""What other people wrote, made safe to show: names, titles, notes, server replies.

Nothing here trusts its input. What comes out has no control characters and no invisible format
characters (bidirectional overrides among them), so it can neither start a header line nor turn
the text around it.
"""

import re
import traceback
import unicodedata

_LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and many emoji are wrong without them
_MAX_MARKS = 4  # more combining marks on one letter than any script needs would paint over lines
_ZERO_WIDTH_SPACE = "\u200b"
_ISOLATE, _POP = "\u2068", "\u2069"

# A colon before a scheme's body, a dot before a letter (every top-level domain starts with one),
# an at sign: a mail program makes a link of nothing that lacks all three.
_LINKABLE = re.compile(r"(?<=[^\W\d]):(?=\S)|[.。．｡](?=[^\W\d])|@(?=\S)")
_ADDRESS = re.compile(r"([^\s<>\"'(),;:@])[^\s<>\"'(),;:@]*@")


def _visible(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text):
        if character in _LINE_BREAKS:
            kept.append("\n")
            continue
        category = unicodedata.category(character)
        if character == "\t" or category == "Zs":
            kept.append(" ")
        elif category not in ("Cc", "Cf", "Cs") or character in _JOINERS:
            marks = marks + 1 if category in ("Mn", "Me") else 0
            if marks <= _MAX_MARKS:
                kept.append(character)
    return "".join(kept)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


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
    """The same to the eye, but nothing in it that a mail program would turn into a link."""
    return _LINKABLE.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)


def plain_text(text: str, limit: int) -> str:
    """One line of somebody else's text, which no mail program turns into a link."""
    return unlinked(one_line(text, limit))


def markdown(text: str, limit: int = 300) -> str:
    """One line of somebody else's text as Markdown shows it literally: no markup, no link, no
    image, no control characters."""
    shown = plain_text(text, limit)
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|~" else char for char in shown)


def isolated(text: str) -> str:
    """The same, but what is written from right to left does not turn the text around it."""
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text):
        return f"{_ISOLATE}{text}{_POP}"
    return text


def header(text: str, limit: int = 120) -> str:
    """One line that is safe as a header value: it cannot smuggle in an encoded word either."""
    return one_line(text, limit).replace("=?", "= ?")


def redacted(text: str, address: str = "") -> str:
    """One line for logs and errors in which mail addresses read `a***@example.com`."""
    if address:
        local, at, domain = address.rpartition("@")
        text = text.replace(address, f"{local[:1]}***{at}{domain}")
    return one_line(_ADDRESS.sub(r"\1***@", text))


def trace(error: BaseException) -> str:
    """A traceback for the log, without mail addresses."""
    return _ADDRESS.sub(r"\1***@", "".join(traceback.format_exception(error)))
