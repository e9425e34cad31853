"""How a pickle uses each name, and which constructions reach beyond data."""

import datetime as dt
import functools
import pickle
import zoneinfo

import numpy as np
import pytest
from walking import names, ordinary, uses, walk

from pickleseal.scanner.grade import Grade
from pickleseal.scanner.grades import grade
from pickleseal.scanner.machine import stack
from pickleseal.scanner.machine.trace import Use

# -- what is done with a name

LOOKED_UP, CALLED, MADE, BUILT = Use.LOOKED_UP, Use.CALLED, Use.MADE, Use.BUILT
HANDED, HOLDING, HASHED = Use.HANDED, Use.HOLDING, Use.HASHED


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"cm\nf\n.", {"f": LOOKED_UP}),
        (b"cm\nf\n)R.", {"f": LOOKED_UP | CALLED}),
        (b"(cm\nf\no.", {"f": LOOKED_UP | CALLED}),
        (b"(im\nf\n.", {"f": LOOKED_UP | CALLED}),
        (b"cm\nf\n)\x81.", {"f": LOOKED_UP | MADE}),
        (b"cm\nf\nN\x85\x81.", {"f": LOOKED_UP | CALLED | MADE}),
        (b"cm\nf\n)}\x92.", {"f": LOOKED_UP | CALLED | MADE}),
        (b"cm\nf\n)R}b.", {"f": LOOKED_UP | CALLED | BUILT}),
        (b"cm\nf\n)\x81}b.", {"f": LOOKED_UP | MADE | BUILT}),
        (
            b"ccopyreg\n__newobj__\ncm\nf\n\x85R}b.",
            {"__newobj__": LOOKED_UP | CALLED, "f": LOOKED_UP | MADE | BUILT},
        ),
        (
            b"ccopy_reg\n_reconstructor\n(cm\nf\nc__builtin__\nobject\nNtR.",
            {"_reconstructor": LOOKED_UP | CALLED, "f": LOOKED_UP | MADE, "object": LOOKED_UP},
        ),
        (b"cm\nmap\ncm\nf\n]\x86R.", {"map": LOOKED_UP | CALLED | HANDED, "f": LOOKED_UP}),
        (b"cm\nf\nq\0)R0h\0)\x81.", {"f": LOOKED_UP | CALLED | MADE}),
        # The pure-Python unpickler takes any sequence for the arguments.
        (
            b"cm\nf\n]}Vx\ncm\ng\ns\x92.",
            {"f": LOOKED_UP | CALLED | MADE | HANDED, "g": LOOKED_UP},
        ),
        (
            b"cm\nf\nccollections\ndeque\n)RR.",
            {"f": LOOKED_UP | CALLED | HANDED, "deque": LOOKED_UP | CALLED},
        ),
    ],
)
def test_each_use_of_a_name_is_told(stream: bytes, wanted: dict[str, Use]) -> None:
    assert uses(stream) == wanted
    assert walk(stream)[0].beyond == ()


