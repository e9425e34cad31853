"""Keys that are held elsewhere: by a command, by the keyring of the system, by AWS KMS.

What can be run is run: real programs, a real Secret Service, a KMS of its own process.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_kms import Call, Credentials, LocalKms

from pickleseal import (
    BadSealError,
    Key,
    KeyPermissionError,
    Keyring,
    KeyringError,
    Suite,
    UnknownKeyError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.store import changes, commands, permissions
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.lines import Opener, check_foreign
from pickleseal.keys.store.providers import aws_kms, os_keyring, reference_of

posix = pytest.mark.skipif(os.name != "posix", reason="the programs are POSIX scripts")


def run(
    *arguments: object, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def secret_of(line: KeyLine) -> str:
    return line.reveal().split(".")[2]


def told(error: BaseException) -> str:
    """Give what is in an error and those before it, and in each variable on their way here."""
    texts = []
    chain: BaseException | None = error
    while chain is not None:
        texts.append(f"{chain!r} {vars(chain)}")
        frames = [frame for frame, _ in traceback.walk_tb(chain.__traceback__)]
        texts.extend(repr(frame.f_locals) for frame in frames if "tests" not in frame_file(frame))
        chain = chain.__cause__ or chain.__context__
    return "\n".join(texts)


def frame_file(frame: types.FrameType) -> str:
    return Path(frame.f_code.co_filename).parent.name


# --- a command -------------------------------------------------------------------------------


@pytest.fixture
def line() -> KeyLine:
    return KeyLine.generate()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that writes a program, for its owner alone."""

    def write(text: str) -> Path:
        path = tmp_path / "fetch key"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return path

    return write


def ring_of(folder: Path, *argv: object) -> Path:
    changes.import_keys(folder, [changes.command_line([*map(str, argv)])], now=0)
    return folder


