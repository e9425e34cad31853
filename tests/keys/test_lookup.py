"""Which keyring a call uses, and when it is read again."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from rings import change_index, command_line, key_of, posix

from pickleseal import (
    Key,
    Keyring,
    KeyringError,
    NoKeyError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import KeyLine
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX
from pickleseal.keys.store.lookup import find_keyring, keyring_directory


@pytest.fixture
def rings(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("given", "variable", "own/pickleseal/keyring")]
    for folder in folders:
        create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    return folders


def test_the_argument_comes_first_then_the_variables_then_the_users_own(
    rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [open_keyring(folder).primary for folder in rings]
    line = KeyLine.generate().reveal()
    with pytest.raises(NoKeyError):
        find_keyring()
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
        assert find_keyring().primary == ids[2]
    monkeypatch.setenv("PICKLESEAL_KEY", line)
    assert find_keyring().primary == line[-32:]
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(rings[1]))
    assert find_keyring().primary == ids[1]
    assert find_keyring(rings[0]).primary == ids[0]
    assert find_keyring(str(rings[0])).primary == ids[0]
    ring = Keyring(Key.generate())
    assert find_keyring(ring) is ring


@pytest.mark.parametrize(
    ("directory", "error"),
    [
        ("", KeyringError),
        ("pickleseal-key-1.2", KeyringError),
        ("s3://bucket/ring", KeyringError),
        (None, TypeError),
        (b"ring", TypeError),
    ],
)
def test_what_names_no_folder_is_told_and_is_not_the_current_folder(
    directory: Any, error: type[Exception], ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ring_directory)
    with pytest.raises(error, match=r"empty|key line|is a URL|takes the path of a directory"):
        open_keyring(directory)


@pytest.mark.skipif(sys.platform != "linux", reason="the user's own directory is elsewhere")
def test_an_own_ring_without_its_index_is_damaged_and_not_missing(
    rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    (rings[2] / INDEX).unlink()
    for to_open in ("--all", None):
        with pytest.raises(KeyringError) as caught:
            find_keyring(to_open=to_open)
        assert not isinstance(caught.value, NoKeyError)
        assert str(rings[2] / INDEX) in str(caught.value)


def test_a_file_given_as_a_keyring_is_refused_by_its_own_name(ring_directory: Path) -> None:
    with pytest.raises(KeyringError) as caught:
        find_keyring(ring_directory / INDEX)
    assert str(caught.value).startswith(f"{ring_directory / INDEX} is not a directory")


def test_a_missing_key_file_is_told_with_the_ring_to_mend(ring_directory: Path) -> None:
    (file,) = ring_directory.glob("*.key")
    file.unlink()
    mend = f"restore a backup.* --reason lost --keyring {ring_directory}`. That is final"
    with pytest.raises(KeyringError, match=mend):
        open_keyring(ring_directory)


@pytest.mark.parametrize("home", [None, "~/.local/share"])
def test_without_a_home_directory_there_is_no_keyring_of_ones_own(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be another one in each folder. Versions of platformdirs differ in what they do."""

    def folder(*_: object, **__: object) -> str:
        if home is None:
            raise RuntimeError
        return home

    monkeypatch.setattr(platformdirs, "user_data_dir", folder)
    with pytest.raises(NoKeyError, match="no home directory"):
        find_keyring()


@posix
def test_a_tilde_in_an_argument_is_the_home_directory(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ring_directory.parent))
    assert find_keyring(f"~/{ring_directory.name}").primary is not None
    assert keyring_directory("~/new") == ring_directory.parent / "new"


def test_a_tilde_that_stands_for_no_home_is_not_a_folder_here(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ring_directory.parent / "~nobody-is-called-this").symlink_to(ring_directory)
    monkeypatch.chdir(ring_directory.parent)
    with pytest.raises(KeyringError):
        open_keyring("~nobody-is-called-this")


NOBODY = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]


def has_nobody() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_nobody(), reason="there is no user without a name here")
def test_a_user_without_name_and_home_is_told_what_to_set(tmp_path: Path) -> None:
    code = (
        "import pickleseal\n"
        "for call in (lambda: pickleseal.signed_dumps(1), lambda: pickleseal.signed_load('a')):\n"
        "    try: call()\n"
        "    except pickleseal.KeyringError as error: print(error)\n"
        "(finding,) = pickleseal.audit('a')\n"
        "print(finding.verdict, pickleseal.inspect('a').status)\n"
    )
    (tmp_path / "a").write_bytes(signed_dumps(1, keyring=Keyring(Key.generate())))

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NOBODY, sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **variables},
            cwd=tmp_path,
        )

    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    dumped, loaded, judged = done.stdout.splitlines()
    assert judged == "unknown key unverified"
    for told in (dumped, loaded):
        assert "PICKLESEAL_KEYRING" in told
        assert "PICKLESEAL_KEY " in told
    for command in (["keygen"], ["keys", "list"], ["verify", "a"], ["keys", "doctor"]):
        done = run("-m", "pickleseal", *command)
        assert done.returncode == 2
        assert "PICKLESEAL_KEYRING" in done.stderr
        assert "Traceback" not in done.stderr
    assert run("-m", "pickleseal", "audit", "a").returncode == 1
    assert "unverified" in run("-m", "pickleseal", "inspect", "a").stdout.lower()
    line = KeyLine.generate().reveal()
    done = run("-c", "import pickleseal; pickleseal.signed_dumps(1)", PICKLESEAL_KEY=line)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_key_lines_in_the_environment_seal_with_the_first_and_open_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [KeyLine.generate(suite) for suite in (Suite.BLAKE3, Suite.SHA256, Suite.BLAKE3)]
    keys = [Key.parse(line) for line in lines]
    texts = [line.reveal() for line in lines]
    monkeypatch.setenv("PICKLESEAL_KEY", f"  {texts[0]}\n\n{texts[1]} {texts[2]}\t{texts[0]}\n")
    assert signed_dumps(1)[16:32] == keys[0].raw_id
    for key in keys:
        assert signed_loads(signed_dumps("x", keyring=Keyring(key))) == "x"
    monkeypatch.setenv("PICKLESEAL_KEY", texts[1])
    with pytest.raises(UnknownKeyError):
        signed_loads(signed_dumps("x", keyring=Keyring(keys[0])))


