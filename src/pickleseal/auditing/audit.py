"""An audit: an iterator of findings, and the report of all of them."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Self

from pickleseal.auditing import engines
from pickleseal.auditing.baselines import compare, covers
from pickleseal.auditing.findings import Finding
from pickleseal.auditing.judge import AuditOptions
from pickleseal.auditing.report import Counts, Report, Ring
from pickleseal.auditing.since import read_since, rules_of
from pickleseal.envelope.reader import naming
from pickleseal.errors import (
    ContextError,
    KeyringError,
    NoKeyError,
    PolicyError,
    RevokedKeyError,
    shown,
)
from pickleseal.files.globs import Globs
from pickleseal.files.handles import text_path
from pickleseal.files.places import (
    Named,
    Options,
    Place,
    Remote,
    absolute,
    is_url,
    name_of,
    places_of,
    without_credentials,
)
from pickleseal.files.walk import (
    Found,
    LeftOut,
    Skip,
    files_below,
)
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import EVERY_KEY, Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.inventory_file import Read, read_inventory
from pickleseal.persistence.pin_file import find_pins
from pickleseal.scanner.containers.views import Pool
from pickleseal.version import __version__

Path = str | os.PathLike[str]


class Audit:
    """A running audit, which `audit` returns: an iterator of findings.

    Files are examined while you iterate, so each finding is there at once. It can be iterated over
    once; `report` collects all findings, those already seen included. `stream` collects none.

    Examples
    --------
    >>> pickleseal.signed_dump([1, 2, 3], "numbers.pkl")
    >>> for finding in pickleseal.audit("numbers.pkl"):
    ...     print(finding.path, finding.verdict)
    numbers.pkl sealed
    """

    def __init__(
        self, report: Report, findings: Iterator[Finding], files: Callable[[], Iterator[Found]]
    ) -> None:
        self._report = report
        self._findings = findings
        self._files = files
        self._clock = time.perf_counter()
        self._found: list[Finding] = []
        self._counts: Counts | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Finding:
        finding = next(self._findings)
        self._found.append(finding)
        if self._counts is not None:
            self._counts.add(finding)
        return finding

    def __repr__(self) -> str:
        return f"<Audit of {', '.join(self._report.roots)}: iterate over it, or call report()>"

    def stream(self) -> Iterator[Finding]:
        """Yield the findings and keep none of them: `report` then has only their numbers."""
        counts = self._counts = self._counts or Counts(self._found)
        for finding in self._findings:
            counts.add(finding)
            yield finding

    def files(self) -> Iterator[Found]:
        """Yield the files that are audited, without examining them: to count them."""
        return self._files()

    def report(self) -> Report:
        """Audit the remaining files; return a `Report` of all of them.

        It has the numbers of those that `stream` yielded, and not the findings.
        """
        for _ in self:
            pass
        return self._report._replace(
            findings=tuple(self._found),
            seconds=time.perf_counter() - self._clock,
            counted=self._counts,
        )


def audit(
    paths: Path | Named | Iterable[Path | Named],
    *,
    keyring: Keyring | Path | None = None,
    context: str | Mapping[str, str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    imports: bool = False,
    digests: bool = False,
    baseline: Path | None = None,
    baseline_context: str | None = None,
    baseline_sha256: str | None = None,
    pins: Path | None = None,
    known: Sequence[str] = (),
    deep: bool = False,
    n_jobs: int | None = None,
    backend: str | None = None,
    recheck: float = 0.0,
    marks: bool = False,
    since: Path | None = None,
    storage_options: Options = None,
) -> Audit:
    """Check every file at or below some paths: what it is, who sealed it, whether it is intact.

    Nothing is unpickled, and links below a folder are not followed. Each file has one `Finding`,
    with a verdict and a reason.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        Files and folders; URLs of objects, and of prefixes, in stores that fsspec reaches.
    keyring : Keyring or path-like, optional
        A keyring, or the path of its directory. Default: as for `signed_load`. Without any keyring,
        sealed files count as sealed by an unknown key.
    context : str or mapping of str to str, optional
        What sealed files must be sealed for: a context, or a prefix and ``*`` (``"fraud/*"``); or a
        mapping from globs for paths to such contexts. Default: any context.
    include : sequence of str, default ()
        Globs; only files that match one are examined. Default: all. A glob without ``/`` is matched
        against the last part of a path, one with ``/`` against the whole path from the current
        folder; ``*`` matches ``/`` too.
    exclude : sequence of str, default ()
        Globs; files and folders that match one are not examined.
    imports : bool, default False
        Whether to follow the pickles of sealed files too and list what they would import. Those of
        unsealed files are always followed.
    digests : bool, default False
        Whether to compute the SHA-256 of unsealed artifacts too, as an inventory needs it.
    baseline : path-like, optional
        A sealed inventory that an earlier audit wrote. Each finding then says what changed.
    baseline_context : str, optional
        Context that the inventory must be sealed for. Default: none.
    baseline_sha256 : str, optional
        SHA-256 of the inventory's file, 64 hexadecimal digits, so that an older inventory cannot
        replace it. Default: not checked.
    pins : path-like, optional
        File in which loads remember the newest serial of each context, to find files that are
        older. It must exist. Default: the path in ``PICKLESEAL_PINS``, which may not exist yet,
        else none.
    known : sequence of str, default ()
        Modules whose names count as data where no list has them, such as "mycompany.models"; their
        submodules too. What reaches beyond data stays so, and no module of Python can be named.
    deep : bool, default False
        Whether to search all of each file for pickles at any offset, and not its first 64 MiB.
    n_jobs : int, optional
        How many workers read the files at once, as for joblib; -1 for one on each processor.
        Default: none, unless joblib is configured otherwise.
    backend : str, optional
        Where they do: "fork" for copies of this process, which are made on Linux where it has one
        thread and there are many files; or a backend of joblib, such as "loky", "dask" or "ray".
        Default: what `joblib.parallel_config` says.
    recheck : float, default 0.0
        The share of sealed files that are read again by this process after a worker of joblib's
        read them, from 0 to 1. If it is not 0, all others are read again, too.
    marks : bool, default False
        Whether to compute what `since` of a later audit goes by: the MD5 that S3 and Google
        Cloud list of objects.
    since : path-like, optional
        A report in JSON Lines, on this machine, that the command wrote of an earlier audit. An
        object of a store that was sealed and whole is not read again if the store still lists the
        same digest of it, and the finding says so. Nobody else may be able to change the report.
    storage_options : mapping, optional
        As in `signed_load`, for all URLs.

    Returns
    -------
    Audit
        An iterator of findings. Its `report` method returns all of them at once.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    KeyringError
        If the keyring cannot be used.
    PinsError
        If the file of pins cannot be used.
    MetadataError
        If a context is not valid.
    TypeError
        If `include`, `exclude` or `known` is a single string, or one of these or `context` has
        something else than texts in it.
    ValueError
        If a known module is not one, `n_jobs` is 0, `recheck` is not from 0 to 1, or both `since`
        and `baseline` are given.
    PicklesealError
        If joblib cannot use the backend, its workers fail, or `since` cannot be used.
    SealError
        If the baseline is not genuine.

    Notes
    -----
    What is wrong with a file is a finding and is never raised. Version control, virtual
    environments, installed packages and caches are passed over unless a path is one or is in one;
    the report counts their files.

    Workers of joblib's get no key: they return digests of what is sealed and grades of what is not,
    and this process judges. What they say is as true as they are; `recheck` tests them.

    Examples
    --------
    >>> pickleseal.signed_dump([1, 2, 3], "numbers.pkl", context="demo")
    >>> report = pickleseal.audit("numbers.pkl", context="demo").report()
    >>> report.findings[0].verdict.value, report.level.label
    ('sealed', 'none')
    """
    several = isinstance(paths, Iterable) and not isinstance(paths, str | os.PathLike)
    places = places_of(paths if several else (paths,), storage_options)  # type: ignore[arg-type]
    names = tuple(map(name_of, places))
    for place in places:
        if isinstance(place, str):
            os.lstat(place)
        else:
            place.check_exists()
    for option, globs in (("include", include), ("exclude", exclude)):
        _check_texts(option, globs, "globs")
    if n_jobs == 0:
        raise ValueError("n_jobs takes a number of workers, or -1, not 0")
    if not 0 <= recheck <= 1:
        raise ValueError(f"recheck takes a share from 0 to 1, not {recheck}")
    if since is not None and baseline is not None:
        raise ValueError("since goes without baseline: what is not read cannot be compared")
    ring = _ring(keyring)
    listed = None
    if baseline is not None:
        if ring is None:
            find_keyring(keyring, to_open=EVERY_KEY)  # which says what is missing
        else:
            options_of_list = storage_options if is_url(os.fspath(baseline)) else None
            listed = _read_baseline(baseline, ring, baseline_sha256, options_of_list)
            wanted = None if baseline_context is None else normalize_context(baseline_context)
            # A key that is bound to some contexts does not count in others.
            _check_context(listed.context, wanted)
    if listed is not None and not covers(listed.inventory, names):
        raise PolicyError(
            "the inventory lists nothing at or below the audited paths: run the audit from the"
            " folder where it was written, or name the same paths"
        )
    pin_file = find_pins(pins)
    if pins is not None and pin_file is not None:
        pin_file.check_exists()  # a file named by a variable need not exist yet
    remembered = {} if pin_file is None else pin_file.read()
    options = AuditOptions(
        ring,
        _contexts(context),
        imports,
        digests or listed is not None,
        remembered,
        pin_file,
        _modules(known),
        lambda: _ring_by_now(keyring),
        deep,
        Pool(),
    )
    earlier = None if since is None else text_path(since)
    if marks or earlier is not None:
        options = options._replace(rules=rules_of(options))
    if earlier is not None:
        options = options._replace(since=read_since(earlier, options.rules))
    files = partial(_files, places, Globs.of(include) if include else None, Globs.of(exclude))
    engine, workers = engines.chosen(n_jobs, backend, recheck)
    left_out = LeftOut()
    findings = engine(files(left_out), options)
    if listed is not None:
        findings = compare(findings, listed.inventory, names, left_out.folders)
    report = Report(
        (),
        names,
        int(time.time()),
        0.0,
        __version__,
        None if ring is None else Ring(ring.name, ring.primary, ring.epoch),
        None if baseline is None else without_credentials(os.fspath(baseline)),
        None if listed is None else listed.inventory.created,
        left_out=left_out,
        known=options.known,
        workers=workers,
        since=earlier,
    )
    return Audit(report, findings, files)


def _files(
    roots: Iterable[Place], include: Globs | None, exclude: Globs, left_out: LeftOut | None = None
) -> Iterator[Found]:
    """Yield each file at or below some paths once, named files first.

    A path that was named itself is always audited. Excluded files are yielded as such, an excluded
    folder as a whole.
    """
    ordered = sorted(roots, key=lambda root: isinstance(root, Remote) or os.path.isdir(root))
    seen: set[tuple[str, str | None]] = set()
    for found in files_below(ordered, excluded=exclude.fit, left_out=left_out):
        if len(ordered) > 1:
            # Two URLs may differ in a part that their names omit.
            place = (absolute(found.path), found.remote and found.remote.path)
            if place in seen:
                continue
            seen.add(place)
        unwanted = include is not None and not include.fit(found.path)
        if unwanted and not found.named and found.skip is None:
            found = found._replace(skip=Skip.EXCLUDED)  # noqa: PLW2901
        yield found


def _contexts(context: str | Mapping[str, str] | None) -> tuple[tuple[Globs, str], ...]:
    """Return what files must be sealed for, by globs."""
    if context is None:
        return ()
    by_glob = {"*": context} if isinstance(context, str) else context
    if not isinstance(by_glob, Mapping):
        raise TypeError(
            f"context must be a str, or a mapping from globs to str, not {type(context).__name__}"
        )
    _check_texts("context", by_glob, "globs")
    return tuple((Globs.of([glob]), normalize_context(wanted)) for glob, wanted in by_glob.items())


def _read_baseline(path: Path, ring: Keyring, sha256: str | None, options: Options) -> Read:
    with naming(without_credentials(os.fspath(path))):
        try:
            return read_inventory(path, keyring=ring, sha256=sha256, options=options)
        except RevokedKeyError:
            raise RevokedKeyError(
                "a revoked key sealed the inventory, and anyone who has that key can make one: give"
                " its SHA-256 with --baseline-sha256, as you noted it down when you made it, or"
                " make a new inventory with `pickleseal audit --inventory`"
            ) from None


def _check_texts(option: str, given: Iterable[object], what: str) -> None:
    """Raise TypeError unless all values of an option are texts."""
    if isinstance(given, str):  # each of its characters would be a glob, "*" for all files
        raise TypeError(f"{option} takes a list of {what}, not a single string")
    for one in given:
        if not isinstance(one, str):
            raise TypeError(f"{option} takes {what} as texts, not {type(one).__name__}")


def _modules(known: Sequence[str]) -> tuple[str, ...]:
    """Return the known modules; raise TypeError or ValueError for an invalid one."""
    _check_texts("known", known, "modules")
    for module in known:
        parts = module.split(".")
        if not all(part.isidentifier() for part in parts):
            raise ValueError(f"known takes modules as import names them, not {shown(repr(module))}")
        if parts[0] in sys.stdlib_module_names:
            raise ValueError(
                f"known takes modules of your own: {shown(repr(module))} is Python's, and can run"
                " anything"
            )
    return tuple(known)


def _check_context(sealed: str | None, wanted: str | None) -> None:
    """Raise ContextError unless a baseline is sealed for the caller's context, or both are None."""
    if sealed != wanted:
        what, names = (
            "no context" if one is None else f"the context '{shown(one)}'"
            for one in (sealed, wanted)
        )
        raise ContextError(
            f"the list is sealed for {what}, but the audit expects {names}. If it is the list that"
            " you mean, name that: baseline_context= in Python, --baseline-context of the command"
        )


def _ring(keyring: Keyring | Path | None) -> Keyring | None:
    try:
        return find_keyring(keyring, to_open=EVERY_KEY)
    except NoKeyError:
        if keyring is not None:
            raise
        return None


def _ring_by_now(keyring: Keyring | Path | None) -> Keyring | None:
    """Return the ring as it is by now, or None: one that broke meanwhile must not end an audit."""
    with suppress(KeyringError):
        return find_keyring(keyring, to_open=EVERY_KEY)
    return None
