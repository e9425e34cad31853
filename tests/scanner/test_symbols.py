"""Names of symbols: sympy executes code that has them in it, for a sum that it compares."""

import io
import pickle
from pathlib import Path

import pytest
from armed import build, fields, look, make, number, pack, text, whole

from pickleseal.scanner.grade import Grade
from pickleseal.scanner.grades import grade
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import trace


def part(name: str, *args: bytes) -> bytes:
    return make(look(*f"sympy.{name}".rsplit(".", 1)), *args)


def compared(symbol: bytes, changed: bytes = b"") -> bytes:
    """Return a comparison with a sum of powers of a symbol, which may be changed before."""
    n = part("core.symbol.Symbol", text("n"))
    unit = part("physics.units.quantities.Quantity", b"h\x01", part("core.symbol.Str", text("u")))
    factorial = part("functions.combinatorial.factorials.factorial", n)
    term = part(
        "core.mul.Mul",
        part("core.power.Pow", unit, n),
        part("core.power.Pow", factorial, number(-1)),
    )
    limits = pack(n, number(0), part("core.numbers.Infinity"))
    whole_sum = part("concrete.summations.Sum", term, limits)
    ready = symbol + b"q\x010" + whole_sum + b"q\x020" + changed
    return whole(ready + part("core.relational.StrictLessThan", number(0), b"h\x02"))


def graded(data: bytes) -> Grade:
    return grade([trace(Cursor(io.BytesIO(data).read))])[0]


@pytest.mark.parametrize("when", ["made", "changed"])
def test_a_name_that_is_code_is_executed_and_no_data(tmp_path: Path, when: str) -> None:
    code = text(f"__import__('os').mkdir({str(tmp_path / 'made')!r})")
    symbol = part("core.symbol.Symbol", code if when == "made" else text("x"))
    changed = build(b"h\x01", fields(name=code)) + b"0" if when == "changed" else b""
    data = compared(symbol, changed)
    assert graded(data) is Grade.UNKNOWN
    pytest.importorskip("sympy")
    with pytest.raises(TypeError):  # None is no number
        pickle.loads(data)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["x", "x_1", "\\alpha", "x_{1,2}", "Δ", "k+", "v^*", "heat flux"])
def test_a_name_that_calls_nothing_is_data(name: str) -> None:
    assert graded(compared(part("core.symbol.Symbol", text(name)))) is Grade.DATA
    assert graded(whole(part("core.symbol.Wild", text(name)))) is Grade.DATA


@pytest.mark.parametrize("name", ["f(x)", "x[y]", "x.y", "x\ny", "x;y", "x=y", "'x'", "@x", "#"])
def test_a_name_that_may_be_code_is_unknown(name: str) -> None:
    for kind in ("Dummy", "Str", "Symbol", "Wild"):
        assert graded(whole(part(f"core.symbol.{kind}", text(name)))) is Grade.UNKNOWN
