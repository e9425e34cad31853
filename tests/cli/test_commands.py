"""The command, as a process: what it prints, its exit codes, and what it never does."""

import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command import as_json, run

from pickleseal import Key, Keyring, Suite, open_keyring, signed_dump
from pickleseal.cli import cli
from pickleseal.cli.keys import keys
from pickleseal.cli.lazy import LazyGroup
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    create_key(folder, suite=Suite.BLAKE3, note="a note", now=1_700_000_000)
    return folder


@pytest.fixture
def model(tmp_path: Path, ring: Path) -> Path:
    path = tmp_path / "model.pkl"
    signed_dump({"a": 1}, path, keyring=ring, context="fraud/v3", info={"accuracy": 0.9})
    return path


# --- keygen ----------------------------------------------------------------------------------


def test_keygen_makes_a_ring_and_prints_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ring"
    further = ("--add", "--suite", "sha256", "--note", "two")
    for arguments, primary in (((), True), (further, False)):
        done = run("keygen", "--keyring", folder, "--json", *arguments)
        assert done.returncode == 0
        made = as_json(done)
        assert made.keys() == {"id", "suite", "primary", "path", "keyring"}
        assert made["primary"] is primary
        secret = Path(made["path"]).read_text().split(".")[2]
        assert secret not in done.stdout + done.stderr
    human = run("keygen", "--add", "--keyring", folder)
    assert human.returncode == 0
    secrets = [path.read_text().split(".")[2] for path in folder.glob("*.key")]
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in human.stdout + human.stderr]
    assert {entry.suite for entry in open_keyring(folder).entries.values()} == set(Suite)


def test_a_second_keygen_makes_no_key_and_names_the_commands_that_would(tmp_path: Path) -> None:
    folder = tmp_path / "my ring"
    first = as_json(run("keygen", "--keyring", folder, "--json"))["id"]
    for arguments in ((), ("--passphrase",), ("--os-keyring",)):
        done = run("keygen", "--keyring", folder, *arguments, "--json")
        assert done.returncode == 2
        error = as_json(done)["error"]
        assert error["kind"] == "KeyringError"
        assert first in error["message"]
        assert [path.stem for path in folder.glob("*.key")] == [first]
    # Each is run as it stands in the message.
    commands = re.findall("`pickleseal ([^`]+)`", error["message"])
    assert [shlex.split(command)[:2] for command in commands] == [
        ["keys", "rotate"],
        ["keygen", "--add"],
    ]
    for command in reversed(commands):
        assert run(*shlex.split(command)).returncode == 0
    assert len(open_keyring(folder).entries) == 3
    assert open_keyring(folder).primary != first


def test_keygen_makes_the_primary_of_a_ring_that_lost_it(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    first = as_json(run("keygen", "--keyring", folder, "--json"))["id"]
    assert run("keys", "revoke", first, "--reason", "x", "--keyring", folder).returncode == 0
    assert as_json(run("keygen", "--keyring", folder, "--json"))["primary"] is True


def test_keygen_without_a_directory_makes_the_users_own_ring(tmp_path: Path) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}
    done = run("keygen", "--json", env=env, cwd=tmp_path)
    assert done.returncode == 0
    assert Path(as_json(done)["path"]).is_relative_to(tmp_path)
    listed = run("keys", "list", "--json", env=env, cwd=tmp_path)
    assert as_json(listed)["primary"] == as_json(done)["id"]


def test_keygen_takes_the_directory_of_the_variable(tmp_path: Path) -> None:
    env = {"PICKLESEAL_KEYRING": str(tmp_path / "ring")}
    assert run("keygen", env=env).returncode == 0
    assert (tmp_path / "ring" / INDEX).exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no modes")
def test_keygen_in_a_folder_open_to_others_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in (tmp_path / "open", tmp_path / "open" / "ring"):
        done = run("keygen", "--keyring", folder, "--json")
        assert done.returncode == 2
        assert as_json(done)["error"]["kind"] == "KeyPermissionError"
        assert not list(tmp_path.rglob("*.key"))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no modes")
