"""Translations as templates: a part of ICU's MessageFormat, so that a sentence can fit its reader.

`{amount}` is a placeholder. `{client, select, you {Sie haben} other {{client} hat}} bezahlt` has a
text for each case: `you` if the client reads it, else the role's name if it is listed (`mediator`),
else `other`. Cases may contain further ones. Python has no kept library for this notation without
ICU itself; `select` is all that is needed, because gettext has plurals of its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


class InvalidPattern(ValueError):
    """The translation is not a pattern; the message says where."""


@dataclass(frozen=True)
class Placeholder:
    """A value that is filled in."""

    name: str


@dataclass(frozen=True)
class Select:
    """A choice by the case of a person."""

    name: str
    cases: Mapping[str, "Pattern"]


Pattern = tuple[str | Placeholder | Select, ...]

_TOKEN = re.compile(r"\{(\w+)\}|\{(\w+), *select, *|[{}]|[^{}]+")
_CASE = re.compile(r"(\w+) *\{")


def parse(text: str) -> Pattern:
    """The pattern of a translation. Raises InvalidPattern."""
    pattern, end = _parse(text, 0)
    if end < len(text):
        raise InvalidPattern(f"a closing brace too many at character {end + 1}: {text}")
    return pattern


def _parse(text: str, at: int) -> tuple[Pattern, int]:
    """The pattern that begins at a character, and where it ends: at a closing brace, or the end."""
    parts: list[str | Placeholder | Select] = []
    while at < len(text) and (token := _TOKEN.match(text, at)) and token[0] != "}":
        if token[0] == "{":
            raise InvalidPattern(f"neither a placeholder nor a select at {at + 1}: {text}")
        at = token.end()
        if token[1]:
            parts.append(Placeholder(token[1]))
        elif token[2]:
            cases, at = _cases(text, at)
            parts.append(Select(token[2], cases))
        else:
            parts.append(token[0])
    return tuple(parts), at


def _cases(text: str, at: int) -> tuple[dict[str, Pattern], int]:
    cases: dict[str, Pattern] = {}
    while case := _CASE.match(text, at):
        cases[case[1]], at = _parse(text, case.end())
        if text[at : at + 1] != "}":
            raise InvalidPattern(f"the case {case[1]} has no end: {text}")
        at += 1 + len(text[at + 1 :]) - len(text[at + 1 :].lstrip(" "))
    if "other" not in cases or text[at : at + 1] != "}":
        raise InvalidPattern(f"a select needs the case other, and an end at {at + 1}: {text}")
    return cases, at + 1


def write(pattern: Pattern, value: Callable[[str], str], case: Callable[[str], str]) -> str:
    """The text with every placeholder filled in. Values are inserted as they are: braces in them
    mean nothing."""
    return "".join(
        part
        if isinstance(part, str)
        else value(part.name)
        if isinstance(part, Placeholder)
        else write(part.cases.get(case(part.name), part.cases["other"]), value, case)
        for part in pattern
    )


def selects(pattern: Pattern) -> Iterator[Select]:
    """Every choice in a pattern, also inside of cases."""
    for part in pattern:
        if isinstance(part, Select):
            yield part
            for inner in part.cases.values():
                yield from selects(inner)
