"""What pickleseal imports when it is needed is no file that somebody planted meanwhile."""

import bz2
import lzma
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pickleseal import codec, signed_dump

PLAIN = pickle.dumps([1] * 100)
OLD_VERSION = """
import pickleseal, pickleseal.packages as packages
packages.warning("x", package="scikit-learn", sealed="1", here="2", class_name="x")
"""


class Late(NamedTuple):
    """A module, and code that needs it. It runs in a folder that holds `file`, and prints."""

    module: str
    code: str
    file: bytes = b""


def adopting(data: bytes) -> tuple[str, bytes]:
    return "pickleseal.adopt_bytes(open('file', 'rb').read())", data


def auditing(data: bytes) -> tuple[str, bytes]:
    return "print(pickleseal.audit('file').report().findings)", data


LATE = {
    "a key": Late("cryptography", "pickleseal.signed_dumps(1)"),
    "a load": Late("cryptography", "pickleseal.signed_load('../model')"),
    "a passphrase": Late(
        "cryptography", "from pickleseal.wrapping import Passphrase; Passphrase('x').box(b'x', 1)"
    ),
    "the user's own ring": Late(
        "platformdirs", "os.environ.pop('PICKLESEAL_KEYRING'); pickleseal.signed_dumps(1)"
    ),
    "the keyring of the system": Late(
        "keyring", "from pickleseal.keystore.providers.os_keyring import _package; _package()"
    ),
    "AWS KMS": Late(
        "botocore",
        "from pickleseal.keystore.providers.aws_kms import connect; connect('arn:x', 'x')",
    ),
    "cloudpickle": Late("cloudpickle", "pickleseal.signed_dumps(1, pickler='cloudpickle')"),
    "a lock": Late("fcntl", "pickleseal.signed_dump(1, open('x', 'wb'))"),
    "a notebook": Late("html", "pickleseal.inspect('../model')._repr_html_()"),
    "a page": Late(
        "jinja2",
        "from pickleseal.auditing.formats.html import html; html(pickleseal.audit('.').report())",
    ),
    "a table": Late("pandas", "pickleseal.audit('.').report().to_pandas()"),
    "a warning": Late("sklearn", OLD_VERSION),
    "a compressed dump": Late(codec.MODULE, "pickleseal.signed_dumps(1, compress=1)"),
    "adopting bz2": Late("bz2", *adopting(bz2.compress(PLAIN))),
    "adopting xz": Late("lzma", *adopting(lzma.compress(PLAIN))),
    "auditing bz2": Late("bz2", *auditing(bz2.compress(PLAIN))),
    "auditing xz": Late("lzma", *auditing(lzma.compress(PLAIN))),
    "auditing zstd": Late(codec.MODULE, *auditing(b"\x28\xb5\x2f\xfd" + bytes(20))),
    "adopting lz4": Late("lz4", *adopting(b"\x04\x22\x4d\x18" + bytes(20))),
    "auditing lz4": Late("lz4", *auditing(b"\x04\x22\x4d\x18" + bytes(20))),
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_it_is_refused_and_does_not_run(late: Late, tmp_path: Path, ring_directory: Path) -> None:
    signed_dump(1, tmp_path / "model", keyring=ring_directory)
    work = tmp_path / "work"
    work.mkdir()
    (work / "file").write_bytes(late.file)
    # pickleseal is imported elsewhere, and then the program goes where something may be planted.
    code = f"import os, pickleseal; os.chdir({str(work)!r})\n{late.code}"

    # What measures coverage would have imported some of them already.
    environment = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | {"PICKLESEAL_KEYRING": str(ring_directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    refusal = f"pickleseal needs the module {late.module.partition('.')[0]}"
    before = run()
    assert not re.search("(Attribute|Name|Syntax|Import|ModuleNotFound)Error", before)
    assert refusal not in before
    planted = work.joinpath(*late.module.split(".")).with_suffix(".py")
    planted.parent.mkdir(exist_ok=True)
    for file in {planted, planted.parent / "__init__.py"} - {work / "__init__.py"}:
        file.write_text("open('mark', 'w').close()\n")
    assert refusal in run()
    assert not (work / "mark").exists()
    bare = [sys.executable, "-c", f"import {late.module}"]
    subprocess.run(bare, cwd=work, env=environment, check=True)
    assert (work / "mark").exists()
