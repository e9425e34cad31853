"""`keys doctor` and where a ring lies: git, shared disks, the environment."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from doctoring import NOW, git, look, mend, new_key
from rings import command_line, key_file, posix, revoke

from pickleseal import KeyringError, open_keyring
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import surroundings
from pickleseal.keys.store.changes import Storage, import_keys, protect, rotate
from pickleseal.keys.store.directory import INDEX, RingFiles
from pickleseal.keys.store.doctor import examine
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.surroundings import shared_kind


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """Return a new ring, with nothing wrong."""
    folder = tmp_path / "a ring"
    new_key(folder)
    return folder


# --- where it lies -------------------------------------------------------------------------------


def test_keys_that_git_tracks_are_found_and_taken_out(ring: Path) -> None:
    git(ring.parent, "init", "-q")
    git(ring.parent, "add", "-f", ".")
    (finding,) = look(ring).findings
    assert "tracked by git" in finding.problem
    assert key_file(ring).name in finding.problem
    key_file(ring).write_text(key_file(ring).read_text().strip())  # no longer as it was added
    mend(finding)
    assert look(ring).code == 0
    assert key_file(ring).exists()


def test_several_keys_and_copies_of_them_in_git_are_counted(ring: Path) -> None:
    git(ring, "init", "-q")
    copies = (
        key_file_of_primary(ring).with_suffix(".key.bak"),
        ring / f"{TEMPORARY_PREFIX}0123456789abcdef{TEMPORARY_SUFFIX}",
    )
    for copy in copies:
        copy.write_text(key_file_of_primary(ring).read_text())
    git(ring, "add", "-f", ".")
    for copy in copies:
        copy.unlink()
    (finding,) = look(ring).findings
    assert finding.problem.startswith("3 of its key files")
    mend(finding)
    assert look(ring).code == 0


def key_file_of_primary(folder: Path) -> Path:
    return folder / f"{open_keyring(folder).primary}.key"


@pytest.mark.parametrize("role", ["primary", "retired"])
def test_a_key_that_was_committed_is_leaked_until_it_is_revoked(role: str, ring: Path) -> None:
    file = key_file(ring)
    if role == "retired":
        rotate(ring, now=NOW)
    git(ring.parent, "init", "-q")
    git(ring.parent, "add", "-f", str(file))
    git(ring.parent, "commit", "-q", "-m", "oops")
    git(ring.parent, "rm", "-q", "--cached", str(file))
    git(ring.parent, "commit", "-q", "-m", "gone")
    (finding,) = look(ring).findings
    assert finding.place == str(file)
    assert "was committed" in finding.problem
    mend(finding)
    assert look(ring).code == 0
    assert open_keyring(ring).primary not in (None, file.stem)


def test_a_repository_that_would_take_keys_is_found_and_told_to_leave_them(ring: Path) -> None:
    git(ring.parent, "init", "-q")
    assert look(ring).code == 0
    for text in (None, "", "*.txt", "!*.key"):
        if text is None:
            (ring / ".gitignore").unlink()
        else:
            (ring / ".gitignore").write_text(text)
        (finding,) = look(ring).findings
        assert "does not ignore" in finding.problem
        mend(finding)
        assert look(ring).code == 0
        assert (ring / ".gitignore").read_text().startswith(text or "")
    git(ring.parent, "add", ".")
    assert look(ring).code == 0


def wrapped_keys(folder: Path) -> None:
    ids = [entry.id for entry in open_keyring(folder).entries.values()]
    files = RingFiles(folder)
    protect(files, ids, Opener(), lambda: Storage(Passphrase("correct horse battery")))


def test_encrypted_keys_may_be_in_git_and_their_plain_ones_may_not(ring: Path) -> None:
    wrapped_keys(ring)
    git(ring.parent, "init", "-q")
    (ring / ".gitignore").unlink()
    git(ring.parent, "add", ".")
    git(ring.parent, "commit", "-q", "-m", "encrypted")
    assert look(ring).code == 0
    file = key_file(ring)
    text = file.read_text()
    file.write_text(KeyLine.generate().reveal())
    assert "does not ignore" in " ".join(finding.problem for finding in look(ring).findings)
    git(ring.parent, "commit", "-q", "-a", "-m", "oops")
    file.write_text(text)
    git(ring.parent, "commit", "-q", "-a", "-m", "encrypted again")
    (finding,) = look(ring).findings
    assert "was committed" in finding.problem


@posix
def test_keys_that_a_command_prints_may_be_in_git(ring: Path, tmp_path: Path) -> None:
    line = key_file(ring).read_text()
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho {line}")
    program.chmod(0o700)
    other = tmp_path / "other"
    import_keys(other, [command_line([str(program)])], now=NOW)
    git(other, "init", "-q")
    (other / ".gitignore").unlink()
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "no secret")
    assert look(other).code == 0


@posix
def test_attributes_of_a_repository_start_nothing(ring: Path, tmp_path: Path) -> None:
    """To search in a commit, git may convert files by a program that the repository names."""
    git(ring.parent, "init", "-q")
    (ring.parent / ".gitattributes").write_text("*.key* diff=trap filter=trap\n")
    git(ring.parent, "add", "-f", ".")
    git(ring.parent, "commit", "-q", "-m", "oops")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\necho nothing\n")
    trap.chmod(0o700)
    for name in ("diff.trap.textconv", "diff.trap.command", "filter.trap.clean"):
        git(ring.parent, "config", name, str(trap))
    assert "tracked by git" in " ".join(finding.problem for finding in look(ring).findings)
    assert not (tmp_path / "sprung").exists()


def test_a_repository_may_ignore_the_ring_from_above(ring: Path) -> None:
    git(ring.parent, "init", "-q")
    (ring / ".gitignore").unlink()
    (ring.parent / ".gitignore").write_text(f"/{ring.name}/\n")
    assert look(ring).code == 0


def test_a_hook_of_another_repository_does_not_mislead(ring: Path, tmp_path: Path) -> None:
    git(ring.parent, "init", "-q")
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "-q")
    (ring / ".gitignore").unlink()
    env = {"GIT_DIR": str(tmp_path / "other/.git"), "GIT_WORK_TREE": str(tmp_path / "other")}
    assert ["does not ignore" in f.problem for f in look(ring, env=env).findings] == [True]


@posix
def test_the_settings_of_a_repository_start_nothing(ring: Path, tmp_path: Path) -> None:
    """A repository may have come in an archive, with settings that name programs."""
    git(ring.parent, "init", "-q")
    git(ring.parent, "add", "-f", ".")
    git(ring.parent, "commit", "-q", "-m", "oops")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\n")
    trap.chmod(0o700)
    for name in ("core.fsmonitor", "core.pager", "diff.external", "gpg.program"):
        git(ring.parent, "config", name, str(trap))
    git(ring.parent, "config", "log.showSignature", "true")
    assert look(ring).code == 1
    assert not (tmp_path / "sprung").exists()


def test_a_repository_that_git_cannot_read_is_found(ring: Path) -> None:
    git(ring.parent, "init", "-q")
    (ring.parent / ".git" / "HEAD").write_text("nonsense\x1b[2J")
    outcome = look(ring)
    (finding,) = outcome.findings
    assert "cannot tell whether it contains the keys" in finding.problem
    assert "cannot tell whether a commit contains the keys" in finding.problem
    assert "\x1b" not in outcome.text


@posix
def test_a_hostile_repository_runs_nothing_and_learns_nothing(ring: Path, tmp_path: Path) -> None:
    """A clone that lacks an object fetches it, from where its own settings say."""
    top = ring.parent
    mark, program = tmp_path / "mark", tmp_path / "program"
    program.write_text(f"#!/bin/sh\nenv > '{mark}'\n")
    program.chmod(0o700)
    git(top, "init", "-q")
    (top / "file").write_text("1")
    git(top, "add", "file")
    git(top, "commit", "-q", "-m", "one")
    tree = subprocess.run(
        ["git", "-C", top, "rev-parse", "HEAD^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (top / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with (top / ".git" / "config").open("a") as config:
        config.write(
            "[core]\n repositoryformatversion = 1\n fsmonitor = " + str(program) + "\n"
            "[extensions]\n partialClone = origin\n"
            f'[remote "origin"]\n url = ext::{program}\n promisor = true\n'
            '[protocol "ext"]\n allow = always\n'
        )
    outcome = look(ring, env={"PICKLESEAL_PASSPHRASE": "a secret"})
    assert not mark.exists()
    assert any("cannot tell" in finding.problem for finding in outcome.findings)


def test_a_key_that_was_committed_elsewhere_in_the_repository_is_found(
    ring: Path, tmp_path: Path
) -> None:
    top = ring.parent
    git(top, "init", "-q")
    (top / "old place").mkdir()
    copy = top / "old place" / key_file(ring).name
    copy.write_text(key_file(ring).read_text())
    git(top, "add", "-f", str(copy))
    git(top, "commit", "-q", "-m", "one")
    git(top, "rm", "-q", "--cached", str(copy))
    git(top, "commit", "-q", "--amend", "--allow-empty", "-m", "as if nothing had been")
    copy.unlink()
    copy.parent.rmdir()
    findings = look(ring).findings
    assert any("was committed" in f.problem and f.place == str(key_file(ring)) for f in findings)
    revoke(ring, key_file(ring).stem)
    assert not any("was committed" in finding.problem for finding in examine(ring, now=NOW))


def test_where_there_is_no_git_a_repository_is_found(ring: Path) -> None:
    assert look(ring, env={"PATH": ""}).code == 0
    git(ring.parent, "init", "-q")
    outcome = look(ring, env={"PATH": ""})
    assert ["cannot tell" in f.problem for f in outcome.findings] == [True]


@posix
def test_a_git_that_is_gone_meanwhile_is_no_reason_to_fail(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ring / ".git").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    program.write_text('#!/bin/sh\ncase "$*" in *" grep "*) /bin/rm "$0"; exit 1;; esac\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(program.parent))
    assert examine(ring, now=NOW) == []
    assert not program.exists()


@posix
def test_git_learns_no_secret_and_no_other_repository(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ring / ".git").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    program.write_text(f"#!/bin/sh\n/usr/bin/env >> '{tmp_path}/seen'\n")
    program.chmod(0o700)
    for name in ("PATH", "GIT_DIR", "PICKLESEAL_NEW_PASSPHRASE"):
        monkeypatch.setenv(name, str(program.parent))
    examine(ring, now=NOW)
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen
    assert "GIT_DIR=" not in seen
    assert "PICKLESEAL_" not in seen


def test_a_lack_of_descriptors_is_no_answer_of_git(
    ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    (ring / ".git").mkdir()
    monkeypatch.setattr(subprocess, "run", lacking)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        examine(ring, now=NOW)


@pytest.mark.parametrize("what", ["index", "key"])
def test_a_lack_of_descriptors_is_no_fault_of_a_file(
    what: str, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = ring / INDEX if what == "index" else key_file(ring), os.open

    def lacking(file: Any, *arguments: Any, **options: Any) -> int:
        if str(file) == str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(file, *arguments, **options)

    monkeypatch.setattr(os, "open", lacking)
    with pytest.raises(KeyringError, match=os.strerror(errno.EMFILE)):
        examine(ring, now=NOW)


MOUNTS = r"""sysfs /sys sysfs rw,nosuid 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sda1 / ext4 rw,relatime 0 0
/dev/sdb1 /home/ann/local ext4 rw 0 0
//nas/my\040files /mnt/my\040files cifs rw 0 0
//nas/x /mnt/back\134slash\040\011tab cifs rw 0 0
//nas/u /mnt/ключи cifs rw 0 0
ann@host: /mnt/ssh fuse.sshfs rw 0 0
portal /run/user/1000/doc fuse.portal rw 0 0
server:/old /srv nfs rw 0 0
/dev/sdc1 /srv ext4 rw 0 0
broken
 /mnt
