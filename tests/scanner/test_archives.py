"""Zip and tar archives that hold pickles."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from packing import (
    ARMED,
    ARMED_4,
    BINARIES,
    ODD,
    PACKERS,
    PLAIN,
    TEXTS,
    Memory,
    bounded,
    ended,
    headed,
    listed,
    names,
    packers,
    seen,
    tarred,
    zipped,
)

from pickleseal.scanner.containers import archives, views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.grade import Grade

# --- zip -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_the_members_of_a_zip_are_looked_at(method: int) -> None:
    contents = seen(zipped({"a.txt": b"text", "b/c": PLAIN, "d": b"3\n"}, method))
    assert contents.kind == "zip > pickle, protocol 4"
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())


def test_a_zip_without_pickles_is_none() -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        members = {f"{i}": data for i, data in enumerate(TEXTS + BINARIES)}
        assert look(Memory(zipped(members, method)), name="x.npz") is None
    assert look(Memory(zipped({})), name="empty.npz") is None


def test_what_torch_saves_is_seen() -> None:
    tensor = np.arange(1000, dtype="f4").tobytes()
    members = {
        "m/data.pkl": pickle.dumps({"w": 1}, 2),
        "m/byteorder": b"little",
        "m/data/0": tensor,
        "m/version": b"3\n",
        "m/.data/serialization_id": b"1234567890123456789",
    }
    contents = seen(zipped(members), "m.pt")
    assert contents.kind == "zip > pickle, protocol 2"
    assert (contents.pickles, contents.reasons) == (1, ())


def test_the_arrays_of_an_npz_are_looked_at() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(9), b=ODD)
    assert seen(file.getvalue()).kind.startswith("zip > numpy object array > pickle, protocol ")
    file = io.BytesIO()
    np.savez(file, a=np.arange(9))
    assert look(Memory(file.getvalue()), name="a.npz") is None


@pytest.mark.parametrize("comment", [b"", b"a comment " * 5000])
def test_a_zip_behind_other_bytes_is_looked_at(comment: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", ARMED)
        archive.comment = comment
    inner = file.getvalue()
    assert "os.mkdir" in names(seen(b"some text\n" + inner))
    contents = seen(PLAIN + inner)
    assert contents.pickles == 2
    assert {"os.mkdir", "numpy.ndarray"} <= names(contents)


@packers
def test_a_zip_behind_a_pickle_in_a_layer_is_looked_at(packer: str) -> None:
    inner = zipped({"x": ARMED}, zipfile.ZIP_DEFLATED)
    assert "os.mkdir" in names(seen(PACKERS[packer](PLAIN + inner)))
    assert "os.mkdir" in names(seen(PACKERS[packer](inner)))


def test_zips_in_zips_are_followed() -> None:
    data = zipped({"x": ARMED}, zipfile.ZIP_DEFLATED)
    for _ in range(3):
        data = zipped({"x": data, "y": b"text"}, zipfile.ZIP_DEFLATED)
    assert seen(data).kind == "zip > zip > zip > zip > pickle, protocol 0"


def test_a_wide_zip_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = zipped({"a": b"text", "x": PLAIN}, zipfile.ZIP_DEFLATED)
    assert b"PK\x06\x06" in data
    assert seen(data).grade is Grade.DATA
    assert seen(b"text" + data).grade is Grade.DATA


@pytest.mark.parametrize("place", ["local", "central"])
def test_a_member_with_two_names_reaches_beyond(place: str) -> None:
    data = zipped({"data.pkl": PLAIN})
    at = data.find(b"data.pkl") if place == "local" else data.rfind(b"data.pkl")
    data = data[:at] + b"data.txt" + data[at + 8 :]
    contents = seen(data)
    assert contents.grade is Grade.BEYOND
    assert "numpy.ndarray" in names(contents)


def test_a_member_that_is_falsely_marked_as_encrypted_reaches_beyond() -> None:
    data = bytearray(zipped({"data.pkl": PLAIN}, zipfile.ZIP_DEFLATED))
    data[6] |= 1
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    contents = seen(bytes(data))
    assert contents.grade is Grade.BEYOND
    assert "numpy.ndarray" in names(contents)


def test_a_member_that_is_encrypted_is_said_though_it_has_two_names() -> None:
    data = bytearray(zipped({"data.pkl": b"\xff\xfe" * 40}))
    data[6] = data[data.rfind(b"PK\x01\x02") + 8] = 1
    data[30:31] = b"D"
    assert "data.pkl: encrypted" in seen(bytes(data)).reasons


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_that_is_cut_off_by_the_size_of_its_member_cannot_be_told(method: int) -> None:
    inner = zipped({"x": ARMED})
    data = bytearray(zipped({"inner.npz": inner + b"\xff" * 70_000}, method))
    at = data.rfind(b"PK\x01\x02")
    data[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(inner))
    data[at + 24 : at + 28] = struct.pack("<I", len(inner))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        assert archive.read("inner.npz") == inner
    assert seen(bytes(data)).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("data", [ARMED, PLAIN])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("place", ["local", "central"])
def test_a_member_that_is_described_in_two_ways_cannot_be_told(
    data: bytes, method: int, place: str
) -> None:
    packed = bytearray(zipped({"x": data}, method))
    at = 8 if place == "local" else packed.rfind(b"PK\x01\x02") + 10
    packed[at] = 8 - method
    contents = seen(bytes(packed))
    assert contents.grade >= Grade.CANNOT_TELL
    assert any("local header" in reason for reason in contents.reasons)


def test_a_member_whose_sizes_differ_cannot_be_told() -> None:
    data = bytearray(zipped({"x": ARMED}))
    at = data.rfind(b"PK\x01\x02") + 20
    data[at : at + 8] = struct.pack("<II", 3, 3)
    assert seen(bytes(data)).grade is Grade.CANNOT_TELL


def test_a_member_packed_by_lzma_cannot_be_told() -> None:
    contents = seen(zipped({"x": ARMED}, zipfile.ZIP_LZMA))
    assert contents.grade is Grade.CANNOT_TELL
    assert any("compression method" in reason for reason in contents.reasons)


@pytest.mark.parametrize("name", ["data.pkl", "data.txt", "a"])
@pytest.mark.parametrize("trouble", ["method", "encrypted", "elsewhere", "too long"])
def test_a_member_that_cannot_be_looked_at_is_said_whatever_its_name(
    name: str, trouble: str
) -> None:
    data = bytearray(zipped({name: b"\xff\xfe" * 40, "other.txt": b"text"}))
    central = data.find(b"PK\x01\x02")
    if trouble == "method":
        data[8] = data[central + 10] = 97
    elif trouble == "encrypted":
        data[6] = data[central + 8] = 1
    elif trouble == "elsewhere":
        data[central + 42 : central + 46] = struct.pack("<I", 7)
    else:
        data[central + 20 : central + 24] = struct.pack("<I", 7_000)
    contents = seen(bytes(data))
    assert (contents.grade, contents.pickles) == (Grade.CANNOT_TELL, 0)
    assert any(name in reason for reason in contents.reasons)


def test_members_with_the_same_trouble_are_told_of_once() -> None:
    data = bytearray(zipped({f"{i}.txt": b"\xff\xfe" * 9 for i in range(300)}))
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] = 1
    (reason,) = seen(bytes(data)).reasons
    assert "299" in reason


def test_a_directory_that_lists_the_same_over_and_over_hides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    harmless = headed(b"r", b"hi")
    directory = listed(b"r", b"hi", 0) * 300 + listed(b"e", ARMED, len(harmless))
    body = harmless + headed(b"e", ARMED)
    data = body + ended(directory, len(body), 301)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("e") == ARMED
    assert "os.mkdir" in names(seen(data))


def test_a_directory_that_lists_more_than_the_bound_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "MAX_LISTED", 200)
    harmless = headed(b"r", b"hi")
    data = harmless + ended(listed(b"r", b"hi", 0) * 300, len(harmless), 300)
    contents = seen(data)
    assert contents.grade is Grade.CANNOT_TELL
    assert any("200" in reason for reason in contents.reasons)


def test_an_end_record_without_a_directory_makes_no_zip() -> None:
    data = b"\xff" * 60 + ended(b"", 0, 0)
    (reason,) = seen(data, "model.pkl").reasons
    assert reason == "named like a pickle, but cannot be followed"


@pytest.mark.parametrize("directory", [b"PK\x01\x02", b"PK\x01\x02" + b"\0" * 19])
def test_a_directory_that_is_cut_off_lists_nothing(directory: bytes) -> None:
    assert look(Memory(b"\xff" * 60 + ended(directory, 60, 1))) is None


@pytest.mark.parametrize("place", [0, 60, 60 + 47 + 22])
def test_a_member_without_a_local_header_cannot_be_told(place: int) -> None:
    data = b"\xff" * 60 + ended(listed(b"a", PLAIN, place), 60, 1) + b"PK\x03\x04"
    (reason,) = seen(data).reasons
    assert reason == "a: not where the zip's directory says"


def test_of_members_at_the_same_place_the_first_listed_is_told() -> None:
    directory = b"".join(listed(b"%d" % number, PLAIN, 60) for number in range(50))
    (reason,) = seen(b"\xff" * 60 + ended(directory, 60, 50)).reasons
    assert reason == "0: not where the zip's directory says (and 49 more like it)"


def test_members_that_overlap_cannot_be_told() -> None:
    body = headed(b"a", b"\xff\xfe")
    directory = b"".join(listed(b"%d" % number, b"\xff\xfe", 0) for number in range(200))
    assert "its zip members overlap" in seen(body + ended(directory, len(body), 200)).reasons


def test_every_wide_field_of_a_member_is_followed() -> None:
    fields = [struct.pack("<HHQ", 1, 8, place) for place in (0xFFFFFFFF, 0)]
    body = headed(b"a", ARMED)
    data = body + ended(listed(b"a", ARMED, 0xFFFFFFFF, b"".join(fields)), len(body), 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data))


def tar_head(name: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name.decode("latin-1"))
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def test_a_zip_that_begins_as_a_tar_is_looked_at() -> None:
    body = headed(b"a", ARMED)
    spare = -(len(body) + len(listed(b"a", ARMED, 0))) % 512
    directory = listed(b"a", ARMED, 0, bytes(spare))
    data = tar_head(b"PK\3\4x", len(body) + len(directory)) + body
    data += ended(directory, len(body), 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data, "model.npz"))


def test_a_zip_whose_parts_lie_in_members_of_a_tar_is_looked_at() -> None:
    body = headed(b"a", ARMED)
    first = tar_head(b"first", len(body)) + body + bytes(-len(body) % 512)
    directory = listed(b"a", ARMED, 512)
    data = ended(directory, len(first) + 512, 1)
    data = first + tar_head(b"second", len(data)) + data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data))


def test_two_directories_are_both_followed() -> None:
    first, second = zipped({"x": b"text"}), zipped({"x": ARMED})
    assert "os.mkdir" in names(seen(second + first))
    assert "os.mkdir" in names(seen(first + second))


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Return the members and the directory of a zip of one member."""
    start = data.rfind(b"PK\1\2")
    return data[:start], data[start : data.rfind(b"PK\5\6")]


