"""Find the names in a module that mean functions which load and dump pickles."""

import ast
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from pickleseal.migration.source.functions import (
    LAST_PARTS,
    METHOD,
    PICKLES,
    TO_PICKLE,
    Rule,
    Words,
    known_name,
    starred,
)

_LONGEST_CHAIN = 8
_OPENERS = frozenset((
    "open", "io.open", "builtins.open", "gzip.open", "gzip.GzipFile", "bz2.open", "bz2.BZ2File",
    "lzma.open", "lzma.LZMAFile",
))  # fmt: skip
"""Calls that open a path which signed_load could take: adopted files stay compressed."""
_DUNDER = ("name", "globals", "locals", "fromlist", "level")
_IMPORTERS = {
    "__import__": _DUNDER,
    "builtins.__import__": _DUNDER,
    "importlib.__import__": _DUNDER,
    "importlib.import_module": ("name", "package"),
}
"""Functions that import a module by its name, and their parameters."""


class Mention(NamedTuple):
    """A call of a function in the table, or a place where it is passed on.

    function: its name in the table, or METHOD; rule: its entry there.
    openers: the ids of the arguments that open a path.
    followed: whether an import in the module binds the name.
    """

    node: ast.Call | ast.Name | ast.Attribute
    function: str
    rule: Rule | Words
    openers: frozenset[int]
    followed: bool


def mentions_in(tree: ast.Module) -> list[Mention]:
    """Return the mentions in a module, each after those in its arguments."""
    found = filter(_is_of_a_pickle, _Names(tree).mentions)
    return sorted(found, key=lambda mention: _inner_first(mention.node))


def arguments(
    call: ast.Call, values: Sequence[ast.expr], takes: Sequence[str]
) -> dict[str, ast.expr]:
    """Return the arguments of a call by parameter, without unpacked ones.

    values: the positional arguments; takes: the parameters in their order.
    """
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return dict(zip(takes, values, strict=False)) | named


def is_unpacked(call: ast.Call) -> bool:
    """Return whether a call passes arguments by `*` or `**`."""
    return any(isinstance(one, ast.Starred) for one in call.args) or any(
        keyword.arg is None for keyword in call.keywords
    )


