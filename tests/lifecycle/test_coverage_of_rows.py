"""Every row of the table of transitions is cited by a test, so that a row without a test is found.

A test cites a row by its id in its docstring. Only test functions count: a citation elsewhere
proves nothing.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workflows.lifecycle.versions import VERSIONS, Rules

ROW_ID = re.compile(r"\bR-\d{2,3}\b")


def cited(source: str) -> Iterator[str]:
    """The row ids in the docstrings of the tests in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from ROW_ID.findall(ast.get_docstring(node) or "")


def cited_here() -> set[str]:
    """The row ids that the tests in this folder cite."""
    return {
        row_id
        for path in Path(__file__).parent.glob("test_*.py")
        for row_id in cited(path.read_text())
    }


def uncited(rules: Rules, citations: set[str]) -> list[str]:
    """The rows of a version that no test cites."""
    return [row.id for row in rules.transitions if row.id not in citations]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_is_cited_by_a_test(version: int) -> None:
    """Each row of each version has a test that says what it proves about the row."""
    assert uncited(VERSIONS[version], cited_here()) == []


def test_every_cited_row_exists() -> None:
    """A citation of a row that no version has any more is found."""
    known = {row.id for rules in VERSIONS.values() for row in rules.transitions}
    assert cited_here() - known == set()


def test_a_row_without_a_test_is_found() -> None:
    """Citations in comments, helpers and modules do not count."""
    rules = next(iter(VERSIONS.values()))
    first, second, *_ = (row.id for row in rules.transitions)
    source = f'''
"""{second}"""

def helper():
    """{second}"""

def test_something():
    """{first}: something happens."""
    # {second}
'''
    assert set(cited(source)) == {first}
    assert second in uncited(rules, set(cited(source)))