def wide_end(size: int, start: int) -> bytes:
    return struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)


def locator(place: int) -> bytes:
    return struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


@pytest.mark.parametrize("place", ["far", "behind its end", "wide and behind its end"])
def test_a_directory_is_found_where_torch_alone_finds_it(place: str) -> None:
    """Checked by hand: torch 2.13 loads these, and zipfile rejects them."""
    body, directory = parted(zipped({"m/data.pkl": ARMED}, zipfile.ZIP_DEFLATED))
    start, size = len(body), len(directory)
    if place == "far":
        data = body + ended(directory, start, 1) + b"\xfa" * 69_500
    elif place == "behind its end":
        data = body + ended(directory, start + 22, 1)[size:] + directory
    else:
        data = body + directory + locator(start + size + 42)
        data += ended(b"", 0xFFFFFFFF, 1) + wide_end(size, start)
    assert "os.mkdir" in names(seen(data))


def test_end_records_that_shift_the_same_directory_are_all_followed() -> None:
    hidden, directory = parted(zipped({"a": ARMED}, zipfile.ZIP_DEFLATED))
    spare = len(hidden) - 31 - 5
    block = b"\1" + struct.pack("<HH", spare, ~spare & 0xFFFF) + bytes(spare)
    body = hidden[:31] + block + hidden
    wide = wide_end(len(directory), len(hidden)) + locator(len(body + directory))
    data = body + ended(directory + wide, len(body), 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data))


