"""Where Python source loads and saves pickles bare, and what should stand there instead.

Nothing is run or imported: the source is parsed, and names are followed to what they were imported
as. Source text in, call sites out.
"""

import ast
import json
import re
import tokenize
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

MOST_BYTES = 100_000_000
"""The size of the largest file that is worth a look: a notebook full of pictures."""

_MOST_SOURCE = 3_000_000
_LONGEST_CHAIN = 8
_REFUSALS = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)


class Kind(StrEnum):
    """What a call does with a pickle."""

    LOAD = "load"
    DUMP = "dump"


class Site(NamedTuple):
    """One place in source: where it is, what stands there, and what should.

    line, column: from 1, in characters; in a notebook's cell from the cell's own beginning.
    cell: the number of the cell, from 1 and text cells too; None outside of notebooks.
    kind: whether it loads or dumps.
    function: what is called, by its full name, such as "joblib.load".
    code: the call as it is written. A function that is handed on is told without a call.
    instead: what should stand there, None where no line can be given, and remarks tell what to do.
    guess: whether the name was not followed to an import.
    """

    line: int
    column: int
    cell: int | None
    kind: Kind
    function: str
    code: str
    instead: str | None
    remarks: tuple[str, ...]
    guess: bool


class Reading(NamedTuple):
    """What a file has: its call sites in their order; and why it, or a cell, cannot be parsed."""

    sites: tuple[Site, ...] = ()
    faults: tuple[str, ...] = ()


def in_module(data: bytes) -> Reading:
    """Find the call sites of a Python file.

    data: the file's bytes, in the encoding that they name (PEP 263), else UTF-8.

    Returns a Reading. Raises nothing for what is no Python: that is a fault in it.
    """
    try:
        return Reading(tuple(_sites(_decoded(data))))
    except _REFUSALS as error:
        return Reading(faults=(_reason(error),))


def in_notebook(data: bytes) -> Reading:
    """Find the call sites in the code cells of a Jupyter notebook, .ipynb.

    data: the file's bytes. Cells see each other's imports, in the order in which they stand; lines
        for IPython alone, such as `%matplotlib inline`, are passed over.

    Returns a Reading; a cell that cannot be parsed is a fault in it, and the others are read. A
    notebook in another language has no call sites.
    """
    try:
        cells = _code_cells(json.loads(data))
    except (ValueError, RecursionError) as error:
        return Reading(faults=(f"it is no notebook: {_reason(error)}",))
    except (KeyError, IndexError, TypeError, AttributeError):
        return Reading(faults=("it is no notebook: it has no cells as one has them",))
    starts: list[int] = []
    numbers: list[int] = []
    lines: list[str] = []
    faults: list[str] = []
    for number, written in cells:
        try:
            code = _without_magics(written)
        except _REFUSALS as error:
            faults.append(f"cell {number}: {_reason(error)}")
            continue
        starts.append(len(lines))
        numbers.append(number)
        lines += _lines(code)
    try:
        found = _sites("\n".join(lines))
    except _REFUSALS as error:
        return Reading(faults=(*faults, _reason(error)))
    sites = []
    for site in found:
        place = bisect_right(starts, site.line - 1) - 1
        sites.append(site._replace(line=site.line - starts[place], cell=numbers[place]))
    return Reading(tuple(sites), tuple(faults))


# --- what is looked for ----------------------------------------------------------------------


class _Rule(NamedTuple):
    """What takes a function's place, `target`, and its parameters by position, `takes`.

    `alike`: the target has all of its parameters. `more` is what the new call needs besides.
    """

    target: str
    takes: tuple[str, ...]
    alike: bool = False
    more: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return Kind.LOAD if self.target in ("signed_load", "signed_loads") else Kind.DUMP

    @property
    def leading(self) -> tuple[str, ...]:
        """Give those of `takes` that the target takes by position, in the same order."""
        return self.takes[: 2 if self.target == "signed_dump" else 1]

    @property
    def file(self) -> str | None:
        """Give which of them is a path or a file."""
        return None if self.target in ("signed_loads", "signed_dumps") else self.leading[-1]


