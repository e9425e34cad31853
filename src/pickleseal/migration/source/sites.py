"""The call sites of source: what stands there, and the line that should stand there instead."""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pickleseal.migration.source.functions import (
    METHOD,
    Kind,
    Rule,
    Words,
    may_name_one,
)
from pickleseal.migration.source.mentions import (
    Mention,
    arguments,
    is_unpacked,
    mentions_in,
)
from pickleseal.migration.source.text import (
    MOST_SOURCE,
    REFUSALS,
    Text,
    decoded,
    parsed,
    reason,
)


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
        return Reading(tuple(sites_in(decoded(data))))
    except REFUSALS as error:
        return Reading(faults=(reason(error),))


def sites_in(source: str) -> list[Site]:
    """Give the call sites of source in their order, or raise one of REFUSALS."""
    if not may_name_one(source):
        if len(source) <= MOST_SOURCE:
            parsed(source)  # what is no Python is told all the same
        return []
    mentions = mentions_in(parsed(source))
    written = _Written(Text(source), {})
    sites = []
    # What is an argument of another call comes first, so that it stands in that one's new line.
    for mention in mentions:
        site = _site(mention, written)
        sites.append(site)
        if site.instead is not None:
            written.replaced[id(mention.node)] = site.instead
    return sorted(sites, key=lambda site: (site.line, site.column))


_KEPT = {
    Kind.LOAD: frozenset(("fix_imports", "encoding", "errors", "buffers")),
    Kind.DUMP: frozenset(("protocol", "fix_imports", "buffer_callback", "compress")),
}
_LEFT_OUT = {
    "mmap_mode": "nothing is memory-mapped: the arrays are read into memory",
    "storage_options": "storage_options is left out: open the file yourself, and hand it over",
}
_ZSTD_ALONE = "it compresses with zstd alone"
_PACKED = (".z", ".gz", ".bz2", ".xz", ".lzma", ".zip", ".tar", ".zst")
_ENDING = "the ending of a path does not make it compress, and it compresses with zstd alone"


class _Written(NamedTuple):
    """How nodes are written; `replaced`: by the id of a node, what is to stand there instead."""

    text: Text
    replaced: dict[int, str]

    def argument(self, node: ast.expr) -> str:
        """Give the text of an expression as it can stand between commas."""
        if id(node) in self.replaced:
            return self.replaced[id(node)]
        bare = isinstance(node, ast.NamedExpr | ast.Yield | ast.YieldFrom)
        return f"({self.text.at(node)})" if bare else self.text.at(node)


def _site(mention: Mention, written: _Written) -> Site:
    node, rule = mention.node, mention.rule
    if isinstance(rule, Words):
        instead, remarks = None, [rule.advice]
    elif isinstance(node, ast.Call):
        instead, remarks = _call_instead(node, mention, rule, written)
    else:
        instead = None if rule.more else rule.full_name
        remarks = ["it is handed on: look at how it is called there"]
        if rule.more:
            remarks.append(f"{rule.full_name} needs {', '.join(rule.more)} in each call")
    if isinstance(rule, Rule) and rule.remark:
        remarks.append(rule.remark)
    if mention.function == METHOD:
        remarks.append("a guess: whatever has a method of this name is listed")
    elif not mention.followed:
        remarks.append("a guess: the file does not import this name itself")
    return Site(
        node.lineno,
        written.text.column(node.lineno, node.col_offset),
        None,
        rule.kind,
        mention.function,
        written.text.at(node),
        instead,
        tuple(remarks),
        not mention.followed,
    )


def _call_instead(
    node: ast.Call, mention: Mention, rule: Rule, written: _Written
) -> tuple[str | None, list[str]]:
    """Give the call that should stand in a call's place, None where there is none, and remarks."""
    target = rule.full_name
    values = node.args
    if mention.function == METHOD and isinstance(node.func, ast.Attribute):
        if _is_super(node.func.value):
            return None, [f"{target}(self, path) takes its place"]
        values = [node.func.value, *values]
    if is_unpacked(node):
        if not rule.alike:
            return None, [f"its arguments are not told one by one: write {target}(...) with them"]
        return _call(rule, [*map(written.argument, values), *_as_given(node, written)]), []
    given = arguments(node, values, rule.takes)
    if len(values) > len(rule.takes) or not given.keys() >= set(rule.leading):
        return None, [f"{mention.function} takes other arguments: write {target}(...) by hand"]
    texts, remarks = [], []
    by_ending = not rule.alike and not given.keys() & {"compress", "compression"}
    for name in rule.leading:
        value = given.pop(name)
        if name == rule.file:
            value = _path_of(value, mention)
            if _is_address(value):
                return None, [f"open the address yourself, and hand the file object to {target}"]
            by_ending = by_ending and _is_to_be_packed(value)
        texts.append(written.argument(value))
    for name, value in given.items():
        if name == "compress":
            text, remark = _compress(value, written)
            texts.append(f"compress={text}")
            remarks += [remark] if remark else []
        elif name in _KEPT[rule.kind]:
            texts.append(f"{name}={written.argument(value)}")
        elif not _says_nothing(name, value):
            remarks.append(_LEFT_OUT.get(name, f"{name} is left out: {target} does not take it"))
    if by_ending and rule.kind is Kind.DUMP:
        texts.append('compress="zstd"')
        remarks.append(_ENDING)
    return _call(rule, texts), remarks


def _call(rule: Rule, texts: Iterable[str]) -> str:
    return f"{rule.full_name}({', '.join([*texts, *rule.more])})"


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _as_given(node: ast.Call, written: _Written) -> Iterator[str]:
    for keyword in node.keywords:
        start = "**" if keyword.arg is None else f"{keyword.arg}="
        yield start + written.argument(keyword.value)


def _path_of(file: ast.expr, mention: Mention) -> ast.expr:
    """Give the path that a file is opened from where it is handed over, else the file itself."""
    if not isinstance(file, ast.Call) or id(file) not in mention.openers or is_unpacked(file):
        return file
    given = arguments(file, file.args, ("file", "mode"))
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


def _is_to_be_packed(value: ast.expr) -> bool:
    """Tell whether a path has an ending by which joblib or pandas would compress the file."""
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return False
    return value.value.lower().endswith(_PACKED)


def _says_nothing(name: str, value: ast.expr) -> bool:
    """Tell whether an argument is one that might as well not be there."""
    if not isinstance(value, ast.Constant):
        return False
    return value.value is None or (name == "compression" and value.value == "infer")


def _compress(value: ast.expr, written: _Written) -> tuple[str, str | None]:
    """Give the argument that takes the place of joblib's `compress`, and a remark if it differs."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            return '"zstd"', _ZSTD_ALONE
        return written.argument(value), None
    if isinstance(value, ast.Tuple) and len(value.elts) == 2:
        return written.argument(value.elts[1]), _ZSTD_ALONE
    return written.argument(value), "compress takes a level from 0 to 22, or 'zstd'"
