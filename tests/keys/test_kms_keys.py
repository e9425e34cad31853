"""Keys in AWS KMS, with a local KMS in a process of its own."""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import run
from local_kms import Call, Credentials, LocalKms, become

from pickleseal import (
    BadSealError,
    Key,
    Keyring,
    KeyringError,
    Suite,
    UnknownKeyError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.store import changes
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.providers import aws_kms, reference_of

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


SOME_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(scope="module")
def verifier(kms: LocalKms) -> Credentials:
    return kms.user("verifier", VERIFY_ONLY)


@pytest.fixture(scope="module")
def sealer(kms: LocalKms) -> Credentials:
    return kms.user("sealer", SEALING)


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


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://kms.eu-central-1.amazonaws.com", True),
        ("https://10.0.0.1:8080", True),
        ("http://localhost:4566", True),
        ("http://127.0.0.2", True),
        ("http://[::1]:80", True),
        ("http://kms.eu-central-1.amazonaws.com", False),
        ("http://10.0.0.1:8080", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost@10.0.0.1", False),
    ],
)
def test_kms_is_asked_over_https_or_on_this_machine(
    url: str,
    accepted: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is on the way could answer that a forged tag is valid."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    holder = aws_kms.KmsHolder(SOME_ARN)
    if accepted:
        assert holder._connected()
    else:
        with pytest.raises(KeyringError, match="is not https"):
            holder.mac(bytes(96))


def test_an_answer_without_a_tag_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer: dict[str, object] = {}
    monkeypatch.setattr(aws_kms.KmsHolder, "_call", lambda *_, **__: answer)
    holder = aws_kms.KmsHolder(SOME_ARN)
    for tag in (None, "x" * 32, b"x" * 31):
        answer["Mac"] = tag
        with pytest.raises(KeyringError, match="returned no tag"):
            holder.mac(bytes(96))
    for valid in (None, False, "true"):
        answer["MacValid"] = valid
        with pytest.raises(BadSealError):
            holder.check(bytes(96), bytes(32))


@pytest.mark.parametrize(
    ("operation", "code", "told"),
    [
        ("generate_mac", "AccessDeniedException", True),
        ("generate_mac", "NotFoundException", False),
        ("verify_mac", "AccessDeniedException", False),
    ],
)
def test_a_machine_is_told_to_verify_alone_where_it_may_not_seal(
    operation: str,
    code: str,
    told: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")

    def refuse(**_: object) -> None:
        raise exceptions.ClientError({"Error": {"Code": code}}, operation)

    client = SimpleNamespace(**{operation: refuse})
    monkeypatch.setattr(aws_kms.KmsHolder, "_connected", lambda _: client)
    holder = aws_kms.KmsHolder(SOME_ARN)
    with pytest.raises(KeyringError, match=code) as refused:
        holder._call(operation)
    assert ("may only verify" in str(refused.value)) is told


def test_without_its_package_kms_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(KeyringError, match="needs the package botocore"):
        aws_kms.connect(SOME_ARN, "")


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
        assert "cannot leave" in done.stderr
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