class _Scope:
    """The scope of a module, function, class or comprehension: each name's bindings, by turn."""

    def __init__(self, kind: str, parent: "_Scope | None") -> None:
        self.kind = kind
        self.parent = parent
        self.elsewhere: dict[str, _Scope] = {}
        self.names: dict[str, tuple[list[int], list[str | None]]] = {}

    def bind(self, name: str, origin: str | None, turn: int) -> None:
        """Record that a name means `origin` from a turn on; None if it cannot be followed."""
        turns, origins = self.elsewhere.get(name, self).names.setdefault(name, ([], []))
        turns.append(turn)
        origins.append(origin)

    def origin(self, name: str, turn: int) -> tuple[str | None, bool]:
        """Return what a name means at a turn, and whether it is bound; if not, it means itself.

        A function runs after the code around it, and sees a name's last binding.
        """
        scope: _Scope | None = self
        in_order = True
        while scope is not None:
            if name in scope.elsewhere:
                scope, in_order = scope.elsewhere[name], False
            if name in scope.names and (in_order or scope.kind != "class"):
                turns, origins = scope.names[name]
                place = bisect_right(turns, turn) if in_order else len(turns)
                return origins[max(place - 1, 0)], True
            in_order = in_order and scope.kind in ("class", "comprehension")
            scope = scope.parent
        return name, False

    def module(self) -> "_Scope":
        """Return the outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


_Placed = tuple[ast.AST, _Scope]
_Use = tuple[ast.Call | ast.Name | ast.Attribute, _Scope, int]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# Evaluated before what binds a name to them.
_EARLY = {"generators": 0, "iter": 0, "value": 1}
_BARREN = frozenset(("ctx", "op", "ops", "kind", "type_comment", "type_ignores"))


class _Names:
    """A walk over a syntax tree that resolves names to the functions in the table.

    It is not recursive, since a tree may be deeper than Python's stack.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._turn = 0
        self._uses: list[_Use] = []
        self._called: set[int] = set()
        self._bases: set[int] = set()
        self._stand_ins: set[int] = set()
        waiting: list[_Placed] = [(tree, _Scope("module", None))]
        while waiting:
            node, scope = waiting.pop()
            self._turn += 1
            waiting += reversed(self._enter(node, scope))
        self.mentions = [found for use in self._uses if (found := self._mention(*use))]

    def _enter(self, node: ast.AST, scope: _Scope) -> list[_Placed]:
        """Record what a node binds and uses; return its children in the order of evaluation."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, origin in _imported(node):
                scope.bind(name, origin, self._turn)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            if scope.parent is not None:
                place = scope.module() if isinstance(node, ast.Global) else scope.parent
                scope.elsewhere.update(dict.fromkeys(node.names, place))
        elif isinstance(node, _FUNCTIONS):
            return self._enter_function(node, scope)
        elif isinstance(node, ast.ClassDef):
            self._bind_made(node, [node.name], scope)
            self._bases.update(map(id, node.bases))
            inner = _Scope("class", scope)
            around = [*node.decorator_list, *node.bases, *node.keywords]
            return [(one, scope) for one in around] + [(one, inner) for one in node.body]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and self._is_alias(node, scope):
            return [] if node.value is None else [(node.value, scope)]
        elif isinstance(node, _COMPREHENSIONS):
            scope = _Scope("comprehension", scope)
        else:
            self._note(node, scope)
        return [(child, scope) for child in _children(node)]

    def _enter_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: _Scope
    ) -> list[_Placed]:
        inner = _Scope("function", scope)
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        for argument in named:
            if argument is not None:
                inner.bind(argument.arg, None, self._turn)
        if isinstance(node, ast.Lambda):
            return [(given, scope), (node.body, inner)]
        self._bind_made(node, [node.name], scope)
        around: list[_Placed] = [(one, scope) for one in (*node.decorator_list, given)]
        return around + [(one, inner) for one in node.body]

    def _is_alias(self, node: ast.Assign | ast.AnnAssign, scope: _Scope) -> bool:
        """Return whether an assignment gives something named another name, and record it.

        `joblib = None`, as where an import failed, does not change the name's meaning, nor does
        `load: Any`.
        """
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        value = node.value
        if len(names) < len(targets):
            return False
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return True
        is_name = isinstance(value, ast.Name | ast.Attribute)
        if not is_name and _module_of(value, scope, self._turn) is None:
            if id(node) in self._stand_ins:
                self._bind_made(node, names, scope)
                return True
            return False
        origin, _ = _dotted(value, scope, self._turn)
        for name in names:
            scope.bind(name, origin, self._turn)
        return True

    def _bind_made(self, node: ast.stmt, names: Sequence[str], scope: _Scope) -> None:
        """Record that a statement defines names.

        A definition in place of a failed import, or in another branch, leaves two meanings; the
        import's is kept.
        """
        for name in names:
            if id(node) not in self._stand_ins or name not in scope.names:
                scope.bind(name, None, self._turn)

    def _note(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.If | ast.Try):
            others = node.orelse if isinstance(node, ast.If) else node.handlers
            for other in others:
                body = other.body if isinstance(other, ast.ExceptHandler) else [other]
                self._stand_ins.update(map(id, body))
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.bind(node.id, None, self._turn)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            name = node.rest if isinstance(node, ast.MatchMapping) else node.name
            if name is not None:
                scope.bind(name, None, self._turn)
        elif isinstance(node, ast.Call):
            self._called.add(id(node.func))
            self._uses.append((node, scope, self._turn))
        elif id(node) in self._called:
            return
        elif isinstance(node, ast.Name) or (
            isinstance(node, ast.Attribute) and node.attr in LAST_PARTS
        ):
            self._uses.append((node, scope, self._turn))

    def _mention(
        self, node: ast.Call | ast.Name | ast.Attribute, scope: _Scope, turn: int
    ) -> Mention | None:
        named = node.func if isinstance(node, ast.Call) else node
        dotted, followed = _dotted(named, scope, turn)
        function = known_name(dotted or "")
        rule = PICKLES.get(function)
        if not isinstance(node, ast.Call):
            if rule is None or not self._is_handed_on(node, rule):
                return None
            return Mention(node, function, rule, frozenset(), followed)
        if rule is None:
            if not isinstance(named, ast.Attribute) or named.attr != METHOD:
                return None
            function, rule, followed = METHOD, TO_PICKLE, False
        openers = frozenset(
            id(one)
            for one in (*node.args, *(keyword.value for keyword in node.keywords))
            if isinstance(one, ast.Call) and _dotted(one.func, scope, turn)[0] in _OPENERS
        )
        return Mention(node, function, rule, openers, followed)

    def _is_handed_on(self, node: ast.Name | ast.Attribute, rule: Rule | Words) -> bool:
        # A class that is only named, as in an annotation, loads nothing; a subclass does.
        return isinstance(rule, Rule) or not rule.is_class or id(node) in self._bases


@cache
def _in_order(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields of a node that can hold other nodes, in the order of evaluation."""
    bearing = (field for field in fields if field not in _BARREN)
    return tuple(sorted(bearing, key=lambda field: _EARLY.get(field, 2)))


