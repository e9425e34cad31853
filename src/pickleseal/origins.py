"""Where a module comes from, or would come from if it were imported now.

What counts is the folder in which an import finds a module, not what the folder holds. Nothing is
imported to answer that, but for what lies in a package, which alone knows where it looks for that.
"""

import functools
import importlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from importlib.machinery import (
    BuiltinImporter,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    all_suffixes,
)
from types import ModuleType
from typing import Any

from pickleseal.errors import PolicyError, shown

VARIABLE = "PICKLESEAL_SITE"


class Origin(StrEnum):
    """Who put a module where an import finds it."""

    STD = "std"
    DIST = "dist"
    LOCAL = "local"


def origin_of(module: str) -> Origin | None:
    """Tell where an import of `module` finds it now, without running anything of it.

    module: the name of a top-level module; of a dotted name the first part counts.

    STD: it is built into Python, lies in the standard library, or is part of the frozen program
    that runs. DIST: an installer put it into a site folder, or led there from one, as for an
    editable install. LOCAL: all else, `__main__`, and a name with an empty part, such as
    ".helper". None: it is not to be found. A module that is loaded already is judged by its
    spec, and without one it was made by hand: LOCAL.

    Raises PolicyError where PICKLESEAL_SITE holds a path that is not absolute, and what a finder
    on sys.meta_path raises.
    """
    name = module
    if not module or "." in module:
        name, *inner = module.split(".")
        if not name or "" in inner:
            # No module has such a name, and yet __import__(".helper") runs helper before it fails.
            return Origin.LOCAL
    if name == "__main__":
        return Origin.LOCAL
    try:
        loaded = sys.modules[name]
    except KeyError:
        return _unloaded(name)
    # None is how a module is barred from being imported.
    return None if loaded is None else _judge(name, _spec_of(loaded))


def is_local(module: str) -> bool:
    """Tell whether `origin_of(module)` is LOCAL."""
    return origin_of(module) is Origin.LOCAL


def first_local(module: str, *, loaded_too: bool, beside_us: bool = False) -> str | None:
    """Give the outermost part of a dotted name that an import finds in a local file, None if none.

    loaded_too: judge what is loaded, too, which runs nothing any more.
    beside_us: what lies beside pickleseal itself is not local: who can write there could change
        pickleseal.

    A package on the way is imported after it was judged. Raises what that raises.
    """
    parts = module.split(".")
    if not all(parts):  # an import of it fails, and may run something first
        return module
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        package = importlib.import_module(".".join(parts[: count - 1])) if count > 1 else None
        is_last = count == len(parts)
        if name in sys.modules and not loaded_too and (is_last or not _is_namespace(name)):
            continue
        local = is_local(name) if package is None else _is_local_in(package, name)
        if local and not (beside_us and _lies_beside_us(name, package)):
            return name
    return None


def check_own_import(module: str, *, installed_only: bool = False) -> None:
    """Return if pickleseal itself may import `module`, which it left until it was needed.

    One that is loaded runs nothing any more, and is refused only where installed ones alone are
    taken; and so is one that lies beside pickleseal itself, which who can write there could change.
    Raises PolicyError for another local file, of which nothing has run yet.
    """
    if module in sys.modules and not installed_only:
        return
    try:
        found = first_local(module, loaded_too=installed_only, beside_us=not installed_only)
    except ImportError:
        return  # it is not installed: whoever needs it says so
    if found is not None and not _is_data(found):
        raise PolicyError(
            f"pickleseal needs the module {shown(found)} here, and a local file of that name would"
            " be run in its place. Rename that file, or run where it is not found. (If that is"
            f" where your packages are installed, name its folder in {VARIABLE})"
        )


def _is_namespace(name: str) -> bool:
    spec = _spec_of(sys.modules[name])
    return isinstance(spec, ModuleSpec) and spec.origin is None


def _is_data(name: str) -> bool:
    """Tell whether a top-level name is that of a folder that has no module in it to run."""
    spec = None if "." in name else _found(name, None)
    is_folder = isinstance(spec, ModuleSpec) and spec.origin is None
    local = [place for place in _places_of(spec) if _of_portions(name, [place]) is Origin.LOCAL]
    return is_folder and not any(map(_holds_modules, local))