VALUES: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {}, {}, []]
TORCH = b"".join(pickle.dumps(value, 2) for value in VALUES)


@pytest.mark.parametrize("start", [b"", TORCH])
def test_a_member_that_readers_end_at_a_hidden_zip_cannot_be_told(start: bytes) -> None:
    inner = start + zipped({"a": ARMED}, zipfile.ZIP_DEFLATED)
    whole = inner + b"\xfa" * 71_000 + zipped({"b": PLAIN}, zipfile.ZIP_DEFLATED)
    data = bytearray(zipped({"inner": whole}, zipfile.ZIP_DEFLATED))
    at = data.rfind(b"PK\1\2")
    data[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(inner))
    data[at + 24 : at + 28] = struct.pack("<I", len(inner))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        assert archive.read("inner") == inner
    assert "inner: its sizes differ" in seen(bytes(data)).reasons


@pytest.mark.parametrize("name", [b"data.pkl\0.txt", b"m" * 600 + b"/data.pkl"])
def test_the_ending_of_a_name_is_what_readers_find(name: bytes) -> None:
    only_imports = b"cantigravity\nx\n."
    body = headed(name, only_imports)
    data = body + ended(listed(name, only_imports, 0), len(body), 1)
    assert seen(data).grade is Grade.BEYOND
    data = headed_tar(b"L", name + b"\0", b"L") + headed_tar(b"x", only_imports) + bytes(1024)
    assert seen(data).grade is Grade.BEYOND