def test_the_mode_of_what_is_no_folder_is_not_to_be_changed() -> None:
    done = run("keygen", "--keyring", os.devnull)
    assert done.returncode == 2
    assert f"{os.devnull} is not a folder" in done.stderr
    assert "chmod" not in done.stderr


# --- keys ------------------------------------------------------------------------------------


def test_keys_list_and_show_tell_all_but_the_secret(ring: Path) -> None:
    (file,) = ring.glob("*.key")
    secret = file.read_text().split(".")[2]
    listed = run("keys", "list", "--keyring", ring, "--json")
    (key,) = as_json(listed)["keys"]
    assert key == {
        "id": file.stem,
        "state": "active",
        "suite": 2,
        "created": 1_700_000_000,
        "note": "a note",
        "sign_from": None,
        "sign_until": None,
        "contexts": None,
        "replaces": None,
        "imported": None,
        "revoked": None,
        "leaked": None,
        "reason": "",
        "primary": True,
        "kept": "in its file",
    }
    shown = run("keys", "show", file.stem[:6], "--keyring", ring, "--json")
    assert as_json(shown)["primary"] is True
    human = run("keys", "list", "--keyring", ring), run("keys", "show", "--keyring", ring)
    for done in (listed, shown, *human):
        assert done.returncode == 0
        assert file.stem in done.stdout
        assert secret not in done.stdout + done.stderr