def _lies_beside_us(name: str, package: ModuleType | None) -> bool:
    spec = _found(name, package)
    ours = _root_of("pickleseal", os.path.join(os.path.dirname(__file__), "__init__.py"))
    places = _places_of(spec)
    others = [place for place in places if _root_of(name, place) != ours]
    if len(others) == len(places):
        return False
    # A namespace may be spread over a folder of ours and site folders: no other may have a part.
    if package is None:
        return not others or _of_portions(name, others) is not Origin.LOCAL
    return not any(_is_local_place(package, name, place, portion=True) for place in others)


def _is_local_in(package: ModuleType, name: str) -> bool:
    """Tell whether an import finds a module of a package, which is not local, in a local file."""
    spec = _found(name, package)
    portion = isinstance(spec, ModuleSpec) and spec.origin is None
    return any(_is_local_place(package, name, place, portion=portion) for place in _places_of(spec))


def _is_local_place(package: ModuleType, name: str, place: str, *, portion: bool) -> bool:
    folder = _folder_of(place)
    if _is_of_installers(folder):
        return _root_of(name, place) in _started_in() - _site_folders()
    above = _spec_of(package)
    homes = _places_of(above)
    if isinstance(above, ModuleSpec) and above.origin is not None:
        if _is_inside(folder, [_real(os.path.dirname(home)) for home in homes]):
            return False
        homes = []
    if folder in map(_real, homes) or _root_of(name, place) in _added_folders():
        # A project may have a part of a package that is installed, but not what is in it.
        return _is_installed_too(name, portion=portion, but=os.path.realpath(place))
    return not (_is_redirected(name, place) or _is_redirected_portion(name, place))


def _found(name: str, package: ModuleType | None) -> object:
    """Give the spec of a module that is loaded, or that an import would find."""
    if name in sys.modules:
        return _spec_of(sys.modules[name])
    return _search(name, None if package is None else getattr(package, "__path__", ()))


def _places_of(spec: object) -> list[str]:
    """Give where a module lies: a file, or the folders of a namespace package.

    None for what was made by hand, or by a finder that does not tell: by code that ran already.
    """
    if not isinstance(spec, ModuleSpec):
        return []
    if spec.origin is not None and spec.has_location:
        return [spec.origin]
    return list(spec.submodule_search_locations or ())


def _root_of(name: str, place: str) -> str:
    """Give the folder from which the parts of a dotted name lead to the place where it lies."""
    folder = _folder_of(place)
    for _ in range(name.count(".")):
        folder = os.path.dirname(folder)
    return folder


