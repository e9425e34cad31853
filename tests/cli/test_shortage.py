"""Commands that have no file descriptors left: an error says so, and no file or key is blamed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pickleseal
from pickleseal import Keyring, Verdict
from pickleseal.keys.store.directory import open_keyring

resource = pytest.importorskip("resource")

FEW = """
import os, resource, sys
from pickleseal.cli import main
lowest = os.dup(0)
os.close(lowest)
most = lowest + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "doctor"),
        ("keys", "list"),
        ("keys", "rotate"),
        ("verify", "{file}"),
        ("audit", "{file}"),
        ("reseal", "{file}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("free", range(5))
def test_a_command_without_descriptors_says_so_and_blames_nothing(
    free: int, arguments: tuple[str, ...], ring_directory: Path, tmp_path: Path
) -> None:
    file = tmp_path / "good.pkl"
    pickleseal.signed_dump([1], file, keyring=open_keyring(ring_directory))
    subprocess.run(["git", "init", "-q", ring_directory], check=True)
    (ring_directory / ".gitignore").write_text("*\n")
    words = [word.format(file=file) for word in (*arguments, "--keyring", str(ring_directory))]
    ended = subprocess.run(
        [sys.executable, "-c", FEW, str(free), *words], capture_output=True, text=True, check=False
    )
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    if ended.returncode:
        assert "Too many open files" in said
        assert not any(word in said for word in ("restore", "backup", "git -C", "as a user"))


def test_an_audit_for_want_of_descriptors_advises_no_other_user(
    ring: Keyring, tmp_path: Path
) -> None:
    file = tmp_path / "good.pkl"
    pickleseal.signed_dump([1], file, keyring=ring)
    lowest = os.dup(0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
    try:
        (found,) = pickleseal.audit(file, keyring=ring)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(lowest)
    assert (found.verdict, found.advice) == (Verdict.UNREADABLE, "")
