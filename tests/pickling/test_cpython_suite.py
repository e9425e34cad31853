"""CPython's own tests of pickle, with pickleseal in pickle's place.

In `Sealed`, what a dump gives is an envelope. In `Extracted` it is the plain pickle out of the
envelope, for the tests that read or write opcodes, and a load seals it anew. Either way each
dump is held against the oracle: its sealed imports are exactly the names that an unpickler
asks for.
"""

# mypy: disable-error-code="name-defined, misc"
# Its base classes come from a package that a Python may lack.

import contextlib
import importlib
import pickle
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from envelopes import hand_sealed, payload_of
from names import names_asked_for

import pickleseal
from pickleseal import Key, Keyring, Suite, extract
from pickleseal.envelope import layout
from pickleseal.envelope.metadata import Metadata
from pickleseal.keys.store.changes import create_key
from pickleseal.pickling.dump import Pickler
from pickleseal.pickling.lookup import CLOUDPICKLE_HINT, Lookup, Python2, Unpickler

pickletester = pytest.importorskip(
    "test.pickletester", reason="this Python comes without its own tests"
)

# Some of CPython's tests pickle classes that they say are of __main__.
pytestmark = pytest.mark.filterwarnings("ignore::pickleseal.MainModuleWarning")

RING = Keyring(Key.generate(Suite.BLAKE3))


@pytest.fixture(scope="module", autouse=True)
def _in_a_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what CPython's tests write into the current directory out of the project's."""
    with contextlib.chdir(tmp_path_factory.mktemp("cpython")):
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "keyring"
    create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    return folder


@pytest.fixture(autouse=True)
def _set_up_key(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(kept))


def sealed_dumps(obj: Any, protocol: int | None = None, **keywords: Any) -> bytes:
    data = pickleseal.signed_dumps(obj, protocol, keyring=RING, **keywords)
    payload = payload_of(data, RING)
    assert set(payload.head.metadata.imports or ()) == names_asked_for(payload.stored[0])
    return data


def sealed_loads(data: bytes, **keywords: Any) -> Any:
    if not data.startswith(layout.MAGIC):
        # As a foreign writer with the key could: adopt_bytes would refuse most of these.
        data = hand_sealed(RING, Metadata("pickle"), data)
    return pickleseal.signed_loads(data, keyring=RING, **keywords)


class OwnPickler(Pickler):
    """The pickler that a dump uses, as CPython's tests of Pickler classes call one."""

    def __init__(self, file: Any, protocol: int | None = None) -> None:
        super().__init__(
            file,
            pickle.DEFAULT_PROTOCOL if protocol is None else protocol,
            fix_imports=True,
            buffer_callback=None,
        )


class FilePickler:
    """A Pickler's `dump` over signed_dump, which writes one envelope each time."""

    def __init__(self, file: Any, protocol: int | None = None) -> None:
        self._file = file
        self._protocol = protocol

    def dump(self, obj: Any) -> None:
        pickleseal.signed_dump(obj, self._file, self._protocol, keyring=RING)


