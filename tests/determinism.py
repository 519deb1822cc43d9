"""Finds what makes code depend on the process that runs it, where ruff has no rule for it.

A replay in another process must take the same path. The order of a set, `hash()` and what another
workflow has left in a module differ from process to process. Types are not inferred: a set is
recognised by its display, a call, an operator, or the annotation of its name.
"""

import ast
from collections.abc import Iterable, Iterator

DIFFERENT_EACH_TIME = frozenset(
    {"__import__", "breakpoint", "eval", "exec", "hash", "id", "input", "open", "print"}
)
"""Builtins that depend on the process, or that read or write outside of it."""

SETS = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
KEEPS_ORDER = frozenset(
    {"dict", "enumerate", "filter", "fromkeys", "iter", "join", "list", "map", "next", "repr"}
    | {"reversed", "str", "tuple", "zip"}
)
"""Functions whose result, or what it is made of, has the order of their argument."""

HAS_NO_ORDER = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"})
"""Functions whose result does not depend on the order of their argument."""

COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp, ast.DictComp)
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.SetComp, *COMPREHENSIONS)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

MUTABLE = frozenset(
    {"Counter", "OrderedDict", "bytearray", "count", "cycle", "defaultdict", "deque", "dict"}
    | {"iter", "list", "set"}
)
CHANGES = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"}
    | {"popleft", "remove", "reverse", "setdefault", "sort", "update"}
)


def problems(sources: Iterable[str]) -> list[str]:
    """What is wrong in these modules, each with its source line."""
    trees = [ast.parse(source) for source in sources]
    sets = {name for tree in trees for name in _annotated_sets(tree)}
    state = {name for tree in trees for name in _module_state(tree)}
    return [
        f"{what}: {ast.unparse(node)[:100]}"
        for tree in trees
        for node, what in (
            *_different_each_time(tree),
            *_unordered(tree, sets | _local_sets(tree)),
            *_changed_state(tree, state),
        )
    ]


def _name(node: ast.AST | None) -> str:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _call(node: ast.AST) -> str:
    return _name(node.func) if isinstance(node, ast.Call) else ""


# --- builtins


def _different_each_time(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in DIFFERENT_EACH_TIME - own:
                yield node, "depends on the process"


# --- sets


def _annotated_sets(tree: ast.Module) -> Iterator[str]:
    """Names of functions, fields and constants that are annotated as a set: for all modules."""
    for scope in ast.walk(tree):
        if isinstance(scope, FUNCTIONS) and _is_set_type(scope.returns):
            yield scope.name
        if isinstance(scope, ast.Module | ast.ClassDef):
            for node in scope.body:
                if isinstance(node, ast.AnnAssign) and _is_set_type(node.annotation):
                    yield _name(node.target)


def _is_set_type(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.BinOp):  # set[str] | None
        return _is_set_type(annotation.left) or _is_set_type(annotation.right)
    return _name(annotation.value if isinstance(annotation, ast.Subscript) else annotation) in SETS


def _local_sets(tree: ast.Module) -> set[str]:
    """Names of parameters and variables that are a set: for their own module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and _is_set_type(node.annotation):
            found.add(node.arg)
        if isinstance(node, ast.AnnAssign) and _is_set_type(node.annotation):
            found.add(_name(node.target))
        if isinstance(node, ast.Assign) and _is_set(node.value, set()):
            found |= {_name(target) for target in node.targets}
    return found


def _is_set(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=function):
            return _name(function) in SETS | SET_METHODS | names
        case ast.BinOp(left, ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub(), right):
            return any(_is_set(side, names) or _call(side) == "keys" for side in (left, right))
        case ast.IfExp(body=body, orelse=orelse):
            return _is_set(body, names) or _is_set(orelse, names)
        case ast.NamedExpr(value=value):
            return _is_set(value, names)
        case ast.Name() | ast.Attribute():
            return _name(node) in names
    return False


def _unordered(tree: ast.Module, names: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Where the order of a set is read."""
    harmless = {
        id(argument)
        for node in ast.walk(tree)
        if _call(node) in HAS_NO_ORDER
        for argument in node.args  # type: ignore[attr-defined]
    }
    for node in ast.walk(tree):
        read: list[ast.AST] = []
        match node:
            case ast.For(iter=source) | ast.AsyncFor(iter=source):
                read = [source]
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
                if id(node) not in harmless:
                    read = [each.iter for each in node.generators]
            case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
                read = [value]
            case ast.Call() if _call(node) in KEEPS_ORDER and id(node) not in harmless:
                read = [*node.args]
            case ast.Starred(value=value) | ast.FormattedValue(value=value):
                read = [value]
            case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value):
                read = [value]
        if any(_is_set(each, names) for each in read):
            yield node, "depends on the order of a set; sort it"


# --- modules


def _module_state(tree: ast.Module) -> Iterator[str]:
    """Names of a module, or of a class, for something that can change. A field with a type is none:
    each instance has its own."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    inside = [statement for node in classes for statement in node.body]
    shared = [node for node in inside if not isinstance(node, ast.AnnAssign) or _is_shared(node)]
    for statement in (*tree.body, *shared):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            value = statement.value
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if isinstance(value, DISPLAYS) or _call(value) in MUTABLE:
                yield from (_name(target) for target in targets)


def _is_shared(field: ast.AnnAssign) -> bool:
    annotation = field.annotation
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return _name(outer) == "ClassVar"


def _changed_state(tree: ast.Module, state: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Where a function changes a name of a module."""
    functions = (node for node in ast.walk(tree) if isinstance(node, (*FUNCTIONS, ast.Lambda)))
    for function in functions:
        own = {
            *(node.arg for node in ast.walk(function) if isinstance(node, ast.arg)),
            *(node.id for node in ast.walk(function) if _is_stored(node)),  # type: ignore[attr-defined]
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Global) or _changed(node) in state - own:
                yield node, "changes its module"


def _changed(node: ast.AST) -> str | None:
    """The name of what a statement or a call changes."""
    match node:
        case ast.Call(func=ast.Attribute(value=changed, attr=method)) if method in CHANGES:
            return _name(changed)
        case ast.Call(func=ast.Name(id="next"), args=[changed, *_]):
            return _name(changed)
        case ast.Subscript(value=changed, ctx=ast.Store() | ast.Del()):
            return _name(changed)
        case ast.AugAssign(target=ast.Attribute() as changed):
            return _name(changed)
    return None


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