SCRIPT = {
    "m/data.pkl": pickle.dumps(np.dtype("f8"), 2),
    "m/code/numpy.py": b"class dtype(Module):\n",
    "m/constants.pkl": pickle.dumps((), 2),
    "m/version": b"3\n",
}
PACKAGE = {
    "m/model/model.pkl": pickle.dumps(np.dtype("f8"), 2),
    "m/numpy.py": b"class dtype: ...\n",
    "m/.data/extern_modules": b"",
    "m/.data/version": b"6\n",
}


def test_code_of_torch_is_seen_where_a_zip_inside_has_some_of_its_members() -> None:
    """They are examined once, as members of the zip inside, and belong to both."""
    shared = {name: SCRIPT[name] for name in ("m/constants.pkl", "m/version")}
    inside = b"".join(headed(name.encode(), data) for name, data in shared.items())
    places = [0, len(headed(b"m/constants.pkl", shared["m/constants.pkl"]))]

    def directory(shift: int) -> bytes:
        entries = zip(shared.items(), places, strict=True)
        return b"".join(listed(name.encode(), data, at + shift) for (name, data), at in entries)

    nested = inside + ended(directory(0), len(inside), 2)
    body = headed(b"m/nested", nested)
    entries = listed(b"m/nested", nested, 0) + directory(len(body) - len(nested))
    for name in ("m/data.pkl", "m/code/numpy.py"):
        entries += listed(name.encode(), SCRIPT[name], len(body))
        body += headed(name.encode(), SCRIPT[name])
    data = body + ended(entries, len(body), 5)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("m/version") == SCRIPT["m/version"]
    assert seen(data).grade is Grade.BEYOND


