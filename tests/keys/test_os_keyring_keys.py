"""Keys in the keyring of the operating system, with a real Secret Service where there is one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import python, run
from exposure import exposed_by, secret_of

from pickleseal import Key, KeyringError, open_keyring, signed_dumps, signed_loads
from pickleseal.keys.key import KeyLine
from pickleseal.keys.store import changes
from pickleseal.keys.store.directory import Change, RingFiles
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.providers import os_keyring

PLAINTEXT = "keyrings.alt.file.PlaintextKeyring"


class Store:
    """A keyring of a system, as those find it whom its variables name."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run(*arguments, env=self.env)

    def python(self, code: str, *arguments: object) -> str:
        done = python("-c", code, *arguments, env=self.env)
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
    """Return a store in a file below tmp_path, of a backend of the package itself."""
    pytest.importorskip("keyrings.alt.file")
    return Store({"PYTHON_KEYRING_BACKEND": PLAINTEXT, "XDG_DATA_HOME": str(tmp_path / "data")})


@pytest.fixture
def secret_service(tmp_path: Path) -> Iterator[Store]:
    """Yield a real Secret Service on a bus of its own: that of GNOME, with an empty password."""
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
    assert json.loads(done.stdout)["left_in_os_keyring"] == dict.fromkeys(
        (first, second), "pickleseal"
    )
    assert store.get(first) == kept, "a copy of the ring may refer to it"
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
    assert exported.split()[-1] == kept
    referred = store.run("keys", "export", first, "--yes", "--keyring", ring).stdout
    assert secret_of(KeyLine(kept)) not in referred

    store.delete(second)
    done = store.run("verify", tmp_path / "new.pkl", "--keyring", ring)
    assert done.returncode == 2
    assert f"has no key {second} under 'pickleseal'" in done.stderr
    assert store.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"


@pytest.fixture
def in_process(plaintext: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set up the same backend in this process."""
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
        ("hunter2", "not a key line"),
        ("", "not a key line"),
    ):
        in_process.set_password("pickleseal", key_id, text)
        with pytest.raises(KeyringError, match=message) as caught:
            signed_dumps(1, keyring=open_keyring(tmp_path / "ring"))
        for secret in (secret_of(other), secret_of(cut), "hunter2"):
            assert secret not in exposed_by(caught.value)


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
    assert secret_of(KeyLine(given[0])) not in exposed_by(caught.value)
    assert not list(tmp_path.rglob("*.key"))


def test_a_store_that_returns_another_key_than_it_was_given_is_none(
    in_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyring.backend import KeyringBackend

    line = KeyLine.generate().reveal()

    class Stubborn(KeyringBackend):  # type: ignore[misc]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            if username == "0" * 32:
                raise RuntimeError("locked")
            return line

        def set_password(self, service: str, username: str, password: str) -> None:
            return

        def delete_password(self, service: str, username: str) -> None:
            raise RuntimeError("not this one")

    in_process.set_keyring(Stubborn())
    with pytest.raises(KeyringError, match="another key than was stored"):
        os_ring(tmp_path / "ring")
    with pytest.raises(KeyringError, match="RuntimeError: locked"):
        os_keyring.plain_line("pickleseal", "0" * 32)
    with pytest.raises(KeyringError, match="RuntimeError: not this one"):
        os_keyring.forget("pickleseal", "0" * 32)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeyringError, match=r"^the keyring of this system needs the package"):
        os_keyring.forget("pickleseal", "0" * 32)


def test_a_change_in_a_copied_ring_takes_nothing_from_the_original(
    plaintext: Store, tmp_path: Path
) -> None:
    """The copy may be thrown away, and the key must not be lost with it."""
    ring, copy = tmp_path / "ring", tmp_path / "copy"
    key_id = json.loads(
        plaintext.run("keygen", "--os-keyring", "--keyring", ring, "--json").stdout
    )["id"]
    sealed = tmp_path / "sealed.pkl"
    assert plaintext.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"
    plaintext.env["PICKLESEAL_NEW_PASSPHRASE"] = "correct horse"
    plaintext.env["PICKLESEAL_PASSPHRASE"] = "correct horse"
    for change in (
        ("unprotect",),
        ("protect",),
        ("revoke", key_id, "--reason", "try"),
    ):
        shutil.copytree(ring, copy)
        done = plaintext.run("keys", *change, "--keyring", copy)
        assert done.returncode == 0, done.stderr
        if change[0] != "revoke":
            assert f"python -m keyring del pickleseal {key_id}" in done.stdout
        shutil.rmtree(copy)
        assert plaintext.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"
    # The command that is named does remove it.
    plaintext.python(
        "import runpy, sys; sys.argv = ['keyring', 'del', 'pickleseal', sys.argv[1]];"
        "runpy.run_module('keyring', run_name='__main__')",
        key_id,
    )
    assert plaintext.get(key_id) is None


def test_a_protection_that_fails_leaves_an_entry_that_was_there(
    in_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring, and a copy of it that was unprotected and is to be protected again."""
    key_id = os_ring(tmp_path / "ring")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "ring", copy)
    assert changes.protect(RingFiles(copy), [key_id], Opener(), None) == [key_id]

    def full(self: object, line: KeyLine) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Change, "replace_key", full)
    storage = changes.Storage(os_service=os_keyring.SERVICE)
    with pytest.raises(OSError, match="No space"):
        changes.protect(RingFiles(copy), [key_id], Opener(), lambda: storage)
    assert in_process.get_password("pickleseal", key_id)
    in_process.delete_password("pickleseal", key_id)
    with pytest.raises(OSError, match="No space"):
        changes.protect(RingFiles(copy), [key_id], Opener(), lambda: storage)
    assert in_process.get_password("pickleseal", key_id) is None, "nothing refers to it"


def test_a_backup_holds_the_secret_and_a_restore_needs_no_entry(
    plaintext: Store, tmp_path: Path
) -> None:
    ring, new, file = tmp_path / "ring", tmp_path / "new", tmp_path / "backup"
    made = plaintext.run("keygen", "--os-keyring", "--keyring", ring, "--json")
    key_id = json.loads(made.stdout)["id"]
    sealed = tmp_path / "sealed.pkl"
    assert plaintext.python(SEAL_AND_LOAD, ring, sealed) == "[1]\n"
    env = {"PICKLESEAL_NEW_PASSPHRASE": "correct horse", "PICKLESEAL_PASSPHRASE": "correct horse"}
    done = run("keys", "backup", file, "--keyring", ring, "--json", env={**plaintext.env, **env})
    assert json.loads(done.stdout)["elsewhere"] == {}
    plaintext.delete(key_id)
    assert run("keys", "restore", file, "--keyring", new, env=env).returncode == 0
    assert run("verify", sealed, "--keyring", new, env=env).returncode == 0
    assert "scrypt" in (new / f"{key_id}.key").read_text(), "it was never plain, and is not now"
