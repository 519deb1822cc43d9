"""The lint for code that replays: `workflows/` and everything that it imports at run time.

Workflows run without the SDK's sandbox (`temporal/runner.py`). Instead there are ruff, the list of
modules here, and `tests/determinism.py`. docs/architecture.md says what they find.
"""

import ast
import json
import subprocess
import sys

import pytest

from tests.determinism import problems
from tests.test_house import DEPENDENCIES, HOUSE, MODULES, PURE, ROOMS

CHECKED = {
    name: file for name, file in MODULES.items() if name in PURE or name.startswith("workflows")
}

STANDARD = {
    "abc",
    "asyncio",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "re",
    "shlex",
    "traceback",
    "typing",
    "unicodedata",
}
"""All that is imported of the standard library. None of them does I/O for a workflow; what to avoid
in `asyncio` and `datetime` is in pyproject.toml."""

RULES = ("TID251", "PLW0603", "PTH123")


def found_by_ruff(source: str, path: str) -> list[str]:
    """What ruff finds in a module at this path."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format=json", "--no-cache"]
    options = [f"--select={','.join(RULES)}", f"--stdin-filename={path}", "-"]
    found = subprocess.run(
        [*command, *options], input=source, capture_output=True, text=True, check=False, cwd=HOUSE
    )
    return [f"{each['code']} {each['message']}" for each in json.loads(found.stdout)]


def imported_modules(source: str) -> set[str]:
    """The top-level modules that are imported."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_workflows_depend_on_nothing_but_messages_and_answers() -> None:
    """Ruff checks these files with the same settings in `make lint`."""
    assert problems(file.read_text() for file in CHECKED.values()) == []
    imported = {name for file in CHECKED.values() for name in imported_modules(file.read_text())}
    assert imported - set(ROOMS) - DEPENDENCIES == STANDARD


def test_workflows_load_nothing_else_at_run_time() -> None:
    """A process that imports the workflows has no ledger, no provider and no database."""
    script = "import sys, workflows.purchase, workflows.audit; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HOUSE
    ).stdout.split()
    ours = {name for name in loaded if name.split(".")[0] in ROOMS}
    assert ours - {"activities"} <= CHECKED.keys()
    assert not {"sqlalchemy", "stripe", "jinja2", "holidays", "babel"} & set(loaded)


@pytest.mark.parametrize(
    "name", sorted({*PURE, "workflows.purchase", "workflows.lifecycle.decide"})
)
def test_ruff_checks_each_of_these_files(name: str) -> None:
    """pyproject.toml lists the files of `activities` again."""
    path = str(MODULES[name].relative_to(HOUSE))
    assert len(found_by_ruff("import os\ndef f():\n    global x\n    x = open('x')", path)) == 3


def test_ruff_leaves_other_code_alone() -> None:
    """Activities read files, clocks and databases."""
    assert found_by_ruff("import os", "activities/money.py") == []


BY_RUFF = [
    "open('x')",
    "from urllib.request import urlopen",
    "import urllib",
    "import http.client",
    "import socket",
    "import glob",
    "from pathlib import Path",
    "import sqlite3",
    "import tempfile",
    "import subprocess",
    "import shutil",
    "import io",
    "import os",
    "from os import environ",
    "import threading",
    "from concurrent.futures import ThreadPoolExecutor",
    "import multiprocessing",
    "import random",
    "import secrets",
    "import uuid",
    "from uuid import uuid4",
    "import time",
    "from datetime import datetime\ndatetime.now()",
    "from datetime import datetime\nclock = datetime.utcnow",
    "from datetime import date\ndate.today()",
    "import asyncio\nasyncio.to_thread(f)",
    "import asyncio\nasyncio.wait([])",
    "import asyncio\nasyncio.create_subprocess_shell('ls')",
    "from activities.ledger import Ledger",
    "from activities import ledger",
    "import activities.payments.stripe",
    "from activities.database.engine import open_engine",
    "from activities.services import Services",
    "from temporalio.client import Client",
    "COUNT = 0\ndef f():\n    global COUNT\n    COUNT = 1",
]


