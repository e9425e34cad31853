"""An audit: from paths to findings, as they come, and to a report of all of them."""

import fnmatch
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Self

from pickleseal.auditing.baselines import compare
from pickleseal.auditing.examining import Wants, examine
from pickleseal.auditing.findings import Finding
from pickleseal.auditing.report import Report, Ring
from pickleseal.errors import NoKeyError
from pickleseal.keyring import Keyring
from pickleseal.keystore.sources import find_keyring
from pickleseal.metadata import normalize_context
from pickleseal.stocktaking import Read, read_inventory
from pickleseal.storage import threads
from pickleseal.version import __version__
from pickleseal.walk import Found, Skip, files_below

Path = str | os.PathLike[str]

_BATCH = 256
"""So many files are shared out among threads at a time."""


class Audit:
    """The findings of an audit, one after the other: iterate over it once, or take its report."""

    def __init__(
        self,
        roots: tuple[str, ...],
        wants: Wants,
        baseline: Read | None,
        baseline_path: str | None,
        chosen: "Chosen",
    ) -> None:
        self._roots = roots
        self._ring = wants.ring
        self._baseline = baseline
        self._baseline_path = baseline_path
        self._started = time.time()
        self._clock = time.perf_counter()
        self._found: list[Finding] = []
        findings = _examined(chosen.files(roots), wants)
        if baseline is not None:
            findings = compare(findings, baseline.inventory, roots)
        self._findings = findings

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Finding:
        finding = next(self._findings)
        self._found.append(finding)
        return finding

    def report(self) -> Report:
        """Audit what is left, and give a report of all of it."""
        for _ in self:
            pass
        ring = self._ring
        return Report(
            tuple(self._found),
            self._roots,
            int(self._started),
            time.perf_counter() - self._clock,
            __version__,
            None if ring is None else Ring(ring.name, ring.primary, ring.epoch),
            self._baseline_path,
            None if self._baseline is None else self._baseline.inventory.created,
        )


class Chosen:
    """Which of the files below some paths are audited: globs for paths or for names.

    A glob is held against a path as it is shown and against its last part; `*` stands for any
    characters, `/` too. What is excluded comes as such, a folder as a whole.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    def files(self, roots: Iterable[str]) -> Iterator[Found]:
        """Give each file at or below some paths once, those that are not chosen as excluded."""
        excluded = self._excluded if self._exclude else None
        for found in files_below(_outermost(roots), excluded=excluded):
            if not found.named and found.skip is None and not self._included(found.path):
                yield found._replace(skip=Skip.EXCLUDED)
            else:
                yield found

    def _excluded(self, path: str) -> bool:
        return _fits(path, self._exclude)

    def _included(self, path: str) -> bool:
        return not self._include or _fits(path, self._include)


def audit(
    paths: Path | Iterable[Path],
    *,
    keyring: Keyring | Path | None = None,
    context: str | Mapping[str, str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    imports: bool = False,
    digests: bool = False,
    baseline: Path | None = None,
) -> Audit:
    """Tell of each file at or below some paths what lies there, who sealed it, whether it is whole.

    Nothing is unpickled, no link below a folder is followed, and no file is passed over: each has a
    finding, with a verdict and a reason.

    paths: a path, or several: files and folders.
    keyring: a Keyring or the path of a keyring's directory. Default: as for `signed_load`; where
        there is none, what is sealed is told as sealed by an unknown key.
    context: what sealed files must be sealed for: a name, or a beginning and `*` ("fraud/*"); or a
        mapping from globs for paths to such. Default: anything.
    include: globs; only files that one of them fits are looked at. Default: all.
    exclude: globs; files and folders that one of them fits are not. Default: none.
    imports: walk through the pickles of sealed files too, and tell what they would import.
        Default False: those of unsealed files alone.
    digests: give unsealed artifacts their SHA-256 too, as a list of artifacts needs it. Default
        False.
    baseline: the path of a sealed list that an audit wrote before; each finding then tells what
        changed. Default: none.

    Returns an Audit, an iterator of findings whose `report()` gives all of them at once. Raises
    FileNotFoundError for a path that is not there, KeyringError for a keyring that cannot be used,
    MetadataError for what is no context, a SealError for a baseline that is not genuine.
    """
    roots = (paths,) if isinstance(paths, str | os.PathLike) else tuple(paths)
    names = tuple(os.fspath(root) for root in roots)
    for name in names:
        os.lstat(name)
    ring = _ring(keyring)
    listed = None
    if baseline is not None:
        if ring is None:
            find_keyring(keyring)  # which says what is missing
        else:
            listed = read_inventory(baseline, keyring=ring)
    globs = {"*": context} if isinstance(context, str) else dict(context or {})
    contexts = tuple((glob, normalize_context(wanted)) for glob, wanted in globs.items())
    wants = Wants(ring, contexts, imports, digests or listed is not None)
    where = None if baseline is None else os.fspath(baseline)
    return Audit(names, wants, listed, where, Chosen(include, exclude))


def _ring(keyring: Keyring | Path | None) -> Keyring | None:
    try:
        return find_keyring(keyring)
    except NoKeyError:
        if keyring is not None:
            raise
        return None


def _examined(files: Iterator[Found], wants: Wants) -> Iterator[Finding]:
    while batch := list(islice(files, _BATCH)):
        # A passphrase is asked for where an interrupt can end the question: not in a thread aside.
        if wants.ring is None or wants.ring.is_open():
            yield from threads.each(batch, lambda _, found: examine(found, wants))
        else:
            yield from (examine(found, wants) for found in batch)


def _outermost(roots: Iterable[str]) -> Iterator[str]:
    """Leave out what would come twice: a path that another one is, or is a folder above."""
    places = {os.path.abspath(root): root for root in reversed(list(roots))}
    for place, root in reversed(places.items()):
        above = os.path.dirname(place)
        while above not in places and above != os.path.dirname(above):
            above = os.path.dirname(above)
        if above not in places or above == place or os.path.islink(place):
            yield root


def _fits(path: str, globs: tuple[str, ...]) -> bool:
    last = os.path.basename(path)
    return any(fnmatch.fnmatchcase(path, g) or fnmatch.fnmatchcase(last, g) for g in globs)
