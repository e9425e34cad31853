"""One passphrase from the variable, a command and the terminal; new ones; wrong ones."""

import io
import os
import shlex
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run
from rings import PASS, command_line, primary_of, revoke, rotate

from pickleseal import KeyringError, WrongPassphraseError, open_keyring, signed_dumps
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes, passphrases, terminal
from pickleseal.keys.store.changes import Storage, protect
from pickleseal.keys.store.directory import RingFiles, key_path, read_line, read_roster
from pickleseal.keys.store.lines import Opener

if os.name == "posix":
    from terminals import at_terminal

posix = pytest.mark.skipif(os.name != "posix", reason="it needs a POSIX terminal")

ACCENTED = "Größe ändern é"
SPELLINGS = {
    "NFC": unicodedata.normalize("NFC", ACCENTED).encode(),
    "NFD": unicodedata.normalize("NFD", ACCENTED).encode(),
    "a line feed": ACCENTED.encode() + b"\n",
    "a Windows line end": ACCENTED.encode() + b"\r\n",
}


@pytest.fixture
def behind(ring_directory: Path) -> Callable[[str], Path]:
    """Return a function that puts a ring's key behind a passphrase."""

    def put(text: str) -> Path:
        ids = [primary_of(ring_directory)]
        protect(RingFiles(ring_directory), ids, Opener(), lambda: Storage(Passphrase(text)))
        return ring_directory

    return put


def printing(data: bytes, folder: Path) -> str:
    """Return a command that prints some bytes."""
    program, file = folder / "print", folder / "passphrase"
    file.write_bytes(data)
    program.write_text(f"#!/bin/sh\ncat {shlex.quote(str(file))}\n")
    program.chmod(0o700)
    return shlex.quote(str(program))


@posix
@pytest.mark.parametrize(
    ("spelling", "locale"), [("NFC", "POSIX"), *((spelling, "C.UTF-8") for spelling in SPELLINGS)]
)
def test_each_source_opens_a_key_with_the_same_passphrase(
    spelling: str, locale: str, behind: Callable[[str], Path], tmp_path: Path
) -> None:
    ring, secret = behind(ACCENTED), SPELLINGS[spelling]
    env = {"LC_ALL": locale}
    command = ("keys", "export", "--plain", "--yes", "--keyring", ring)
    variable = run(*command, env={**env, "PICKLESEAL_PASSPHRASE": os.fsdecode(secret)})
    printed = {"PICKLESEAL_PASSPHRASE_COMMAND": printing(secret, tmp_path)}
    program = run(*command, env={**env, **printed})
    typed = at_terminal(*command, answers=[secret.rstrip(b"\r\n")], env=env)
    assert variable.stdout == program.stdout == typed.stdout
    assert outline(KeyLine(typed.stdout.split()[-1])).id == primary_of(ring)


@posix
@pytest.mark.parametrize("source", ["variable", "command", "terminal", "new"])
def test_a_passphrase_that_is_not_utf_8_is_refused(
    source: str, behind: Callable[[str], Path], tmp_path: Path
) -> None:
    """Replacing the wrong bytes would let every passphrase of that length open the key."""
    ring, secret = behind("Gr\ufffd\ufffde 12345"), b"Gr\xf6\xdfe 12345"
    env, answers = {}, []
    command = ["keys", "export", "--plain", "--yes", "--keyring", str(ring)]
    if source == "variable":
        env = {"PICKLESEAL_PASSPHRASE": os.fsdecode(secret)}
    elif source == "command":
        env = {"PICKLESEAL_PASSPHRASE_COMMAND": printing(secret, tmp_path)}
    elif source == "new":
        env = {"PICKLESEAL_NEW_PASSPHRASE": os.fsdecode(secret)}
        command = ["keygen", "--passphrase", "--add", "--keyring", str(ring)]
    else:
        answers = [secret]
    done = at_terminal(*command, answers=answers, env=env)
    assert done.code == 2
    assert "UTF-8" in done.stderr
    assert done.stdout == ""


@posix
def test_a_key_that_a_command_prints_is_utf_8_too(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="not UTF-8"):
        command_line(shlex.split(printing(b"pickleseal-key-1.\xff", tmp_path)))


@posix
def test_questions_are_asked_on_the_terminal_where_stdin_is_a_pipe(
    behind: Callable[[str], Path], tmp_path: Path
) -> None:
    ring = behind(PASS)
    line = KeyLine.generate()
    imported = at_terminal("keys", "import", "-", "--keyring", ring, stdin=line.reveal())
    assert imported.code == 0
    done = at_terminal("keys", "unprotect", "--keyring", ring, answers=["no", PASS])
    assert done.code == 0
    assert "Wrong passphrase" in done.screen
    assert PASS not in done.screen
    assert outline(read_line(ring, primary_of(ring))).form is Form.PLAIN
    new = ("keygen", "--passphrase", "--keyring", tmp_path / "new")
    done = at_terminal(*new, answers=["short", "long enough", "another", PASS, PASS], stdin="y\n")
    assert done.code == 0
    assert done.screen.count("New passphrase:") == 3
    assert done.screen.count("Repeat the new passphrase:") == 2


