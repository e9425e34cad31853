"""The contents of a file: pickles in every known container and compression, within bounds.

Readers disagree on the format of a file, so it is examined in every way that its bytes allow, and
every result counts. A file's extension only raises suspicion.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pickleseal.envelope import layout
from pickleseal.errors import PolicyError, first_few, shown
from pickleseal.files.magic import beginning_of
from pickleseal.scanner.containers import (
    archives,
    arrays,
    layers,
    search,
    streams,
)
from pickleseal.scanner.containers.views import (
    FAR,
    Bounds,
    Bytes,
    Part,
    Pool,
    View,
    Whole,
    behind_padding,
)
from pickleseal.scanner.grade import UNKNOWN_KIND, Contents, Grade
from pickleseal.scanner.grades import grade
from pickleseal.scanner.machine.trace import Trace

__all__ = ["Bytes", "look"]

_START = 1024
_ENDINGS = frozenset((
    "pkl", "pickle", "p", "joblib", "sav", "dill", "cloudpickle", "pt", "pth", "npy", "npz",
    "skops",
))  # fmt: skip
_SEAL_NOT_CHECKED = "a sealed file inside a container: its seal was not checked"
SEARCHED = 64 << 20
"""How many bytes of a file are searched for pickles at any offset."""
_NAMES_TOLD = 3
_REASONS = 50  # reported for one file at most
_PACKED_ENDINGS = frozenset(("gz", "bz2", "xz", "lzma", "zst", "zstd", "lz4", "z"))
_TEXT = bytes(byte for byte in range(256) if byte >= 32 or byte in b"\t\n\f\r")
_JOBLIB_LAYERS = frozenset(("zlib", "gzip", "bz2", "lzma", "xz", "lz4"))
_OTHERS = (
    (b"\x89PNG", "is a picture"), (b"\xff\xd8\xff", "is a picture"), (b"GIF8", "is a picture"),
    (b"%PDF", "is a PDF file"), (b"\x7fELF", "is a program"), (b"\x89HDF", "is an HDF5 file"),
    (b"PAR1", "is a Parquet file"), (b"ARROW1", "is an Arrow file"), (b"GGUF", "is a GGUF file"),
    (b"SQLite format 3", "is an SQLite database"),
)  # fmt: skip
"""Other files that are sometimes named like pickles, by their first bytes."""
_CLOSED = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!\x1a\x07", "a RAR archive"),
    (b"MSCF", "a cabinet"), (b"xar!", "a xar archive"), (b"\x1f\x9d", "a compress (.Z) file"),
    (b"\x89LZO", "an lzop file"), (b"LRZI", "an lrzip file"),
    (b"\xff\x06\0\0sNaPpY", "a snappy file"),
)  # fmt: skip
"""First bytes of archives and packed files that are not opened."""


_NOTHING = (b"PK\x05\x06", b"$FL2", b"$FL3", b"SR\x00\x04", b"SR\x00\x06")
"""First bytes of an empty zip, and of the .sav files of SPSS and IDL."""


def unopened(start: bytes) -> str | None:
    """Return the kind of an archive that is not opened, or None."""
    return next((what for magic, what in _CLOSED if start.startswith(magic)), None)


def look(
    data: Bytes, *, name: str = "", deep: bool = False, pool: Pool | None = None
) -> Contents | None:
    """Return the contents of a file without unpickling it, or None if no pickle was found.

    A sealed file inside is reported; its seal is not checked.

    `name` is the path. `deep` searches all of the file for pickles at any offset, not its first
    SEARCHED bytes. `pool` is the step budget that all files of a run share.
    """
    whole = Whole(data)
    looking = _Looking(whole, Bounds(data.size, pool))
    looking.at(whole, name, _Place(set()))
    looking.search(data.size if deep else min(data.size, SEARCHED))
    return looking.contents()


class _Place(NamedTuple):
    """The position of bytes in a file: the formats around them, and the members that contain them.

    `known` are the zip members that were examined in the same outermost view.
    """

    known: set[archives.Entry]
    kinds: tuple[str, ...] = ()
    members: str = ""

    def inside(self, kind: str, member: str = "") -> "_Place":
        members = f"{self.members}{shown(member)}: " if member else self.members
        return _Place(self.known, (*self.kinds, kind), members)

    def unpacked(self) -> "_Place":
        return self._replace(known=set())


class _Looking:
    """One examination of a file, and its results so far."""

    def __init__(self, file: Whole, bounds: Bounds) -> None:
        self._file = file
        self._bounds = bounds
        self._covered: list[tuple[int, int]] = []
        self._kinds: dict[str, None] = {}
        self._number = 0
        self._traces: dict[Trace, None] = {}
        self._beyond: dict[str, None] = {}
        self._unclear: dict[str, None] = {}
        self._sealed: dict[str, None] = {}
        self._opened = ""

    def at(self, view: View, name: str, place: _Place) -> bool:
        """Examine bytes named `name`; return whether they are or contain a pickle."""
        start = view.read(0, _START)
        ending = _ending(name)
        likely = is_named_like_pickle(name)
        if not start:
            if likely and isinstance(view, layers.Expanded) and view.fault:
                self._miss(place, view.fault)
            return False
        known = found = False
        for layer in layers.layers_of(start):
            followed, holds = self._layer(view, layer, name, place)
            known, found = known or followed, found or holds
        if archives.is_tar(start) and self._opens(place):
            known = True
            members = archives.tar_members(view, self._bounds)
            found = self._members(members, "tar", place) or found
        if streams.could_begin(start):
            followed, holds = self._objects(view, place, likely=likely)
            known, found = known or followed, found or holds
        # Finding the end of compressed data would mean unpacking all of it.
        packed = isinstance(view, layers.Expanded) and not found and not start.startswith(b"PK")
        directories = [] if packed else archives.directories(view)
        if directories and self._opens(place):
            known = True
            members = archives.zip_members(view, directories, self._bounds, place.known)
            found = self._members(members, "zip", place) or found
        if start.startswith(layout.MAGIC):
            self._cover(view, 0, view.reach(FAR))
        if place.kinds and start.startswith(layout.MAGIC):
            self._kinds[" > ".join((*place.kinds, "sealed file"))] = None
            _tell(self._sealed, place.members + _SEAL_NOT_CHECKED)
        elif likely and not (known or found or _is_nothing(start, ending)):
            self._miss(place, f"named like a pickle, but {_what_it_is(start)}")
        return found

    def search(self, size: int) -> None:
        """Search for pickles at any offset that is not accounted for yet."""
        bounds = self._bounds.for_search(size)
        for hidden in search.search(self._file, size, self._covered, bounds):
            where = f"byte {hidden.offset}" + "".join(f", in {kind}" for kind in hidden.kinds)
            names = {f"{n.module}.{n.name}" for n in hidden.pickles[0].readings[0].names}
            told = first_few(sorted(names), _NAMES_TOLD)
            self._miss(_Place(set()), f"a pickle at {where} imports {told}")
            self._take(hidden.pickles, (f"at {where}",))
            bounds.named(len(names))
        self._bounds.hit.update(bounds.hit)

    def contents(self) -> Contents | None:
        """Return the contents that were found, with their grade, or None."""
        bounds = [f"{clause}; the rest was not examined" for clause in self._bounds.hit]
        self._unclear = dict.fromkeys((*bounds, *self._unclear))
        if not (self._traces or self._unclear or self._sealed):
            return None
        worst, names, reasons = grade(self._traces)
        beyond = Grade.BEYOND if self._beyond else Grade.DATA
        unclear = Grade.CANNOT_TELL if self._unclear else Grade.DATA
        unknown = Grade.UNKNOWN if self._sealed else Grade.DATA
        worst = max(worst, beyond, unclear, unknown)
        kind = _joined(list(self._kinds)) or self._opened or UNKNOWN_KIND
        told = (*self._unclear, *reasons)
        if worst is Grade.BEYOND:
            told = (*self._beyond, *reasons, *self._unclear)
        told = tuple(dict.fromkeys((*told, *self._sealed)))
        if len(told) > _REASONS:
            told = (*told[:_REASONS], "and more")
        return Contents(kind, worst, self._number, names, told)

    def _opens(self, place: _Place) -> bool:
        return self._bounds.nest(len(place.kinds) + 1)

    def _layer(
        self, view: View, layer: layers.Layer, name: str, place: _Place
    ) -> tuple[bool, bool]:
        """Examine a compressed layer; return whether there is one, and whether it has a pickle."""
        if not self._opens(place):
            return True, False
        inside = place.inside(layer.name).unpacked()
        try:
            inner = layers.Expanded(view, 0, layer, self._bounds)
            holds = bool(inner.read(0, 1))
        except PolicyError as error:
            self._miss(inside, str(error))
            return True, False
        except ImportError as error:
            package = (error.name or layer.name).partition(".")[0]
            self._miss(inside, f"cannot unpack it without {package}: install pickleseal[audit]")
            return True, False
        if holds:
            self._opened = " > ".join(inside.kinds)
        found = holds and self.at(inner, _unpacked_name(name), inside)
        if (found and inner.fault) or inner.fault in layers.UNCLEAR:
            self._miss(inside, f"{inner.fault} inside {layer.name}")
        elif inner.fault or not holds:
            return False, False
        if found:
            self._cover(view, 0, FAR if inner.behind is None else inner.behind)
        if found and inner.behind is not None:
            rest = behind_padding(view, inner.behind)
            if view.read(rest, 1):
                self._miss(place, f"bytes follow the {layer.name} data")
        return True, found

    def _members(self, members: Iterable[archives.Member], kind: str, place: _Place) -> bool:
        """Examine the members of an archive; return whether any is or contains a pickle.

        A member that cannot be examined makes the file CANNOT_TELL under any name: an attacker
        chooses the name, and a reader may have the password.
        """
        self._opened = " > ".join((*place.kinds, kind))
        found = False
        missed: dict[str, list[_Place]] = {}
        records: set[str] = set()
        for member in members:
            records.update(archives.RECORDS & {archives.record(member.name)})
            inside = place.inside(kind, member.name)
            holds = self._member(member, inside)
            if holds and member.oddity:
                _tell(self._beyond, inside.members + member.oddity)
            fault = member.view.fault if isinstance(member.view, layers.Expanded) else ""
            trouble = member.trouble or (fault if fault in layers.UNCLEAR else "")
            if holds and not trouble and member.ends_elsewhere():
                trouble = archives.SIZES_DIFFER
            if trouble:
                missed.setdefault(trouble, []).append(inside)
            found = found or holds
        if kind == "zip" and archives.is_program(records):
            _tell(
                self._beyond, f"{place.members}torch takes it for an archive with code of its own"
            )
        for trouble, (first, *others) in missed.items():
            self._miss(first, trouble + (f" (and {len(others)} more like it)" if others else ""))
        return found

    def _member(self, member: archives.Member, place: _Place) -> bool:
        if member.view is None:
            return False
        packed = isinstance(member.view, layers.Expanded)
        return self.at(member.view, member.name, place.unpacked() if packed else place)

    def _objects(self, view: View, place: _Place, *, likely: bool) -> tuple[bool, bool]:
        """Follow the consecutive pickles and arrays at the start of the bytes.

        Return whether there are any, and whether one is a pickle.
        """
        end = start = 0
        known = found = False
        while streams.could_begin(view.read(start, 1)) and self._bounds.member():
            array = arrays.parse(view, start)
            known = known or array is not None
            inside, at, sure = place, start, likely
            if array is not None:
                if array.data is not None:
                    end = array.start + array.data
                    start = behind_padding(view, end)
                    continue
                inside, at = place.inside("numpy object array"), array.start
                sure = sure or array.of_objects
                if not array.exact:
                    self._miss(inside, "a header that NumPy does not write")
            last = self._pickles(view, at, inside, likely=sure)
            if last is None:
                if array is not None and array.of_objects:
                    self._miss(inside, "the pickle of its objects cannot be followed")
                break
            known = found = True
            end = last.end
            start = behind_padding(view, end)
            if last.explains_rest and arrays.parse(view, start) is None:
                return known, found
        if found and not self._bounds.hit and view.read(start, 1):
            self._behind(view, start, place)
        elif known and not found:
            self._cover(view, 0, end)
        return known, found

    def _behind(self, view: View, start: int, place: _Place) -> None:
        """Examine bytes behind pickles that are no pickle: a cache may have packed its value."""
        rest = Part(view, start, FAR, self._bounds)
        packed = any(
            layer.name in search.PACKED and all(self._layer(rest, layer, "", place))
            for layer in layers.layers_of(rest.read(0, _START))
        )
        if not packed:
            spare = view.reach(FAR) - start
            clause = f"{spare} byte{'s follow' if spare > 1 else ' follows'} its last pickle"
            self._miss(place, clause)

    def _pickles(
        self, view: View, start: int, place: _Place, *, likely: bool
    ) -> streams.Pickle | None:
        """Follow consecutive pickles; return the last, or None if there is none."""
        found = []
        for one in streams.pickles(view, start, self._bounds, likely=likely):
            found.append(one)
            self._cover(view, one.start, one.end)
        if found:
            self._take(found, place.kinds)
        return found[-1] if found else None

    def _take(self, found: Sequence[streams.Pickle], kinds: tuple[str, ...]) -> None:
        """Keep the traces of consecutive pickles."""
        self._number += len(found)
        for one in found:
            for reading in one.readings:
                self._keep(reading)
        firsts = [one.readings[0] for one in found]
        protocol = max(first.protocol for first in firsts)
        of_joblib = any(first.wrapped_arrays for first in firsts)
        self._kinds[" > ".join(_kinds(kinds, protocol, of_joblib=of_joblib))] = None

    def _keep(self, reading: Trace) -> None:
        """Keep the trace of a walk, once for many equal pickles."""
        reading = reading._replace(opcodes=0, wrapped_arrays=0, given=0)
        if reading not in self._traces:
            self._traces[reading] = None
            self._bounds.named(len(reading.names))

    def _cover(self, view: View, start: int, end: int) -> None:
        """Record which bytes of the file itself are accounted for."""
        offset = view.start if isinstance(view, Part) else 0
        if (view.whole if isinstance(view, Part) else view) is self._file:
            self._covered.append((offset + start, offset + end))

    def _miss(self, place: _Place, clause: str) -> None:
        self._opened = self._opened or " > ".join(place.kinds)
        _tell(self._unclear, place.members + clause)


def _tell(told: dict[str, None], clause: str) -> None:
    if len(told) <= _REASONS:
        told[clause] = None


def _kinds(outer: tuple[str, ...], protocol: int, *, of_joblib: bool) -> tuple[str, ...]:
    if not of_joblib:
        return (*outer, f"pickle, protocol {protocol}")
    if outer and outer[-1] in _JOBLIB_LAYERS:
        return (*outer[:-1], f"joblib, {outer[-1]}")
    return (*outer, "joblib")


def is_named_like_pickle(name: str) -> bool:
    """Return whether a path has an extension of pickle files, compressed or not."""
    return _ending(_unpacked_name(name)) in _ENDINGS


def _ending(name: str) -> str:
    _, dot, ending = name.rpartition(".")
    return ending.lower() if dot else ""


def _unpacked_name(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return stem if ending.lower() in _PACKED_ENDINGS else name


def _is_nothing(start: bytes, ending: str) -> bool:
    """Return whether bytes are another format that such names often have and no reader runs."""
    return start.startswith(_NOTHING) or (ending == "pth" and _is_text(start))


def _what_it_is(start: bytes) -> str:
    closed = unopened(start)
    if closed is not None:
        return f"is {closed}, which is not opened"
    for magic, what in _OTHERS:
        if start.startswith(magic):
            return what
    stand_in = beginning_of(start)
    if stand_in is not None and stand_in.stands_in:
        return stand_in.clause.removeprefix("it ")
    return "is text" if _is_text(start) else "cannot be followed"


def _is_text(start: bytes) -> bool:
    """Return whether bytes begin like a text in any encoding that extends ASCII."""
    return not start.translate(None, _TEXT)


def _joined(kinds: list[str]) -> str:
    if len(kinds) <= 2:
        return " and ".join(kinds)
    return f"{kinds[0]} and {len(kinds) - 1} other kinds"