@pytest.mark.parametrize("members", [SCRIPT, PACKAGE])
def test_an_archive_of_torch_with_its_own_code_reaches_beyond(members: dict[str, bytes]) -> None:
    """Its pickles name classes of that code, however they are called."""
    contents = seen(zipped(members))
    assert contents.grade is Grade.BEYOND
    assert "torch takes it for an archive with code of its own" in contents.reasons
    assert seen(zipped({name.upper(): data for name, data in members.items()})) == contents
    for left_out in list(members)[1:]:
        others = {name: data for name, data in members.items() if name != left_out}
        assert seen(zipped(others)).grade is Grade.DATA
    outside = {name.removeprefix("m/"): data for name, data in members.items()}
    assert seen(zipped(outside)).grade is Grade.DATA


def test_names_of_members_are_shown_escaped() -> None:
    data = zipped({"\x1b[2J\n.pkl": b"\x01\xff" * 40})
    (reason,) = seen(data).reasons
    assert reason.isprintable()


# --- tar -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_members_of_a_tar_are_looked_at(mode: str, form: int) -> None:
    members = {"a.txt": b"text" * 300, "b/" * 40 + "model": PLAIN, "c": ARMED}
    contents = seen(tarred(members, mode, form))
    assert contents.pickles == 2
    assert {"os.mkdir", "numpy.ndarray"} <= names(contents)
    assert contents.kind.startswith("tar >" if mode == "w" else "")
    assert "tar > pickle, protocol 4" in contents.kind


def test_a_name_longer_than_a_block_is_passed_over() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert "os.mkdir" in names(seen(tarred({"n" * 2000: b"text", "x": ARMED}, "w", form)))


def test_a_size_that_the_extended_head_of_a_tar_tells_is_the_one() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"size": "1024"}
        info.size = 1024
        archive.addfile(info, io.BytesIO(b"text".ljust(1024)))
        info = tarfile.TarInfo("y")
        info.size = len(ARMED)
        archive.addfile(info, io.BytesIO(ARMED))
    data = bytearray(file.getvalue())
    head = data.find(b"x\0", 1024)
    data[head + 124 : head + 136] = b"00000000000\0"
    total = sum(data[head : head + 148]) + 8 * 32 + sum(data[head + 156 : head + 512])
    data[head + 148 : head + 156] = b"%06o\0 " % total
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
        assert archive.getnames() == ["x", "y"]
    assert "os.mkdir" in names(seen(bytes(data)))


def test_a_tar_that_is_a_pickle_too_is_seen_as_both() -> None:
    contents = seen(tarred({"cos\nmkdir\n(S'mark'\ntR.": pickle.dumps([1], 4)}))
    assert contents.pickles == 2
    assert "os.mkdir" in names(contents)


def test_an_npz_at_the_end_of_a_tar_is_seen_once() -> None:
    contents = seen(tarred({"a": zipped({"x": PLAIN})}))
    assert contents.kind == "tar > zip > pickle, protocol 4"
    assert contents.pickles == 1
    behind = seen(tarred({"a": PLAIN}) + zipped({"x": ARMED}))
    assert "os.mkdir" in names(behind)


def test_a_tar_that_breaks_is_looked_at_as_far_as_it_goes_and_said() -> None:
    data = tarred({"x": ARMED, "y": b"text"})
    assert "os.mkdir" in names(seen(data[:1024] + b"junk" * 500))
    data = tarred({"x": b"text", "y": b"text"})
    assert seen(data[:1024] + b"junk" * 500).grade is Grade.CANNOT_TELL


def test_a_member_that_is_a_pickle_but_for_its_holes_cannot_be_told() -> None:
    data = b"C0" + ARMED + bytes(48 - len(ARMED)) + b"."
    holes = record(b"GNU.sparse.map", b"0,1,2,50") + record(b"GNU.sparse.size", b"52")
    whole = headed_tar(b"x", holes, b"x") + headed_tar(b"a.pkl", data) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        member = archive.extractfile("a.pkl")
        assert member is not None
        assert member.read() == b"C\0" + data[1:]
    assert seen(whole).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("data", [PLAIN, b"text"])