@posix
def test_protect_asks_for_the_new_passphrase_and_says_what_changed(
    behind: Callable[[str], Path],
) -> None:
    ring = behind(PASS)
    changes.create_key(ring, now=0)
    key_id, added = list(read_roster(ring).entries)
    if key_id != primary_of(ring):
        key_id, added = added, key_id
    # The current passphrase is known from the variable, and is not taken as the new one.
    env = {"PICKLESEAL_PASSPHRASE": PASS}
    done = at_terminal("keys", "protect", "--keyring", ring, answers=["another one"] * 2, env=env)
    assert done.code == 0
    assert "New passphrase" in done.screen
    told = set(done.stdout.split("\n")[:-1])
    assert told == {
        f"key  {key_id}, behind the new passphrase; before: behind a passphrase",
        f"key  {added}, behind the new passphrase; before: in its file",
    }
    env["PICKLESEAL_PASSPHRASE"] = "another one"
    refused = run("keys", "protect", "--keyring", ring, env=env)
    assert refused.returncode == 2
    assert "PICKLESEAL_NEW_PASSPHRASE" in refused.stderr


def test_a_key_behind_the_chosen_passphrase_is_left_as_it_is(protected: Path) -> None:
    ids = list(read_roster(protected).entries)
    added = changes.create_key(protected, now=0).entry.id
    changed = protect(
        RingFiles(protected), [*ids, added], Opener(lambda: PASS), lambda: Storage(Passphrase(PASS))
    )
    assert changed == [added]


def test_all_keys_are_protected_where_a_revoked_one_cannot_be_opened(
    behind: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = behind("a passphrase that was lost")
    revoked = primary_of(ring)
    revoke(ring, revoked)
    rotate(ring)
    assert run("keys", "unprotect", "--keyring", ring).returncode == 0
    done = run("keys", "protect", "--keyring", ring, env={"PICKLESEAL_NEW_PASSPHRASE": PASS})
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert signed_dumps(1, keyring=ring)
    assert key_path(ring, revoked).exists()


@pytest.mark.parametrize(
    "text",
    ["short", "two\nlines of it", "  \t     ", "x" * 501],
    ids=["short", "2", "blank", "501"],
)
def test_a_passphrase_that_some_source_cannot_hold_is_not_chosen(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", text)
    with pytest.raises(KeyringError, match="PICKLESEAL_NEW_PASSPHRASE"):
        passphrases.new_passphrase()


@pytest.mark.parametrize("source", ["variable", "command", "function"])
def test_a_wrong_passphrase_is_told_with_its_source_and_what_to_do(
    source: str, behind: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = behind(PASS)
    ask = None
    if source == "variable":
        monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "wrong one")
    elif source == "command":
        monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", printing(b"wrong one", tmp_path))
    else:

        def ask() -> str:
            return "wrong one"

    with pytest.raises(WrongPassphraseError) as caught:
        signed_dumps(1, keyring=open_keyring(ring, passphrase=ask))
    names = {
        "variable": "PICKLESEAL_PASSPHRASE",
        "command": "PICKLESEAL_PASSPHRASE_COMMAND",
        "function": "passphrase=",
    }
    assert names[source] in str(caught.value)
    assert f"pickleseal keys rotate --keyring {ring} --passphrase" in str(caught.value)
    assert "wrong one" not in str(caught.value)


def test_the_workers_of_a_pool_do_not_all_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing.process

    monkeypatch.setattr("sys.stdin", type("", (), {"isatty": staticmethod(lambda: True)}))
    assert terminal.is_there()
    monkeypatch.setattr(multiprocessing.process, "_parent_process", object())
    assert not terminal.is_there()


def test_the_variable_comes_before_the_command_and_the_command_before_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def source() -> Passphrase:
        return next(passphrases.candidates(None, what="it"))

    monkeypatch.setattr(terminal, "is_there", lambda: False)
    with pytest.raises(KeyringError, match="there is no terminal"):
        source()
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", "/bin/echo of the command")
    assert source().same_as(Passphrase("of the command"))
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "of the variable")
    assert source().same_as(Passphrase("of the variable"))


def test_a_function_that_returns_no_text_returns_no_passphrase() -> None:
    with pytest.raises(TypeError, match="returns a str"):
        next(passphrases.candidates(lambda: 5, what="it"))  # type: ignore[arg-type, return-value]


def test_a_person_who_types_none_chooses_no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr(terminal, "is_there", lambda: True)
    for typed, told in ((lambda _: "short", "was chosen"), (ended, "was given")):
        monkeypatch.setattr("getpass.getpass", typed)
        with pytest.raises(KeyringError, match=f"no .*passphrase {told}"):
            passphrases.new_passphrase()


@pytest.mark.parametrize("stdin", [None, io.StringIO()], ids=["closed", "no terminal"])
def test_a_process_without_a_terminal_asks_nothing(
    stdin: io.StringIO | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "multiprocessing.process", raising=False)
    monkeypatch.setattr(terminal, "_TERMINAL", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert not terminal.is_there()
