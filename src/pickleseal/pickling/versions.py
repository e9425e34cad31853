"""The packages of this interpreter: which ones an object needs, and their versions here."""

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from pickleseal.errors import VersionMismatchWarning

PYTHON = "python"
PYTHON_VERSION = sys.version.partition(" ")[0]
"""What platform.python_version() gives, without an import that takes milliseconds."""

# Asking which distribution a module belongs to means to read the file lists of all of them:
# tens of milliseconds. This one, of which every second model is, is known.
_KNOWN = {"sklearn": "scikit-learn"}
_SITE_FOLDERS = frozenset(("site-packages", "dist-packages"))


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """Give the version of Python and of each distribution that top-level `modules` come from.

    The standard library is Python; modules that no installed distribution owns are left out.
    """
    versions = {PYTHON: PYTHON_VERSION}
    for module in modules:
        found = _owner(module)
        if found:
            versions[found[0]] = found[1]
    return versions


def versions_here(packages: Iterable[str]) -> Mapping[str, str | None]:
    """Give the versions here of packages that `versions_of` named; None for one not installed."""
    return {name: PYTHON_VERSION if name == PYTHON else _version(name) for name in packages}


def compared(module: str, sealed: Mapping[str, str]) -> str:
    """Say which version of a module's package `sealed` has, which one is here, and what to do."""
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
    """Return the distribution that a top-level module is of, loaded or not; itself if unknown."""
    if module in sys.stdlib_module_names:
        return PYTHON
    name = _KNOWN.get(module, module)
    return name if name in sealed or _version(name) else _listed_owner(module) or name


def warning(
    message: str, *, package: str, sealed: str, here: str | None, class_name: str
) -> VersionMismatchWarning:
    """Give the warning that a package is `here` (None: not installed) and was `sealed` with.

    For scikit-learn it is one that filters on its own InconsistentVersionWarning catch, with
    the attributes that such a warning has.
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
    """Give the name and version of the distribution that a loaded top-level module is of."""
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
        """scikit-learn is of another version than the one that an object was sealed with."""

        def __init__(self, message: str) -> None:
            Exception.__init__(self, message)

        __str__ = Exception.__str__

    # Python shows a warning by the name of its class.
    SealedVersionWarning.__name__ = SealedVersionWarning.__qualname__ = "VersionMismatchWarning"
    return SealedVersionWarning