def _children(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for field in _in_order(node._fields):
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST)]
    return found


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None]]:
    """Yield each name that an import binds, and its meaning; None for a relative import."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif alias.name == "*" and not node.level:
            yield from starred(node.module or "")
        else:
            origin = None if node.level else f"{node.module}.{alias.name}"
            yield alias.asname or alias.name, origin


def _dotted(node: ast.expr, scope: _Scope, turn: int) -> tuple[str | None, bool]:
    """Return the full name that an expression means, if any, and whether it was followed."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < _LONGEST_CHAIN:
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        origin, known = scope.origin(node.id, turn)
    else:
        origin, known = _module_of(node, scope, turn), True
    if origin is None:
        return None, False
    return ".".join([origin, *reversed(parts)]), known


def _module_of(node: ast.expr, scope: _Scope, turn: int) -> str | None:
    """Return the module that a call of an import function evaluates to, or None."""
    # What is called is a name or an attribute of one: chains of calls may be deep.
    if not isinstance(node, ast.Call) or not _is_plain(node.func):
        return None
    takes = _IMPORTERS.get(_dotted(node.func, scope, turn)[0] or "")
    if takes is None:
        return None
    given = arguments(node, node.args, takes)
    name = given.get("name")
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    # Without fromlist, __import__ returns the topmost package.
    is_top = "fromlist" in takes and "fromlist" not in given
    return name.value.partition(".")[0] if is_top else name.value


def _is_plain(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    )


def _is_of_a_pickle(mention: Mention) -> bool:
    """Return whether a function reads or writes a pickle there: some do so only if asked."""
    node = mention.node
    if mention.function == "torch.load" and isinstance(node, ast.Call):
        value = arguments(node, (), ()).get("weights_only")
        return not (isinstance(value, ast.Constant) and value.value is True)
    if mention.function == "joblib.Memory" and isinstance(node, ast.Call):
        # Without a location it keeps nothing, and ours keeps what is sealed.
        given = arguments(node, node.args, ("location", "backend"))
        location, backend = (
            value.value if isinstance(value, ast.Constant) else value
            for value in map(given.get, ("location", "backend"))
        )
        return is_unpacked(node) or (location is not None and backend != "pickleseal")
    if mention.function == "numpy.load":
        if not isinstance(node, ast.Call):
            return False
        given = arguments(node, node.args, ("file", "mmap_mode", "allow_pickle"))
        value = given.get("allow_pickle", ast.Constant(value=False))
        return not isinstance(value, ast.Constant) or bool(value.value)
    return True


def _inner_first(node: ast.expr) -> tuple[int, ...]:
    """Return a sort key that puts expressions after the expressions inside them."""
    return (
        -node.lineno,
        -node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or node.col_offset,
    )