def test_a_member_with_holes_cannot_be_told(form: str, data: bytes) -> None:
    if form == "new":
        info = tarfile.TarInfo("x")
        info.size, info.pax_headers = 512, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        first = info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0")
    else:
        head = bytearray(tar_head(b"x", 512))
        head[156:157] = b"S"
        head[482] = 1
        total = sum(head[:148]) + 8 * 32 + sum(head[156:])
        head[148:156] = b"%06o\0 " % total
        first = bytes(head) + bytes(504) + b"\x01" + bytes(7) + bytes(512) + b"text".ljust(512)
    contents = seen(first + tarred({"y": data}))
    assert contents.grade is Grade.CANNOT_TELL
    assert "x: sparse member" in contents.reasons


def test_zips_in_a_compressed_tar_are_looked_at_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounded(monkeypatch, 20 << 20)
    noise = np.random.default_rng(0).bytes(2_000_000)
    data = tarred({f"{i}.npz": zipped({"a": noise, "b": PLAIN}) for i in range(4)}, "w:gz")
    contents = seen(data)
    assert (contents.pickles, contents.reasons) == (4, ())


def headed_tar(name: bytes, data: bytes, kind: bytes = b"0", *, size: int | None = None,
    form: bytes = b"%06o\0 ") -> bytes:  # fmt: skip
    head = bytearray(512)
    head[: len(name)] = name
    head[100:124] = b"0000644\0" + b"0000000\0" * 2
    head[124:148] = b"%011o\0" % (len(data) if size is None else size) + b"00000000000\0"
    head[156:157] = kind
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = (form % sum(head)).ljust(8, b"\0")[:8]
    return bytes(head) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("form", [b"%06o\0 ", b"+%o\0", b"%07o", b" %o ", b"0o%o"])
def test_a_number_of_a_tar_is_read_as_tarfile_reads_it(form: bytes) -> None:
    data = headed_tar(b"pickle", ARMED_4, form=form) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["pickle"]
    assert seen(data).grade is Grade.BEYOND


def test_a_size_that_a_tar_gives_all_its_members_cannot_be_told() -> None:
    first = headed_tar(b"g", b"13 size=4096\n", b"g") + headed_tar(b"README", b"hello\n")
    assert seen(first + bytes(10_240)).grade is Grade.CANNOT_TELL
    plain = headed_tar(b"g", b"14 comment=xy\n", b"g") + headed_tar(b"README", b"hello\n")
    assert look(Memory(plain + bytes(10_240))) is None


def test_a_member_of_a_tar_from_before_kinds_is_looked_at() -> None:
    data = headed_tar(b"m", PLAIN, b"\0") + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["m"]
    assert seen(data).grade is Grade.DATA


@pytest.mark.parametrize("data", [b"\x80\x80", b"\x80" * 2 + b"N."])
def test_a_file_shorter_than_a_block_is_no_tar(data: bytes) -> None:
    assert not archives.is_tar(data)


@pytest.mark.parametrize("slash", ["its own name", "its long name"])
def test_a_tar_member_that_may_be_a_folder_cannot_be_told(slash: str) -> None:
    pickled = headed_tar(b"cos\nmkdir\n(S'pickleseal-was-here'\ntR.", b"")
    own, long = (b"m/", b"m\0") if slash == "its own name" else (b"m", b"m/\0")
    data = headed_tar(b"L", long, b"L") + headed_tar(own, pickled, b"\0") + bytes(1024)
    assert seen(data).grade >= Grade.CANNOT_TELL


def record(key: bytes, value: bytes) -> bytes:
    """Return a record of an extended tar header, with its own size in front."""
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest) + len(b"%d" % (len(rest) + 8))
    return b"%d" % size + rest


