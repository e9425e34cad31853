"""Keys that a command prints. The commands are real programs."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command import run
from exposure import exposed_by, secret_of
from rings import command_line

from pickleseal import (
    Key,
    KeyPermissionError,
    Keyring,
    KeyringError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.store import changes, commands, permissions
from pickleseal.keys.store.commands import secret_from
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.doctor import examine
from pickleseal.keys.store.lines import Opener, check_foreign

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are POSIX scripts")


def ring_of(folder: Path, *argv: object) -> Path:
    changes.import_keys(folder, [command_line([*map(str, argv)])], now=0)
    return folder


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
    "two keys": ("echo {line} {line}", "printed 2 keys"),
    "no key line": ("echo hello", "not a key line"),
    "a changed line": ("echo {line}0", "id"),
    "a trace": ("set -x; true {line}; exit 1", "exit code 1"),
    "a signal": ("echo {line}; kill -9 $$", "exit code -9"),
    "a long complaint": ("yes {line} | head -c 1000000 >&2; exit 1", "exit code 1"),
}


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
        lambda: command_line([str(program)]),
    ):
        with pytest.raises(KeyringError, match=message) as caught:
            call()
        assert "command" in str(caught.value)
        assert secret_of(line) not in exposed_by(caught.value)
        if name not in ("two keys", "no key line", "a changed line"):  # said of what it printed
            assert str(program) in str(caught.value)
    # What failed is tried again: the person may have unlocked the manager meanwhile.
    script(f"echo {line.reveal()}")
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1


def test_a_command_may_complain_as_much_as_it_likes_and_succeed(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    program = script(f"yes warning | head -c 1000000 >&2; echo {line.reveal()}")
    assert outline(command_line([str(program)])).id == outline(line).id


@pytest.mark.parametrize(
    "text",
    [
        "sleep 1000 & echo $! > '{file}'; wait",
        "exec >&-; echo $$ > '{file}'; exec sleep 1000",
        "sleep 1000 & echo $! > '{file}'",
    ],
    ids=["with a grandchild", "after it has closed its output", "in a grandchild alone"],
)
def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    text: str, tmp_path: Path, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pid"
    program = script(text.format(file=file))
    monkeypatch.setattr(commands, "TIME_LIMIT", 2)
    with pytest.raises(KeyringError, match=r"fetch key gave no answer in 2 s"):
        command_line([str(program)])
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


def test_a_command_that_prints_another_key_is_refused(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    other = KeyLine.generate()
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    script(f"echo {other.reveal()}")
    with pytest.raises(KeyringError, match=f"another key than {outline(line).id}") as caught:
        signed_dumps(1, keyring=open_keyring(folder))
    assert "fetch key" in str(caught.value)
    assert secret_of(other) not in exposed_by(caught.value)
    with pytest.raises(KeyringError, match="another key"):
        changes.export_lines(RingFiles(folder), [outline(line).id], Opener(), plain=True)


def to_open_folder(program: Path) -> None:
    """Put a program into a folder that all can write to, with a link in its place."""
    folder = program.parent / "open"
    folder.mkdir()
    folder.chmod(0o777)
    program.rename(folder / "it")
    program.symlink_to(folder / "it")


def by_open_link(program: Path) -> None:
    """Make a link to a program that leads over another link, which all can replace."""
    folder = program.parent / "open"
    folder.mkdir()
    folder.chmod(0o777)
    program.rename(program.parent / "it")
    (folder / "way").symlink_to(program.parent / "it")
    program.symlink_to(folder / "way")


OPEN_PROGRAMS: dict[str, Callable[[Path], object]] = {
    "program": lambda program: program.chmod(0o702),
    "folder": lambda program: program.parent.chmod(0o707),
    "link": to_open_folder,
    "link's folder": by_open_link,
}


@pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
@pytest.mark.parametrize("run_by", [[], ["/bin/sh"], ["/usr/bin/env", "-i", "A=1", "sh"]])
@pytest.mark.parametrize("what", OPEN_PROGRAMS)
def test_a_command_that_others_can_change_is_not_run(
    what: str, run_by: list[str], tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    mark = tmp_path / "was run"
    program = script(f"touch '{mark}'; echo {line.reveal()}")
    argv = [*run_by, str(program)]
    folder = ring_of(tmp_path / "ring", *argv)
    mark.unlink()
    assert examine(folder, now=0) == []
    OPEN_PROGRAMS[what](program)
    if what != "folder":  # above the ring too
        with pytest.raises(KeyPermissionError):
            signed_dumps(1, keyring=open_keyring(folder))
        assert examine(folder, now=0) != []
    with pytest.raises(KeyPermissionError):
        command_line(argv)
    tmp_path.chmod(0o700)
    assert not mark.exists()


@pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
@pytest.mark.parametrize(
    ("run_by", "text", "mode"),
    [
        (["/bin/sh"], "echo", 0o602),
        (["/bin/nice"], "echo", 0o703),
        (["/bin/nice", "/bin/sh"], "#!/bin/sh\n", 0o602),
    ],
    ids=["interpreter", "program", "script"],
)
def test_what_a_command_may_run_is_looked_at(
    run_by: list[str], text: str, mode: int, tmp_path: Path
) -> None:
    file = tmp_path / "it"
    file.write_text(text)
    for bits, count in ((mode & ~0o002, 0), (mode, 1)):
        file.chmod(bits)
        assert len(list(permissions.program_faults([*run_by, str(file)]))) == count


@pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
@pytest.mark.parametrize("beside", [False, True])
def test_an_interpreter_in_the_first_line_that_others_can_change_is_not_run(
    beside: bool,  # noqa: FBT001 - whether it is named as in the program's folder
    tmp_path: Path,
    line: KeyLine,
) -> None:
    interpreter = tmp_path / "interpreter"
    interpreter.write_bytes(Path("/bin/sh").resolve().read_bytes())
    interpreter.chmod(0o755)
    program = tmp_path / "fetch"
    named = interpreter.name if beside else interpreter
    program.write_text(f"#! {named} -e\necho {line.reveal()}\n")
    program.chmod(0o755)
    assert command_line([str(program)])
    interpreter.chmod(0o757)
    with pytest.raises(KeyPermissionError, match="interpreter"):
        command_line([str(program)])


def test_what_a_command_only_reads_may_be_open_to_others(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key's id proves that it printed the right key."""
    data = tmp_path / "data"
    data.write_text(line.reveal())
    data.chmod(0o666)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o777)
    monkeypatch.chdir(tmp_path)
    for argv in (
        ["/bin/cat", str(data)],
        ["/bin/sh", str(script('cat "$1"')), str(data)],
        ["/bin/sh", "-c", f"cat '{data}'", str(tmp_path / "folder"), "data"],
    ):
        assert outline(command_line(argv)).id == outline(line).id


