"""What a type checker sees of the public calls. It is checked by mypy and never run."""

import io
from pathlib import Path
from typing import Any, assert_type

import pickleseal
from pickleseal import Inspection, Key, Keyring, Metadata, Suite

ring = Keyring(Key.generate(), Key.generate(Suite.SHA256))
assert_type(pickleseal.signed_dumps({"a": 1}, keyring=ring, context="c", info={"a": 1}), bytes)
assert_type(pickleseal.dumps(1, 5, fix_imports=True, buffer_callback=None), bytes)
assert_type(pickleseal.signed_loads(b"", keyring=ring, on_mismatch="raise"), Any)
assert_type(pickleseal.inspect("it", keyring="keys", header_only=True), Inspection)
assert_type(pickleseal.inspect("it").metadata, Metadata | None)
assert_type(pickleseal.verify(Path("it"), keyring=Path("keys")), Inspection)
assert_type(pickleseal.open_keyring("keys", group_read=True), Keyring)
assert_type(pickleseal.adopt_bytes(b"", keyring=ring), bytes)
assert_type(pickleseal.extract(memoryview(b"")), bytes)
assert_type(pickleseal.verify("it").to_dict(), dict[str, Any])

pickleseal.signed_dump(1, "it")
pickleseal.signed_dump(1, Path("it"), 5, durable=False, pickler="cloudpickle")
pickleseal.signed_dump(1, io.BytesIO())
with Path("it").open("wb") as target:
    pickleseal.dump(1, target)
with Path("it").open("rb") as source:
    assert_type(pickleseal.load(source), Any)

# What must not pass. An ignore that is not needed is an error, so each line is a check.
pickleseal.signed_dump(1, b"it")  # type: ignore[arg-type]
pickleseal.signed_dumps(1, keyring=b"key")  # type: ignore[arg-type]
pickleseal.signed_dumps(1, keyring=Key.generate())  # type: ignore[arg-type]
pickleseal.signed_dumps(1, pickler="dill")  # type: ignore[arg-type]
pickleseal.signed_loads("text")  # type: ignore[arg-type]
pickleseal.signed_loads(b"", on_mismatch="trust")  # type: ignore[arg-type]
pickleseal.signed_loads(b"", verify=False)  # type: ignore[call-arg]
pickleseal.signed_loads(b"", None, None)  # type: ignore[call-arg, arg-type]
Keyring("secret")  # type: ignore[arg-type]
