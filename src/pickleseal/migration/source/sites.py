"""Find call sites in source, and write the line that should replace each."""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pickleseal.migration.source.functions import METHOD, Kind, Rule, Words, may_name_one
from pickleseal.migration.source.mentions import Mention, arguments, is_unpacked, mentions_in
from pickleseal.migration.source.text import MOST_SOURCE, REFUSALS, Text, decoded, parsed, reason


class Site(NamedTuple):
    """A place in source that loads or dumps a pickle, and its replacement.

    line, column: from 1, in characters; in a notebook, counted within the cell.
    cell: the number of the cell, from 1, text cells included; None outside of notebooks.
    kind: whether it loads or dumps.
    function: the full name of the function, such as "joblib.load".
    code: the call as it is written; of a function that is passed on, its name.
    instead: the replacement; None if there is no single line, and remarks say what to do.
    guess: whether no import in the file binds the name.
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
    """The call sites in a file, in their order, and why it or a cell cannot be parsed."""

    sites: tuple[Site, ...] = ()
    faults: tuple[str, ...] = ()


def in_module(data: bytes) -> Reading:
    """Return the call sites in a Python file, given its bytes.

    They are decoded as they declare (PEP 263), else as UTF-8. What is no Python is a fault.
    """
    try:
        return Reading(tuple(sites_in(decoded(data))))
    except REFUSALS as error:
        return Reading(faults=(reason(error),))


def sites_in(source: str) -> list[Site]:
    """Return the call sites in source in their order, or raise one of REFUSALS."""
    if not may_name_one(source):
        if len(source) <= MOST_SOURCE:
            parsed(source)  # what is no Python is reported all the same
        return []
    mentions = mentions_in(parsed(source))
    written = _Written(Text(source), {})
    sites = []
    # A call inside another's arguments comes first, so that the outer replacement contains its own.
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
    "storage_options": "storage_options is left out: open the file yourself, and pass it",
}
_ZSTD_ALONE = "it compresses with zstd only"
_PACKED = (".z", ".gz", ".bz2", ".xz", ".lzma", ".zip", ".tar", ".zst")
_ENDING = "it does not compress by the path's ending, and with zstd only"


class _Written(NamedTuple):
    """The text of nodes; `replaced` holds replacements, by the id of the node."""

    text: Text
    replaced: dict[int, str]

    def argument(self, node: ast.expr) -> str:
        """Return the text of an expression as an argument."""
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
        remarks = ["it is passed on: see how it is called there"]
        if rule.more:
            remarks.append(f"{rule.full_name} needs {', '.join(rule.more)} in each call")
    if isinstance(rule, Rule) and rule.remark:
        remarks.append(rule.remark)
    if mention.function == METHOD:
        remarks.append("a guess: every method of this name is listed")
    elif not mention.followed:
        remarks.append("a guess: the file does not import this name")
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
    """Return the replacement of a call, None if there is no single one, and remarks."""
    target = rule.full_name
    values = node.args
    if mention.function == METHOD and isinstance(node.func, ast.Attribute):
        if _is_super(node.func.value):
            return None, [f"{target}(self, path) replaces it"]
        values = [node.func.value, *values]
    if is_unpacked(node):
        if not rule.alike:
            return None, [f"its arguments are unpacked: write {target}(...) by hand"]
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
            if "://" in _text(value):
                return None, [f"open the address yourself, and pass the file object to {target}"]
            by_ending = by_ending and _text(value).lower().endswith(_PACKED)  # as joblib and pandas
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
    """Return the path of a file that is opened in the argument, else the argument."""
    if not isinstance(file, ast.Call) or id(file) not in mention.openers or is_unpacked(file):
        return file
    given = arguments(file, file.args, ("file", "mode"))
    path, mode = given.get("file"), given.get("mode", ast.Constant(value="r"))
    if path is None or len(file.args) > 2 or given.keys() - {"file", "mode"}:
        return file
    # A path alone cannot say "append" or "create only".
    wanted = "r" if mention.rule.kind is Kind.LOAD else "w"
    is_descriptor = isinstance(path, ast.Constant) and isinstance(path.value, int)
    return path if set(_text(mode)) - set("b+t") == {wanted} and not is_descriptor else file


def _text(value: ast.expr) -> str:
    """Return the text of a string in source, or "" for anything else."""
    found = value.value if isinstance(value, ast.Constant) else None
    return found if isinstance(found, str) else ""


def _says_nothing(name: str, value: ast.expr) -> bool:
    """Return whether an argument has its default value."""
    if not isinstance(value, ast.Constant):
        return False
    return value.value is None or (name == "compression" and value.value == "infer")


def _compress(value: ast.expr, written: _Written) -> tuple[str, str | None]:
    """Return the replacement of joblib's `compress`, and a remark if it differs."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            return '"zstd"', _ZSTD_ALONE
        return written.argument(value), None
    if isinstance(value, ast.Tuple) and len(value.elts) == 2:
        return written.argument(value.elts[1]), _ZSTD_ALONE
    return written.argument(value), "compress takes a level from 0 to 22, or 'zstd'"