"""


@pytest.mark.skipif(os.name == "nt", reason="the paths are those of POSIX")
@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/etc/ring", None),
        ("/home/ann/ring", "nfs4"),
        ("/home/ann/local/ring", None),
        ("/home/ann/locally/ring", "nfs4"),
        ("/homes/ann", None),
        ("/mnt/my files/ring", "cifs"),
        (r"/mnt/my\040files/ring", None),
        ("/mnt/back\\slash \ttab/ring", "cifs"),
        ("/mnt/ключи/ring", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/run/user/1000/doc/ring", None),
        ("/srv/ring", None),
    ],
)
def test_a_disk_that_others_share_is_known_from_the_table_of_mounts(
    folder: str, kind: str | None
) -> None:
    assert shared_kind(Path(folder), MOUNTS) == kind
    assert shared_kind(Path(folder), "") is None


def test_a_ring_on_a_disk_that_others_share_is_found(
    ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_mounts", lambda: "server:/ / nfs4 rw 0 0\n")
    (finding,) = examine(ring, now=NOW)
    assert "other machines share (nfs4)" in finding.problem


# --- secrets around it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["PICKLESEAL_KEY", "PICKLESEAL_PASSPHRASE", "PICKLESEAL_NEW_PASSPHRASE"]
)
def test_a_secret_in_the_environment_is_found_outside_ci_and_not_shown(
    name: str, ring: Path
) -> None:
    secret = KeyLine.generate().reveal()
    outcome = look(ring, env={name: secret})
    (finding,) = outcome.findings
    assert (finding.place, finding.fix) == (name, f"unset {name}")
    for part in secret.split(".")[1:]:
        assert len(part) < 3 or part not in outcome.text + str(outcome.findings)
    assert look(ring, env={name: secret, "CI": "true"}).code == 0
    assert look(ring, env={"PICKLESEAL_PASSPHRASE_COMMAND": "/usr/bin/pass show x"}).code == 0