SHORT, LONG, OTHER = record(b"size", b"512"), record(b"comment", b"x" * 1_100_000), b"8 a=bcd\n"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", LONG + SHORT)],
        [(b"x", SHORT), (b"x", OTHER)],
        [(b"x", SHORT), (b"g", OTHER)],
        [(b"x", b"8 size=512\n" + SHORT)],
        [(b"x", b"13 size= 512\n")],
        [(b"L", b"m\0"), (b"x", record(b"path", b"m/"))],
        [(b"x", OTHER), (b"L", b"m\0")],
    ],
    ids=["long", "twice", "and for all", "ill-formed", "odd number", "two names", "old last"],
)
def test_a_size_that_tar_readers_find_in_different_headers_cannot_be_told(
    headers: list[tuple[bytes, bytes]],
) -> None:
    member = b"text".ljust(512) + headed_tar(b"model", ARMED)
    data = b"".join(headed_tar(b"head", text, kind) for kind, text in headers)
    data += headed_tar(b"text", member) + bytes(1024)
    assert seen(data).grade is Grade.CANNOT_TELL
    plain = headed_tar(b"g", OTHER, b"g") + headed_tar(b"L", b"m\0", b"L")
    plain += headed_tar(b"x", SHORT + OTHER, b"x")
    assert look(Memory(plain + headed_tar(b"text", bytes(512)) + bytes(1024))) is None


def test_a_tar_member_of_less_than_nothing_cannot_be_told() -> None:
    first = headed_tar(b"text", b"text".ljust(512) + headed_tar(b"model", ARMED))
    back = bytearray(headed_tar(b"back", b""))
    back[124:136] = (-1536).to_bytes(12, "big", signed=True)
    back[148:156] = b" " * 8
    back[148:156] = b"%06o\0 " % sum(back)
    assert seen(first + bytes(back) + bytes(1024)).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("checksum", ["%06o\0 ", "\0" * 8])
def test_a_tar_whose_checksum_is_of_signed_bytes_is_looked_at(checksum: str) -> None:
    head = bytearray(headed_tar(b"", ARMED)[:512])
    head[148:156] = b" " * 8
    head[:26], head[400:403] = b"\x80" * 26, b"\x7f" * 3
    signed = sum(head) - 256 * 26
    assert 0 < signed < 256
    if "%" in checksum:
        head[148:156] = (checksum % signed).encode()
    else:
        head[300:302] = -signed // 2 % 256, (-signed - -signed // 2) % 256
        head[148:156] = checksum.encode()
    data = bytes(head) + ARMED.ljust(512, b"\0") + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert len(tar.getnames()) == 1
    assert seen(data).kind == "tar > pickle, protocol 0"
    noise = np.random.default_rng(0).bytes(512 * 4000)
    assert not archives.is_tar(b"\x80\x80" + bytes(1022))  # its sum is zero
    for at in range(0, len(noise), 512):
        assert not archives.is_tar(noise[at : at + 148] + bytes(2) + noise[at + 150 : at + 512])


@pytest.mark.parametrize(("kind", "headers"), [(b"g", 2), (b"S", 1)])
def test_a_tar_may_begin_with_headers_without_a_number(kind: bytes, headers: int) -> None:
    head = bytearray(512)
    head[:1], head[156:157] = b"a", kind
    spare = sum(head) + 256
    head[345:349] = 128, 128, 128, 640 - spare  # the signed sum is zero
    contents = seen(bytes(head) * headers + tarred({"a": ARMED}))
    assert contents.kind.startswith("tar")
    assert contents.grade >= Grade.CANNOT_TELL


@pytest.mark.parametrize("member", [PLAIN, b"text"])
def test_bytes_behind_the_end_of_a_tar_cannot_be_told(member: bytes) -> None:
    data = tarred({"a": member}) + tarred({"b": ARMED})
    assert seen(data).grade is Grade.CANNOT_TELL
    assert "behind" not in repr(look(Memory(tarred({"a": member}) + bytes(10_240))))


def test_a_tar_header_of_very_many_records_is_read_in_one_pass() -> None:
    data = headed_tar(b"x", b"5 a=\n" * 200_000, b"x") + headed_tar(b"m", ARMED) + bytes(1024)
    assert "os.mkdir" in names(seen(data))
