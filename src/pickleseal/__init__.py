"""pickleseal: load only the pickles that you wrote yourself.

`signed_dump` seals what it pickles with your key; `signed_load` unpickles only bytes whose
seal holds, and refuses all else before the unpickler sees a byte.

    from pickleseal import signed_dump, signed_load

    signed_dump(model, "model.pkl", context="fraud/v3")
    model = signed_load("model.pkl", context="fraud/v3")

A key is made once, with `pickleseal keygen`. `dump`, `dumps`, `load` and `loads` have pickle's
own signatures, for frameworks that take a module like pickle.
"""

import os
import sys

# `python -m pickleseal` needs nothing of the working directory, which Python has put first on
# sys.path: a json.py there would be imported below. While Python looks for what -m names, "-m" is
# the first argument. The folder that has this package itself stays.
if (
    sys.argv[:1] == ["-m"]
    and sys.orig_argv[-len(sys.argv) :][:1] in (["pickleseal"], ["-mpickleseal"])
    and not sys.flags.safe_path
):
    try:
        _here = os.getcwd()
    except OSError:  # it is gone, and -m has put nothing there
        _here = ""
    if sys.path[0] == _here != os.path.dirname(__path__[0]):
        del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pickleseal.envelope.metadata import Metadata
from pickleseal.errors import (
    AdoptionError,
    BadSealError,
    BareLoadError,
    BareLoadWarning,
    ContextError,
    ExpiredError,
    KeyPermissionError,
    KeyringError,
    MainModuleWarning,
    MalformedError,
    MetadataError,
    NoKeyError,
    NothingToReadError,
    NotSealedError,
    PicklesealError,
    PinsError,
    PolicyError,
    RevokedKeyError,
    RollbackError,
    SealError,
    TargetError,
    UnknownKeyError,
    VersionMismatchError,
    VersionMismatchWarning,
    WrongPassphraseError,
)
from pickleseal.keys.key import Key
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.directory import open_keyring
from pickleseal.keys.suite import Suite
from pickleseal.persistence.dump import dump, dumps, signed_dump, signed_dumps
from pickleseal.persistence.load import load, loads, signed_load, signed_loads
from pickleseal.pickling.dump import DEFAULT_PROTOCOL, HIGHEST_PROTOCOL, PickleError, PicklingError
from pickleseal.pickling.load import UnpicklingError
from pickleseal.version import __version__ as __version__

if TYPE_CHECKING:
    from pickleseal.auditing.audit import Audit, audit
    from pickleseal.auditing.findings import Change, Finding, Level, Verdict
    from pickleseal.auditing.report import Report
    from pickleseal.auditing.watch import Sighting, Watch, watch
    from pickleseal.migration.adopt import adopt_bytes
    from pickleseal.migration.extract import extract
    from pickleseal.migration.reseal import reseal
    from pickleseal.persistence.inspection import Inspection, Status, inspect, verify
    from pickleseal.scanner.grade import Contents, Grade, GradedName

_LATER = {
    "migration.adopt": ("adopt_bytes",),
    "migration.extract": ("extract",),
    "auditing.audit": ("Audit", "audit"),
    "auditing.findings": ("Change", "Finding", "Level", "Verdict"),
    "scanner.grade": ("Contents", "Grade", "GradedName"),
    "auditing.report": ("Report",),
    "persistence.inspection": ("Inspection", "Status", "inspect", "verify"),
    "migration.reseal": ("reseal",),
    "auditing.watch": ("Sighting", "Watch", "watch"),
}
"""What is imported when it is first asked for: a program that dumps and loads has no use for it."""
_ROOMS = {name: room for room, names in _LATER.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "AdoptionError",
    "Audit",
    "BadSealError",
    "BareLoadError",
    "BareLoadWarning",
    "Change",
    "Contents",
    "ContextError",
    "ExpiredError",
    "Finding",
    "Grade",
    "GradedName",
    "Inspection",
    "Key",
    "KeyPermissionError",
    "Keyring",
    "KeyringError",
    "Level",
    "MainModuleWarning",
    "MalformedError",
    "Metadata",
    "MetadataError",
    "NoKeyError",
    "NotSealedError",
    "NothingToReadError",
    "PickleError",
    "PicklesealError",
    "PicklingError",
    "PinsError",
    "PolicyError",
    "Report",
    "RevokedKeyError",
    "RollbackError",
    "SealError",
    "Sighting",
    "Status",
    "Suite",
    "TargetError",
    "UnknownKeyError",
    "UnpicklingError",
    "Verdict",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "Watch",
    "WrongPassphraseError",
    "adopt_bytes",
    "audit",
    "dump",
    "dumps",
    "extract",
    "inspect",
    "load",
    "loads",
    "open_keyring",
    "reseal",
    "signed_dump",
    "signed_dumps",
    "signed_load",
    "signed_loads",
    "verify",
    "watch",
]