def test_a_key_that_is_not_there_could_not_be_shown(ring: Path) -> None:
    assert run("keys", "show", "xyz", "--keyring", ring).returncode == 2


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("keys", "show"), ("verify", "it"), ("demo",)]
)
def test_without_a_key_a_command_could_not_run(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for options in ((), ("--json",), ("--keyring", tmp_path / "nothing", "--json")):
        done = run(*arguments, *options, cwd=tmp_path)
        assert done.returncode == 2
        if "--json" in options:
            assert as_json(done)["error"]["kind"] in ("NoKeyError", "KeyringError")
        else:
            assert done.stderr
            assert not done.stdout


# --- verify ----------------------------------------------------------------------------------


def test_verify_tells_whole_refused_and_unreadable_apart(
    model: Path, ring: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pkl"
    data = model.read_bytes()
    broken.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(b"\x80\x04N.")
    assert run("verify", model, "--keyring", ring).returncode == 0
    assert run("verify", "--keyring", ring, model, broken).returncode == 1
    done = run("verify", "--keyring", ring, "--json", model, broken, plain, tmp_path / "none")
    assert done.returncode == 2
    files = as_json(done)["files"]
    assert [file["verdict"] for file in files] == ["whole", "refused", "refused", "unreadable"]
    assert files[0]["metadata"]["context"] == "fraud/v3"
    assert [file["error"]["kind"] for file in files[1:]] == [
        "BadSealError",
        "NotSealedError",
        "FileNotFoundError",
    ]


def test_verify_enforces_a_context(model: Path, ring: Path) -> None:
    for context, code in (("fraud/v3", 0), ("spam", 1), ("", 2)):
        assert run("verify", model, "--context", context, "--keyring", ring).returncode == code


def test_inspect_takes_no_folder(ring: Path, tmp_path: Path) -> None:
    (tmp_path / "my models").mkdir()
    done = run("inspect", "my models", "--keyring", ring, cwd=tmp_path)
    assert done.returncode == 2
    assert "inspect takes one file at a time" in run("inspect", "a.pkl", "b.pkl").stderr
    assert "my models is a folder: name its files, or see pickleseal audit 'my models'" in (
        done.stderr
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_verify_and_inspect_do_not_wait_on_a_pipe(ring: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for command in ("verify", "inspect"):
        assert run(command, tmp_path / "fifo", "--keyring", ring).returncode == 1


ARMED = "\x1b]0;title\x07\u202e.pkl"


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "a.pkl", ARMED),
        ("verify", f"--{ARMED}"),
        ("verify", f"--{ARMED}=x", "a.pkl"),
        (ARMED,),
        ("pins", ARMED),
        ("adopt", "a.pkl", "--accept", ARMED),
        ("adopt", "a.pkl", "--digests", ARMED),
        ("audit", "--fail-on", ARMED),
        ("audit", "--output", ARMED),
        ("keygen", "--sign-until", ARMED),
        ("verify", "a.pkl", "--keyring", f"file{ARMED}"),
        ("adopt", "a.pkl", "--context", f"{{{ARMED}}}"),
    ],
)
def test_nothing_that_was_typed_acts_on_a_terminal(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / f"file{ARMED}").write_text("")
    for more in ((), ("--json",)):
        done = run(*arguments, *more, cwd=tmp_path)
        assert done.returncode == 2
        for character in "\x1b\x07\u202e":
            assert character not in done.stdout + done.stderr
    assert as_json(done).keys() == {"error"}


def test_without_a_command_the_help_is_shown_as_it_is() -> None:
    done = run()
    assert "\n  verify " in done.stdout + done.stderr


# --- inspect ---------------------------------------------------------------------------------


def test_inspect_tells_three_states_apart(model: Path, ring: Path, tmp_path: Path) -> None:
    data = bytearray(model.read_bytes())
    data[-40] ^= 1
    (tmp_path / "body.pkl").write_bytes(data)
    other = tmp_path / "other"
    create_key(other, now=0)
    cases = [
        ((model, "--keyring", ring), "whole", 0),
        ((model, "--keyring", ring, "--header-only"), "header", 0),
        ((tmp_path / "body.pkl", "--keyring", ring), "header", 1),
        ((tmp_path / "body.pkl", "--keyring", ring, "--header-only"), "header", 0),
        ((model,), "unverified", 2),
        ((model, "--keyring", tmp_path / "nowhere"), "unverified", 2),
        ((model, "--keyring", other), "unverified", 1),
    ]
    for arguments, status, code in cases:
        done = run("inspect", "--json", *arguments)
        assert (as_json(done)["status"], done.returncode) == (status, code)
        assert run("inspect", *arguments).returncode == code
    assert "UNVERIFIED" in run("inspect", model).stdout


def test_inspect_tells_what_it_can_and_exits_as_verify_does_where_a_key_stays_locked(
    model: Path, ring: Path
) -> None:
    env = {"PICKLESEAL_NEW_PASSPHRASE": "correct horse battery"}
    assert run("keys", "protect", "--keyring", ring, env=env).returncode == 0
    for command in ("verify", "inspect"):
        assert run(command, model, "--keyring", ring).returncode == 2
    told = as_json(run("inspect", model, "--keyring", ring, "--json"))
    assert "PICKLESEAL_PASSPHRASE" in told["problem"]
    assert told["metadata"]["context"] == "fraud/v3"


def test_inspect_of_what_is_no_envelope_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path, code, kind in (
        (tmp_path / "text", 1, "NotSealedError"),
        (tmp_path / "none", 2, "FileNotFoundError"),
        ("\0" if os.name == "nt" else "a\nb", 2, "FileNotFoundError"),
    ):
        done = run("inspect", path, "--json")
        assert done.returncode == code
        assert as_json(done)["error"]["kind"] == kind
        assert run("inspect", path).returncode == code


# --- what comes from outside -----------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made there")
def test_hostile_names_and_texts_reach_the_terminal_escaped(ring: Path, tmp_path: Path) -> None:
    name = "evil\n\x1b]0;title\x07[red]bold\u202e.pkl"
    path = tmp_path / name
    signed_dump(1, path, keyring=ring, context="[bold]c\u202e[/bold]", info={"x": "[link=a]b"})
    stranger = tmp_path / f"stranger{name}"
    signed_dump(1, stranger, keyring=Keyring(Key.generate()), context="\u202e")
    for arguments in (
        ("verify", path, stranger, tmp_path / f"none{name}"),
        ("inspect", path),
        ("inspect", stranger),
    ):
        for options in ((), ("--json",)):
            done = run(*arguments, *options, "--keyring", ring, env={"FORCE_COLOR": "1"})
            for character in ("\x1b]", "\x07", "\u202e"):
                assert character not in done.stdout + done.stderr
    assert "[bold]c" in run("inspect", path, "--keyring", ring).stdout


def test_colour_is_for_terminals_that_want_it(model: Path, ring: Path) -> None:
    forced = {"FORCE_COLOR": "1", "NO_COLOR": ""}
    assert "\x1b[" not in run("verify", model, "--keyring", ring).stdout
    assert "\x1b[" in run("verify", model, "--keyring", ring, env=forced).stdout
    refused = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    colours = run("verify", model, "--keyring", ring, env=refused).stdout
    assert "\x1b[3" not in colours


def test_a_pipe_gets_a_line_for_each_message_and_nobody_gets_blanks_at_the_ends_of_lines(
    model: Path, ring: Path, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pkl"
    signed_dump(1, stranger, keyring=Keyring(Key.generate()))
    for arguments in (
        ("verify", model, stranger),
        ("inspect", stranger),
        ("keys", "list"),
        ("reseal", model, stranger),
        ("extract", "--to", tmp_path / "plain", stranger),
        ("audit", model, stranger),
    ):
        command = (*arguments, "--keyring", ring)
        piped = run(*command, env={"COLUMNS": "40"}).stdout.splitlines()
        drawn = run(*command, env={"COLUMNS": "40", "FORCE_COLOR": "1", "NO_COLOR": "1"})
        folded = re.sub("\x1b[^m]*m", "", drawn.stdout).splitlines()
        assert len(piped) < len(folded), arguments
        long = [line for line in folded if len(line) > 40]
        unbroken = [re.sub(r"(`[^`]+`\S*|\S+)$", "", line).strip() for line in long]
        assert set(unbroken) <= {"", "file", "✓", "✗"}, long
        assert not [line for line in (*piped, *folded) if line != line.rstrip()]
        assert "".join("".join(folded).split()) == "".join("".join(piped).split())


@pytest.mark.skipif(os.name == "nt", reason="POSIX only")
@pytest.mark.parametrize("seconds", [0, 0.6])
def test_a_bar_is_drawn_for_work_that_takes_a_while_alone(seconds: float) -> None:
    code = (
        "import threading, time; from pickleseal.cli.progress import tracked\n"
        f"def work():\n for n in range(3):\n  yield n\n  time.sleep({seconds})\n"
        "  assert threading.active_count() == 1\n"  # an audit copies its process
        "print(*tracked(work(), 'Auditing', lambda: 3))"
    )
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.write(theirs, b"the end\n")
        os.close(theirs)
        drawn = b""
        while b"the end" not in drawn:
            drawn += terminal.read(4096)
    assert done.stdout == b"0 1 2\n"
    assert (b"Auditing" in drawn) == bool(seconds)
    assert (b"3/3" in drawn) == bool(seconds)


def test_a_reader_that_goes_away_is_no_traceback(model: Path, ring: Path) -> None:
    command = f"'{sys.executable}' -m pickleseal inspect '{model}' --keyring '{ring}' | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# --- the command itself ----------------------------------------------------------------------

COMMANDS = [(), ("keygen",), ("keys",), ("keys", "list"), ("keys", "show"), ("verify",)]
COMMANDS += [("inspect",), ("demo",)]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there_for_every_command(command: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        done = run(*command, option)
        assert done.returncode == 0
        assert "Usage" in done.stdout
    if len(command) == 2 or command in [("keygen",), ("verify",), ("inspect",), ("demo",)]:
        for option in ("--keyring", "--json", "Examples"):
            assert option in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("verify",), ("keygen", "--suite", "md5"), ("inspect", "--trust")]
)
def test_wrong_usage_could_not_run(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert not done.stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(("verfy", "x"), "verify"), (("keys", "rotat"), "rotate"), (("keys", "exprt"), "export")],
)
def test_a_command_like_the_one_that_was_typed_is_named(typed: tuple[str, ...], meant: str) -> None:
    done = run(*typed)
    assert done.returncode == 2
    assert done.stderr.count(f"Did you mean '{meant}'?") == 1
    assert "Did you mean" not in run("nonsense").stderr


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
def test_sigterm_leaves_nothing_half_written(ring: Path, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "plain.pkl").write_bytes(pickle.dumps(1))
    signed_dump(1, folder / "sealed.pkl", keyring=ring)
    assert run("keys", "rotate", "--keyring", ring).returncode == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code = (
        "import os, signal\n"
        "def told_to_end(act):\n"
        "    def acts(*arguments, **options):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return act(*arguments, **options)\n"
        "    return acts\n"
        "os.fsync, os.unlink = told_to_end(os.fsync), told_to_end(os.unlink)\n"
        "from pickleseal.cli import main\n"
        "main()\n"
    )
    for command in (
        ("adopt", folder / "plain.pkl", "--yes"),
        ("reseal", folder / "sealed.pkl"),
        ("extract", model, "--context", "fraud/v3", "--to", folder),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, (*command, "--keyring", ring))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 143, command
        assert "Traceback" not in done.stderr
        assert {path: path.read_bytes() for path in folder.iterdir()} == before, command


