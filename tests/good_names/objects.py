"""The objects that are recorded: the lines of objects/*.txt, and scikit-learn's estimators."""

from __future__ import annotations

import inspect
import pathlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

FOLDER = pathlib.Path(__file__).parent / "objects"


def objects() -> Iterator[tuple[str, Any]]:
    """Yield a label and an object for each line that these libraries can evaluate.

    A file is Python, a line at a time: statements make names for the lines below them, and each
    expression is an object, or a list of some.
    """
    for file in sorted(FOLDER.glob("*.txt")):
        space: dict[str, Any] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line or line[0] == "#":
                continue
            try:
                try:
                    code = compile(line, file.name, "eval")
                except SyntaxError:
                    code = compile(line, file.name, "exec")
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = eval(code, space)
            except Exception as error:
                print(f"{file.name}: {line[:60]} is not made: {error!r}"[:200], file=sys.stderr)
            else:
                if code.co_name != "<module>" or value is not None:
                    yield f"{file.name}: {line[:80]}", value
    yield from estimators()


def estimators() -> Iterator[tuple[str, Any]]:
    """Return every estimator of scikit-learn that can be fitted on one of a few sets of data."""
    try:
        import numpy as np
    except ImportError:
        return
    try:
        from sklearn.utils import all_estimators
    except ImportError:
        from sklearn.utils.testing import all_estimators
    from sklearn import datasets, linear_model

    x, y = datasets.make_classification(60, 6, random_state=0)
    texts = ["a seal on a jar", "a jar on a shelf", "no seal at all", "the shelf"] * 3
    tries = (
        (x, y), (np.abs(x), y), (x,), (np.abs(x),), (x, np.column_stack([y, y])), (x[:, 0], y),
        (texts,), ([{"a": 1.0}, {"b": 2.0}],), (["a", "b"],), ([("a",), ("b",)],),
        (np.ones((2, 12, 12)),), (x @ x.T, y), (np.abs(x) > 0.5, y),
    )  # fmt: skip
    simple = linear_model.LogisticRegression()
    given = {
        "base_estimator": simple, "estimator": simple, "estimators": [("a", simple)], "base_regressor": simple,
        "transformers": [("a", "passthrough", [0])], "transformer_list": [("a", "passthrough")],
        "steps": [("a", simple)], "param_grid": {"C": [1.0]}, "param_distributions": {"C": [1.0]},
        "n_iter": 1, "regressor": linear_model.Ridge(), "dictionary": np.eye(6), "code_size": 2,
    }  # fmt: skip
    for name, cls in all_estimators():
        asked = [
            parameter.name
            for parameter in inspect.signature(cls.__init__).parameters.values()
            if parameter.default is inspect.Parameter.empty and parameter.kind == 1
        ][1:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = cls(**{key: given[key] for key in asked if key in given})
            except Exception as error:
                print(f"{name} is not made: {error!r}"[:160], file=sys.stderr)
                continue
            yield name, model
            for data in tries:
                try:
                    model.fit(*data)
                except Exception:
                    continue
                yield name, model
                break
            else:
                print(name + " is not fitted", file=sys.stderr)
