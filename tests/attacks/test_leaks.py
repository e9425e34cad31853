"""Keys and messages: planted keyrings, damaged key lines, and text that leaks or misleads."""

import io
import logging
import os
import pickle
import traceback
from pathlib import Path

import pytest
from watching import nothing_unpickled

import pickleseal
from pickleseal import (
    BadSealError,
    Key,
    KeyPermissionError,
    Keyring,
    KeyringError,
    Suite,
    inspect,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store.changes import create_key


def test_a_keyring_that_comes_with_the_files_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keys", ".pickleseal", "keyring"):
        create_key(tmp_path / name, suite=Suite.BLAKE3, note="", now=0)
    signed_dump("trust me", tmp_path / "model.pkl", keyring=tmp_path / "keys")
    monkeypatch.chdir(tmp_path)
    with nothing_unpickled(), pytest.raises(KeyringError):
        signed_load("model.pkl")
    monkeypatch.setenv("PICKLESEAL_KEYRING", "keys")
    with nothing_unpickled(), pytest.raises(KeyringError):
        signed_load("model.pkl")


def test_no_load_makes_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bytes
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyringError):
        signed_loads(sealed)
    with pytest.raises(KeyringError):
        signed_loads(sealed, keyring=tmp_path / "ring")
    with pytest.raises(KeyringError):
        signed_dumps(1)
    assert list(tmp_path.rglob("*")) == []


def test_key_material_shows_up_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    text = file.read_text().strip()
    secret = text.split(".")[2]
    import base64

    raw = base64.urlsafe_b64decode(secret + "=")
    needles = (secret, raw.hex(), repr(raw)[2:-1], base64.b64encode(raw).decode())
    ring = open_keyring(tmp_path / "ring")
    key = ring.sealing_key(context=None, now=0)
    shown = [repr(ring), str(ring), repr(key), str(key), repr(ring.entries), repr(KeyLine(text))]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("%s %r %s", ring, key, ring.entries)
    shown.append(caplog.text)
    for broken in (text + "x", text[:-1], text.replace(".2.", ".1."), text.replace(".2.", ".3.")):
        file.write_text(broken)
        with pytest.raises(KeyringError) as caught:
            open_keyring(tmp_path / "ring")
        frames = caught.tb.tb_next  # this test's own frame holds the secret
        lines = traceback.TracebackException(caught.type, caught.value, frames, capture_locals=True)
        shown.append("".join(lines.format()))
    for needle in needles:
        assert not [part for part in shown if needle in part]


def test_what_holds_a_key_is_neither_pickled_nor_copied_out(ring: Keyring) -> None:
    import copy

    key = ring.sealing_key(context=None, now=0)
    secrets = (KeyLine("pickleseal-key-1.x"), Passphrase("x"))
    for thing in (ring, key, [key], *secrets, {"ring": ring}):
        for protocol in range(6):
            with pytest.raises(TypeError):
                pickle.dumps(thing, protocol)
        with pytest.raises(TypeError):
            signed_dumps(thing, keyring=ring, pickler="cloudpickle")
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert not hasattr(key, "__dict__")


GOOD = KeyLine.generate().reveal()
BAD_LINES = {
    "empty": "",
    "a word": "secret",
    "no id": GOOD.rpartition(".")[0],
    "cut": GOOD[:-1],
    "cut secret": GOOD.replace(GOOD.split(".")[2], GOOD.split(".")[2][:-1]),
    "longer": GOOD + "0",
    "another suite": GOOD.replace("-1.2.", "-1.1."),
    "unknown suite": GOOD.replace("-1.2.", "-1.9."),
    "another id": GOOD[:-32] + "0" * 32,
    "upper-case id": GOOD[:-32] + GOOD[-32:].upper() + "A" * (GOOD[-32:].isdigit()),
    "carriage return": GOOD + "\r\n",
    "two line feeds": GOOD + "\n\n",
    "a second line": GOOD + "\n" + GOOD,
    "byte order mark": "\ufeff" + GOOD,
    "leading space": " " + GOOD,
    "padding": GOOD.replace("." + GOOD[-32:], "=." + GOOD[-32:]),
    "foreign character": GOOD.replace(GOOD.split(".")[2], "*" + GOOD.split(".")[2]),
    "all zeros": "pickleseal-key-1.2." + "A" * 43 + ".1fcd12db4b4b0f1e9f4a9fb8e4b4e1a0",
    "short secret": "pickleseal-key-1.2.AAAA." + GOOD[-32:],
    "scrypt 2^30": "pickleseal-key-1.2-scrypt.AAAA.30.AAAA." + GOOD[-32:],
    "a megabyte": "pickleseal-key-1." + "A" * (1 << 20),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_key_line_that_was_edited_or_cut_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyringError):
        Key.parse(KeyLine(BAD_LINES[name]))
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    file.write_text(BAD_LINES[name], encoding="utf-8")
    with pytest.raises(KeyringError):
        open_keyring(tmp_path / "ring")


def test_one_final_line_feed_is_part_of_a_key_file() -> None:
    assert Key.parse(KeyLine(GOOD + "\n")).id == Key.parse(KeyLine(GOOD)).id


@pytest.mark.parametrize("key", ["secret", b"k" * 32, b"", 7, KeyLine(GOOD)], ids=repr)
def test_a_ring_is_made_of_keys_alone(key: object) -> None:
    with pytest.raises(TypeError):
        Keyring(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [b"keys", 7, object()])
def test_keyring_takes_a_ring_or_a_path(given: object, sealed: bytes) -> None:
    with pytest.raises(TypeError):
        signed_loads(sealed, keyring=given)  # type: ignore[arg-type]


def test_a_key_or_key_line_for_a_ring_is_refused_with_a_hint(sealed: bytes, ring: Keyring) -> None:
    with pytest.raises(TypeError):
        signed_loads(sealed, keyring=ring.sealing_key(context=None, now=0))  # type: ignore[arg-type]
    with pytest.raises(KeyringError):
        signed_loads(sealed, keyring=GOOD)


def test_permissions_are_checked_before_a_key_is_read(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no modes")
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    file.write_bytes(b"what no parser would take")
    file.chmod(0o644)
    with pytest.raises(KeyPermissionError):
        open_keyring(tmp_path / "ring")


def test_what_a_terminal_would_obey_is_shown_escaped(ring: Keyring) -> None:
    hostile = "<script>alert(1)</script>\u202e\u2028"
    data = signed_dumps(1, keyring=ring, context=hostile, info={"note": hostile})
    found = inspect(io.BytesIO(data), keyring=ring)
    texts = " ".join(text for _, text in found.rows())
    assert texts.isprintable()
    assert "<script>" not in found._repr_html_()
    stranger = inspect(io.BytesIO(data), keyring=Keyring(Key.generate()))
    assert stranger.status is pickleseal.Status.UNVERIFIED
    assert "UNVERIFIED" in stranger._repr_html_()


def test_a_refusal_names_the_file_escaped_and_holds_no_payload(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "evil\n\x1b[2Jname.pkl"
    payload = b"this is the payload"
    data = bytearray(signed_dumps(payload, keyring=ring))
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadSealError) as caught:
        signed_load(path, keyring=ring)
    text = str(caught.value)
    assert "name.pkl" in text
    assert text.isprintable()
    assert caught.value.source == str(path)
    everything = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "this is the payload" not in everything + repr(caught.value.args)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == text