def test_the_installed_command_is_the_same() -> None:
    script = Path(sys.executable).with_name("pickleseal")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--version").stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['pickleseal', '--help']\n"
        "from pickleseal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sklearn', 'numpy', 'scipy', 'rich', 'cloudpickle', 'platformdirs', 'asyncio'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


def test_no_line_of_the_list_of_pins_commands_is_cut_off() -> None:
    done = run("pins", "--help", env={"COLUMNS": "80"})
    assert "..." not in done.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("group", [cli, keys], ids=["pickleseal", "pickleseal keys"])
def test_the_list_of_commands_says_what_each_says_of_itself(group: LazyGroup) -> None:
    # A command keeps the first help option that it makes, so its names must be those of the cli.
    names = cli.context_settings["help_option_names"]
    context = click.Context(
        group, max_content_width=200, terminal_width=200, help_option_names=names
    )
    listed = group.get_help(context).partition("Commands:\n")[2]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        said = re.escape(command.get_short_help_str(200))
        assert re.search(rf"^  {name} +{said}$", listed, re.MULTILINE)


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell is used")
@pytest.mark.parametrize("command", ["--help", "keys list", "verify", "inspect --json"])
def test_output_that_nobody_reads_is_no_failed_check(command: str, model: Path, ring: Path) -> None:
    words = [
        *command.split(),
        *([str(model)] if command.split(maxsplit=1)[0] in ("verify", "inspect") else []),
    ]
    line = shlex.join([sys.executable, "-m", "pickleseal", *words])
    done = subprocess.run(
        ["bash", "-c", f"{line} | true; exit ${{PIPESTATUS[0]}}"],
        env={**os.environ, "PICKLESEAL_KEYRING": str(ring)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2)  # 0: the pipe took all before its reader was gone
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a working directory in use cannot be removed")
@pytest.mark.parametrize("arguments", [("audit", "."), ("verify", "it.pkl"), ("adopt", "it.pkl")])
def test_a_removed_current_folder_is_told(
    arguments: tuple[str, ...], ring_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    code = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]);"
        " os.execv(sys.executable, [sys.executable, '-m', 'pickleseal', *sys.argv[2:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "gone", *arguments, "--keyring", ring_directory],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the current folder was removed: change to another one\n"


@pytest.mark.once
def test_a_terminal_breaks_no_path_and_no_command(ring: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-" * 9)
    folder.mkdir()
    (folder / "bare.pkl").write_bytes(pickle.dumps(1))
    forced = {"COLUMNS": "80", "FORCE_COLOR": "1", "NO_COLOR": "1"}
    drawn = run("audit", folder, "--keyring", ring, env=forced).stdout
    lines = re.sub("\x1b[^m]*m", "", drawn).splitlines()
    assert f"  ! {folder}/bare.pkl" in lines
    assert f"      pickleseal adopt {folder}/bare.pkl" in lines


@pytest.mark.skipif("grp" in sys.builtin_module_names, reason="nothing replaces it there")
def test_a_module_that_cannot_be_imported_is_no_failed_check(ring: Path, tmp_path: Path) -> None:
    """As where too little memory is left to map a library: Python's own exit code is 1."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/grp.py").write_text("raise ImportError('failed to map segment')")
    ring.chmod(0o770)  # whether its group is private is looked up
    done = run("keys", "rotate", "--keyring", ring, env={"PYTHONPATH": str(tmp_path / "broken")})
    assert (done.returncode, done.stderr) == (2, "error: failed to map segment\n")