def test_a_command_finds_nothing_in_the_folder_of_its_caller(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script or module there may have come with a clone."""
    script(f"echo {line.reveal()}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyringError, match="exit code"):
        command_line(["/bin/sh", "fetch key"])
    monkeypatch.chdir("/")
    assert command_line(["/bin/sh", str(tmp_path / "fetch key")])


def test_a_tilde_in_a_command_is_the_home_directory(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    program = script(f'test "$1" = "$HOME/x" -a "$2" = "a~" && echo {line.reveal()}')
    typed = f"'~/{program.name}' ~/x a~"
    env = {"HOME": str(tmp_path)}
    folder = tmp_path / "ring"
    done = run("keys", "import", "--command", typed, "--keyring", folder, env=env)
    assert done.returncode == 0, done.stderr
    assert str(program) in run("keys", "show", "--keyring", folder).stdout
    done = run("keys", "import", "--command", "~nobody-of-this-name/x", "--keyring", folder)
    assert done.returncode == 2
    assert "absolute path" in done.stderr


def test_the_doctor_finds_a_command_that_cannot_be_run_and_runs_none(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    mark = tmp_path / "mark"
    program = script(f"touch '{mark}'; echo {line.reveal()}")
    folder = ring_of(tmp_path / "ring", program)
    mark.unlink()
    assert examine(folder, now=0) == []
    program.unlink()
    (finding,) = examine(folder, now=0)
    assert "cannot be run: No such file" in finding.problem
    assert not mark.exists()


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
            command_line(argv)
        assert "rm " not in str(caught.value)
    program.chmod(0o600)
    with pytest.raises(KeyringError, match="cannot be run"):
        command_line([str(program)])
    program.chmod(0o700)
    with pytest.raises(KeyringError, match="too long"):
        command_line([str(program), "x" * 3000])


def test_a_key_line_from_elsewhere_runs_no_command(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    mark = tmp_path / "was run"
    program = script(f"touch '{mark}'; echo {line.reveal()}")
    theirs = ring_of(tmp_path / "theirs", program)
    handed = run("keys", "export", "--yes", "--keyring", theirs).stdout
    mark.unlink()
    with pytest.raises(KeyringError, match="--command"):
        check_foreign([KeyLine(handed.split()[-1])])
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
    with pytest.raises(KeyringError, match="list of strings"):
        held.mac(bytes(96))


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

    def then_exchanged(argv: Sequence[str]) -> Path:
        found = real(argv)
        link.unlink()
        link.symlink_to(other)
        return found

    monkeypatch.setattr(commands, "checked_program", then_exchanged)
    assert command_line([str(link)])
    assert not mark.exists()


def test_a_key_stays_with_its_command_and_is_handed_over_where_that_is_asked_for(
    tmp_path: Path, line: KeyLine, script: Callable[[str], Path]
) -> None:
    folder = ring_of(tmp_path / "ring", script(f"echo {line.reveal()}"))
    with pytest.raises(KeyringError, match="make it there"):
        changes.like_primary(RingFiles(folder), Opener())
    assert run("keys", "unprotect", "--keyring", folder).returncode == 2
    done = run("keys", "export", "--plain", "--yes", "--keyring", folder)
    assert done.stdout.split()[-1] == line.reveal()


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.once
def test_a_refused_limit_leaves_no_folder(tmp_path: Path) -> None:
    over = ("--sign-until", "2020-01-01", "--keyring", tmp_path / "new")
    assert run("keygen", *over).returncode == 2
    assert not (tmp_path / "new").exists()


def test_a_command_that_is_none_or_cannot_be_started_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\0 no program")
    program.chmod(0o700)
    for argv in ([], ["relative"], [str(program)]):
        with pytest.raises(KeyringError):
            secret_from(argv, list)


@pytest.mark.parametrize("between", ["\\n", "\\r"])
def test_an_answer_of_two_lines_is_no_secret(between: str) -> None:
    with pytest.raises(KeyringError):
        secret_from(["/bin/sh", "-c", f"printf 'one{between}two'"], list)
    assert secret_from(["/bin/sh", "-c", "printf 'one\\r\\n'"], list) == ["o", "n", "e"]


def test_a_program_that_may_not_be_run_is_found_before_it_is_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o600)
    with pytest.raises(KeyringError):
        commands.checked_command([str(program)])
    program.chmod(0o700)
    assert commands.checked_command([str(program)]) == program
