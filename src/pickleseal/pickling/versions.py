"""Versions of packages: those that an object needs, and those installed here."""

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from pickleseal.errors import VersionMismatchWarning

PYTHON = "python"
PYTHON_VERSION = sys.version.partition(" ")[0]
"""As platform.python_version() returns it, without an import that takes milliseconds."""

# Finding a module's distribution means reading the file lists of all distributions, which takes
# tens of milliseconds. The most frequent one is listed here.
_KNOWN = {"sklearn": "scikit-learn"}
_SITE_FOLDERS = frozenset(("site-packages", "dist-packages"))


# Modules of the standard library up to 3.11 or 3.12: PEP 594, PEP 632, and "What's New" of 3.12.
_REMOVED = frozenset((
    "aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils",
    "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes",
    "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib",
))  # fmt: skip


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of the distributions that top-level modules come from.

    The standard library counts as Python. Modules of no installed distribution are left out.
    """
    versions = {PYTHON: PYTHON_VERSION}
    for module in modules:
        found = _owner(module)
        if found:
            versions[found[0]] = found[1]
    return versions


def versions_here(packages: Iterable[str]) -> Mapping[str, str | None]:
    """Return the installed versions of packages; None for one that is not installed."""
    return {name: PYTHON_VERSION if name == PYTHON else _version(name) for name in packages}


def compared(module: str, sealed: Mapping[str, str]) -> str:
    """Return a hint: the version of a module's package sealed with, the one here, what to do."""
    package = _package_of(module.partition(".")[0], sealed)
    then, here = sealed.get(package), versions_here([package])[package]
    if then is None and here is None:
        gone = [f"{name} {sealed[name]}" for name in sealed if versions_here([name])[name] is None]
        if not gone:
            return f"{package} is not installed here"
        return f"sealed with {', '.join(gone)}, not installed here. Install that to load it"
    if then is None:
        return (
            f"{package} {here} is here, and which version it was sealed with is not recorded."
            " Load it with the version that it was made with"
        )
    if here is None:
        return f"sealed with {package} {then}, which is not installed here. Install it to load this"
    if then == here:
        return f"sealed with {package} {then}, which is here, too"
    return f"sealed with {package} {then}, and {here} is here. Install {then} to load this"


def _package_of(module: str, sealed: Mapping[str, str]) -> str:
    """Return the distribution of a top-level module, loaded or not; its own name if unknown."""
    if module in sys.stdlib_module_names or module in _REMOVED:
        return PYTHON
    name = _KNOWN.get(module, module)
    return name if name in sealed or _version(name) else _listed_owner(module) or name


def warning(
    message: str, *, package: str, sealed: str, here: str | None, class_name: str
) -> VersionMismatchWarning:
    """Return a warning that a package is of another version `here` (None: not installed).

    For scikit-learn it is also an InconsistentVersionWarning, with the attributes of one, so that
    filters on scikit-learn's own warning catch it.
    """
    if package != "scikit-learn" or here is None:
        return VersionMismatchWarning(message)
    found = _scikit_learn_warning()(message)
    vars(found).update(
        estimator_name=class_name, original_sklearn_version=sealed, current_sklearn_version=here
    )
    return found


@functools.cache
def _version(distribution: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - slow to import, and not always needed

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _owner(module: str) -> tuple[str, str] | None:
    """Return the name and version of the distribution of a loaded top-level module."""
    if module in sys.stdlib_module_names or module == "__main__":
        return None
    name = _KNOWN.get(module, module)
    version = _version(name)
    if version is None and _installed(module):
        name = _listed_owner(module) or module
        version = _version(name)
    return None if version is None else (name, version)


def _listed_owner(module: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - slow to import, and not always needed

    return next(iter(metadata.packages_distributions().get(module, ())), None)


def _installed(module: str) -> bool:
    file: str | None = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not _SITE_FOLDERS.isdisjoint(PurePath(file).parts)


@functools.cache
def _scikit_learn_warning() -> type[VersionMismatchWarning]:
    from sklearn.exceptions import InconsistentVersionWarning  # noqa: PLC0415 - takes a second

    class SealedVersionWarning(VersionMismatchWarning, InconsistentVersionWarning):  # type: ignore[misc,unused-ignore]
        """An object was sealed with another version of scikit-learn."""

        def __init__(self, message: str) -> None:
            Exception.__init__(self, message)

        __str__ = Exception.__str__

    # Python shows a warning with the name of its class.
    SealedVersionWarning.__name__ = SealedVersionWarning.__qualname__ = "VersionMismatchWarning"
    return SealedVersionWarning
