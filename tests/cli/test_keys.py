"""The commands of keys and reseal, as processes: what they do, print and return."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command import as_json, done_json, run
from rings import secrets_of

from pickleseal import (
    KeyringError,
    UnknownKeyError,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.keys.roster import State
from pickleseal.keys.store.directory import read_roster

PASS = "correct horse battery"
COMMANDS = [
    ("keys", "rotate"),
    ("keys", "retire", "x"),
    ("keys", "revoke", "x", "--reason", "y"),
    ("keys", "primary", "x"),
    ("keys", "note", "x", "y"),
    ("keys", "limit", "x", "--any-context"),
    ("keys", "protect"),
    ("keys", "unprotect"),
    ("keys", "export", "--yes"),
    ("reseal", "it"),
]


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    assert run("keygen", "--keyring", folder, "--note", "first").returncode == 0
    return folder


@pytest.fixture
def models(tmp_path: Path, ring: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for number in range(20):
        signed_dump({"n": number}, folder / f"{number}.pkl", keyring=ring, context=f"m/{number}")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_ring_a_command_could_not_run_and_makes_none(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*command, "--keyring", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 2
    # What reseal opens needs the key that sealed it: a new one would not do.
    way = "keys import" if command[0] == "reseal" else "pickleseal keygen"
    assert way in done.stderr
    error = done_json(*command, "--keyring", tmp_path / "none", code=2, cwd=tmp_path)["error"]
    assert error["kind"] == "KeyringError"
    assert list(tmp_path.iterdir()) == []


def test_the_story_of_a_ring_from_its_first_key_to_a_revocation(
    ring: Path, models: Path, tmp_path: Path
) -> None:
    """Twenty models: an inventory, a rotation, a reseal, a theft, and what is readmitted."""
    first = done_json("keys", "show", "--keyring", ring)["id"]
    listed = tmp_path / "list"
    assert run("audit", models, "--inventory", listed, "--keyring", ring).returncode == 0
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    second = done_json("keys", "rotate", "--note", "second", "--keyring", ring)["id"]
    late = tmp_path / "late.pkl"
    signed_dump("late", late, keyring=ring)
    moved = done_json("reseal", models / "0.pkl", models / "1.pkl", "--keyring", ring)
    assert [file["outcome"] for file in moved["files"]] == ["resealed"] * 2
    revoked = done_json("keys", "revoke", first, "--reason", "stolen", "--keyring", ring)
    assert (revoked["state"], revoked["reason"], revoked["primary"]) == ("revoked", "stolen", False)
    refused = run("verify", models / "2.pkl", "--keyring", ring)
    assert refused.returncode == 1
    assert "stolen" in refused.stdout
    plain = done_json("reseal", models, "--keyring", ring, code=1)
    assert {file["outcome"] for file in plain["files"]} == {"already", "refused"}
    # The list was sealed by the key that is revoked now, so its own digest must vouch for it.
    only = ("reseal", models, "--keyring", ring, "--only-digests", listed)
    assert "--sha256" in done_json(*only, code=2)["error"]["message"]
    told = run("reseal", *(models / f"{n}.pkl" for n in (0, 1)), "--keyring", ring).stderr
    assert told == "2 files: 2 sealed by the primary already\n"
    told = run(*only, "--sha256", sha256, "--dry-run").stderr
    assert f"sealed by key {first} (revoked)" in told
    assert f"{listed}: made {time.strftime('%Y-')}" in told
    early = run(*only, "--sha256", sha256, "--made-before", "2001-01-01")
    assert (early.returncode, "2001-01-01" in early.stderr) == (2, True)
    assert run("reseal", models, "--made-before", "2001-01-01", "--keyring", ring).returncode == 2
    since = ("--reason", "stolen", "--since", "2001-01-01", "--keyring", ring)
    assert run("keys", "revoke", first, *since).returncode == 0
    young = run(*only, "--sha256", sha256)
    assert (young.returncode, "2001-01-01" in young.stdout) == (1, True)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    time.sleep(1.1)
    since = ("--reason", "stolen", "--since", later, "--keyring", ring)
    assert run("keys", "revoke", first, *since).returncode == 0
    again = done_json(*only, "--sha256", sha256)
    assert again["inventory"]["key"] == first
    assert {file["outcome"] for file in again["files"]} == {"already", "resealed"}
    for number in range(20):
        path = models / f"{number}.pkl"
        assert path.read_bytes()[16:32].hex() == second
        assert signed_load(path, keyring=ring, context=f"m/{number}") == {"n": number}
    human = run("keys", "list", "--keyring", ring)
    for text in (first, second, "revoked", "stolen", "active, primary"):
        assert text in human.stdout
    for secret in secrets_of(ring):
        assert secret not in human.stdout


def test_a_key_seals_on_its_last_day(ring: Path) -> None:
    today = datetime.now(UTC)
    end = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
    made = done_json("keys", "rotate", "--sign-until", f"{today:%Y-%m-%d}", "--keyring", ring)
    entry = read_roster(ring).entries[made["id"]]
    assert entry.sign_until in (end.timestamp(), (end + timedelta(days=1)).timestamp())
    assert signed_dumps(1, keyring=ring)


def test_states_notes_and_limits_change_by_command(ring: Path) -> None:
    old = done_json("keys", "show", "--keyring", ring)["id"]
    new = done_json("keygen", "--add", "--keyring", ring, "--context", "a", "--context", "b/*")[
        "id"
    ]
    assert read_roster(ring).entries[new].contexts == ("a", "b/*")
    assert done_json("keys", "primary", new, "--keyring", ring)["primary"] is True
    assert done_json("keys", "retire", old, "--keyring", ring)["state"] == "retired"
    assert done_json("keys", "note", old, "the old one", "--keyring", ring)["note"] == "the old one"
    limited = done_json("keys", "limit", new, "--sign-until", "2099-01-31", "--keyring", ring)
    assert limited["sign_until"] == 4073587200, "the end of that day"
    assert "the end of 2099-01-31 (UTC)" in run("keys", "show", new, "--keyring", ring).stdout
    assert "the end of 2099-01-31 (UTC)" in run("keys", "list", "--keyring", ring).stdout
    assert limited["contexts"] == ["a", "b/*"]
    limited = done_json("keys", "limit", new, "--any-context", "--keyring", ring)
    assert (limited["sign_until"], limited["contexts"]) == (4073587200, None)
    limited = done_json(
        "keys", "limit", new, "--sign-for-ever", "--context", "x", "--keyring", ring
    )
    assert (limited["sign_until"], limited["contexts"]) == (None, ["x"])
    shown = run("keys", "show", new, "--keyring", ring).stdout
    assert "in its file" in shown
    for arguments in ((), ("--context", "a", "--any-context"), ("--sign-until", "soon")):
        assert run("keys", "limit", new, *arguments, "--keyring", ring).returncode == 2
    for command in ("retire", "primary", "show"):
        assert run("keys", command, "zz", "--keyring", ring).returncode == 2
    done = run("keys", "retire", new, "--keyring", ring)
    assert done.returncode == 2, "the primary is not retired"
    assert "rotate" in done.stderr


def test_a_revoked_primary_leaves_a_hint_how_to_go_on(ring: Path) -> None:
    key_id = done_json("keys", "show", "--keyring", ring)["id"]
    done = run("keys", "revoke", key_id, "--reason", "lost", "--keyring", ring)
    assert done.returncode == 0
    assert "keys rotate" in done.stdout
    assert run("keys", "show", "--keyring", ring).returncode == 2
    done = run("audit", ring, "--inventory", ring / "list", "--keyring", ring)
    assert f"keys rotate --keyring {ring}" in done.stderr
    done = run("keys", "rotate", "--keyring", ring)
    assert done.returncode == 0
    assert "--only-digests" in done.stdout, "a plain reseal would refuse all that is revoked"
    assert "--only-digests" not in run("keys", "rotate", "--keyring", ring).stdout


def test_a_whole_key_line_revokes_the_key_of_its_id(ring: Path) -> None:
    exported = run("keys", "export", "--yes", "--keyring", ring).stdout
    line = exported.split()[-1]
    secret, key_id = line.split(".")[2:]
    run("keys", "rotate", "--keyring", ring)
    done = run("keys", "revoke", line[:-1], "--reason", "in a log", "--keyring", ring)
    assert done.returncode == 2
    assert read_roster(ring).entries[key_id].state is State.RETIRED
    other = run("keys", "retire", line, "--keyring", ring)
    assert other.returncode == 2
    assert key_id in other.stderr
    revoked = run("keys", "revoke", f" {exported}", "--reason", "in a log", "--keyring", ring)
    assert revoked.returncode == 0
    assert read_roster(ring).entries[key_id].state is State.REVOKED
    told = "".join(one.stdout + one.stderr for one in (done, other, revoked))
    assert secret not in told


def test_no_key_line_becomes_a_note_or_a_reason(ring: Path) -> None:
    line = run("keys", "export", "--yes", "--keyring", ring).stdout.strip()
    for command in (
        ("note", line.split(".")[-1], line),
        ("revoke", line.split(".")[-1], "--reason", line),
    ):
        assert run("keys", *command, "--keyring", ring).returncode == 2
    assert line not in (ring / "keyring.json").read_text()


def test_a_load_without_the_key_names_the_commands_that_bring_it(
    ring: Path, models: Path, tmp_path: Path
) -> None:
    """Each command is run as it stands, the first where the key is, the others here."""
    other = tmp_path / "other ring"
    for folder, made in ((tmp_path / "none", False), (other, True)):
        if made:
            run("keygen", "--keyring", folder)
        for command in ("verify", "reseal"):
            done = run(command, models / "0.pkl", "--keyring", folder)
            assert done.returncode == (1 if made else 2)
            told = done.stdout + done.stderr
            # To who may have sealed nothing yet, a first key is named last.
            assert ("keygen" in told) is not made
            assert f"pickleseal keys import {'key' if made else 'keys'}.txt" in told
        if made:
            found = run("audit", models / "0.pkl", "--keyring", folder, "--format", "json")
            (finding,) = as_json(found)["findings"]
            assert finding["verdict"] == "unknown key"
            assert (
                f"pickleseal keys export {finding['envelopes'][0]['key_id']}" in finding["advice"]
            )
        with pytest.raises((KeyringError, UnknownKeyError)) as caught:
            signed_load(models / "0.pkl", keyring=folder, context="m/0")
        export, bring = re.findall("`pickleseal ([^`]+)`", str(caught.value))
        target = tmp_path / f"{folder.name}.txt"
        export, bring = (text.replace("key.txt", f"'{target}'") for text in (export, bring))
        assert run(*shlex.split(export), "--keyring", ring).returncode == 0
        assert run(*shlex.split(bring)).returncode == 0
        assert signed_load(models / "0.pkl", keyring=folder, context="m/0") == {"n": 0}
    done = run("audit", models / "0.pkl", "--keyring", tmp_path / "x" / ring.name)
    assert "keys import" in done.stderr
    with pytest.raises(KeyringError, match="keygen"):
        signed_dumps(1, keyring=tmp_path / "empty")


# --- protection ------------------------------------------------------------------------------


def test_protect_and_unprotect_without_a_terminal(ring: Path, models: Path) -> None:
    env = {"PICKLESEAL_NEW_PASSPHRASE": PASS}
    secrets = secrets_of(ring)
    key_id = done_json("keys", "show", "--keyring", ring)["id"]
    assert done_json("keys", "protect", "--keyring", ring, env=env)["keys"] == [key_id]
    assert not [s for s in secrets if any(s in path.read_text() for path in ring.iterdir())]
    locked = run("verify", models / "0.pkl", "--keyring", ring)
    assert locked.returncode == 2
    assert "PICKLESEAL_PASSPHRASE" in locked.stderr
    for env, code in (({"PICKLESEAL_PASSPHRASE": PASS}, 0), ({"PICKLESEAL_PASSPHRASE": "no"}, 2)):
        assert run("verify", models / "0.pkl", "--keyring", ring, env=env).returncode == code
        assert run("keys", "list", "--keyring", ring, env=env).returncode == 0
        assert run("keys", "rotate", "--keyring", ring, env=env).returncode == code
    assert {e.state for e in read_roster(ring).entries.values()} == {State.ACTIVE, State.RETIRED}
    kept = [key["kept"] for key in done_json("keys", "list", "--keyring", ring)["keys"]]
    assert kept == ["behind a passphrase"] * 2
    env = {"PICKLESEAL_PASSPHRASE": PASS}
    assert len(done_json("keys", "unprotect", "--keyring", ring, env=env)["keys"]) == 2
    assert run("verify", models / "0.pkl", "--keyring", ring).returncode == 0
    assert done_json("keys", "unprotect", "--keyring", ring)["keys"] == []


def test_a_revoked_key_that_stays_protected_is_reported(ring: Path) -> None:
    new = {"PICKLESEAL_NEW_PASSPHRASE": PASS}
    now = {"PICKLESEAL_PASSPHRASE": PASS}
    key_id = done_json("keys", "show", "--keyring", ring)["id"]
    run("keys", "revoke", key_id, "--reason", "lost", "--keyring", ring)
    run("keys", "rotate", "--keyring", ring)
    assert key_id in done_json("keys", "protect", "--keyring", ring, env=new)["keys"]
    assert done_json("keys", "protect", "--keyring", ring, env=new | now)["left_revoked"] == [
        key_id
    ]
    told = run("keys", "unprotect", "--keyring", ring, env=now).stdout
    assert f"{key_id}, left behind a passphrase" in told
    again = run("keys", "unprotect", "--keyring", ring, env=now).stdout
    assert "the other keys are stored like this already" in again
    done = done_json("keys", "unprotect", key_id, "--keyring", ring, env=now)
    assert done == {"keys": [key_id], "left_revoked": []}


def test_without_a_passphrase_nothing_is_protected(ring: Path) -> None:
    for env, arguments in (({}, ()), ({"PICKLESEAL_NEW_PASSPHRASE": "short"}, ())):
        done = run("keys", "protect", "--keyring", ring, *arguments, env=env)
        assert done.returncode == 2
    assert open_keyring(ring)
    done = run("keygen", "--passphrase", "--os-keyring", "--keyring", ring / "x")
    assert done.returncode == 2
    assert not (ring / "x").exists()


TALK = """
import os, pty, sys, time, select

