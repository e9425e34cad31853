"""pickleseal: load only the pickles that you wrote yourself.

`signed_dump` seals what it pickles with your key; `signed_load` unpickles only bytes whose
seal holds, and refuses all else before the unpickler sees a byte.

    from pickleseal import signed_dump, signed_load

    signed_dump(model, "model.pkl", context="fraud/v3")
    model = signed_load("model.pkl", context="fraud/v3")

A key is made once, with `pickleseal keygen`. `dump`, `dumps`, `load` and `loads` have pickle's
own signatures, for frameworks that take a module like pickle.
"""

from pickleseal.adoption import adopt_bytes, extract
from pickleseal.errors import (
    BadSealError,
    ContextError,
    ExpiredError,
    KeyPermissionError,
    KeyringError,
    MalformedError,
    MetadataError,
    NoKeyError,
    NothingToReadError,
    NotSealedError,
    PicklesealError,
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
from pickleseal.inspection import Inspection, Status, inspect, verify
from pickleseal.keyring import Keyring
from pickleseal.keys import Key
from pickleseal.keystore.directory import open_keyring
from pickleseal.persist import (
    dump,
    dumps,
    load,
    loads,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.pickling import (
    DEFAULT_PROTOCOL,
    HIGHEST_PROTOCOL,
    PickleError,
    PicklingError,
    UnpicklingError,
)
from pickleseal.resealing import reseal
from pickleseal.suite import Suite

__version__ = "0.1.0.dev0"

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "BadSealError",
    "ContextError",
    "ExpiredError",
    "Inspection",
    "Key",
    "KeyPermissionError",
    "Keyring",
    "KeyringError",
    "MalformedError",
    "MetadataError",
    "NoKeyError",
    "NotSealedError",
    "NothingToReadError",
    "PickleError",
    "PicklesealError",
    "PicklingError",
    "PolicyError",
    "RevokedKeyError",
    "RollbackError",
    "SealError",
    "Status",
    "Suite",
    "TargetError",
    "UnknownKeyError",
    "UnpicklingError",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "WrongPassphraseError",
    "adopt_bytes",
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
]