@posix
def test_a_key_that_a_command_prints_seals_and_opens(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    ring = open_keyring(folder)
    assert ring.primary == outline(line).id
    data = signed_dumps({"a": 1}, keyring=ring)
    assert signed_loads(data, keyring=ring) == {"a": 1}
    assert signed_loads(data, keyring=Keyring(Key.parse(line))) == {"a": 1}
    for file in folder.iterdir():
        assert secret_of(line) not in file.read_text()


@posix
def test_a_command_is_run_when_its_key_is_first_used_and_once(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    runs = tmp_path / "runs"
    program = script(f"echo >> '{runs}'\necho {line.reveal()}")
    folder = ring_of(tmp_path / "ring", program)
    changes.create_key(folder, now=0)
    runs.unlink()
    ring = open_keyring(folder)
    assert run("keys", "list", "--keyring", folder).returncode == 0
    assert not runs.exists()
    data = signed_dumps(1, keyring=ring)
    for _ in range(3):
        assert signed_loads(data, keyring=ring) == 1
    assert len(runs.read_text().splitlines()) == 1
    assert signed_loads(data, keyring=folder) == 1
    # The ring of a path is read again when it has changed, and the key is not fetched again.
    changes.create_key(folder, now=0)
    assert signed_loads(data, keyring=folder) == 1
    assert len(runs.read_text().splitlines()) == 2


@posix
def test_a_command_is_run_once_for_many_threads(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    runs = tmp_path / "runs"
    folder = ring_of(tmp_path / "ring", script(f"echo >> '{runs}'\necho {line.reveal()}"))
    runs.unlink()
    ring = open_keyring(folder)
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(signed_dumps(1, keyring=ring)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [signed_loads(data, keyring=ring) for data in made] == [1] * 8
    assert len(runs.read_text().splitlines()) == 1


@posix
def test_the_arguments_of_a_command_arrive_as_they_are(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    arguments = ["two words", f"$(touch {tmp_path}/shell)", f"; touch {tmp_path}/shell", "", "*"]
    arguments += ["'\"\\", "a\nb", "é", os.fsdecode(b"no \xff Unicode")]
    seen = tmp_path / "seen"
    program = script(f"printf '%s\\0' \"$@\" > '{seen}'\necho {line.reveal()}")
    ring = open_keyring(ring_of(tmp_path / "ring", program, *arguments))
    seen.unlink()
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1
    assert [os.fsdecode(part) for part in seen.read_bytes().split(b"\0")[:-1]] == arguments
    assert not (tmp_path / "shell").exists()


@posix
def test_a_command_is_taken_from_the_one_who_types_it(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    program = script(f'test "$1" = "two words" && echo {line.reveal()}')
    folder = tmp_path / "ring"
    typed = f"'{program}' 'two words'"
    done = run("keys", "import", "--command", typed, "--keyring", folder, "--json")
    assert json.loads(done.stdout)["keys"][0]["id"] == outline(line).id
    shown = run("keys", "show", "--keyring", folder)
    assert str(program) in shown.stdout
    assert secret_of(line) not in done.stdout + done.stderr + shown.stdout
    data = signed_dumps(1, keyring=folder)
    assert signed_loads(data, keyring=folder) == 1


FAILURES = {
    "exit code": ("echo {line}; echo sorry >&2; exit 3", "exit code 3"),
    "nothing": ("true", "printed nothing"),
    "white space": ("echo; echo '  '", "printed nothing"),
    "too much": ("echo {line}; exec yes {line}", "printed too much"),
    "a little too much": ("printf '%2049d' 1", "printed too much"),
    "two lines": ("echo {line}; echo user: {line}", "more than one line"),
    "no key line": ("echo hello", "no key line"),
    "a changed line": ("echo {line}0", "id"),
    "a trace": ("set -x; true {line}; exit 1", "exit code 1"),
    "a signal": ("echo {line}; kill -9 $$", "exit code -9"),
    "a long complaint": ("yes {line} | head -c 1000000 >&2; exit 1", "exit code 1"),
}


@posix
@pytest.mark.parametrize("name", FAILURES)
def test_a_command_that_fails_is_named_and_no_secret_is(
    name: str, tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    text, message = FAILURES[name]
    program = script(text.format(line=line.reveal()))
    ring = open_keyring(folder)
    for call in (
        lambda: signed_dumps(1, keyring=ring),
        lambda: changes.command_line([str(program)]),
    ):
        with pytest.raises(KeyringError, match=message) as caught:
            call()
        assert "command" in str(caught.value)
        assert secret_of(line) not in told(caught.value)
        if name not in ("no key line", "a changed line"):  # said of what it printed
            assert str(program) in str(caught.value)
    # What failed is tried again: the person may have unlocked the manager meanwhile.
    script(f"echo {line.reveal()}")
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1


@posix
def test_a_command_may_complain_as_much_as_it_likes_and_succeed(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    program = script(f"yes warning | head -c 1000000 >&2; echo {line.reveal()}")
    assert outline(changes.command_line([str(program)])).id == outline(line).id


@posix
@pytest.mark.parametrize(
    "text",
    ["sleep 1000 & echo $! > '{file}'; wait", "exec >&-; echo $$ > '{file}'; exec sleep 1000"],
    ids=["with a grandchild", "after it has closed its output"],
)
def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    text: str, tmp_path: Path, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pid"
    program = script(text.format(file=file))
    monkeypatch.setattr(commands, "TIME_LIMIT", 2)
    with pytest.raises(KeyringError, match=r"fetch key gave no answer in 2 s"):
        changes.command_line([str(program)])
    assert is_gone(int(file.read_text()))


def is_gone(pid: int) -> bool:
    """Wait until a process has ended, as one that was killed soon has."""
    for _ in range(600):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # ended, and nobody has asked for its exit code
        time.sleep(0.05)
    return False


@posix
def test_a_command_that_is_interrupted_is_ended(
    tmp_path: Path, script: Callable[[str], Path]
) -> None:
    file = tmp_path / "pid"
    program = script(f"sleep 1; echo $$ > '{file}'; exec sleep 1000")
    child = subprocess.Popen(
        [sys.executable, "-m", "pickleseal", "keys", "import", "--command", f"'{program}'"],
        env={**os.environ, "PICKLESEAL_KEYRING": str(tmp_path / "ring")},
        stderr=subprocess.PIPE,
    )
    while not (file.exists() and file.read_text().strip()):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate()
    assert b"Traceback" not in complaint
    assert is_gone(int(file.read_text()))
    assert not list((tmp_path).rglob("*.key"))


@posix
def test_a_command_that_prints_another_key_is_refused(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    other = KeyLine.generate()
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    script(f"echo {other.reveal()}")
    with pytest.raises(KeyringError, match=f"another key than {outline(line).id}") as caught:
        signed_dumps(1, keyring=open_keyring(folder))
    assert "fetch key" in str(caught.value)
    assert secret_of(other) not in told(caught.value)
    with pytest.raises(KeyringError, match="another key"):
        changes.export_lines(RingFiles(folder), [outline(line).id], Opener(), plain=True)


@pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
@pytest.mark.parametrize("what", ["program", "folder", "link"])
def test_a_command_that_others_can_change_is_not_run(
    what: str, tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    mark = tmp_path / "was run"
    program = script(f"touch '{mark}'; echo {line.reveal()}")
    ring = open_keyring(ring_of(tmp_path / "ring", program))
    mark.unlink()
    if what == "program":
        program.chmod(0o702)
    elif what == "folder":
        tmp_path.chmod(0o707)
    else:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        program.rename(tmp_path / "open" / "it")
        program.symlink_to(tmp_path / "open" / "it")
    with pytest.raises(KeyPermissionError):
        signed_dumps(1, keyring=ring)
    tmp_path.chmod(0o700)
    assert not mark.exists()


@posix
def test_a_command_is_an_absolute_path_of_a_program(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(f"echo {line.reveal()}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for argv in (
        [],
        [program.name],
        [f"./{program.name}"],
        [str(tmp_path / "none")],
        [str(program / "below")],
        [str(tmp_path)],
        [str(program), "a\0b"],
        [f"{program}\0"],
    ):
        with pytest.raises(KeyringError) as caught:
            changes.command_line(argv)
        assert "rm " not in str(caught.value)
    program.chmod(0o600)
    with pytest.raises(KeyringError, match="cannot be run"):
        changes.command_line([str(program)])
    program.chmod(0o700)
    with pytest.raises(KeyringError, match="too long"):
        changes.command_line([str(program), "x" * 3000])


@posix
def test_a_key_line_from_elsewhere_runs_no_command(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    mark = tmp_path / "was run"
    program = script(f"touch '{mark}'; echo {line.reveal()}")
    theirs = ring_of(tmp_path / "theirs", program)
    handed = run("keys", "export", "--yes", "--keyring", theirs).stdout
    mark.unlink()
    with pytest.raises(KeyringError, match="--command"):
        check_foreign([KeyLine(handed.strip())])
    (tmp_path / "handed").write_text(handed)
    for file, text in ((tmp_path / "handed", ""), ("-", handed)):
        done = run("keys", "import", file, "--keyring", tmp_path / "mine", stdin=text)
        assert done.returncode == 2
        assert "--command" in done.stderr
    assert not mark.exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("place", ["[]", "{}", "x", '["a",1]', "[" * 1000, '"a"', "null", "[[]]"])
def test_a_key_line_whose_command_is_none_is_refused(place: str, line: KeyLine) -> None:
    key = Key.parse(line)
    found = outline(line)
    text = ".".join(
        (
            f"pickleseal-key-1.{key.suite.value}-ext.command",
            base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode(),
            base64.urlsafe_b64encode(key.raw_id + bytes(16)).rstrip(b"=").decode(),
            found.id,
        )
    )
    held = Opener().key(KeyLine(text))
    with pytest.raises(KeyringError, match="list of texts"):
        held.mac(bytes(96))


@posix
def test_what_is_run_is_the_file_that_was_looked_at(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link may lead elsewhere by the time that the program starts."""
    program = script(f"echo {line.reveal()}")
    other = tmp_path / "other"
    mark = tmp_path / "mark"
    other.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    other.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(program)
    real = permissions.checked_program

    def then_exchanged(path: Path) -> Path:
        found = real(path)
        link.unlink()
        link.symlink_to(other)
        return found

    monkeypatch.setattr(commands, "checked_program", then_exchanged)
    assert changes.command_line([str(link)])
    assert not mark.exists()


@posix
def test_a_key_stays_with_its_command_and_is_handed_over_where_that_is_asked_for(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    with pytest.raises(KeyringError, match="make the new key there"):
        changes.like_primary(RingFiles(folder), Opener())
    assert run("keys", "unprotect", "--keyring", folder).returncode == 2
    done = run("keys", "export", "--plain", "--yes", "--keyring", folder)
    assert done.stdout.strip() == line.reveal()


# --- the keyring of the system -----------------------------------------------------------------

PLAINTEXT = "keyrings.alt.file.PlaintextKeyring"


class Store:
    """A keyring of a system, as those find it whom its variables name."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run(*arguments, env=self.env)

    def python(self, code: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, key_id: str) -> str | None:
        code = "import keyring, sys; print(keyring.get_password('pickleseal', sys.argv[1]))"
        text = self.python(code, key_id).strip()
        return None if text == "None" else text

    def delete(self, key_id: str) -> None:
        code = "import keyring, sys; keyring.delete_password('pickleseal', sys.argv[1])"
        self.python(code, key_id)


@pytest.fixture
def plaintext(tmp_path: Path) -> Store:
    """Give a store in a file below tmp_path, by a backend that is one of the package's own."""
    pytest.importorskip("keyrings.alt.file")
    return Store({"PYTHON_KEYRING_BACKEND": PLAINTEXT, "XDG_DATA_HOME": str(tmp_path / "data")})


@pytest.fixture
def secret_service(tmp_path: Path) -> Iterator[Store]:
    """Give a real Secret Service on a bus of its own: GNOME's, with an empty password."""
    pytest.importorskip("secretstorage")
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    for name in ("home", "runtime"):
        (tmp_path / name).mkdir(mode=0o700)
    home = {
        "HOME": str(tmp_path / "home"),
        "XDG_DATA_HOME": str(tmp_path / "home" / "data"),
        "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    session = subprocess.Popen(
        [
            *("dbus-run-session", "--", "sh", "-c"),
            (
                "echo password | gnome-keyring-daemon --unlock --components=secrets > /dev/null"
                ' && echo "$DBUS_SESSION_BUS_ADDRESS" && exec cat'
            ),
        ],
        env={**os.environ, **home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert session.stdin is not None
    assert session.stdout is not None
    try:
        address = session.stdout.readline().strip()
        assert address, "the Secret Service did not start"
        backend = "keyring.backends.SecretService.Keyring"
        yield Store(
            {**home, "DBUS_SESSION_BUS_ADDRESS": address, "PYTHON_KEYRING_BACKEND": backend}
        )
    finally:
        session.stdin.close()  # which ends cat, the bus, and the daemon with it
        session.stdout.close()
        session.wait()


@pytest.fixture(params=["plaintext", "secret_service"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


SEAL_AND_LOAD = (
    "import pickleseal as ps, sys; from pathlib import Path\n"
    "path = Path(sys.argv[2])\n"
    "if not path.exists(): ps.signed_dump([1], path, keyring=sys.argv[1])\n"
    "print(ps.signed_load(path, keyring=sys.argv[1]))"
)


def test_a_key_in_the_keyring_of_the_system_lives_its_life(store: Store, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    made = store.run("keygen", "--os-keyring", "--keyring", ring, "--json")
    first = json.loads(made.stdout)["id"]
    kept = store.get(first)
    assert kept is not None
    assert Key.parse(KeyLine(kept)).id == first
    assert secret_of(KeyLine(kept)) not in made.stdout + made.stderr
    for file in ring.iterdir():
        assert secret_of(KeyLine(kept)) not in file.read_text()
    sealed = tmp_path / "sealed.pkl"
    assert store.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"

    second = json.loads(store.run("keys", "rotate", "--keyring", ring, "--json").stdout)["id"]
    assert "-ext.os-keyring." in (ring / f"{second}.key").read_text()
    assert store.get(second) is not None
    assert store.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"
    assert store.python(SEAL_AND_LOAD, ring, tmp_path / "new.pkl") == "[1]\n"
    shown = store.run("keys", "show", "--keyring", ring).stdout
    assert "os-keyring: pickleseal" in shown

    done = store.run("keys", "unprotect", "--keyring", ring, "--json")
    assert sorted(json.loads(done.stdout)["keys"]) == sorted([first, second])
    assert (store.get(first), store.get(second)) == (None, None)
    assert (ring / f"{first}.key").read_text() == f"{kept}\n"
    for file in (sealed, tmp_path / "new.pkl"):
        assert run("verify", file, "--keyring", ring).returncode == 0

    done = store.run("keys", "protect", "--os-keyring", "--keyring", ring, "--json")
    assert sorted(json.loads(done.stdout)["keys"]) == sorted([first, second])
    assert store.get(first) == kept
    assert secret_of(KeyLine(kept)) not in (ring / f"{first}.key").read_text()
    again = store.run("keys", "protect", "--os-keyring", "--keyring", ring)
    assert again.returncode == 0
    assert store.get(first) == kept
    assert store.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"

    exported = store.run("keys", "export", first, "--plain", "--yes", "--keyring", ring).stdout
    assert exported == f"{kept}\n"
    referred = store.run("keys", "export", first, "--yes", "--keyring", ring).stdout
    assert secret_of(KeyLine(kept)) not in referred

    store.delete(second)
    done = store.run("verify", tmp_path / "new.pkl", "--keyring", ring)
    assert done.returncode == 2
    assert f"has no key {second} under 'pickleseal'" in done.stderr
    assert store.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"


@pytest.fixture
def in_process(plaintext: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the same backend in this process."""
    import keyring.core

    for name, value in plaintext.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    return keyring


def os_ring(folder: Path) -> str:
    storage = changes.Storage(os_service=os_keyring.SERVICE)
    return changes.create_key(folder, now=0, storage=storage).entry.id


def test_the_keyring_of_the_system_is_asked_at_the_first_use(
    in_process: Any, tmp_path: Path
) -> None:
    key_id = os_ring(tmp_path / "ring")
    ring = open_keyring(tmp_path / "ring")
    kept = in_process.get_password("pickleseal", key_id)
    in_process.delete_password("pickleseal", key_id)
    with pytest.raises(KeyringError, match=f"has no key {key_id} under 'pickleseal'"):
        signed_dumps(1, keyring=ring)
    in_process.set_password("pickleseal", key_id, kept)
    data = signed_dumps(1, keyring=ring)
    in_process.delete_password("pickleseal", key_id)
    assert signed_loads(data, keyring=ring) == 1


def test_an_entry_that_is_not_the_key_is_refused_and_not_shown(
    in_process: Any, tmp_path: Path
) -> None:
    key_id = os_ring(tmp_path / "ring")
    other = KeyLine.generate()
    cut = KeyLine(in_process.get_password("pickleseal", key_id)[:-1])
    for text, message in (
        (other.reveal(), f"another key than {key_id}"),
        (cut.reveal(), f"the entry {key_id} under 'pickleseal'"),
        ("hunter2", "no key line"),
        ("", "no key line"),
    ):
        in_process.set_password("pickleseal", key_id, text)
        with pytest.raises(KeyringError, match=message) as caught:
            signed_dumps(1, keyring=open_keyring(tmp_path / "ring"))
        for secret in (secret_of(other), secret_of(cut), "hunter2"):
            assert secret not in told(caught.value)


@pytest.mark.parametrize("backend", ["fail", "null"])
def test_a_system_without_a_keyring_makes_no_key(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("keyring")
    env = {"PYTHON_KEYRING_BACKEND": f"keyring.backends.{backend}.Keyring"}
    ring = tmp_path / "ring"
    done = run("keygen", "--os-keyring", "--keyring", ring, env=env)
    assert done.returncode == 2
    assert "keyring of this system" in done.stderr
    assert not {file.name for file in ring.iterdir()} - {".gitignore", "keyring.lock"}
    made = json.loads(run("keygen", "--keyring", ring, "--json").stdout)
    before = {file.name: file.read_bytes() for file in ring.iterdir()}
    for arguments in (("keygen", "--os-keyring"), ("keys", "protect", "--os-keyring")):
        assert run(*arguments, "--keyring", ring, env=env).returncode == 2
        assert {file.name: file.read_bytes() for file in ring.iterdir()} == before
    assert open_keyring(ring).primary == made["id"]


def test_a_backend_that_is_not_there_is_an_error_of_the_keyring(tmp_path: Path) -> None:
    pytest.importorskip("keyring")
    env = {"PYTHON_KEYRING_BACKEND": "nowhere.Keyring"}
    done = run("keygen", "--os-keyring", "--keyring", tmp_path / "ring", env=env)
    assert done.returncode == 2
    assert "keyring of this system: ModuleNotFoundError" in done.stderr


def test_a_backend_that_names_the_secret_in_its_error_is_not_quoted(
    in_process: Any, tmp_path: Path
) -> None:
    from keyring.backend import KeyringBackend

    given: list[str] = []

    class Talkative(KeyringBackend):  # type: ignore[misc]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return None

        def set_password(self, service: str, username: str, password: str) -> None:
            given.append(password)
            raise subprocess.CalledProcessError(1, ["security", "-w", given[-1]])

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    in_process.set_keyring(Talkative())
    with pytest.raises(KeyringError, match="CalledProcessError") as caught:
        os_ring(tmp_path / "ring")
    assert secret_of(KeyLine(given[0])) not in told(caught.value)
    assert not list(tmp_path.rglob("*.key"))


# --- AWS KMS -----------------------------------------------------------------------------------

VERIFY_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["kms:VerifyMac"], "Resource": "*"}],
}
SEALING = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["kms:GenerateMac", "kms:VerifyMac"], "Resource": "*"}
    ],
}


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKms]:
    pytest.importorskip("moto")
    pytest.importorskip("botocore")
    server = LocalKms(tmp_path_factory.mktemp("kms"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def arn(kms: LocalKms) -> str:
    return kms.key()


@pytest.fixture(scope="module")
def verifier(kms: LocalKms) -> Credentials:
    return kms.user("verifier", VERIFY_ONLY)


@pytest.fixture(scope="module")
def sealer(kms: LocalKms) -> Credentials:
    return kms.user("sealer", SEALING)


@pytest.fixture
def as_root(kms: LocalKms, monkeypatch: pytest.MonkeyPatch) -> LocalKms:
    become(kms.environment(), monkeypatch)
    kms.calls.clear()
    return kms


def become(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def kms_ring(as_root: LocalKms, arn: str, tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    changes.import_keys(folder, [changes.kms_line(arn, Suite.BLAKE3)], now=0)
    as_root.calls.clear()
    return folder


@pytest.mark.parametrize("suite", Suite)
def test_a_key_in_kms_seals_and_opens(
    suite: Suite, as_root: LocalKms, arn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "ring"
    (made,) = changes.import_keys(folder, [changes.kms_line(arn, suite)], now=0).made
    assert made.is_primary
    ring = open_keyring(folder)
    data = signed_dumps({"a": bytes(100_000)}, keyring=ring)
    assert signed_loads(data, keyring=ring) == {"a": bytes(100_000)}
    # An import by the command line comes to the same key.
    other = tmp_path / "other"
    choice = {Suite.BLAKE3: "blake3", Suite.SHA256: "sha256"}[suite]
    done = run("keys", "import", "--aws-kms", arn, "--suite", choice, "--keyring", other, "--json")
    assert json.loads(done.stdout)["keys"][0]["id"] == made.entry.id
    assert signed_loads(data, keyring=other) == {"a": bytes(100_000)}


def test_kms_is_told_statements_and_never_data(as_root: LocalKms, kms_ring: Path) -> None:
    ring = open_keyring(kms_ring)
    assert not as_root.calls
    data = signed_dumps("a secret of the user's" * 1000, keyring=ring)
    proof = as_root.calls.pop(0)
    assert (proof.operation, proof.message[:20]) == ("VerifyMac", b"pickleseal/v1/key-id")
    assert [call.operation for call in as_root.calls] == ["GenerateMac", "GenerateMac"]
    signed_loads(data, keyring=ring)
    assert [call.operation for call in as_root.calls[2:]] == ["VerifyMac", "VerifyMac"]
    messages: list[Call] = [proof, *as_root.calls]
    assert {len(call.message) for call in messages} == {96}


def test_the_file_of_a_key_in_kms_holds_no_secret(kms_ring: Path, arn: str) -> None:
    (file,) = kms_ring.glob("*.key")
    found = outline(KeyLine(file.read_text()))
    reference = reference_of(found)
    assert reference[:2] == ("aws-kms", arn)
    assert reference.id_mac[:16].hex() == found.id
    # The tag in it is that of the id's own statement, which no file's is.
    opened = Opener().key(KeyLine(file.read_text()))
    assert len(opened.mac(bytes(96))) == 32
    with pytest.raises(BadSealError):
        opened.check(bytes(96), reference.id_mac)


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class Trap:
    """An object that tells when it is made."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return spring, ()


sprung: list[int] = []


def spring() -> None:
    sprung.append(1)


def test_what_was_changed_after_it_was_sealed_by_kms_is_refused(
    as_root: LocalKms, kms_ring: Path
) -> None:
    ring = open_keyring(kms_ring)
    data = signed_dumps(Trap(), keyring=ring)
    other = signed_dumps([Trap()], keyring=ring)
    forged = [
        *(changed(data, at) for at in (100, len(data) - 40, len(data) - 32, len(data) - 1)),
        data[:-32] + other[-32:],
        data[:-32] + bytes(32),
    ]
    for number, envelope in enumerate(forged):
        with pytest.raises(BadSealError):
            signed_loads(envelope, keyring=ring)
        assert not sprung, number
    with pytest.raises(UnknownKeyError):
        signed_loads(data, keyring=Keyring(Key.generate()))
    signed_loads(data, keyring=ring)
    assert sprung.pop()


def test_a_forger_with_the_key_file_and_without_kms_makes_nothing_that_opens(
    as_root: LocalKms, kms_ring: Path
) -> None:
    """All that the file of such a key holds is put to use: the id, and the tag of the id."""
    ring = open_keyring(kms_ring)
    (file,) = kms_ring.glob("*.key")
    reference = reference_of(outline(KeyLine(file.read_text())))

    class Forger:
        def mac(self, statement: bytes) -> bytes:
            return reference.id_mac

        def check(self, statement: bytes, tag: bytes) -> None:
            return

    forged = Key.held(Suite.BLAKE3, str(ring.primary), Forger())
    with pytest.raises(BadSealError):
        signed_loads(signed_dumps(Trap(), keyring=Keyring(forged)), keyring=ring)
    assert not sprung


def test_a_machine_that_may_verify_alone_opens_and_cannot_seal(
    as_root: LocalKms,
    kms_ring: Path,
    arn: str,
    verifier: Credentials,
    sealer: Credentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "line").write_text(run("keys", "export", "--yes", "--keyring", kms_ring).stdout)
    theirs = tmp_path / "theirs"
    with as_root.enforcing():
        become(as_root.environment(sealer), monkeypatch)
        data = signed_dumps([1], keyring=open_keyring(kms_ring))
        (tmp_path / "sealed.pkl").write_bytes(data)

        become(as_root.environment(verifier), monkeypatch)
        done = run("keys", "import", "--retired", tmp_path / "line", "--keyring", theirs)
        assert done.returncode == 0
        assert signed_loads(data, keyring=theirs) == [1]
        assert run("verify", tmp_path / "sealed.pkl", "--keyring", theirs).returncode == 0
        with pytest.raises(KeyringError, match="no key to seal with"):
            signed_dumps([1], keyring=theirs)
        # Whoever is there may change the ring, and still has no right to a tag.
        primary = open_keyring(kms_ring).primary
        assert run("keys", "primary", primary, "--keyring", theirs).returncode == 0
        ring = open_keyring(theirs)
        as_root.calls.clear()
        with pytest.raises(KeyringError, match=r"may only verify \(kms:VerifyMac\) cannot seal"):
            signed_dumps([1], keyring=ring)
        assert [call.operation for call in as_root.calls] == ["VerifyMac", "GenerateMac"]
        for operation in ("mac", "check"):
            arguments = (bytes(96),) if operation == "mac" else (bytes(96), bytes(32))
            with pytest.raises((KeyringError, BadSealError)):
                getattr(aws_kms.connect(arn, ""), operation)(*arguments)
        done = run("keys", "import", "--aws-kms", arn, "--keyring", tmp_path / "new")
        assert done.returncode == 2
        assert "AccessDenied" in done.stderr
        assert not (tmp_path / "new").exists()

        become(as_root.environment(Credentials("AKIAUNKNOWN", "x")), monkeypatch)
        with pytest.raises(KeyringError):
            signed_loads(data, keyring=open_keyring(theirs))


@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:kms:eu-central-1:111122223333:alias/mine",
        "alias/mine",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:s3:::bucket",
        "arn:aws:kms:eu-central-1:111122223333:key/",
        "arn:aws:kms:eu-central-1:111122223333:key/a\n",
        "arn:aws:kms:evil.example/:111122223333:key/a",
        "",
    ],
)
def test_what_is_not_the_name_of_one_key_for_good_is_refused(
    name: str, as_root: LocalKms, tmp_path: Path
) -> None:
    with pytest.raises(KeyringError, match="not the ARN of a key"):
        changes.kms_line(name, Suite.BLAKE3)
    assert run("keys", "import", "--aws-kms", name, "--keyring", tmp_path / "r").returncode == 2
    assert not as_root.calls
    assert not (tmp_path / "r").exists()


def test_a_key_of_another_kind_or_none_is_refused(as_root: LocalKms, tmp_path: Path) -> None:
    symmetric = as_root.key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    for name in (symmetric, f"{symmetric[:-1]}x"):
        with pytest.raises(KeyringError, match=f"AWS KMS, key {name}"):
            changes.kms_line(name, Suite.BLAKE3)
        done = run("keys", "import", "--aws-kms", name, "--keyring", tmp_path / "ring")
        assert done.returncode == 2
        assert not (tmp_path / "ring").exists()


def test_a_line_that_names_another_key_in_kms_is_refused(
    as_root: LocalKms, kms_ring: Path, tmp_path: Path
) -> None:
    other = as_root.key()
    (file,) = kms_ring.glob("*.key")
    fields = file.read_text().strip().split(".")
    fields[3] = base64.urlsafe_b64encode(other.encode()).rstrip(b"=").decode()
    file.write_text(".".join(fields))
    with pytest.raises(KeyringError, match="another key than"):
        signed_dumps(1, keyring=open_keyring(kms_ring))


def test_a_kms_that_is_not_reached_is_a_clear_error(
    as_root: LocalKms, kms_ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = open_keyring(kms_ring)
    data = signed_dumps(Trap(), keyring=ring)
    (tmp_path / "sealed.pkl").write_bytes(data)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for endpoint in (nowhere, "no URL"):
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            again = open_keyring(kms_ring)
            with pytest.raises(KeyringError, match="AWS KMS, key arn:"):
                signed_dumps(1, keyring=again)
            with pytest.raises(KeyringError, match="AWS KMS, key arn:"):
                signed_loads(data, keyring=again)
            done = run("verify", tmp_path / "sealed.pkl", "--keyring", kms_ring)
            assert done.returncode == 2
            assert "AWS KMS" in done.stderr
    assert not sprung


def test_without_credentials_kms_is_a_clear_error(
    as_root: LocalKms, kms_ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(KeyringError, match="credentials"):
        signed_dumps(1, keyring=open_keyring(kms_ring))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(KeyringError, match="nobody"):
        signed_dumps(1, keyring=open_keyring(kms_ring))


def test_a_key_does_not_leave_kms(as_root: LocalKms, kms_ring: Path) -> None:
    before = {file.name: file.read_bytes() for file in kms_ring.iterdir()}
    for arguments in (
        ("keys", "unprotect"),
        ("keys", "export", "--plain", "--yes"),
        ("keys", "protect"),
    ):
        env = {"PICKLESEAL_NEW_PASSPHRASE": "correct horse"}
        done = run(*arguments, "--keyring", kms_ring, env=env)
        assert done.returncode == 2
        assert "never leaves" in done.stderr
    done = run("keys", "rotate", "--keyring", kms_ring)
    assert done.returncode == 2
    assert "keys import --primary" in done.stderr
    assert {file.name: file.read_bytes() for file in kms_ring.iterdir()} == before


def test_a_key_in_kms_is_followed_by_another(as_root: LocalKms, kms_ring: Path) -> None:
    data = signed_dumps(1, keyring=kms_ring)
    first = open_keyring(kms_ring).primary
    other = as_root.key()
    done = run("keys", "import", "--primary", "--aws-kms", other, "--keyring", kms_ring)
    assert done.returncode == 0
    assert run("keys", "retire", first, "--keyring", kms_ring).returncode == 0
    new = signed_dumps(2, keyring=kms_ring)
    assert new[16:32].hex() == open_keyring(kms_ring).primary != first
    assert [signed_loads(one, keyring=kms_ring) for one in (data, new)] == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_client_of_its_own(as_root: LocalKms, kms_ring: Path) -> None:
    code = (
        "import os, sys, pickleseal as ps\n"
        "from pickleseal.keys.store.providers.aws_kms import KmsHolder\n"
        "ring = ps.open_keyring(sys.argv[1])\n"
        "data = ps.signed_dumps([1], keyring=ring)\n"
        "holder = ring.key(ring.primary)._holder.fetched()\n"
        "client = holder._client\n"
        "child = os.fork()\n"
        "fine = ps.signed_loads(data, keyring=ring) == [1]\n"
        "fine = fine and (holder._client is client) == (child != 0)\n"
        "if child == 0: os._exit(0 if fine else 1)\n"
        "print(fine, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kms_ring)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True 0\n", done.stderr