def test_names_come_in_order_and_once() -> None:
    found, _ = walk(b"cb\nx\nca\ny\ncb\nx\n\x87.")
    assert [(name.module, name.name) for name in found.names] == [("b", "x"), ("a", "y")]


ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btR(K\1(K\2t"
MASKED = (
    b"cnumpy.ma.core\n_mareconstruct\n(cnumpy.ma.core\nMaskedArray\ncnumpy\nndarray\n(K\0tC\1btR"
)
BEYOND = {
    "an extension code": b"\x82\7.",
    "a large extension code": b"\x84\7\0\0\1.",
    "an extension that is registered": b"ccopyreg\nadd_extension\n(Vos\nVsystem\nK\7tR.",
    "a name that a call gave": b"ccodecs\ndecode\n(Vbf\nVrot13\ntRVsystem\n\x93.",
    "a name that the encoding spells": b"S'\xe9'\nVsystem\n\x93.",
    "a name that the caller gives": b"P1\nVsystem\n\x93.",
    "a name that is very long": b"X\0\4\0\0" + b"m" * 1024 + b"Vx\n\x93.",
    "a call of what a call gave": b"cm\nf\n)R)R.",
    "an object of what a call gave": b"cm\nf\n)R)\x81.",
    "an object of what a call gave, by copyreg": b"ccopyreg\n__newobj__\ncm\nf\n)R\x85R.",
    "a call of what was made": b"(cm\nf\n)\x81o.",
    "a call of what the caller gives": b"P1\n)R.",
    "the state of a class": b"cm\nf\n}b.",
    "the state of a computed class": b"\x82\7}b.",
    "an attribute that is the class": b"cm\nf\n)R}V__class__\nNsb.",
    "a slot that is the class": b"cm\nf\n)R(N}V__class__\nNstb.",
    "an attribute among many": b"cm\nf\n)R(" + b"".join(b"Vk%d\nN" % n for n in range(40))
    + b"V__reduce__\nNdb.",
    "an attribute whose name is computed": b"cm\nf\n)R}cm\ng\n)RNsb.",
    "slots that are computed": b"cm\nf\n)R(Nccollections\nOrderedDict\n)Rtb.",
    "an item for a class": b"cm\nf\nNa.",
    "items for a class": b"cm\nf\n(Ne.",
    "a key for a module": b"cm\nf\nNNs.",
    "members for a class": b"cm\nf\n(N\x90.",
    "a dunder attribute": b"cbuiltins\ngetattr\n(cm\nf\nV__globals__\ntR.",
    "an attribute that is computed": b"cbuiltins\ngetattr\n(cm\nf\ncm\ng\n)RtR.",
    "an attribute from who knows where": b"cbuiltins\ngetattr\n]R.",
    "a ufunc that is computed": b"cnumpy.core\n_ufunc_reconstruct\n(Vnumpy\ncm\ng\n)RtR.",
    "a state that is a dict of another call": b"cm\nf\n)Rccollections\nOrderedDict\n)Rb.",
    "attributes in a dict of another call": b"cm\nf\n)R(ccollections\nCounter\n)RNtb.",
    "a state that is set once more": b"cm\nf\n)\x81q\0}b0h\0}b.",
    "a state that changes when it is set": b"cm\nf\n)R}q\0b0h\0Va\nNs.",
    "items behind a state": b"cm\nf\n)\x81}bNa.",
    "members behind a state": b"cm\nf\n)\x81}b(N\x90.",
    "keys behind a state": b"cm\nf\n)\x81}bVa\nNs.",
    "items of what has keys": b"cm\nf\n)\x81Vappend\nNs(Ne.",
    "a key that is looked for": b"cm\nf\n)\x81V__array_interface__\nNs.",
    "a key among many that is looked for": b"cm\nf\n)\x81(Va\nNV__class__\nNu.",
    "a key that is computed and an attribute": b"csklearn.utils._bunch\nBunch\n)\x81cm\nf\n)RNs.",
    "an attribute by copyreg": b"ccopyreg\n_reconstructor\n(cm\nf\nc__builtin__\ndict\n"
    b"}V__class__\nNstR.",
    "an attribute by Cython": b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1(N}V__class__\nNsttR.",
    "attributes by Cython in a dict of another call": b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1("
    b"Nccollections\nOrderedDict\n)RttR.",
    "an array of texts that is longer than its list": ARRAY
    + b"cnumpy._core._internal\n_convert_to_stringdtype_kwargs\n\x88\x85R\x89]tb.",
    "an array in the state of an index that is longer than its list":
    b"cpandas\nIndex\n)\x81(K\1(K\2tcnumpy\ndtype\n(VO8\n\x89\x88tR\x89]t(Nt\x86b.",
    "an array whose state is a list": MASKED + b"](K\1(K\1t"
    b"cnumpy\ndtype\n(Vf8\n\x89\x88tR\x89C\0C\0Neb.",
    "an array whose state is an array": MASKED + ARRAY
    + b"cnumpy\ndtype\n(Vf8\n\x89\x88tR\x89C\0tbb.",
    "a list for the state of an array in that of another":
    b"cpandas.arrays\nSparseArray\n)\x81](K\1(K\2tcnumpy\ndtype\n(Vf8\n\x89\x88tR\x89C\0e(NNt\x86b.",
    "an array of more bytes than there are": ARRAY.replace(b"(K\2t", b"(" + b"J\0\0\0@" * 3 + b"t")
    + b"cnumpy\ndtype\n(Vf8\n\x89\x88tR\x89C\0tb.",
    "an array of negative shape": ARRAY.replace(b"(K\2t", b"(" + b"J\xff\xff\xff\xff" * 2 + b"t")
    + b"cnumpy\ndtype\n(Vf8\n\x89\x88tR\x89C\x08AAAAAAAAtb.",
    "a state behind that of Cython": b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1)tR}b.",
    "an attribute that pyarrow looks for": b"cm\nf\n)R}V__arrow_array__\nNsb.",
    "a helper that makes what is computed": b"cm\nnewObj\n(cm\nf\n)RtR.",
    "an array that another function makes": b"cdill._dill\n_create_array\n(cm\nf\n)NNtR.",
    "an array with attributes": b"cdill._dill\n_create_array\n("
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btN}tR.",
    "a wrapper for a helper": b"cm\nnewObj\n(cjoblib.numpy_pickle\nNumpyArrayWrapper\ntR.",
    "a wrapper for a function": b"cm\nf\n(NN(cjoblib.numpy_pickle\nNumpyArrayWrapper\nttR.",
    "an import that is computed": b"cimportlib\nimport_module\ncm\ng\n)R\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("construction", BEYOND)
def test_what_no_data_needs_is_told(construction: str) -> None:
    found, _ = walk(BEYOND[construction])
    assert found.beyond
    assert found.ended, found


def test_numpy_reads_the_state_of_an_array_from_a_list() -> None:
    """So it would read one that is longer than its list of objects, at wild addresses."""
    state = [1, (2,), np.dtype("O"), False, ["a", "b"], bytes(2), "?"]
    data = b"\x80\4" + MASKED + pickle.dumps(state, 4)[2:-1] + b"b."
    assert list(pickle.loads(data)) == ["a", "b"]
    assert walk(data)[0].beyond


@pytest.mark.parametrize(
    "use",
    [
        b"cm\nf\n)\x81(NNh\0tb.",
        b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1(Nh\0ttR.",
        b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1(" + b"N" * 40 + b"}V__class__\nNsttR.",
    ],
)
def test_attributes_in_a_dict_that_is_no_longer_tracked_are_not_followed(
    use: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "RECENT", 0)
    found, _ = walk(b"}V__class__\nNs\x940" + b"(" + b"N" * 100_000 + b"1" + use)
    assert found.limited
    assert not found.ended


def test_a_dtype_of_a_class_is_followed_where_the_class_is_of_numbers() -> None:
    state = b"(K\3V<\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x40tb"
    for cls, ended in ((b"ml_dtypes\nbfloat16", True), (b"decimal\nDecimal", False)):
        dtype = b"cnumpy\ndtype\n(c" + cls + b"\n\x89\x88tR" + state
        found, _ = walk(ARRAY + dtype + b"\x89C\4AAAAtb.")
        assert found.beyond == ()
        assert found.ended is ended
        assert found.limited is not ended


@pytest.mark.parametrize("stream", ordinary())
def test_nothing_of_ordinary_pickles_is_beyond(stream: bytes) -> None:
    found, position = walk(stream)
    assert found.beyond == ()
    assert found.ended
    assert position == len(stream)
    assert found.protocol == (stream[1] if stream[0] == 0x80 else 0)


def test_what_picklers_write_for_objects_is_not_beyond() -> None:
    for stream in [
        b"cm\nf\n)\x81(NNe}b.",
        b"cm\nf\n)\x81(Va\nNu}b.",
        b"cm\nf\n)\x81(cm\ng\n)RNu}b.",
        b"cm\nf\n)\x81}V__networkx_cache__\nNsb.",
        b"cm\nf\n)\x81}V__version__\nNsb.",
        b"cm\nf\n)\x81cm\ng\n)Rb.",
        b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1NtR}b.",
        b"cnumpy.random._pickle\n__bit_generator_ctor\n(VPCG64\ntR.",
        (
            b"cnumpy.random._pickle\n__generator_ctor\n(VPCG64\n"
            b"cnumpy.random._pickle\n__bit_generator_ctor\ntR."
        ),
        b"cnumpy.random._pickle\n__randomstate_ctor\n(VMT19937\ntR.",
    ]:
        found, _ = walk(stream)
        assert found.beyond == ()
        assert found.ended


@pytest.mark.parametrize("protocol", range(6))
def test_a_time_zone_is_data_and_other_attributes_are_not(protocol: int) -> None:
    obj = dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))
    assert grade([walk(pickle.dumps(obj, protocol))[0]])[0] is Grade.DATA
    for value in ([1].append, getattr):
        assert grade([walk(pickle.dumps(value, protocol))[0]])[0] is Grade.UNKNOWN
    other = b"cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nVfrom_file\ntR)R."
    assert walk(other)[0].beyond


