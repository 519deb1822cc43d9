"""Text of other people is harmless on a terminal, in tables, sentences and logs."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from rich.console import Console, RenderableType

from activities.logs import configure_logs
from starter import show

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "link": "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "title of the window": "\x1b]0;evil\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "one-byte escape": "\x9b31mred",
    "overwritten line": "Refunded\rReleased\x08\x08\x7f",
    "second line": "ok\n2026-01-01 [info] payment_held\u2028x\x0b\x0c\x85",
    "other order": "exe.\u202egnp \u2066\u2067\u200f\u061c",
    "invisible": "a\u200bb\ufeff\u00ad\u2060\U000e0041",
    "zero and surrogate": "a\x00b\ud800",
    "address": "see http://evil.example or www.evil.com, x@evil.example",
    "markup": "[red]x[/red] [link=http://evil.example]y[/link] :smile:",
    "marks": "Z" + "\u0336" * 60,
    "endless": "x" * 100_000,
    "isolate without an end": "\u2068" + "\u05d0" * 100_000,
}

NEVER = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066\u2067\ud800]")
"""Control characters but the newline, bidirectional controls, and half a character."""


def printed(shown: RenderableType) -> str:
    """What a terminal gets, without styles."""
    file = io.StringIO()
    options = {"markup": False, "emoji": False, "highlight": False, "width": 100_000}
    Console(file=file, force_terminal=True, color_system=None, **options).print(shown)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_sentence_on_a_terminal_is_one_harmless_line(text: str) -> None:
    """No escape, no link, no other order; and not more than a page."""
    line = printed(show.prose(text))
    assert not NEVER.search(line)
    assert line.count("\n") == 1
    assert len(line) <= 1_100
    assert not re.search(r"https?://|www\.\w|@evil", line)


def test_the_id_in_a_command_can_be_copied() -> None:
    """An id with dots looks like an address; the rest of the sentence still makes no link."""
    line = printed(show.prose("See evil.example: run recourse adopt shop.de.1", "shop.de.1"))
    assert line.endswith("recourse adopt shop.de.1\n")
    assert "evil.example" not in line


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_cell_and_a_field_are_harmless(text: str) -> None:
    """One row stays one row."""
    table = printed(show.table(text, ("a", "b"), [(text, show.prose(text))]))
    assert not NEVER.search(table)
    fields = printed(show.fields([("Name", text)]))
    assert not NEVER.search(fields)
    assert fields.count("\n") == 1


def test_markup_is_shown_as_it_was_written() -> None:
    """Rich would make a link of it."""
    assert printed(show.prose("[red]x[/red]")).strip() == "[red]x[/red]"


@pytest.fixture
def logs() -> Iterator[None]:
    """Restores the settings of the standard library's logs."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = kept
    structlog.reset_defaults()


@pytest.mark.parametrize("terminal", [False, True], ids=["file", "terminal"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.usefixtures("logs")
def test_a_log_line_is_one_harmless_line(
    text: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a value, in a list, in a library's message and in its arguments."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logs()
    structlog.get_logger().info("refused", why=text, all=[text], by={"name": text})
    logging.getLogger("library").warning("cannot reach %s", text)
    logging.getLogger("library").warning(text)
    output = re.sub("\x1b\\[\\d*m", "", stream.getvalue())  # the renderer's own colours
    assert not NEVER.search(output)
    assert output.count("\n") == 3
    if not terminal:
        assert all(json.loads(line) for line in output.splitlines())