answers = sys.argv[1].split("|")
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b""
while True:
    ready, _, _ = select.select([terminal], [], [], 30)
    try:
        data = os.read(terminal, 4096) if ready else b""
    except OSError:
        data = b""
    if not data:
        break
    seen += data
    if seen.endswith(b": ") and answers:
        time.sleep(0.05)
        os.write(terminal, answers.pop(0).encode() + b"\\n")
_, status = os.waitpid(pid, 0)
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(status))
"""


def talk(
    answers: list[str], *arguments: object, kind: str = "dumb"
) -> subprocess.CompletedProcess[str]:
    """Run the command on a terminal of its own, and answer each question in turn."""
    command = [sys.executable, "-m", "pickleseal", *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", TALK, "|".join(answers), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TERM": kind},
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_a_passphrase_is_asked_for_on_a_terminal_and_not_shown(ring: Path, models: Path) -> None:
    done = talk(["short", PASS, "another", PASS, PASS], "keys", "protect", "--keyring", ring)
    assert done.returncode == 0, done.stdout
    assert "differ" in done.stdout
    assert PASS not in done.stdout
    files = [models / f"{number}.pkl" for number in range(5)]
    done = talk(["wrong", PASS], "verify", *files, "--keyring", ring)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passphrase of key") == 2, "once for all, and once more when wrong"
    done = talk(["wrong", "wrong", "wrong"], "verify", *files, "--keyring", ring)
    assert done.returncode == 2
    done = talk([PASS], "keys", "rotate", "--keyring", ring)
    assert done.returncode == 0, done.stdout
    done = talk([PASS], "reseal", models, "--keyring", ring)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passphrase of key") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_a_passphrase_opens_the_revoked_keys_of_the_ring_too(
    ring: Path, models: Path, tmp_path: Path
) -> None:
    first = done_json("keys", "show", "--keyring", ring)["id"]
    listed = tmp_path / "list"
    assert run("audit", models, "--inventory", listed, "--keyring", ring).returncode == 0
    passphrase = {"PICKLESEAL_NEW_PASSPHRASE": PASS, "PICKLESEAL_PASSPHRASE": PASS}
    for words in (["rotate"], ["protect"], ["revoke", first, "--reason", "lost"]):
        assert run("keys", *words, "--keyring", ring, env=passphrase).returncode == 0
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    only = ("--only-digests", listed, "--sha256", sha256)
    done = talk([PASS, PASS, PASS], "reseal", models, *only, "--keyring", ring)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passphrase of key") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.parametrize(("no_colour", "is_red"), [("1", False), ("", True)])
def test_an_error_is_red_on_terminals_that_want_colour(
    no_colour: str, ring: Path, monkeypatch: pytest.MonkeyPatch, *, is_red: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    told = talk([], "keys", "export", "--keyring", ring, kind="xterm").stdout
    assert "error:" in told
    assert ("\x1b[1;31m" in told) is is_red


# --- handing over ----------------------------------------------------------------------------


def on_a_terminal(*arguments: object) -> tuple[int, str]:
    """Run a command whose standard output and error are a terminal."""
    import pty

    above, below = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "pickleseal", *map(str, arguments)], stdout=below, stderr=below
    ) as process:
        os.close(below)
        told = b""
        while True:
            try:
                chunk = os.read(above, 4096)
            except OSError:  # the terminal has no writer any more
                break
            if not chunk:
                break
            told += chunk
    os.close(above)
    return process.returncode, told.decode()


@pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals")
def test_export_shows_a_secret_on_a_terminal_only_with_yes(ring: Path) -> None:
    (secret,) = secrets_of(ring)
    for arguments in ((), ("--json",), ("--all",), ("--plain",)):
        code, told = on_a_terminal("keys", "export", *arguments, "--keyring", ring)
        assert code == 2
        assert secret not in told
    code, told = on_a_terminal("keys", "export", "--yes", "--keyring", ring)
    assert code == 0
    assert secret in told


def test_export_writes_to_a_pipe_or_a_new_file(ring: Path, tmp_path: Path) -> None:
    (secret,) = secrets_of(ring)
    for arguments in ((), ("--json",), ("--all",), ("--plain",), ("--yes",)):
        done = run("keys", "export", *arguments, "--keyring", ring)
        assert done.returncode == 0
        assert secret in done.stdout
    target = tmp_path / "key.txt"
    done = run("keys", "export", "--output", target, "--keyring", ring)
    assert done.returncode == 0
    assert secret not in done.stdout + done.stderr
    assert secret in target.read_text()
    if hasattr(os, "geteuid"):
        assert target.stat().st_mode & 0o777 == 0o600
    before = target.read_text()
    short = tmp_path / "short.txt"
    assert run("keys", "export", "-o", short, "--keyring", ring).returncode == 0
    assert short.read_text() == before
    if hasattr(os, "geteuid"):
        assert short.stat().st_mode & 0o777 == 0o600
    assert run("keys", "export", "-o", short, "--keyring", ring).returncode == 2
    assert run("keys", "export", "--output", target, "--keyring", ring).returncode == 2
    assert target.read_text() == before, "a file that is there is left alone"


def test_a_key_goes_to_another_machine_by_file_pipe_or_variable(
    ring: Path, models: Path, tmp_path: Path
) -> None:
    rotated = done_json("keys", "rotate", "--keyring", ring)["id"]
    lines = run("keys", "export", "--all", "--yes", "--keyring", ring).stdout
    assert lines.split("\n")[0].endswith(rotated), "the primary comes first"
    assert run("verify", models / "0.pkl", env={"PICKLESEAL_KEY": lines}).returncode == 0
    (tmp_path / "lines.txt").write_text(lines)
    for number, source in enumerate((tmp_path / "lines.txt", "-")):
        folder = tmp_path / f"other{number}"
        done = subprocess.run(
            [sys.executable, "-m", "pickleseal", "keys", "import", str(source), "--json",
             "--keyring", str(folder), "--note", "from afar"],
            input=lines, capture_output=True, text=True, check=True,
        )  # fmt: skip
        keys = json.loads(done.stdout)["keys"]
        assert [key["primary"] for key in keys] == [True, False]
        assert run("verify", models / "0.pkl", "--keyring", folder).returncode == 0
        assert not [secret for secret in secrets_of(ring) if secret in done.stdout + done.stderr]
    again = done_json("keys", "import", tmp_path / "lines.txt", "--keyring", folder)
    assert (again["keys"], len(again["known"])) == ([], 2)


def test_what_cannot_be_imported_is_refused_and_leaves_nothing(ring: Path, tmp_path: Path) -> None:
    (key_file,) = ring.glob("*.key")
    line = key_file.read_text().strip()
    target = tmp_path / "new"
    (tmp_path / "empty").touch()
    (tmp_path / "cut").write_text(line[:-1])
    cases: list[tuple[object, ...]] = [
        (),
        (line,),
        (tmp_path / "none",),
        (tmp_path / "empty",),
        (tmp_path / "cut",),
        (key_file, "--command", "/bin/true"),
        (key_file, "--primary", "--retired"),
        ("--command", "relative"),
        ("--command", "'"),
        ("--aws-kms", "arn:aws:kms:eu-central-1:111122223333:alias/x"),
        (key_file, "--sign-until", "2001-01-01"),
    ]
    for arguments in cases:
        done = run("keys", "import", *arguments, "--keyring", target)
        assert done.returncode == 2, arguments
        assert line.split(".")[2] not in done.stdout + done.stderr
        assert not target.exists() or not list(target.glob("*.key"))
    for name in ("none", "empty", "cut"):
        done = run("keys", "import", tmp_path / name, "--keyring", target)
        assert str(tmp_path / name) in done.stderr


# --- reseal ----------------------------------------------------------------------------------


def test_reseal_tells_what_came_of_each_file(ring: Path, models: Path) -> None:
    run("keys", "rotate", "--keyring", ring)
    (models / "notes.txt").write_text("hello")
    broken = models / "bro\x1b[31mken.pkl"
    good = (models / "0.pkl").read_bytes()
    broken.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    dry = run("reseal", "--dry-run", models, "--keyring", ring)
    assert dry.returncode == 1
    assert "would be resealed" in dry.stdout
    done = run("reseal", models, "--keyring", ring)
    assert done.returncode == 1
    assert "\x1b[31m" not in done.stdout
    assert "bro\\x1b[31mken.pkl" in done.stdout
    assert "22 files: 20 resealed, 1 not sealed, 1 refused" in done.stderr
    done = run("reseal", models / "gone.pkl", models / "0.pkl", "--keyring", ring)
    assert done.returncode == 2
    assert run("reseal", models, "--sha256", "00", "--keyring", ring).returncode == 2


@pytest.mark.parametrize(
    "command",
    [
        ("keygen", "--sign-until", "bad"),
        ("keys", "note", "x"),
        ("keys", "import"),
        ("keys", "revoke", "x"),
        ("verify",),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_a_usage_error_is_json_too_where_that_is_asked_for(command: tuple[str, ...]) -> None:
    assert done_json(*command, code=2)["error"]["kind"] == "UsageError"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
@pytest.mark.parametrize("options", ["", "--json"])
def test_an_output_that_takes_nothing_is_no_traceback(
    redirect: str, options: str, ring: Path
) -> None:
    command = f"'{sys.executable}' -m pickleseal keys list --keyring '{ring}' {options} {redirect}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if "full" in redirect else 0)


def test_a_mark_that_the_output_has_no_letter_for_is_no_failure(ring: Path, models: Path) -> None:
    for encoding in ("ascii", "cp1252"):
        env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        assert run("verify", models / "0.pkl", "--keyring", ring, env=env).returncode == 0


def test_commands_that_change_a_ring_do_not_change_another_than_loads_use(
    ring: Path, tmp_path: Path
) -> None:
    line = run("keys", "export", "--yes", "--keyring", ring).stdout
    env = {"PICKLESEAL_KEY": line, "XDG_DATA_HOME": str(tmp_path / "data")}
    for command in (("keys", "rotate"), ("keygen",), ("keys", "export", "--yes")):
        done = run(*command, env=env)
        assert done.returncode == 2
        assert "PICKLESEAL_KEY" in done.stderr
    assert run("keygen", "--keyring", "", env=env, cwd=tmp_path).returncode == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.parametrize("command", ["verify", "reseal"])
def test_an_interrupt_before_the_first_file_claims_nothing(
    command: str, models: Path, ring: Path, tmp_path: Path
) -> None:
    import signal

    passphrase = {"PICKLESEAL_NEW_PASSPHRASE": "correct horse"}
    assert run("keys", "protect", "--keyring", ring, env=passphrase).returncode == 0
    script = tmp_path / "fetch"
    script.write_text("#!/bin/sh\nkill -INT $PPID\nsleep 5\n")
    script.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", command, str(models), "--keyring", str(ring)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PICKLESEAL_PASSPHRASE_COMMAND": str(script)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == 130, done.stderr
    assert "nothing" not in done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_an_interrupted_reseal_says_how_to_go_on(ring: Path, tmp_path: Path) -> None:
    import signal
    import time

    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1000):
        signed_dump(number, folder / f"{number}", keyring=ring, durable=False)
    new = done_json("keys", "rotate", "--keyring", ring)["id"]

    def moved() -> int:
        return sum(path.read_bytes()[16:32].hex() == new for path in folder.glob("[0-9]*"))

    with subprocess.Popen(
        [sys.executable, "-m", "pickleseal", "reseal", str(folder), "--keyring", str(ring)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has it ignored, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as worker:
        # Only the first: to look at all of them takes as long as the work.
        while (folder / "0").read_bytes()[16:32].hex() != new:
            time.sleep(0.001)
        worker.send_signal(signal.SIGINT)
        output, complaint = worker.communicate()
    assert worker.returncode == 130, complaint
    assert "go on" in complaint
    assert "Traceback" not in complaint
    # One may have taken its place and not been told of.
    assert moved() - output.count("✓ resealed") in (0, 1)
    assert not list(folder.glob(".pickleseal-*"))
    assert run("reseal", folder, "--keyring", ring).returncode == 0
    assert moved() == 1000
    assert signed_loads((folder / "7").read_bytes(), keyring=ring) == 7
