"""Each check of the plain reader, switched off or moved by one, makes a vector fail.

So the vectors pin down what the pages say: another reader that passes them all has these checks.
"""

import ast
import copyreg
import hashlib
import json
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import plain_reader
import pytest
import vector_files
from vector_files import SECRETS, Vector

pytestmark = [pytest.mark.once, pytest.mark.sweep]

SOURCE = Path(plain_reader.__file__)
EQUIVALENT = {
    "moved 0: sys.version_info >= (3, 14)": "this is no check",
    "moved 0: len(data) >= 64": "64 bytes are cut off, too, and malformed by 3.3 or 4.1",
    "moved 0: 2 <= m <= 65536": "metadata of 2 bytes have no content, and are malformed by 5.8",
    "moved 0: total <= 2 ** 44": "no right size is a multiple of 64, and so none is 2^44",
    "moved 0: len(segment) >= 8 + 4 * count": "a table alone has frames of no byte: 8.3",
    "moved 0: len(text) > 20": "numbers of 17 to 20 digits are out of bounds: 5.8",
    "off: need(not length or stated == wanted, MALFORMED, '8.3')": "libzstd refuses it, too",
    **dict.fromkeys(
        (
            "off: need(kind != 3 and size <= min(window, 2 ** 17), MALFORMED, '8.3')",
            "without 0: kind != 3 and size <= min(window, 2 ** 17)",
            "without 1: kind != 3 and size <= min(window, 2 ** 17)",
        ),
        "this libzstd refuses such blocks, too, and other decoders need not",
    ),
    "without 1: not options.strict_versions or is_here(package, version)": (
        "no vector can know the versions of its reader"
    ),
}
"""Mutants that no vector can tell from the reader, and why."""
_SHIFTS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
}


class Mutant(NamedTuple):
    """A changed reader: what was changed, where, and its code."""

    name: str
    line: int
    code: CodeType

    def module(self) -> ModuleType:
        made = ModuleType("mutant")
        exec(self.code, vars(made))
        return made


def mutants() -> Iterator[Mutant]:
    """Yield the reader with one check off, one condition left out, or one bound moved."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    for node in ast.walk(tree):
        for kind, changes in _changes(node):
            name, kept = f"{kind}: {ast.unparse(node)}", {key: vars(node)[key] for key in changes}
            vars(node).update(changes)
            code = compile(tree, "mutant", "exec")
            yield Mutant(name, getattr(node, "lineno", 0), code)
            vars(node).update(kept)


def _changes(node: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="need"))):
            yield "off", {"value": ast.copy_location(ast.Constant(None), node)}
        case ast.If(body=[ast.Return(value=ast.Constant(value=False))]):
            yield "off", {"body": [ast.copy_location(ast.Pass(), node)]}
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield f"without {index}", {"values": rest if len(rest) > 1 else rest * 2}
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                if type(op) in _SHIFTS:
                    moved = [*ops[:index], _SHIFTS[type(op)], *ops[index + 1 :]]
                    yield f"moved {index}", {"ops": moved}


def _outcome(reader: ModuleType, vector: Vector) -> list[str]:
    """Return what a verifier and a loader say of a vector, the number of the check apart."""
    found: list[str] = []
    signal.setitimer(signal.ITIMER_VIRTUAL, 1)  # of the processor's time: some never end
    try:
        opened = reader.unsealed(vector.data, SECRETS, vector.options)
        found += [opened.digest, json.dumps(opened.metadata)]
        reader.unpickled(opened, vector.options)
    except reader.Refused as refused:
        return [*found, refused.args[0]]
    except Exception as error:  # noqa: BLE001 - a mutant may raise anything
        return [*found, type(error).__name__]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    segments = [hashlib.sha256(one).hexdigest() for one in reader.expanded(opened)]
    plain = b"" if "external" in opened.metadata else reader.extracted(opened)
    return [*found, *segments, hashlib.sha256(plain).hexdigest()]


def _end(vector: Vector) -> int:
    """Return the line of the plain reader that refuses a vector; 0 for a good one."""
    try:
        plain_reader.read(vector.data, SECRETS, vector.options)
    except plain_reader.Refused as refused:
        frames = traceback.extract_tb(refused.__traceback__)
        own = [f for f in frames if f.filename == str(SOURCE) and f.name != "need"]
        return own[-1].lineno or 0
    return 0


@pytest.mark.timeout(600)
def test_each_check_of_the_plain_reader_is_needed_by_a_vector() -> None:
    copyreg.add_extension("builtins", "len", 200)
    try:
        survivors = _survivors()
    finally:
        copyreg.clear_extension_cache()
        copyreg.remove_extension("builtins", "len", 200)
    assert survivors == set(EQUIVALENT)


def _keys(reader: ModuleType) -> list[object]:
    """Return what a reader says of the key lines."""
    lines = json.loads((vector_files.FOLDER / "key-lines.json").read_text("utf-8"))
    keys = [reader.key_of(line["line"]) for line in lines]
    return [key and (key.suite, key.secret) for key in keys]


def _stop(_number: int, _frame: object) -> None:
    raise TimeoutError


def _survivors() -> set[str]:
    signal.signal(signal.SIGVTALRM, _stop)
    vectors = sorted(vector_files.read_all(), key=lambda vector: len(vector.data))
    expected: dict[str, Any] = {v.name: _outcome(plain_reader, v) for v in vectors}
    keys = _keys(plain_reader)
    ends = {vector.name: _end(vector) for vector in vectors}
    survivors = set()
    for mutant in mutants():
        module = mutant.module()
        # Those first that end near the change, so that most mutants fail at once.
        nearest = sorted(
            vectors, key=lambda v: (len(v.data) > 9999, abs(ends[v.name] - mutant.line))
        )
        if _keys(module) == keys and all(
            _outcome(module, vector) == expected[vector.name] for vector in nearest
        ):
            survivors.add(mutant.name)
    return survivors
