"""What `allow` takes, and which names it has."""

from typing import Any

import pytest

from pickleseal.pickling.names import Allowed


@pytest.mark.parametrize(
    ("allow", "error", "said"),
    [
        ("os", TypeError, "not a single string"),
        (5, TypeError, "a list of modules and names"),
        ([5], TypeError, "a list of strings"),
        (["sklearn.*"], ValueError, "without wildcards"),
    ],
)
def test_what_is_no_list_of_modules_and_names_is_a_wrong_argument(
    allow: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Allowed.of(allow)


@pytest.mark.parametrize(
    ("module", "name", "has"),
    [
        ("os", "getcwd", True),
        ("os.path", "join", True),
        ("os", "path.join", False),
        ("osx", "getcwd", False),
        ("builtins", "set", True),
        ("builtins", "eval", False),
        ("builtins", "set.pop", False),
    ],
)
def test_a_module_has_what_is_below_it_and_no_attribute_of_a_name(
    module: str,
    name: str,
    has: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert Allowed.of(["os", "builtins.set"]).has(module, name) is has
