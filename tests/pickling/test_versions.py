"""Which packages an object is said to need, and what a load does where they differ."""

import platform
import sys
import types
import warnings
from collections.abc import Callable
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.neighbors import KNeighborsClassifier
from watching import armed, nothing_unpickled

import pickleseal
from pickleseal import (
    Keyring,
    VersionMismatchError,
    VersionMismatchWarning,
    open_keyring,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.envelope.target import join_envelope
from pickleseal.pickling import versions as packages

MAJOR, MINOR, MICRO = sys.version_info[:3]


def versions_in(data: bytes, ring: Keyring) -> dict[str, str]:
    payload = reader.read(memory_source(data), lambda _: ring, check=lambda _: None)
    return dict(payload.head.metadata.versions or {})


def sealed_with(versions: dict[str, str] | None, ring: Keyring, stream: bytes = b"N.") -> bytes:
    """Return a genuine envelope around a plain pickle, with these versions in its head."""
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, Metadata("pickle", versions=versions), [len(stream)])
    return join_envelope(head.data, [memoryview(stream)], head.finish, key.suite)


class Local:
    """A class of a module that no package owns."""


def fitted() -> KNeighborsClassifier:
    return KNeighborsClassifier(1).fit(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize(
    ("obj", "distributions"),
    [
        ([1, "a", {2: None}], set()),
        (Local(), set()),
        (Path("a"), set()),
        (np.arange(3), {"numpy"}),
        (fitted(), {"numpy", "scikit-learn"}),
        (pd.Series([1.0]), {"numpy", "pandas"}),
        (dateutil.tz.tzutc(), {"python-dateutil"}),
    ],
    ids=["plain data", "own class", "standard library", "numpy", "sklearn", "pandas", "dateutil"],
)
@pytest.mark.parametrize("protocol", range(6))
def test_the_sealed_versions_are_those_of_python_and_packages_in_use(
    obj: Any, distributions: set[str], protocol: int, ring: Keyring
) -> None:
    versions = versions_in(signed_dumps(obj, protocol, keyring=ring), ring)
    assert versions.pop("python") == platform.python_version()
    assert versions.keys() == distributions
    assert versions == {name: installed.version(name) for name in distributions}


def test_modules_that_no_package_owns_are_left_out() -> None:
    modules = ["__main__", "__mp_main__", "json", "no_such_module", "tests", __name__]
    assert packages.versions_of(modules) == {"python": platform.python_version()}


def test_no_distribution_has_a_module_of_pythons_own_or_one_that_it_did_not_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sndhdr", "__main__"):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "stdlib_module_names", sys.stdlib_module_names | {"sndhdr"})
    dropped = types.ModuleType("dropped_there")
    dropped.__file__ = str(tmp_path / "site-packages" / "dropped_there.py")
    monkeypatch.setitem(sys.modules, "dropped_there", dropped)
    clear_caches()
    try:
        found = packages.versions_of(["sndhdr", "__main__", "dropped_there"])
    finally:
        clear_caches()
    assert found == {"python": platform.python_version()}


def test_a_module_of_ones_own_is_of_no_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though one that is installed has a module of that name."""
    name = "_hypothesis_ftz_detector"
    assert packages._listed_owner(name) == "hypothesis"
    own = types.ModuleType(name)
    own.__file__ = str(tmp_path / f"{name}.py")
    monkeypatch.setitem(sys.modules, name, own)
    clear_caches()
    try:
        found = packages.versions_of([name])
    finally:
        clear_caches()
    assert found == {"python": platform.python_version()}


def clear_caches() -> None:
    """Forget the distributions that are only there for a test."""
    for cached in (packages._version, packages._owner):
        cached.cache_clear()


def test_a_module_that_python_had_counts_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdlib_module_names", sys.stdlib_module_names - {"asynchat"})
    assert "sealed with python 3.1," in packages.compared("asynchat", {"python": "3.1"})


def test_the_distribution_that_was_sealed_with_is_told_by_its_own_name() -> None:
    assert "sealed with dateutil 0.1," in packages.compared("dateutil.tz", {"dateutil": "0.1"})


def test_the_warning_is_scikit_learns_only_where_that_is_installed() -> None:
    for here, scikit_learns in (("1.0", True), (None, False)):
        found = packages.warning(
            "other", package="scikit-learn", sealed="0.1", here=here, class_name="Any"
        )
        assert isinstance(found, InconsistentVersionWarning) is scikit_learns


def test_the_versions_here_are_none_for_what_is_not_installed() -> None:
    assert packages.versions_here(["python", "numpy", "no-such-package"]) == {
        "python": platform.python_version(),
        "numpy": installed.version("numpy"),
        "no-such-package": None,
    }


@pytest.mark.parametrize(
    "versions",
    [
        None,
        {},
        {"python": platform.python_version()},
        {"python": f"{MAJOR}.{MINOR}.{MICRO + 1}"},
        {"python": f"{MAJOR}.{MINOR}"},
        {"numpy": installed.version("numpy")},
    ],
)
@pytest.mark.parametrize("on_mismatch", ["warn", "raise", "ignore"])
def test_the_same_versions_load_in_silence(
    versions: dict[str, str] | None, on_mismatch: Any, ring: Keyring
) -> None:
    assert signed_loads(sealed_with(versions, ring), keyring=ring, on_mismatch=on_mismatch) is None


OTHER_VERSIONS = [
    {"python": f"{MAJOR}.{MINOR + 1}.{MICRO}"},
    {"python": f"{MAJOR + 1}.{MINOR}.{MICRO}"},
    {"python": f"{MAJOR}.{MINOR}0.{MICRO}"},
    {"python": str(MAJOR)},
    {"numpy": "0.1"},
    {"numpy": installed.version("numpy") + ".0"},
    {"no-such-package": "1.0"},
    {"scikit-learn": "0.1"},
]


@pytest.mark.parametrize("versions", OTHER_VERSIONS)
def test_another_version_warns_before_unpickling(
    versions: dict[str, str], ring: Keyring, tmp_path: Path
) -> None:
    data = sealed_with(versions, ring, armed(tmp_path / "mark"))
    with warnings.catch_warnings(), nothing_unpickled():
        warnings.simplefilter("error", VersionMismatchWarning)
        with pytest.raises(VersionMismatchWarning):
            signed_loads(data, keyring=ring)
    assert not (tmp_path / "mark").exists()
    with pytest.warns(VersionMismatchWarning):
        signed_loads(data, keyring=ring)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("versions", OTHER_VERSIONS)
def test_on_request_another_version_is_refused_before_unpickling(
    versions: dict[str, str], ring: Keyring, tmp_path: Path
) -> None:
    data = sealed_with(versions, ring, armed(tmp_path / "mark"))
    with nothing_unpickled(), pytest.raises(VersionMismatchError):
        signed_loads(data, keyring=ring, on_mismatch="raise")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("versions", OTHER_VERSIONS)
def test_on_request_another_version_loads_in_silence(
    versions: dict[str, str], ring: Keyring
) -> None:
    assert signed_loads(sealed_with(versions, ring), keyring=ring, on_mismatch="ignore") is None


def test_each_package_that_differs_has_its_own_warning(ring: Keyring) -> None:
    versions = {"numpy": "0.1", "pandas": "0.1", "python": platform.python_version()}
    with pytest.warns(VersionMismatchWarning) as caught:
        signed_loads(sealed_with(versions, ring), keyring=ring)
    assert len(caught) == 2


def test_the_warning_points_at_the_caller(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    data = sealed_with({"numpy": "0.1"}, open_keyring(ring_directory))
    path.write_bytes(data)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    reads: list[Callable[[], Any]] = [
        lambda: signed_loads(data),
        lambda: signed_load(path),
        lambda: pickleseal.loads(data),
        lambda: pickleseal.load(path),
    ]
    for read in reads:
        with pytest.warns(VersionMismatchWarning) as caught:
            read()
        assert [one.filename for one in caught] == [__file__]


def test_the_warning_for_scikit_learn_is_a_kind_of_its_own_warning(
    ring: Keyring,
) -> None:
    with pytest.warns(InconsistentVersionWarning) as caught:
        signed_loads(sealed_with({"scikit-learn": "0.1"}, ring), keyring=ring)
    assert isinstance(caught[0].message, VersionMismatchWarning)
    assert "scikit-learn 0.1 then, " in str(caught[0].message)
    assert caught[0].category.__name__ == "VersionMismatchWarning"


def test_the_warning_for_another_package_is_not_scikit_learns(ring: Keyring) -> None:
    with pytest.warns(VersionMismatchWarning) as caught:
        signed_loads(sealed_with({"numpy": "0.1"}, ring), keyring=ring)
    assert not isinstance(caught[0].message, InconsistentVersionWarning)


def test_a_warning_silenced_by_a_filter_lets_the_object_load(ring: Keyring) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        assert signed_loads(sealed_with({"numpy": "0.1"}, ring), keyring=ring) is None


def test_an_unknown_on_mismatch_is_a_value_error(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="on_mismatch"):
        signed_loads(b"", keyring=ring, on_mismatch="never")  # type: ignore[arg-type]
