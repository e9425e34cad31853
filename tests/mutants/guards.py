"""The guards of a module, and a mutant for each part of one."""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BOUNDARIES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Mutant(NamedTuple):
    """A module with one guard changed.

    `key` names the mutant in reports and in `equivalent.txt`: it has no line number, which every
    edit would change. `function` is the outermost function that it lies in, with its class.
    """

    key: str
    module: str
    path: Path
    line: int
    function: str
    whole: ast.Module
    node: ast.AST
    changed: ast.AST

    def tree(self) -> ast.Module:
        """Return the module as the mutant has it."""
        place = {id(self.node): ast.copy_location(self.changed, self.node)}
        return ast.fix_missing_locations(copy.deepcopy(self.whole, place))


def mutants(package: Path, path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module of the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = path.relative_to(package).with_suffix("")
    module = ".".join((package.name, *room.parts)).removesuffix(".__init__")
    seen: Counter[str] = Counter()
    for function, name in _functions(tree):
        for node, what, changed in _changes(function):
            key = f"{room.as_posix()} {name}: {what}"
            seen[key] += 1
            if seen[key] > 1:
                key = f"{key} (number {seen[key]})"
            yield Mutant(key, module, path, node.lineno, name, tree, node, changed)


def _functions(tree: ast.Module) -> Iterator[tuple[_Function, str]]:
    """Yield the outermost functions, with their qualified names."""
    waiting: list[tuple[ast.stmt, str]] = [(node, "") for node in tree.body]
    for node, above in waiting:
        if isinstance(node, ast.ClassDef):
            waiting += [(inner, f"{above}{node.name}.") for inner in node.body]
        elif isinstance(node, _Function):
            yield node, above + node.name


def _changes(function: _Function) -> Iterator[tuple[ast.stmt | ast.expr, str, ast.AST]]:
    """Yield each part of a guard, the change in words, and what to put in its place."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(map(_refuses, node.body)):
            yield node.test, f"never `if {_text(node.test)}`", ast.Constant(value=False)
            yield from _boundaries(node.test)
        elif (isinstance(node, ast.Raise) and not _is_first_of_an_if(node, function)) or (
            isinstance(node, ast.Expr) and _is_check(node.value)
        ):
            yield node, f"no `{_text(node)}`", ast.Pass()
        if isinstance(node, ast.BoolOp):
            for number, term in enumerate(node.values):
                left = [one for other, one in enumerate(node.values) if other != number]
                kept = left[0] if len(left) == 1 else ast.BoolOp(op=node.op, values=left)
                yield node, f"`{_text(node)}` without `{_text(term)}`", kept


def _boundaries(test: ast.expr) -> Iterator[tuple[ast.expr, str, ast.AST]]:
    for node in ast.walk(test):
        if not isinstance(node, ast.Compare):
            continue
        for number, operator in enumerate(node.ops):
            other = _BOUNDARIES.get(type(operator))
            if other is not None:
                changed = copy.deepcopy(node)
                changed.ops[number] = other()
                yield node, f"`{_text(node)}` as `{_text(changed)}`", changed


def _is_first_of_an_if(node: ast.Raise, function: _Function) -> bool:
    """Return whether a mutant of the condition switches this off already."""
    return any(isinstance(one, ast.If) and one.body[0] is node for one in ast.walk(function))


def _refuses(node: ast.stmt) -> bool:
    """Return whether a statement raises, yields a fault, or answers a question."""
    if isinstance(node, ast.Return):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)
    faults = isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield)
    return faults or isinstance(node, ast.Raise)


def _is_check(call: ast.expr) -> bool:
    """Return whether a statement calls a function that raises, by the names that we give them."""
    if not isinstance(call, ast.Call):
        return False
    name = ast.unparse(call.func).rpartition(".")[2].lstrip("_")
    return name.startswith(("check", "raise_first"))


def _text(node: ast.AST) -> str:
    """Return the source of a node in one line, shortened."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."
