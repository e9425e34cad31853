"""Each command reads `keyring.json` and each key file once."""

import os
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from pickleseal.cli import cli
from pickleseal.keys.store import lookup
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX, read_roster


def reads_of(monkeypatch: pytest.MonkeyPatch, *command: str) -> Counter[str]:
    """Run a command; return how often it opened each file of a ring to read it."""
    reads: Counter[str] = Counter()
    real = os.open

    def counted(path: str, flags: int, *rest: int, **options: int) -> int:
        name = os.path.basename(path)
        if not flags & os.O_CREAT and (name == INDEX or name.endswith(".key")):
            reads[name] += 1
        return real(path, flags, *rest, **options)

    lookup._open_rings.clear()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", counted)
        done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    return reads


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
@pytest.mark.parametrize("command", [
    "keys list", "keys list --json", "keys show", "keys show --json", "keys rotate",
    "keys retire {other}", "keys revoke {other} --reason lost", "keys primary {other}",
    "keys note {other} text", "keys limit {other} --any-context", "keygen --add",
    "keygen --add --passphrase", "keys export --yes", "keys export --all --yes",
    "keys protect", "keys unprotect", "keys doctor",
])  # fmt: skip
def test_a_command_reads_each_file_of_a_ring_once(
    command: str, passphrase: str | None, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_key(ring_directory, now=0).entry.id
    now = ["--keyring", str(ring_directory)]
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", "correct horse")
    if passphrase is not None:
        assert CliRunner().invoke(cli, ["keys", "protect", *now]).exit_code == 0
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "correct horse")
    monkeypatch.setenv("CI", "1")
    more = ["--max-age", "99999"] if "doctor" in command else []
    reads = reads_of(monkeypatch, *command.format(other=other).split(), *now, *more)
    assert reads[INDEX] == 1
    assert set(reads.values()) == {1}
    assert read_roster(ring_directory)