class _Words(NamedTuple):
    """What to do about a function whose place no single call takes; `is_class`: it is a class."""

    kind: Kind
    advice: str
    is_class: bool = False


_CLOUD = ('pickler="cloudpickle"',)
_DILL = (
    'write it anew with signed_dump(..., pickler="cloudpickle"), which takes lambdas and what'
    " __main__ defines, and load that with signed_load"
)
_DILL_ENDS = ("", "s", "_session", "_module")
_TORCH = (
    "give it weights_only=True; or seal the bytes of the file, signed_dump(data, path), and load"
    " torch.load(io.BytesIO(signed_load(path)))"
)
_NUMPY = (
    "leave allow_pickle out: arrays of numbers need none; what is an array of objects, write anew"
    " with signed_dump and load with signed_load"
)
_SHELF = (
    "a shelf unpickles each value that is looked up: keep what signed_dumps gives in a dbm, and"
    " load each value with signed_loads"
)
_UNPICKLER = (
    "signed_load(file) takes the place of its load(); signed_load has allow= where find_class"
    " was to limit names"
)
_PICKLER = "signed_dump(obj, file) takes the place of its dump(obj)"

_PICKLES: Mapping[str, _Rule | _Words] = {
    "pickle.load": _Rule("signed_load", ("file",), alike=True),
    "pickle.loads": _Rule("signed_loads", ("data",), alike=True),
    "pickle.dump": _Rule("signed_dump", ("obj", "file", "protocol"), alike=True),
    "pickle.dumps": _Rule("signed_dumps", ("obj", "protocol"), alike=True),
    "pickle.Unpickler": _Words(Kind.LOAD, _UNPICKLER, is_class=True),
    "pickle.Pickler": _Words(Kind.DUMP, _PICKLER, is_class=True),
    "cloudpickle.load": _Rule("signed_load", ("file",), alike=True),
    "cloudpickle.loads": _Rule("signed_loads", ("data",), alike=True),
    "cloudpickle.dump": _Rule(
        "signed_dump", ("obj", "file", "protocol", "buffer_callback"), alike=True, more=_CLOUD
    ),
    "cloudpickle.dumps": _Rule(
        "signed_dumps", ("obj", "protocol", "buffer_callback"), alike=True, more=_CLOUD
    ),
    "cloudpickle.Pickler": _Words(Kind.DUMP, _PICKLER, is_class=True),
    "cloudpickle.CloudPickler": _Words(Kind.DUMP, _PICKLER, is_class=True),
    "joblib.load": _Rule("signed_load", ("filename", "mmap_mode", "ensure_native_byte_order")),
    "joblib.dump": _Rule(
        "signed_dump", ("value", "filename", "compress", "protocol", "cache_size")
    ),
    "pandas.read_pickle": _Rule(
        "signed_load", ("filepath_or_buffer", "compression", "storage_options")
    ),
    "pandas.to_pickle": _Rule(
        "signed_dump", ("obj", "filepath_or_buffer", "compression", "protocol", "storage_options")
    ),
    "dill.Unpickler": _Words(Kind.LOAD, _DILL, is_class=True),
    "dill.Pickler": _Words(Kind.DUMP, _DILL, is_class=True),
    **{f"dill.load{end}": _Words(Kind.LOAD, _DILL) for end in _DILL_ENDS},
    **{f"dill.dump{end}": _Words(Kind.DUMP, _DILL) for end in _DILL_ENDS},
    "torch.load": _Words(Kind.LOAD, _TORCH),
    "numpy.load": _Words(Kind.LOAD, _NUMPY),
    "shelve.open": _Words(Kind.LOAD, _SHELF),
    "shelve.Shelf": _Words(Kind.LOAD, _SHELF, is_class=True),
    "shelve.BsdDbShelf": _Words(Kind.LOAD, _SHELF, is_class=True),
    "shelve.DbfilenameShelf": _Words(Kind.LOAD, _SHELF, is_class=True),
}
_METHOD = "to_pickle"
_TO_PICKLE = _Rule("signed_dump", ("self", "path", "compression", "protocol", "storage_options"))
_SAME = {
    "_pickle": "pickle",
    "cPickle": "pickle",
    "pickle5": "pickle",
    "six.moves.cPickle": "pickle",
    "cloudpickle.cloudpickle": "cloudpickle",
    "cloudpickle.cloudpickle_fast": "cloudpickle",
    "joblib.numpy_pickle": "joblib",
    "sklearn.externals.joblib": "joblib",
    "sklearn.externals.joblib.numpy_pickle": "joblib",
    "pandas.io.pickle": "pandas",
    "torch.serialization": "torch",
}
_LAST_PARTS = frozenset(name.rpartition(".")[2] for name in (*_PICKLES, _METHOD))
# In no file without one of these can there be anything: all other files need no walk.
_SIGNS = (re.compile("[pP]ickle|joblib|dill|torch|shelve"), re.compile(r"numpy(?s:.*)\bload\b"))
_OPENERS = frozenset(("open", "io.open", "builtins.open"))
_KEPT = {
    Kind.LOAD: frozenset(("fix_imports", "encoding", "errors", "buffers")),
    Kind.DUMP: frozenset(("protocol", "fix_imports", "buffer_callback", "compress")),
}
_LEFT_OUT = {
    "mmap_mode": "nothing is memory-mapped: the arrays are read into memory",
    "storage_options": "storage_options is left out: open the file yourself, and hand it over",
}