@pytest.mark.parametrize(
    "value",
    ["", "  \n", "nonsense", KeyLine.generate().reveal()[:-1]],
    ids=["empty", "blank", "nonsense", "cut"],
)
def test_key_lines_that_are_none_are_refused_and_nothing_else_is_tried(
    value: str, rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("PICKLESEAL_KEY", value)
    with pytest.raises(KeyringError):
        find_keyring()


@pytest.mark.parametrize("value", ["", "keys", "./keys", "../keys", "~/keys"])
def test_the_variable_takes_an_absolute_path_alone(
    value: str, rings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", value)
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    for find in (find_keyring, keyring_directory):
        with pytest.raises(KeyringError, match="absolute path" if value else "is empty"):
            find()


def test_a_ring_that_is_missing_is_refused_and_nothing_else_is_tried(
    rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "nothing"))
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    with pytest.raises(KeyringError):
        find_keyring()


def test_an_open_ring_is_kept_and_read_again_when_it_changes(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    ring = find_keyring()
    assert find_keyring() is ring
    assert find_keyring(ring_directory) is ring
    other = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=0)
    assert other.entry.id in find_keyring().entries
    waited = {"sign_from": 5, "replaces": "0" * 32}
    change_index(ring_directory, lambda i: i["keys"][other.entry.id].update(waited))
    assert find_keyring() is find_keyring(), "though a key's time has come for nothing"


def test_a_key_alone_is_no_keyring() -> None:
    with pytest.raises(TypeError, match=r"wrap it: Keyring\(key\)"):
        find_keyring(Key.generate())  # type: ignore[arg-type]


def test_a_key_line_in_the_variable_of_a_path_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", KeyLine.generate().reveal())
    with pytest.raises(KeyringError, match="PICKLESEAL_KEYRING: this is a key line"):
        find_keyring()


def test_a_change_is_made_in_no_other_ring_than_loads_use(
    rings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    with pytest.raises(KeyringError, match="cannot change the keys in PICKLESEAL_KEY"):
        keyring_directory()
    assert keyring_directory(rings[0]) == rings[0]
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(rings[1]))
    assert keyring_directory() == rings[1]


@pytest.mark.skipif(sys.platform != "linux", reason="the user's own directory is elsewhere")
def test_an_own_ring_that_cannot_be_looked_at_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    with pytest.raises(KeyringError, match="cannot be read: File name too long"):
        find_keyring()


def test_a_line_in_the_variable_that_names_a_command_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fetch"
    mark = tmp_path / "mark"
    script.write_text(f"#!/bin/sh\ntouch '{mark}'\necho {KeyLine.generate().reveal()}\n")
    script.chmod(0o700)
    line = command_line([str(script)])
    mark.unlink()
    monkeypatch.setenv("PICKLESEAL_KEY", line.reveal())
    with pytest.raises(KeyringError):
        signed_dumps(1)
    assert not mark.exists()


def test_a_running_server_takes_notice_of_a_revocation(ring_directory: Path) -> None:
    other = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=1)
    data = signed_dumps("sealed", keyring=Keyring(key_of(other)))
    outcomes: list[object] = []
    ready, revoked = threading.Event(), threading.Event()

    def serve() -> None:
        outcomes.append(signed_loads(data, keyring=ring_directory))
        ready.set()
        revoked.wait()
        try:
            outcomes.append(signed_loads(data, keyring=ring_directory))
        except RevokedKeyError:
            outcomes.append("refused")

    server = threading.Thread(target=serve)
    server.start()
    ready.wait()
    change_index(ring_directory, lambda i: i["keys"][other.entry.id].update(state="revoked"))
    revoked.set()
    server.join()
    assert outcomes == ["sealed", "refused"]


def test_a_relative_path_means_the_ring_of_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = []
    for name in ("one", "two"):
        create_key(tmp_path / name / "ring", suite=Suite.BLAKE3, note="", now=0)
        monkeypatch.chdir(tmp_path / name)
        sealed.append(signed_dumps(name, keyring="ring"))
    with pytest.raises(UnknownKeyError):
        signed_loads(sealed[0], keyring="ring")
    assert signed_loads(sealed[1], keyring="ring") == "two"
    monkeypatch.chdir(tmp_path / "one")
    assert signed_loads(sealed[0], keyring="ring") == "one"