@pytest.mark.parametrize("source", BY_RUFF, ids=lambda source: source.split("\n")[-1].strip())
def test_ruff_finds(source: str) -> None:
    """Input, output, clocks, chance, threads, and the modules that move money."""
    assert found_by_ruff(source, "workflows/purchase.py")


@pytest.mark.parametrize(
    "module", ["zoneinfo", "locale", "importlib", "sys", "logging", "sqlalchemy"]
)
def test_an_unlisted_module_is_found(module: str) -> None:
    """The list of what may be imported is complete."""
    assert imported_modules(f"import {module}.x") - STANDARD - DEPENDENCIES == {module}


UNORDERED = [
    "for x in {1, 2}: f(x)",
    "for x in set(y): f(x)",
    "found = frozenset(y)\nfor x in found: f(x)",
    "def f(found: set[str] | None):\n    return [x for x in found]",
    "class A:\n    found: frozenset[str]\ndef f(a):\n    return ', '.join(a.found)",
    "def names() -> set[str]: ...\nlist(names())",
    "names = {x: 1 for x in {1, 2}}",
    "for x in a.keys() & b.keys(): f(x)",
    "for x in a.found.union(b): f(x)",
    "next(iter({1, 2}))",
    "{1, 2}.pop()",
    "f(*{1, 2})",
    "a, b = {1, 2}",
    "text = f'{set(x)}'",
    "tuple({1} | found)",
    "sum_of = list(map(f, {1, 2}))",
]


@pytest.mark.parametrize("source", UNORDERED)
def test_the_order_of_a_set_is_found(source: str) -> None:
    """It differs between processes, for texts and enumerations."""
    assert "order of a set" in problems([source])[0]


CHANGED = [
    "SEEN = []\ndef f(x): SEEN.append(x)",
    "SEEN: dict[str, int] = {}\ndef f(x): SEEN[x] = 1",
    "SEEN = set()\ndef f(x): SEEN.add(x)",
    "SEEN = defaultdict(list)\ndef f(x): del SEEN[x]",
    "numbers = itertools.count()\ndef f(): return next(numbers)",
    "class A:\n    seen = []\n    def f(self, x): self.seen.append(x)",
    "class A:\n    seen: ClassVar[list[int]] = []\n    def f(self, x): self.seen += [x]",
    "COUNT = 0\ndef f():\n    global COUNT",
]


@pytest.mark.parametrize("source", CHANGED)
def test_state_of_a_module_that_a_function_changes_is_found(source: str) -> None:
    """A workflow would see what others on the same worker have left there."""
    assert "changes its module" in problems([source])[0]


def test_state_of_another_module_that_a_function_changes_is_found() -> None:
    """Also through the name of its module."""
    assert problems(["SEEN = {}", "import one\ndef f(x): one.SEEN.update(x)"])


@pytest.mark.parametrize("source", ["hash('x')", "id(x)", "sorted(x, key=hash)", "print(x)"])
def test_a_builtin_that_depends_on_the_process_is_found(source: str) -> None:
    """The hash of a text is another in each process."""
    assert "depends on the process" in problems([source])[0]


ALLOWED = [
    "for x in sorted({1, 2}): f(x)",
    "len({1, 2})",
    "any(x for x in {1, 2})",
    "names = {x.name for x in {1, 2}}",
    "x in {1, 2}",
    "for x in a.keys(): f(x)",
    "def f():\n    seen = []\n    seen.append(1)",
    "SEEN = []\ndef f():\n    SEEN = []\n    SEEN.append(1)",
    "class A:\n    seen: list[int] = []\ndef f(a): a.seen.append(1)",
    "class A:\n    id: str\ndef f(id): return id",
]


@pytest.mark.parametrize("source", ALLOWED)
def test_what_depends_on_no_process_is_allowed(source: str) -> None:
    """What is sorted, counted, or made by the function itself."""
    assert problems([source]) == []
