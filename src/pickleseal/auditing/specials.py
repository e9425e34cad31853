"""Functions whose arguments tell what is looked up, made or computed."""

import re

from pickleseal.auditing.record import Record, Special
from pickleseal.auditing.uses import call
from pickleseal.auditing.values import (
    COMPUTED,
    MADE,
    MADE_THINGS,
    Args,
    Dtype,
    Global,
    is_dunder,
)
from pickleseal.errors import shown

_DTYPE = re.compile(r"[<>=|]?([biufcmMOSUV])([0-9]{1,9})\Z")


def special(module: str, name: str) -> Special | None:
    """Give what to do at a call of the global of this name, or None where it is as any other."""
    return _SPECIAL.get((module, name)) or _HELPERS.get(name)


def _getattr(record: Record, function: Global, args: Args) -> object:
    name = args[1] if args is not None and len(args) > 1 else None
    if type(name) is not str:
        record.note("it takes an attribute whose name it computes")
    elif is_dunder(name):
        record.note(f"it takes the attribute {shown(name)}")
    return function.result


def _maker(record: Record, function: Global, args: Args) -> object:
    """Make an object of the first argument, as copyreg's functions do."""
    if not args or type(args[0]) is not Global:
        if args is None or not args or type(args[0]) in MADE_THINGS or args[0] is COMPUTED:
            record.note("it makes an object of what another call gave")
        return function.result
    return call(record, args[0], (), MADE)


def _dtype(_: Record, function: Global, args: Args) -> object:
    found = None
    if args and type(args[0]) is str:
        found = _DTYPE.match(args[0])
    if found is None:
        return Dtype(function, "?", None, has_object=False)
    code, size = found[1], int(found[2])
    return Dtype(function, code, size * 4 if code == "U" else size, has_object=code == "O")


def _string_dtype(_: Record, function: Global, __: Args) -> object:
    return Dtype(function, "T", None, has_object=True)


def _add_extension(record: Record, function: Global, args: Args) -> object:
    record.note("it registers an extension code")
    return _importer(record, function, args)


def _importer(record: Record, function: Global, args: Args) -> object:
    """Record what a function imports that takes a module and, it may be, a name in it."""
    texts = (args or ())[:2]
    if not texts or type(texts[0]) is not str or (len(texts) > 1 and type(texts[1]) is not str):
        if len(texts) > 1 and type(texts[0]) is str:
            record.look_up(texts[0], "")
        record.note("it imports what it computes")
        return function.result
    record.look_up(texts[0], str(texts[1]) if len(texts) > 1 else "")
    return function.result


def _module_importer(record: Record, function: Global, args: Args) -> object:
    """Record what a function imports that takes a module, and options."""
    return _importer(record, function, args[:1] if args else args)


def _path_importer(record: Record, function: Global, args: Args) -> object:
    """Record what a function imports that takes a dotted path or `module:name`."""
    if args and type(args[0]) is str:
        colon = ":" in args[0]
        module, _, name = args[0].partition(":") if colon else args[0].rpartition(".")
        return _importer(record, function, (module or name, name if module else ""))
    return _importer(record, function, None)


def _type_importer(record: Record, function: Global, args: Args) -> object:
    """Record what cloudpickle takes from the module `types`."""
    return _importer(record, function, ("types", *args[:1]) if args else None)


_SPECIAL: dict[tuple[str, str], Special] = {
    ("builtins", "getattr"): _getattr,
    ("copyreg", "__newobj__"): _maker,
    ("copyreg", "__newobj_ex__"): _maker,
    ("copyreg", "_reconstructor"): _maker,
    ("copyreg", "add_extension"): _add_extension,
    ("numpy", "dtype"): _dtype,
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): _string_dtype,
    ("numpy.core", "_ufunc_reconstruct"): _importer,
    ("numpy._core", "_ufunc_reconstruct"): _importer,
    ("builtins", "__import__"): _module_importer,
    ("importlib", "__import__"): _module_importer,
    ("importlib", "import_module"): _module_importer,
    ("pkgutil", "resolve_name"): _path_importer,
    ("pydoc", "locate"): _path_importer,
}
_HELPERS: dict[str, Special] = {  # wherever a package keeps its copy of cloudpickle, dill, uarray
    "subimport": _module_importer,
    "_getobject": _importer,
    "_builtin_type": _type_importer,
    "_import_module": _path_importer,
    "unpickle_function": _importer,
}