def test_a_time_zone_of_pendulum_is_data() -> None:
    zone = b"cbuiltins\ngetattr\n(cpendulum.tz.timezone\nTimezone\nV%b\ntR(VUTC\nI01\ntR"
    moment = b"cpendulum.datetime\nDateTime\n(I2024\nI5\nI6\nI0\nI0\nI0\nI0\n%btR."
    assert grade([walk(moment % (zone % b"_unpickle"))[0]])[0] is Grade.DATA
    assert walk(moment % (zone % b"from_file"))[0].beyond


_PARTIAL = b"cfunctools\npartial\n%b\x85R(%btb"
_BLOCKS = b"cpandas.core.internals.blocks\nnew_block\n"
_CALLED = b"(K\1cbuiltins\nslice\n(K\0K\1NtRtR."


def test_a_block_of_a_frame_of_pandas_1_3_is_data() -> None:
    usual = _PARTIAL % (_BLOCKS, _BLOCKS + b")}Vndim\nK\2sN") + _CALLED
    assert grade([walk(usual)[0]])[0] is Grade.DATA
    for function, state in (
        (_BLOCKS, b"cm\nf\n)}N"),
        (_BLOCKS, _BLOCKS + b")}q\1N"),
        (b"cm\nf\n", b"cm\nf\n)}N"),
    ):
        stream = _PARTIAL % (function, state) + b"h\1Vklass\ncm\nf\ns0" * (b"q" in state)
        assert walk(stream + _CALLED)[0].beyond
    assert grade([walk(_PARTIAL % (b"cm\nf\n", b"cm\nf\n)}N") + b".")[0]])[0] is Grade.UNKNOWN
    assert grade([walk(b"cfunctools\npartial\n.")[0]])[0] is Grade.UNKNOWN
    with_class = _PARTIAL % (_BLOCKS, _BLOCKS + b")}Vklass\ncm\nf\nsN")
    assert grade([walk(with_class + _CALLED)[0]])[0] is Grade.UNKNOWN