def of_modules(modules: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Give top-level `modules` by where each comes from, sorted; one that is not found is left out.

    The keys are the values of Origin; those of which there are no modules are left out too.
    """
    found: dict[str, tuple[str, ...]] = {}
    for module in sorted(set(modules)):
        origin = origin_of(module)
        if origin is not None:
            found[origin] = (*found.get(origin, ()), module)
    return {str(origin): found[origin] for origin in sorted(found)}


_SETUPTOOLS_HOOK = "_distutils_hack"


def _unloaded(name: str) -> Origin | None:
    spec = _search(name)
    found = None if spec is None else _judge(name, spec)
    # The hook steps aside where pybuilddir.txt lies in the working directory: then `found` is run.
    hooked = name == "distutils" and any(map(_is_setuptools_hook, sys.meta_path))
    if hooked and found is not Origin.LOCAL:
        return origin_of("setuptools") or found
    return found


def _search(name: str, path: Iterable[str] | None = None) -> object:
    """Give the spec that the first finder that has one gives, as an import does.

    `path`: where the package looks that the module is of.
    """
    for finder in sys.meta_path:
        # This one imports setuptools when it is asked for distutils, and has nothing else.
        find = None if _is_setuptools_hook(finder) else getattr(finder, "find_spec", None)
        spec = None if find is None else find(name, path, None)
        if spec is not None:
            return spec
    return None


def _is_setuptools_hook(finder: object) -> bool:
    return getattr(finder, "__module__", None) == _SETUPTOOLS_HOOK


def _spec_of(loaded: object) -> object:
    # Not getattr: one that is to be loaded at its first use would be loaded by that.
    try:
        return object.__getattribute__(loaded, "__spec__")
    except AttributeError:
        return None


def _judge(name: str, spec: object) -> Origin:
    if not isinstance(spec, ModuleSpec):
        return Origin.LOCAL
    settled = spec.origin and _settled(spec.origin)
    if settled:
        return settled
    loader: object = spec.loader
    if loader is BuiltinImporter or loader is FrozenImporter:
        return Origin.STD
    if spec.origin is None:
        return _of_portions(name, spec.submodule_search_locations or ())
    origin = _of_folder(name, _folder_of(spec.origin), portion=False)
    if origin is Origin.LOCAL and _is_redirected(name, spec.origin):
        return Origin.DIST
    return origin


@functools.cache
def _settled(origin: str) -> Origin | None:
    """Judge a file in a folder that nobody but an installer puts modules into; None elsewhere."""
    folder = _folder_of(origin)
    if folder in _std_folders():
        return Origin.STD
    return Origin.DIST if folder in _own_site_folders() else None


def _of_portions(name: str, portions: Iterable[str]) -> Origin:
    """Judge a namespace package: each folder that it is spread over can be imported from."""
    found = set()
    for portion in portions:
        origin = _of_folder(name, _folder_of(portion), portion=True)
        if origin is Origin.LOCAL and _is_redirected_portion(name, portion):
            origin = Origin.DIST
        found.add(origin)
    if not found or Origin.LOCAL in found:
        return Origin.LOCAL
    return Origin.DIST if Origin.DIST in found else Origin.STD


def _of_folder(name: str, folder: str, *, portion: bool) -> Origin:
    if folder in _std_folders() or _is_inside(folder, _frozen_folders()):
        return Origin.STD
    if folder in _own_site_folders():
        return Origin.DIST
    if _hides_another(name, folder, portion=portion):
        return Origin.LOCAL
    if folder in _named_folders():
        return Origin.DIST
    if _is_inside(folder, _site_folders()):
        return Origin.LOCAL if folder in _started_in() else Origin.DIST
    return Origin.DIST if folder in _added_folders() else Origin.LOCAL


def _hides_another(name: str, folder: str, *, portion: bool) -> bool:
    """Tell whether what lies in a folder stands before a module that does not belong there.

    `portion`: it is a part of a namespace package, which hides no other part.

    A folder that holds a project or packages can come first on sys.path, for many reasons. What is
    of the standard library is no part of either; what is installed is no part of a project.
    """
    named = _named_folders()
    if name in sys.stdlib_module_names and _is_inside(folder, named):
        return True
    return folder in _added_folders() - named and _is_installed_too(name, portion=portion)


def _is_inside(folder: str, others: Iterable[str]) -> bool:
    """Tell whether a folder is one of the others, or lies below one."""
    return os.path.join(folder, "").startswith(tuple(os.path.join(other, "") for other in others))


@functools.cache
def _is_of_installers(folder: str) -> bool:
    """Tell whether a folder lies in one that Python or an installer puts modules into."""
    return _is_inside(folder, {*_std_folders(), *_site_folders(), *_frozen_folders()})


@functools.cache
def _folder_of(place: str) -> str:
    """Give the real folder that a module lies in: its file, its `__init__`'s folder, or a portion.

    Only links on the way to the folder are followed: a module that is itself a link is there
    because somebody could write to the folder. "" for a place that is not absolute.
    """
    if not os.path.isabs(place):
        return ""
    folder, file = os.path.split(place)
    return _real(os.path.dirname(folder) if file.startswith("__init__.") else folder)


@functools.cache
def _real(folder: str) -> str:
    return os.path.normcase(os.path.realpath(folder))


@functools.cache
def _std_folders() -> frozenset[str]:
    # Not from sysconfig: asking it imports a module of build settings from wherever that is found.
    library = os.path.dirname(os.__file__)
    extensions = os.path.join(sys.base_exec_prefix, sys.platlibdir, os.path.basename(library))
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    folders = [
        library,
        os.path.join(library, "lib-dynload"),
        os.path.join(extensions, "lib-dynload"),
        os.path.join(os.path.dirname(library), zipped),
    ]
    if os.name == "nt":
        folders.append(os.path.join(sys.base_exec_prefix, "DLLs"))
    return frozenset(map(_real, folders))


def _frozen_folders() -> tuple[str, ...]:
    """Give the folder that PyInstaller has put all modules of this program into, if it has."""
    folder = getattr(sys, "_MEIPASS", None)
    return (_real(folder),) if folder and getattr(sys, "frozen", False) else ()


def _site_folders() -> frozenset[str]:
    return _own_site_folders() | _named_folders()


@functools.cache
def _own_site_folders() -> frozenset[str]:
    """Give the site folders that this interpreter has without being told."""
    import site  # noqa: PLC0415 - python -S does without

    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE and site.USER_SITE:
        folders = [*folders, site.USER_SITE]
    return frozenset(map(_real, folders))


@functools.cache
def _named_folders() -> frozenset[str]:
    """Give the folders that PICKLESEAL_SITE names: packages that no site folder holds.

    `pip install --target`, AWS Lambda, PEX and the like put them where only their users know.
    """
    folders = os.environ.get(VARIABLE, "").split(os.pathsep)
    named = [folder for folder in folders if folder]
    for folder in named:
        if not os.path.isabs(folder):
            raise PolicyError(
                f"{VARIABLE} holds {shown(folder)}, and a relative path leads elsewhere wherever"
                f" Python runs. Write absolute paths, with {os.pathsep!r} in between"
            )
    return frozenset(map(_real, named))


def _started_in() -> frozenset[str]:
    """Give the folders that Python searches because of where, and with which script, it runs."""
    try:
        here = os.getcwd()
    except OSError:  # it is gone
        here = ""
    paths = [os.path.join(here, path) for path in ("", *sys.path[:1])]
    return frozenset(_real(path) for path in paths if os.path.isabs(path))


_NO_PATH = ("#", "import ", "import\t")


@functools.cache
def _added_folders() -> frozenset[str]:
    """Give the folders that .pth files of the site folders add to sys.path."""
    return frozenset(
        _real(os.path.join(folder, line))
        for folder in _site_folders()
        for line in _path_lines(folder)
    )


def _path_lines(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if not name.endswith(".pth") or name.startswith("."):
            continue
        try:
            with io.open_code(os.path.join(folder, name)) as file:
                text = file.read().decode("utf-8-sig", "surrogateescape")
        except OSError:
            continue
        for line in text.splitlines():
            if line.strip() and not line.startswith(_NO_PATH) and "\0" not in line:
                yield line.rstrip()


_ENDINGS = tuple(all_suffixes())


@functools.cache
def _is_installed_too(name: str, *, portion: bool, but: str = "") -> bool:
    """Tell whether an installer or Python has a module of the name, in another place than `but`."""
    if name in sys.stdlib_module_names:
        return True
    *packages, _ = name.split(".")
    folders = (*_std_folders(), *_site_folders())
    spec = PathFinder.find_spec(name, [os.path.join(folder, *packages) for folder in folders])
    if spec is None or but in map(os.path.realpath, _places_of(spec)):
        return False
    if spec.loader is not None:
        return True
    # An editable install may leave a folder of data behind, which is no namespace package.
    return not portion and any(map(_holds_modules, spec.submodule_search_locations or ()))


def _holds_modules(folder: str) -> bool:
    return any(file.endswith(_ENDINGS) for _, _, files in os.walk(folder) for file in files)


@functools.cache
def _is_redirected(name: str, origin: str) -> bool:
    """Tell whether the finder of an editable install has the module in this file."""
    for finder, _ in _editable_finders():
        spec = finder.find_spec(name, None, None)
        if spec is not None and spec.origin == origin:
            return True
    return False


def _is_redirected_portion(name: str, portion: str) -> bool:
    """Tell whether an editable install by setuptools has this folder in a namespace."""
    for _, home in _editable_finders():
        folders = getattr(home, "NAMESPACES", {}).get(name)
        if folders is not None and portion in (*folders, getattr(home, "PATH_PLACEHOLDER", None)):
            return True
    return False


def _editable_finders() -> Iterator[tuple[Any, ModuleType]]:
    """Give the finders of editable installs that lie in site folders, and their modules.

    setuptools, scikit-build-core, meson-python and editables all say in the module's name what it
    is for. Other finders of installed packages, such as pytest's, find local modules too.
    """
    for finder in sys.meta_path:
        home = sys.modules.get(getattr(finder, "__module__", ""))
        file = getattr(home, "__file__", None)
        if home is None or file is None or "editable" not in home.__name__:
            continue
        folder = _folder_of(file)
        if _is_inside(folder, _site_folders()):
            yield finder, home
