"""The lookup of names: only those that were sealed and are allowed."""

import io
import pathlib
import pickle
import subprocess
import sys
import types
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from envelopes import hand_sealed, payload_of

from pickleseal import Keyring, PolicyError, adopt_bytes, signed_dumps, signed_loads
from pickleseal.envelope.metadata import Metadata

marks: list[str] = []


def mark(text: str) -> str:
    marks.append(text)
    return text


class Marking:
    """An object whose unpickling leaves a mark."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> Any:
        return mark, (self.text,)


def test_a_name_that_the_sealed_imports_lack_is_refused_and_nothing_is_run(ring: Keyring) -> None:
    stream = pickle.dumps(Marking("of a name not listed"))
    for imports in ((), (("builtins", "len"),), ((__name__, "Marking"),)):
        data = hand_sealed(ring, Metadata("pickle", imports=imports), stream)
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring)
    assert "of a name not listed" not in marks
    data = hand_sealed(ring, Metadata("pickle", imports=((__name__, "mark"),)), stream)
    assert signed_loads(data, keyring=ring) == "of a name not listed"


def test_omitted_imports_are_not_enforced(ring: Keyring) -> None:
    data = hand_sealed(
        ring, Metadata("pickle", imports_omitted=1), pickle.dumps(pathlib.PurePosixPath())
    )
    assert type(signed_loads(data, keyring=ring)) is pathlib.PurePosixPath


def test_a_local_function_is_refused_with_a_hint_at_cloudpickle(ring: Keyring) -> None:
    def local() -> None: ...

    class Broken:
        def __reduce__(self) -> Any:
            raise AttributeError("something else")

    for obj, notes in ((lambda: None, 1), (local, 1), (Broken(), 0)):
        with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
            signed_dumps(obj, keyring=ring)
        assert len(getattr(caught.value, "__notes__", ())) == notes
    of_main = b"c__main__\nNoSuchName\n."
    for raw, notes in ((of_main, 1), (zlib.compress(of_main), 1), (b"cpickle\nNoSuchName\n.", 1)):
        data = adopt_bytes(raw, keyring=ring)
        with pytest.raises(AttributeError) as missing:
            signed_loads(data, keyring=ring)
        assert len(getattr(missing.value, "__notes__", ())) == notes


def test_cloudpickle_is_no_hint_where_it_failed(ring: Keyring) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise pickle.PicklingError("Can't pickle <lambda>")

    with pytest.raises(pickle.PicklingError) as caught:
        signed_dumps(Broken(), keyring=ring)
    assert len(getattr(caught.value, "__notes__", ())) == 1
    with pytest.raises(pickle.PicklingError) as caught:
        signed_dumps(Broken(), keyring=ring, pickler="cloudpickle")
    assert not hasattr(caught.value, "__notes__")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module with a name of Python 2: today that one is `subprocess`."""
    module = types.ModuleType("commands")
    module.getoutput = "of the module commands"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "commands", module)
    return module


NAMES_COMMANDS = b"ccommands\ngetoutput\n."


@pytest.mark.parametrize("start", [b"\x80\x03", b"\x80\x04", b"\x80\x05"])
def test_from_protocol_3_an_old_name_is_a_module_of_that_name(
    start: bytes, ring: Keyring, commands: Any
) -> None:
    metadata = Metadata("pickle", imports=(("commands", "getoutput"),))
    for told in (metadata, Metadata("pickle", imports_omitted=1)):
        data = hand_sealed(ring, told, start + NAMES_COMMANDS)
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring, allow=["subprocess"])
        assert signed_loads(data, keyring=ring, allow=["commands"]) == commands.getoutput


@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"\x80\x02\x80\x04", b"N0\x80\x05"])
def test_a_python_2_name_is_allowed_and_looked_up_by_its_name_today(
    start: bytes, ring: Keyring, commands: Any
) -> None:
    metadata = Metadata("pickle", imports=(("commands", "getoutput"),))
    data = hand_sealed(ring, metadata, start + NAMES_COMMANDS)
    for allow in (["subprocess"], ["subprocess.getoutput"], None):
        assert signed_loads(data, keyring=ring, allow=allow) is subprocess.getoutput
    for told in (metadata, Metadata("pickle", imports_omitted=1)):
        data = hand_sealed(ring, told, start + NAMES_COMMANDS)
        for old in ("commands", "commands.getoutput"):
            with pytest.raises(PolicyError, match=r"subprocess\.getoutput .*commands"):
                signed_loads(data, keyring=ring, allow=[old])
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, allow=["subprocess"], fix_imports=False)
    plain = signed_loads(data, keyring=ring, allow=["commands"], fix_imports=False)
    assert plain == commands.getoutput


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_in_a_joblib_file_an_old_name_alone_allows_nothing(
    pack: Callable[[bytes], bytes], ring: Keyring, commands: Any
) -> None:
    file = io.BytesIO()
    joblib.dump(np.empty(1, object), file)
    # The pickle that an array of objects has of its own stands in the stream of the whole.
    beside = file.getvalue()[: file.getvalue().rindex(b"\x80")]
    stream = b"\x80\x02" + NAMES_COMMANDS
    for whole in (stream, beside + stream + b"."):
        metadata = Metadata("joblib", imports_omitted=1, raw_size=len(whole))
        data = hand_sealed(ring, metadata, pack(whole))
        with pytest.raises(PolicyError, match=r"subprocess\.getoutput .*commands"):
            signed_loads(data, keyring=ring, allow=["commands", "joblib", "numpy"])
        found = signed_loads(data, keyring=ring, allow=["subprocess", "joblib", "numpy"])
        assert found is subprocess.getoutput


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_sets_of_old_protocols_are_allowed_by_the_builtins_of_today(
    protocol: int, ring: Keyring
) -> None:
    data = signed_dumps({1, 2}, protocol, keyring=ring)
    allow = ["builtins.set", "builtins.object", "copyreg"]
    assert signed_loads(data, keyring=ring, allow=allow) == {1, 2}
    with pytest.raises(PolicyError, match=r"builtins\.set .*__builtin__\.set"):
        signed_loads(data, keyring=ring, allow=["__builtin__", "copy_reg"])


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_names_of_python_2_are_written_and_read_as_pickle_does(
    protocol: int, ring: Keyring
) -> None:
    for fix_imports, module in ((True, "__builtin__"), (False, "builtins")):
        data = signed_dumps(range(3), protocol, keyring=ring, fix_imports=fix_imports)
        modules = {name for name, _ in payload_of(data, ring).head.metadata.imports or ()}
        assert module in modules
        assert signed_loads(data, keyring=ring, fix_imports=fix_imports) == range(3)