_LEN = b"cbuiltins\nlen\n"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_partial_call_of_a_known_function_with_plain_data_is_data(protocol: int) -> None:
    known = (functools.partial(len), functools.partial(round, ndigits=2), functools.partial(pow, 2))
    for value in known:
        assert grade([walk(pickle.dumps(value, protocol))[0]])[0] is Grade.DATA
    for value in (functools.partial(round, abs), functools.partial(pow, 2, exp=abs)):
        assert grade([walk(pickle.dumps(value, protocol))[0]])[0] is Grade.UNKNOWN
    assert grade([walk(pickle.dumps(functools.partial(eval), protocol))[0]])[0] is Grade.BEYOND


def test_a_partial_call_in_another_form_is_beyond() -> None:
    for state in (
        b"cbuiltins\nabs\n)}N", _LEN + b"]}N", _LEN + b")]N", _LEN + b")}}Va\nK\1s", _LEN + b")}",
    ):  # fmt: skip
        assert walk(_PARTIAL % (_LEN, state) + b".")[0].beyond, state
    assert walk(_PARTIAL % (_LEN, _LEN + b")}N") + b"]\x85R.")[0].beyond  # it is called


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_method_by_which_texts_are_split_is_data(protocol: int) -> None:
    for method in (str.split, str.lower, str.strip):
        assert grade([walk(pickle.dumps(method, protocol))[0]])[0] is Grade.DATA
    for value in (str.format, str.join, bytes.split):
        assert grade([walk(pickle.dumps(value, protocol))[0]])[0] is Grade.UNKNOWN
    assert walk(b"cbuiltins\ngetattr\n(cbuiltins\nstr\nVsplit\ntR(Va b\ntR.")[0].beyond


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_an_attribute_is_found_however_far_back_its_name_lies(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "RECENT", size)
    many = b"(" + b"N" * 100_000 + b"t"
    for name in (b"__class__", b"__array_interface__"):
        assert walk(b"cm\nf\n)\x81}V" + name + b"\n" + many + b"sb.")[0].beyond
    found, _ = walk(b"cm\nf\n)\x81}Vplain\n" + many + b"sb.")
    assert found.beyond == ()
    assert found.ended


@pytest.mark.parametrize("protocol", range(2, 6))
def test_bound_methods_and_ufuncs_are_not_beyond(protocol: int) -> None:
    stream = pickle.dumps([[1].append, np.add, np.vectorize(len)], protocol)
    found, _ = walk(stream)
    assert found.beyond == ()
    assert found.ended


def test_what_an_importing_helper_would_import_is_a_name() -> None:
    for helper, wanted in [
        (b"cnumpy.core\n_ufunc_reconstruct\n(Vscipy\nVexpit\ntR.", ("scipy", "expit")),
        (b"cnumpy._core\n_ufunc_reconstruct\n(Vnumpy\nVadd\ntR.", ("numpy", "add")),
        (b"cimportlib\nimport_module\n(Vos.path\ntR.", ("os.path", "")),
        (b"c__builtin__\n__import__\n(Vos\nNNtR.", ("os", "")),
        (b"ccloudpickle.cloudpickle\nsubimport\n(Vos.path\ntR.", ("os.path", "")),
        (b"ccloudpickle.cloudpickle\n_builtin_type\n(VCodeType\ntR.", ("types", "CodeType")),
        (b"cdill._dill\n_import_module\n(Vos.system\ntR.", ("os", "system")),
        (b"cpkgutil\nresolve_name\n(Vos:system\ntR.", ("os", "system")),
        (b"ca.uarray\nunpickle_function\n(Vos\nVsystem\nNtR.", ("os", "system")),
        (b"ccopyreg\nadd_extension\n(Vos\nVsystem\nK\1tR.", ("os", "system")),
    ]:  # fmt: skip
        assert wanted in names(helper)
