"""Imports run one way, and without a circle."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

HOUSE = Path(__file__).parent.parent
ROOMS = ("starter", "demo", "worker", "workroom", "temporal", "workflows", "activities")
ALLOWED = {
    "starter": {"starter", "demo", "workroom", "temporal", "workflows", "activities"},
    "demo": {"demo", "worker", "workroom", "temporal", "workflows", "activities"},
    "worker": {"workroom", "temporal", "workflows", "activities"},
    "workroom": {"workroom", "temporal", "workflows", "activities"},
    "temporal": {"temporal", "workflows", "activities"},
    "workflows": {"workflows", "activities"},
    "activities": {"activities"},
}
"""Which rooms each room may import."""

PURE = {
    "activities.amounts",
    "activities.currencies",
    "activities.fields",
    "activities.formatter",
    "activities.keys",
    "activities.requests",
    "activities.sanitize",
}
"""All that workflows may import of `activities`: no database, no provider, no clock."""


DEPENDENCIES = {"pydantic", "temporalio"}
"""All that workflows may import from outside. A library with a table of its own (currencies, time
zones, holidays) belongs in an activity, whose answers are recorded: with another release of it, a
replay would take another turn."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product by its name."""
    for room in ROOMS:
        files = [HOUSE / f"{room}.py"] if room == "worker" else (HOUSE / room).rglob("*.py")
        for file in files:
            if "migrations" not in file.parts:
                parts = file.relative_to(HOUSE).with_suffix("").parts
                yield ".".join(parts).removesuffix(".__init__"), file


MODULES = dict(modules())


def executed_at_load(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a module except the bodies of its functions; also those in `if` and `try`."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from executed_at_load(child)


def imported(file: Path, *, at_load: bool = False) -> set[str]:
    """The modules of the house that a file imports; `at_load`: only those it loads with itself."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in executed_at_load(tree) if at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & MODULES.keys()


def test_imports_run_one_way() -> None:
    """starter, worker, demo → workroom → temporal → workflows → activities."""
    wrong = [
        f"{name} imports {other}"
        for name, file in MODULES.items()
        for other in imported(file)
        if other.split(".")[0] not in ALLOWED[name.split(".")[0]]
    ]
    assert wrong == []


def test_workflows_import_only_pure_modules_of_activities() -> None:
    """Typed requests and helpers without I/O."""
    wrong = {
        f"{name} imports {other}"
        for name, file in MODULES.items()
        if name.startswith("workflows")
        for other in imported(file)
        if other.startswith("activities.") and other not in PURE
    }
    assert wrong == set()
    for name in PURE:
        assert {other for other in imported(MODULES[name]) if other not in PURE} <= {"activities"}


def test_a_replay_depends_on_no_other_library() -> None:
    """What workflows import, and the pure modules with them."""
    found = {
        name.split(".")[0]
        for module, file in MODULES.items()
        if module in PURE or module.startswith("workflows")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _names(node)
    }
    assert found - set(ROOMS) - sys.stdlib_module_names == DEPENDENCIES


def _names(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def test_no_module_imports_itself_in_a_circle() -> None:
    """prepare() raises CycleError, which names the circle."""
    packages = {name for name, file in MODULES.items() if file.name == "__init__.py"}
    graph = {
        name: {
            other
            for other in imported(file, at_load=True)
            if other != name and not (other in packages and name.startswith(f"{other}."))
        }
        for name, file in MODULES.items()
    }
    TopologicalSorter(graph).prepare()