# --- from source to sites --------------------------------------------------------------------


def _sites(source: str) -> list[Site]:
    if not _has_signs(source):
        if len(source) <= _MOST_SOURCE:
            _parsed(source)  # what is no Python is told all the same
        return []
    tree = _parsed(source)
    text = _Text(source)
    # What is an argument of another call comes first, so that it stands in that one's new line.
    mentions = sorted(filter(_counts, _Names(tree).mentions), key=lambda one: _span(one.node))
    replaced: dict[int, str] = {}
    sites = []
    for mention in mentions:
        site = _site(mention, text, replaced)
        sites.append(site)
        if site.instead is not None:
            replaced[id(mention.node)] = site.instead
    return sorted(sites, key=lambda site: (site.line, site.column))


def _has_signs(source: str) -> bool:
    # Letters of other alphabets can spell a name, too: Python takes them for the plain ones.
    plain = source if source.isascii() else unicodedata.normalize("NFKC", source)
    return any(signs.search(plain) for signs in _SIGNS)


def _span(node: ast.expr) -> tuple[int, ...]:
    return (
        -node.lineno,
        -node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or node.col_offset,
    )


def _parsed(source: str) -> ast.Module:
    if len(source) > _MOST_SOURCE:
        raise ValueError(f"it has more than {_MOST_SOURCE:,} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those on old spellings are not what is asked for
        return ast.parse(source)


def _decoded(data: bytes) -> str:
    first = (line + b"\n" for line in data.split(b"\n", 2)[:2])
    encoding, _ = tokenize.detect_encoding(first.__next__)
    return data.decode(encoding)


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        where = f"line {error.lineno}: " if error.lineno else ""
        return f"this Python cannot parse it: {where}{error.msg}"
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply, or too large"
    return str(error)


class _Mention(NamedTuple):
    """A function that is looked for: the call of it, or where it is handed on.

    `openers`: the ids of those arguments that call Python's own `open`.
    """

    node: ast.Call | ast.Name | ast.Attribute
    function: str
    rule: _Rule | _Words
    openers: frozenset[int]
    followed: bool


class _Scope:
    """A module, function, class or comprehension, and what each of its names is, turn by turn."""

    def __init__(self, kind: str, parent: "_Scope | None") -> None:
        self.kind = kind
        self.parent = parent
        self.elsewhere: dict[str, _Scope] = {}
        self.names: dict[str, tuple[list[int], list[str | None]]] = {}

    def bind(self, name: str, origin: str | None, turn: int) -> None:
        """Take down that a name is `origin` from a turn on, None for what is not followed."""
        turns, origins = self.elsewhere.get(name, self).names.setdefault(name, ([], []))
        turns.append(turn)
        origins.append(origin)

    def origin(self, name: str, turn: int) -> tuple[str | None, bool]:
        """Give what a name is at a turn, and whether it is bound at all: else it is itself.

        A function runs later than what stands around it: it sees what a name was at last.
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
        """Give the outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


_Placed = tuple[ast.AST, _Scope]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# Evaluated before what binds a name to them.
_EARLY = {"generators": 0, "iter": 0, "value": 1}
_BARREN = frozenset(("ctx", "op", "ops", "kind", "type_comment", "type_ignores"))


class _Names:
    """A walk through a tree: which names stand for the functions that are looked for.

    It does not call itself, since a tree may be deeper than Python's stack.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._turn = 0
        self._uses: list[tuple[ast.expr, _Scope, int]] = []
        self._called: set[int] = set()
        self._bases: set[int] = set()
        waiting: list[_Placed] = [(tree, _Scope("module", None))]
        while waiting:
            node, scope = waiting.pop()
            self._turn += 1
            waiting += reversed(self._enter(node, scope))
        self.mentions = [found for use in self._uses if (found := self._mention(*use))]

    def _enter(self, node: ast.AST, scope: _Scope) -> list[_Placed]:
        """Take down what a node binds and uses; give what is in it, in the order of evaluation."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, origin in _imported(node):
                scope.bind(name, origin, self._turn)
        elif isinstance(node, ast.Global):
            if scope.parent is not None:
                scope.elsewhere.update(dict.fromkeys(node.names, scope.module()))
        elif isinstance(node, ast.Nonlocal):
            if scope.parent is not None:
                scope.elsewhere.update(dict.fromkeys(node.names, scope.parent))
        elif isinstance(node, _FUNCTIONS):
            return self._enter_function(node, scope)
        elif isinstance(node, ast.ClassDef):
            scope.bind(node.name, None, self._turn)
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
        scope.bind(node.name, None, self._turn)
        around: list[_Placed] = [(one, scope) for one in (*node.decorator_list, given)]
        return around + [(one, inner) for one in node.body]

    def _is_alias(self, node: ast.Assign | ast.AnnAssign, scope: _Scope) -> bool:
        """Tell whether names are given to something that has one, and take down which.

        `joblib = None`, where an import failed, leaves open what the name is where it did not.
        """
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        value = node.value
        if len(names) < len(targets):
            return False
        if isinstance(value, ast.Constant) and value.value is None:
            return True
        if not isinstance(value, ast.Name | ast.Attribute):
            return False
        origin, _ = _dotted(value, scope, self._turn)
        for name in names:
            scope.bind(name, origin, self._turn)
        return True

    def _note(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.bind(node.id, None, self._turn)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            if node.name is not None:
                scope.bind(node.name, None, self._turn)
        elif isinstance(node, ast.MatchMapping):
            if node.rest is not None:
                scope.bind(node.rest, None, self._turn)
        elif isinstance(node, ast.Call):
            self._called.add(id(node.func))
            self._uses.append((node, scope, self._turn))
        elif id(node) in self._called:
            return
        elif isinstance(node, ast.Name) or (
            isinstance(node, ast.Attribute) and node.attr in _LAST_PARTS
        ):
            self._uses.append((node, scope, self._turn))

    def _mention(self, node: ast.expr, scope: _Scope, turn: int) -> _Mention | None:
        if not isinstance(node, ast.Call | ast.Name | ast.Attribute):
            return None
        named = node.func if isinstance(node, ast.Call) else node
        dotted, followed = _dotted(named, scope, turn)
        function = _canonical(dotted or "")
        rule = _PICKLES.get(function)
        if not isinstance(node, ast.Call):
            if rule is None or not self._is_handed_on(node, rule):
                return None
            return _Mention(node, function, rule, frozenset(), followed)
        if rule is None:
            if not isinstance(named, ast.Attribute) or named.attr != _METHOD:
                return None
            function, rule, followed = _METHOD, _TO_PICKLE, False
        openers = frozenset(
            id(one)
            for one in (*node.args, *(keyword.value for keyword in node.keywords))
            if isinstance(one, ast.Call) and _dotted(one.func, scope, turn)[0] in _OPENERS
        )
        return _Mention(node, function, rule, openers, followed)

    def _is_handed_on(self, node: ast.Name | ast.Attribute, rule: _Rule | _Words) -> bool:
        # A class that is only named, as in an annotation, loads nothing; one made of it does.
        return isinstance(rule, _Rule) or not rule.is_class or id(node) in self._bases


@cache
def _in_order(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Give those of a node's fields that can hold other nodes, in the order of evaluation."""
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
    """Give each name that an import binds, and what it is; None for what lies beside the file."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif alias.name == "*" and not node.level:
            module = f"{_SAME.get(node.module or '', node.module)}."
            for name in _PICKLES:
                if name.startswith(module):
                    yield name.removeprefix(module), name
        else:
            origin = None if node.level else f"{node.module}.{alias.name}"
            yield alias.asname or alias.name, origin


def _dotted(node: ast.expr, scope: _Scope, turn: int) -> tuple[str | None, bool]:
    """Give the full name that an expression is, if it is one, and whether it is followed."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < _LONGEST_CHAIN:
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None, False
    origin, known = scope.origin(node.id, turn)
    return None if origin is None else ".".join([origin, *reversed(parts)]), known


def _canonical(dotted: str) -> str:
    module, _, name = dotted.rpartition(".")
    return f"{_SAME.get(module, module)}.{name}"


def _counts(mention: _Mention) -> bool:
    """Tell whether a mention is of a pickle: some functions take one only where they are told."""
    node = mention.node
    if mention.function == "torch.load" and isinstance(node, ast.Call):
        return not any(
            keyword.arg == "weights_only"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in node.keywords
        )
    if mention.function == "numpy.load":
        if not isinstance(node, ast.Call):
            return False
        allowed = dict(zip(("file", "mmap_mode", "allow_pickle"), node.args, strict=False))
        allowed |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        value = allowed.get("allow_pickle", ast.Constant(value=False))
        return not isinstance(value, ast.Constant) or bool(value.value)
    return True


# --- from a mention to what should stand there -----------------------------------------------


class _Text:
    """Source, by its lines, and what of it is written at a node."""

    def __init__(self, source: str) -> None:
        self._lines = [line.encode() for line in _lines(source)]

    def column(self, line: int, offset: int) -> int:
        """Give the column, from 1, that lies so many bytes behind the beginning of a line."""
        return len(self._lines[line - 1][:offset].decode(errors="replace")) + 1

    def at(self, node: ast.expr) -> str:
        """Give what is written there; ast.get_source_segment splits the whole source each time."""
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        lines = self._lines[first:last]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines).decode(errors="replace")


class _Written(NamedTuple):
    """How nodes are written, or would be: `text` is None where positions in it are wrong.

    `replaced`: by the id of a node, what is to stand there instead.
    """

    text: _Text | None
    replaced: Mapping[int, str]

    @classmethod
    def around(cls, node: ast.expr, text: _Text, replaced: Mapping[int, str]) -> "_Written":
        """Take a node and what is in it as written, if that is what is written there.

        Before Python 3.12 the positions of what stands in an f-string are others.
        """
        try:
            again = ast.parse(f"({text.at(node)}\n)", mode="eval").body
        except (SyntaxError, ValueError):
            return cls(None, replaced)
        return cls(text if ast.dump(again) == ast.dump(node) else None, replaced)

    def of(self, node: ast.expr) -> str:
        """Give the text of an expression."""
        return ast.unparse(node) if self.text is None else self.text.at(node)

    def argument(self, node: ast.expr) -> str:
        """Give the text of an expression as it can stand between commas."""
        if id(node) in self.replaced:
            return self.replaced[id(node)]
        bare = isinstance(node, ast.NamedExpr | ast.Yield | ast.YieldFrom)
        return f"({self.of(node)})" if bare and self.text else self.of(node)


def _site(mention: _Mention, text: _Text, replaced: Mapping[int, str]) -> Site:
    node, rule = mention.node, mention.rule
    written = _Written.around(node, text, replaced)
    if isinstance(rule, _Words):
        instead, remarks = None, [rule.advice]
    elif isinstance(node, ast.Call):
        instead, remarks = _call_instead(node, mention, rule, written)
    else:
        instead = None if rule.more else f"pickleseal.{rule.target}"
        remarks = ["it is handed on: look at how it is called there"]
        if rule.more:
            remarks.append(f"pickleseal.{rule.target} needs {', '.join(rule.more)} in each call")
    if mention.function == _METHOD:
        remarks.append("a guess: whatever has a method of this name is listed")
    elif not mention.followed:
        remarks.append("a guess: the file does not import this name itself")
    return Site(
        node.lineno,
        text.column(node.lineno, node.col_offset),
        None,
        rule.kind,
        mention.function,
        written.of(node),
        instead,
        tuple(remarks),
        not mention.followed,
    )


def _call_instead(
    node: ast.Call, mention: _Mention, rule: _Rule, written: _Written
) -> tuple[str | None, list[str]]:
    """Give the call that should stand in a call's place, None where there is none, and remarks."""
    target = f"pickleseal.{rule.target}"
    values = node.args
    if mention.function == _METHOD and isinstance(node.func, ast.Attribute):
        if _is_super(node.func.value):
            return None, [f"{target}(self, path) takes its place"]
        values = [node.func.value, *values]
    if _is_unpacked(node):
        if not rule.alike:
            return None, [f"its arguments are not told one by one: write {target}(...) with them"]
        return _call(target, [*map(written.argument, values), *_as_given(node, written, rule)]), []
    given = dict(zip(rule.takes, values, strict=False))
    given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if len(values) > len(rule.takes) or not given.keys() >= set(rule.leading):
        return None, [f"{mention.function} takes other arguments: write {target}(...) by hand"]
    arguments, remarks = [], []
    for name in rule.leading:
        value = given.pop(name)
        if name == rule.file:
            value = _path_of(value, mention)
        if name == rule.file and _is_address(value):
            return None, [f"open the address yourself, and hand the file object to {target}"]
        arguments.append(written.argument(value))
    for name, value in given.items():
        if name == "compress":
            text, remark = _compress(value, written)
            arguments.append(f"compress={text}")
            remarks += [remark] if remark else []
        elif name in _KEPT[rule.kind]:
            arguments.append(f"{name}={written.argument(value)}")
        elif not _says_nothing(name, value):
            remarks.append(_LEFT_OUT.get(name, f"{name} is left out: {target} does not take it"))
    return _call(target, [*arguments, *rule.more]), remarks


def _call(target: str, arguments: Sequence[str]) -> str:
    return f"{target}({', '.join(arguments)})"


def _is_unpacked(node: ast.Call) -> bool:
    return any(isinstance(one, ast.Starred) for one in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    )


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _as_given(node: ast.Call, written: _Written, rule: _Rule) -> Iterator[str]:
    for keyword in node.keywords:
        start = "**" if keyword.arg is None else f"{keyword.arg}="
        yield start + written.argument(keyword.value)
    yield from rule.more


def _path_of(file: ast.expr, mention: _Mention) -> ast.expr:
    """Give the path that a file is opened from where it is handed over, else the file itself."""
    if not isinstance(file, ast.Call) or id(file) not in mention.openers or _is_unpacked(file):
        return file
    given = dict(zip(("file", "mode"), file.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in file.keywords if keyword.arg}
    path, mode = given.get("file"), given.get("mode", ast.Constant(value="r"))
    if path is None or len(file.args) > 2 or given.keys() - {"file", "mode"}:
        return file
    if not isinstance(mode, ast.Constant) or not isinstance(mode.value, str):
        return file
    # What is appended to, or must not be there yet, is no matter of a path alone.
    wanted = "r" if mention.rule.kind is Kind.LOAD else "w"
    is_descriptor = isinstance(path, ast.Constant) and isinstance(path.value, int)
    return path if set(mode.value) - set("b+t") == {wanted} and not is_descriptor else file


def _is_address(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str) and "://" in value.value


def _says_nothing(name: str, value: ast.expr) -> bool:
    """Tell whether an argument is one that might as well not be there."""
    if not isinstance(value, ast.Constant):
        return False
    return value.value is None or (name == "compression" and value.value == "infer")


def _compress(value: ast.expr, written: _Written) -> tuple[str, str | None]:
    """Give the argument that takes the place of joblib's `compress`, and a remark if it differs."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            return '"zstd"', "it compresses with zstd alone"
        return written.argument(value), None
    if isinstance(value, ast.Tuple) and len(value.elts) == 2:
        return written.argument(value.elts[1]), "it compresses with zstd alone"
    return written.argument(value), "compress takes a level from 0 to 22, or 'zstd'"


# --- notebooks -------------------------------------------------------------------------------


def _code_cells(notebook: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - what a file holds
    """Give the number and the code of each cell with Python in it.

    Raises KeyError, IndexError, TypeError or AttributeError for what is no notebook.
    """
    about = notebook.get("metadata", {}) if isinstance(notebook, dict) else {}
    language = about.get("language_info", {}).get("name", "python")
    if language != "python":
        return []
    # Before version 4 of the format, cells lay in sheets.
    cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
    found = []
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code":
            written = cell["source"] if "source" in cell else cell["input"]
            found.append((number, "".join(written)))
    return found


_CELL_MAGIC = re.compile(r"\s*%%(\w*)")
_AROUND_PYTHON = frozenset(("time", "timeit", "capture", "prun"))
# `%time x = f()` and `x = %time f()` are Python but for the magic.
_TIMED = re.compile(r"^(\s*)%time(?:it)?\s(?:\s*-\w+(?:\s+\d+)?\s)*")
_TIMED_VALUE = re.compile(r"(?<==)\s*%time(?:it)?\s")
_FOREIGN = re.compile(r"^(\s*)(?:[!%?]|[\w., ]+=\s*[!%]|.*\?\s*$)")


def _without_magics(written: str) -> str:
    """Give a cell's code with each line that is for IPython alone replaced, or raise SyntaxError.

    Every line and column stays where it is.
    """
    try:
        _parsed(written)
    except SyntaxError:
        code = _plain(written)
        _parsed(code)
        return code
    return written


def _plain(written: str) -> str:
    lines = _lines(written)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    magic = _CELL_MAGIC.match(lines[first])
    if magic:
        if magic[1] not in _AROUND_PYTHON:
            return "\n" * (len(lines) - 1)
        lines[first] = ""
    goes_on = False
    for number, line in enumerate(lines):
        if goes_on:
            lines[number] = ""
        else:
            lines[number] = _plain_line(line)
        goes_on = line.endswith("\\") and lines[number] != line
    return "\n".join(lines)


def _plain_line(line: str) -> str:
    timed = _TIMED.match(line)
    if timed:
        return f"{timed[1]}pass;".ljust(timed.end()) + line[timed.end() :]
    line = _TIMED_VALUE.sub(lambda found: " " * len(found[0]), line)
    foreign = _FOREIGN.match(line)
    return f"{foreign[1]}pass" if foreign else line


def _lines(source: str) -> list[str]:
    """Give the lines of source as Python counts them: form feeds and the like end none."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