class FileUnpickler:
    """An Unpickler's `load` over signed_load, which takes one envelope each time."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def load(self) -> Any:
        return pickleseal.signed_load(self._file, keyring=RING)


class Fresh:
    """Before each test the import system forgets what folders held: some tests make modules."""

    def setUp(self) -> None:
        importlib.invalidate_caches()
        sys.path_importer_cache.clear()
        super().setUp()


class OwnUnpickler(Unpickler):
    """The unpickler that a load uses, with all names permitted."""

    def __init__(self, file: Any, *, buffers: Any = None, **old: Any) -> None:
        super().__init__(file, b"", Lookup(Metadata("pickle"), None), Python2(**old), buffers)


class Classes(Fresh):
    pickler = OwnPickler
    unpickler = OwnUnpickler
    bad_stack_errors = (pickle.UnpicklingError,)
    truncated_errors = (pickle.UnpicklingError, EOFError)


class Sealed(Classes):
    def dumps(self, obj: Any, protocol: int | None = None, **keywords: Any) -> bytes:
        return sealed_dumps(obj, protocol, **keywords)

    def loads(self, data: bytes, **keywords: Any) -> Any:
        return sealed_loads(data, **keywords)


class Extracted(Classes):
    _bound: ClassVar[dict[bytes, bytes]] = {}
    """Streams whose buffers are bound to an envelope, and that envelope."""

    def dumps(self, obj: Any, protocol: int | None = None, **keywords: Any) -> bytes:
        data = sealed_dumps(obj, protocol, **keywords)
        payload = payload_of(data, RING)
        if payload.head.metadata.external is None:
            return extract(data, keyring=RING)
        stream = bytes(payload.stored[0])
        self._bound[stream] = data
        return stream

    def loads(self, data: bytes, **keywords: Any) -> Any:
        return sealed_loads(self._bound.get(bytes(data), data), **keywords)


class Module:
    dump = staticmethod(pickleseal.dump)
    dumps = staticmethod(pickleseal.dumps)
    load = staticmethod(pickleseal.load)
    loads = staticmethod(pickleseal.loads)
    Pickler = FilePickler
    Unpickler = FileUnpickler


OPCODES = "it reads the opcodes of what a dump gives, and that is an envelope; Extracted passes it"
AFTER_STOP = "bytes follow the pickle's end in it, which pickleseal refuses and pickle ignores"
NO_CLASSES = "it looks into Pickler and Unpickler objects, and pickleseal gives out none"
MEMO = "an envelope is whole: no memo is shared between the objects of a file"

NOT_SEALED = {
    "test_appends_on_non_lists": OPCODES,
    "test_bytearray": OPCODES,
    "test_complex_newobj": OPCODES,
    "test_complex_newobj_ex": OPCODES,
    "test_dict_chunking": OPCODES,
    "test_float_format": OPCODES,
    "test_framing_large_objects": OPCODES,
    "test_framing_many_objects": OPCODES,
    "test_global_ext1": OPCODES,
    "test_global_ext2": OPCODES,
    "test_global_ext4": OPCODES,
    "test_in_band_buffers": OPCODES,
    "test_int_pickling_efficiency": OPCODES,
    "test_list_chunking": OPCODES,
    "test_long1": OPCODES,
    "test_long4": OPCODES,
    "test_misc_get": AFTER_STOP,
    "test_oob_buffers": OPCODES,
    "test_optional_frames": OPCODES,
    "test_pickle_to_2x": OPCODES,
    "test_proto": OPCODES,
    "test_set_chunking": OPCODES,
    "test_setitems_on_non_dicts": OPCODES,
    "test_short_tuples": OPCODES,
    "test_simple_newobj": OPCODES,
    "test_singletons": OPCODES,
}
NOT_EXTRACTED = {"test_misc_get": AFTER_STOP}
NOT_IN_MODULE = {
    "test_bad_init": NO_CLASSES,
    "test_pickler_bad_file": NO_CLASSES,
    "test_unpickler_bad_file": NO_CLASSES,
}
NOT_IN_FILES = {
    "test_clear_pickler_memo": MEMO,
    "test_clear_unpickler_memo": MEMO,
    "test_pickle_invalid_reducer_override": NO_CLASSES,
    "test_priming_pickler_memo": MEMO,
    "test_priming_unpickler_memo": MEMO,
}
NOT_YET_EVERYWHERE = {"test_clear_unpickler_memo", "test_pickle_invalid_reducer_override"}
"""Listed tests that a release of one of the supported Pythons may lack."""

_left_out: list[Any] = []


def without(reasons: Mapping[str, str]) -> Callable[[type], type]:
    """Remove the listed tests from a class, and keep them to check that they do fail."""

    def take_out(cls: type) -> type:
        for name, reason in reasons.items():
            function = getattr(cls, name, None)
            if function is None and name in NOT_YET_EVERYWHERE:
                continue
            _left_out.append(pytest.param(cls, name, function, reason, id=f"{cls.__name__}-{name}"))
            setattr(cls, name, None)
        return cls

    return take_out


@without(NOT_SEALED)
class TestSealed(
    Sealed,
    pickletester.AbstractPickleTests,
    pickletester.AbstractUnpickleTests,
    unittest.TestCase,
):
    pass


@without(NOT_EXTRACTED)
class TestExtracted(
    Extracted,
    pickletester.AbstractPickleTests,
    pickletester.AbstractUnpickleTests,
    unittest.TestCase,
):
    pass


if hasattr(pickletester, "AbstractPicklingErrorTests"):  # since Python 3.13

    class TestSealedErrors(Sealed, pickletester.AbstractPicklingErrorTests, unittest.TestCase):
        def dumps(self, obj: Any, protocol: int | None = None, **keywords: Any) -> bytes:
            try:
                return super().dumps(obj, protocol, **keywords)
            except (pickle.PicklingError, AttributeError) as error:
                # pickle has notes of its own from Python 3.14 on, and ours is one more.
                with contextlib.suppress(AttributeError, ValueError):
                    error.__notes__.remove(CLOUDPICKLE_HINT)
                raise


@without(NOT_IN_MODULE)
class TestModule(Module, pickletester.AbstractPickleModuleTests, unittest.TestCase):
    pass


@without(NOT_IN_FILES)
class TestFiles(pickletester.AbstractPicklerUnpicklerObjectTests, unittest.TestCase):
    pickler_class = FilePickler
    unpickler_class = FileUnpickler


class TestOwnClasses(pickletester.AbstractPicklerUnpicklerObjectTests, unittest.TestCase):
    pickler_class = OwnPickler
    unpickler_class = OwnUnpickler


@pytest.mark.parametrize(("cls", "name", "function", "reason"), _left_out)
def test_each_test_left_out_exists_and_fails(
    cls: type[unittest.TestCase], name: str, function: Any, reason: str
) -> None:
    assert function is not None
    result = unittest.TestResult()
    type(cls.__name__, (cls,), {name: function})(name).run(result)
    assert result.testsRun == 1
    assert not result.wasSuccessful(), f"it passes, so it need not be left out because {reason}"
