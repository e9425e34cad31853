"""Commands that have no file descriptors left: an error says so, and no file or key is blamed."""

import errno
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from command import unmeasured

import pickleseal
from pickleseal import Keyring, Verdict
from pickleseal.keys.store.directory import open_keyring
from pickleseal.migration import targets

resource = pytest.importorskip("resource")

in_sweeps = partial(pytest.param, marks=pytest.mark.sweep)

FEW = """
import os, resource, sys
from pickleseal.cli import main
lowest = os.dup(0)
os.close(lowest)
most = lowest + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
main()
"""


def run_with(free: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that can open so many files more than it begins with."""
    return subprocess.run(
        [sys.executable, "-c", FEW, str(free), *words],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "doctor"),
        ("keys", "list"),
        ("keys", "rotate"),
        ("verify", "{file}"),
        ("audit", "{file}"),
        ("audit", "{folder}"),
        ("reseal", "{file}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("free", [0, in_sweeps(1), 2, in_sweeps(3), 4])
def test_a_command_without_descriptors_says_so_and_blames_nothing(
    free: int, arguments: tuple[str, ...], ring_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "good.pkl"
    pickleseal.signed_dump([1], file, keyring=open_keyring(ring_directory))
    subprocess.run(["git", "init", "-q", ring_directory], check=True)
    (ring_directory / ".gitignore").write_text("*\n")
    words = [
        word.format(file=file, folder=tmp_path / "models")
        for word in (*arguments, "--keyring", str(ring_directory))
    ]
    ended = run_with(free, words)
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    if arguments[0] != "keys":
        assert ended.returncode in (0, 2)
    if ended.returncode:
        assert "Too many open files" in said
        assert not any(word in said for word in ("restore", "backup", "git -C", "as a user"))


def test_an_audit_for_want_of_descriptors_advises_no_other_user(
    ring: Keyring, tmp_path: Path
) -> None:
    file = tmp_path / "good.pkl"
    pickleseal.signed_dump([1], file, keyring=ring)
    list(pickleseal.audit(file, keyring=ring))  # imports what it needs
    lowest = os.dup(0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
    try:
        (found,) = pickleseal.audit(file, keyring=ring)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(lowest)
    assert (found.verdict, found.advice) == (Verdict.UNREADABLE, "")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_a_backup_is_not_called_unsealed_for_want_of_memory(
    number: int, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening the backup needs more than opening the sealed file, unless another thread runs."""
    backup = tmp_path / "a.pkl.unsealed"
    backup.write_bytes(pickle.dumps([1]))
    (tmp_path / "a.pkl").write_bytes(pickleseal.adopt_bytes(pickle.dumps([1]), keyring=ring))
    (found,) = pickleseal.audit(backup, keyring=ring)
    assert found.verdict is Verdict.BACKUP

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(targets, "open_file", fail)
    (found,) = pickleseal.audit(backup, keyring=ring)
    assert found.verdict is Verdict.UNREADABLE


@pytest.mark.parametrize("command", ["verify", "adopt"])
def test_a_backup_stays_one_for_want_of_descriptors(
    command: str, ring_directory: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    backup = models / "a.pkl.unsealed"
    backup.write_bytes(pickle.dumps([1]))
    sealed = pickleseal.adopt_bytes(pickle.dumps([1]), keyring=open_keyring(ring_directory))
    (models / "a.pkl").write_bytes(sealed)
    words = [command, str(models), "--keyring", str(ring_directory)]
    words += ["--yes"] * (command == "adopt")
    for free in range(0, 9, 2):
        ended = run_with(free, words)
        assert ended.returncode == 0 or "Too many open files" in ended.stdout + ended.stderr
        assert ended.returncode != 1, ended.stdout
        assert backup.read_bytes() == pickle.dumps([1])
    assert ended.returncode == 0
