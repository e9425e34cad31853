"""Keys, revocations and whole rings on their way from one machine to another, as processes."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import done_json, run
from rings import secrets_of

from pickleseal import signed_dump


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    assert run("keygen", "--keyring", folder, "--note", "first").returncode == 0
    return folder


@pytest.fixture
def sealed(tmp_path: Path, ring: Path) -> Path:
    path = tmp_path / "sealed.pkl"
    signed_dump(1, path, keyring=ring)
    return path


def test_a_key_of_another_ring_is_revoked_by_its_whole_id(ring: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key_id = done_json("keygen", "--keyring", other)["id"]
    foreign = tmp_path / "foreign.pkl"
    signed_dump(1, foreign, keyring=other)
    reason = ("--reason", "in a log", "--keyring", ring)
    for wrong in ((), (key_id,), ("--id", key_id[:8]), (key_id, "--id", key_id)):
        assert run("keys", "revoke", *wrong, *reason).returncode == 2
    since = ("--since", "2026-01-31T14:30")
    done = done_json("keys", "revoke", "--id", key_id.upper(), *since, *reason)
    assert (done["id"], done["state"], done["leaked"]) == (key_id, "revoked", 1769869800)
    refused = run("verify", foreign, "--keyring", ring)
    assert refused.returncode == 1
    assert "in a log" in refused.stdout
    for command in ("show", "list"):
        arguments = (key_id,) if command == "show" else ()
        assert "2026-01-31 14:30" in run("keys", command, *arguments, "--keyring", ring).stdout
    for time, code in (
        ("2026-01-30", 0),
        ("2026-01-30T10:00+02:00", 0),
        ("soon", 2),
        ("9999-01-01", 2),
    ):
        assert run("keys", "revoke", key_id, "--since", time, *reason).returncode == code
    assert done_json("keys", "show", key_id, "--keyring", ring)["leaked"] == 1769760000
    pin = done_json("keys", "list", "--keyring", ring)["pin"]
    assert run("keys", "list", "--keyring", ring, env={"PICKLESEAL_MIN_EPOCH": pin}).returncode == 0


def test_an_import_says_what_it_keeps_and_what_it_ignores(ring: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "key.txt", tmp_path / "other"
    key_id = done_json("keys", "show", "--keyring", ring)["id"]
    run("keys", "limit", key_id, "--context", "fraud/*", "--keyring", ring)
    run("keys", "revoke", "--id", "1" * 32, "--reason", "in a log", "--keyring", ring)
    told = done_json("keys", "export", "--all", "-o", file, "--keyring", ring)
    assert (told["keys"], told["revoked"]) == ([key_id], ["1" * 32])
    first = run("keys", "import", file, "--keyring", other).stdout
    for text in (key_id, "only for fraud/*", f"{'1' * 32}: in a log", "compare"):
        assert text in first
    shown = done_json("keys", "show", key_id, "--keyring", other)
    assert shown.pop("imported") is not None
    there = done_json("keys", "show", key_id, "--keyring", ring)
    del there["imported"]
    assert shown == {**there, "keyring": str(other)}
    run("keys", "limit", key_id, "--any-context", "--keyring", other)
    ignored = ("--primary", "--context", "x")
    again = run("keys", "import", file, *ignored, "--keyring", other).stdout
    assert f"{key_id}, unchanged: --primary, --context ignored" in again
    assert "here: active; in the keyring it comes from: active, only for fraud/*" in again
    json_told = done_json("keys", "import", file, *ignored, "--keyring", other)
    assert json_told["ignored"] == ["--primary", "--context"]
    replaced = run("keys", "import", file, "--context", "x", "--keyring", tmp_path / "third")
    assert "only for x" in replaced.stdout
    assert "instead of those in the keyring it comes from: only for fraud/*" in replaced.stdout


def test_revocations_are_exported_alone_and_revoke_elsewhere(
    ring: Path, sealed: Path, tmp_path: Path
) -> None:
    file, other = tmp_path / "revoked.txt", tmp_path / "other"
    key_id = done_json("keys", "show", "--keyring", ring)["id"]
    assert run("keys", "export", "--revocations", "--keyring", ring).returncode == 2
    run("keys", "export", "-o", tmp_path / "key.txt", "--keyring", ring)
    run("keys", "import", tmp_path / "key.txt", "--keyring", other)
    revoked = run("keys", "revoke", key_id, "--reason", "stolen", "--keyring", ring).stdout
    (command,) = (line for line in revoked.splitlines() if "keys export" in line)
    done = run(*command.split("pickleseal ")[1].replace(f"{key_id[:8]}.txt", str(file)).split())
    assert done.returncode == 0, done.stderr
    for arguments in ((key_id,), ("--revocations",), ("--all",)):
        text = run("keys", "export", *arguments, "--keyring", ring).stdout
        assert text == file.read_text()
        assert not [secret for secret in secrets_of(ring) if secret in text]
    done = run("keys", "import", file, "--keyring", other)
    assert f"{key_id}: stolen" in done.stdout
    assert "keys import new.txt" in done.stdout
    refused = run("verify", sealed, "--keyring", other)
    assert refused.returncode == 1
    assert "stolen" in refused.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX only")
def test_a_file_that_others_can_change_is_not_imported(ring: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    folder.mkdir()
    file = folder / "key.txt"
    run("keys", "export", "-o", file, "--keyring", ring)
    for place, mode in ((file, 0o602), (folder, 0o777)):
        before = place.stat().st_mode & 0o7777
        place.chmod(mode)
        done = run("keys", "import", file, "--keyring", other)
        assert done.returncode == 2
        assert "chmod" in done.stderr
        assert not other.exists()
        place.chmod(before)
    folder.chmod(0o1777)
    file.chmod(0o644)
    assert run("keys", "import", file, "--keyring", other).returncode == 0, "as in /tmp"
    with file.open() as stdin:
        piped = subprocess.run(
            [sys.executable, "-m", "pickleseal", "keys", "import", "/dev/stdin",
             "--keyring", str(tmp_path / "third")],
            stdin=stdin, check=False,
        )  # fmt: skip
    assert piped.returncode == 0


def test_a_ring_is_backed_up_and_restored_by_command(
    ring: Path, sealed: Path, tmp_path: Path
) -> None:
    file, new = tmp_path / "ring.backup", tmp_path / "new"
    env = {"PICKLESEAL_NEW_PASSPHRASE": "correct horse"}
    told = run("keys", "backup", file, "--keyring", ring, env=env)
    assert told.returncode == 0, told.stderr
    assert not [s for s in secrets_of(ring) if s in told.stdout + file.read_text()]
    if hasattr(os, "geteuid"):
        assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert run("keys", "backup", file, "--keyring", ring, env=env).returncode == 2
    assert file.read_text() == before, "an earlier backup is not overwritten"
    wrong = run("keys", "restore", file, "--keyring", new, env={"PICKLESEAL_PASSPHRASE": "no"})
    assert wrong.returncode == 2
    assert str(file) in wrong.stderr
    assert not new.exists()
    opens = {"PICKLESEAL_PASSPHRASE": "correct horse"}
    done = done_json("keys", "restore", file, "--keyring", new, env=opens)
    assert (done["whole"], len(done["files"])) == (True, 1)
    assert run("verify", sealed, "--keyring", new).returncode == 0
    again = run("keys", "restore", file, "--keyring", new, env=opens)
    assert "none was missing: nothing was written" in again.stdout
    key_id = done_json("keys", "show", "--keyring", new)["id"]
    (new / f"{key_id}.key").unlink()
    lost = run("verify", sealed, "--keyring", new)
    assert "if a backup turns up" in lost.stderr
    assert "final" in run("keys", "doctor", "--keyring", new).stdout
    revoked = run("keys", "revoke", key_id, "--reason", "lost", "--keyring", new)
    assert "no backup brings it back" in revoked.stdout
    left = run("keys", "restore", file, "--keyring", new, env=opens)
    assert f"{key_id}: not restored, since its revocation here is final" in left.stdout
    assert "none was missing" not in left.stdout
    assert done_json("keys", "restore", file, "--keyring", new, env=opens)["revoked"] == [key_id]
    (line,) = (line for line in left.stdout.splitlines() if "NEW_FOLDER" in line)
    elsewhere = tmp_path / "elsewhere"
    command = shlex.split(line.partition("pickleseal ")[2].replace("NEW_FOLDER", str(elsewhere)))
    assert run(*command, env=opens).returncode == 0
    assert run("verify", sealed, "--keyring", elsewhere).returncode == 0
    for bad in ("none", "empty"):
        (tmp_path / "empty").touch()
        refused = run("keys", "restore", tmp_path / bad, "--keyring", new)
        assert refused.returncode == 2
        assert str(tmp_path / bad) in refused.stderr
        assert "passphrase" not in refused.stderr, "it is not asked for in vain"
