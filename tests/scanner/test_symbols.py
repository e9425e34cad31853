"""Files of sympy, which is not on the list of good names: it evaluates texts that it is passed."""

import pickle
from collections.abc import Iterator

import pytest
from armed import call, fields, look, make, number, pack, text, whole

from pickleseal.scanner.containers.contents import look as look_into
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Grade

SYMBOL = look("sympy.core.symbol", "Symbol") + pack(text("f(x)")) + b"}\x92"
ADD = look("sympy.core.add", "Add")


def graded(data: bytes) -> Grade:
    found = look_into(Memory(memoryview(data)), name="model.pkl")
    assert found is not None
    return found.grade


def expressions() -> Iterator[object]:
    """Yield what people make with sympy."""
    sympy = pytest.importorskip("sympy")
    a, b = sympy.symbols("a b", positive=True)
    yield from (a + b, sympy.sin(a) ** 2, sympy.exp(a) / 3, sympy.sqrt(a) * sympy.I, a < b)
    yield from (sympy.Symbol("f(x)"), sympy.Dummy("d"), sympy.Wild("w"), sympy.Function("f"))
    yield from (sympy.Float("1.25", 50), sympy.pi, sympy.oo, sympy.Rational(1, 3))
    yield from (sympy.Limit(1 / a, a, 0, "-"), sympy.Sum(a, (a, 1, 3)), sympy.Integral(a, a))
    yield from (sympy.Matrix([[a, 1]]), sympy.MatrixSymbol("A", 2, 2), sympy.IndexedBase("A"))
    yield from (
        sympy.Poly(a**2 + b, a),
        sympy.Interval(0, 1),
        sympy.Piecewise((a, a > 1), (b, True)),
    )
    yield sympy.solve([a + b - 2, a - b], [a, b])


def test_objects_of_sympy_are_unknown() -> None:
    for value in expressions():
        for protocol in (4, 5):
            assert graded(pickle.dumps(value, protocol)) is Grade.UNKNOWN, value


@pytest.mark.parametrize(
    "given", [(text("code"),), (SYMBOL, pack(text("code"))), (text("x" * 999),)]
)
def test_a_text_that_sympy_evaluates_is_beyond(given: tuple[bytes, ...]) -> None:
    for module, name in (
        ("sympy.core.add", "Add"),
        ("sympy.polys.polytools", "Poly"),
        ("sympy", "sympify"),
        ("sympy.parsing.sympy_parser", "parse_expr"),
        ("sympy.utilities.lambdify", "lambdify"),
    ):
        assert graded(whole(make(look(module, name), *given))) is Grade.BEYOND
        assert graded(whole(call(look(module, name), *given))) is Grade.BEYOND


def test_what_may_hold_a_text_is_unknown() -> None:
    for given in (make(ADD, b"]", number(1)), ADD + b")" + fields(evaluate=text("code")) + b"\x92"):
        assert graded(whole(given)) is Grade.UNKNOWN
