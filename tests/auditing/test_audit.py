"""The audit: one verdict for each file, whatever it is, and nothing unpickled."""

import dbm.dumb
import gzip
import os
import pickle
import shelve
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from envelopes import hand_sealed
from watching import Mark, nothing_unpickled

from pickleseal import (
    Finding,
    Grade,
    Key,
    Keyring,
    KeyringError,
    Level,
    MalformedError,
    SealError,
    Status,
    Suite,
    Verdict,
    adopt_bytes,
    audit,
    extract,
    open_keyring,
    signed_dump,
    signed_dumps,
    verify,
)
from pickleseal.auditing.judge import AuditOptions, examine
from pickleseal.envelope.metadata import Metadata
from pickleseal.files.walk import files_below
from pickleseal.keys.roster import Roster
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster, create_key
from pickleseal.keys.store.directory import RingFiles

NOW = 1_800_000_000


def found(*paths: Path, **options: Any) -> dict[str, Finding]:
    """Return the findings below some paths, by the last part of their path."""
    with nothing_unpickled():
        return {os.path.basename(f.path): f for f in audit(paths, **options)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


# --- verdicts on what is sealed --------------------------------------------------------------


def test_each_key_of_a_ring_has_its_verdict(models: Path, ring_directory: Path) -> None:
    first = create_key(ring_directory, now=NOW).entry.id
    for name in ("revoked", "retired", "active", "sealed"):
        made = create_key(ring_directory, now=NOW).entry.id
        change_roster(ring_directory, partial(Roster.make_primary, key_id=made))
        signed_dump(name, models / name, keyring=ring_directory)
        if name == "retired":
            change_roster(ring_directory, partial(Roster.make_primary, key_id=first))
            change_roster(ring_directory, partial(Roster.retire, key_id=made))
        elif name == "revoked":
            revoke = partial(Roster.revoke, key_id=made, reason="lost", now=NOW)
            change_roster(ring_directory, revoke)
    signed_dump("unknown", models / "unknown", keyring=Keyring(Key.generate()))
    verdicts = {name: f.verdict for name, f in found(models, keyring=ring_directory).items()}
    assert verdicts == {
        "sealed": Verdict.SEALED,
        "active": Verdict.SEALED_ACTIVE,
        "retired": Verdict.SEALED_RETIRED,
        "revoked": Verdict.REVOKED,
        "unknown": Verdict.UNKNOWN_KEY,
    }
    revoked = found(models, keyring=ring_directory)["revoked"]
    assert "(lost)" in revoked.reason
    assert "--only-digests" in revoked.advice
    assert "--only-digests" not in revoked.reason  # once is enough


def test_a_ring_that_breaks_while_an_audit_is_at_work_does_not_end_it(
    tmp_path: Path, ring: Keyring, ring_directory: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    signed_dump(1, models / "a.pkl", keyring=ring_directory)
    signed_dump(1, models / "b.pkl", keyring=ring)
    findings = audit([models], keyring=ring_directory)
    first = next(findings)
    (ring_directory / "keyring.json").write_text("broken")
    rest = [one.verdict for one in findings]
    assert [first.verdict, *rest] == [Verdict.SEALED, Verdict.UNKNOWN_KEY]


def test_a_rotation_while_an_audit_is_at_work_is_seen(tmp_path: Path, ring_directory: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("a.pkl", "b.pkl"):
        signed_dump(1, models / name, keyring=ring_directory)
    findings = audit([models], keyring=ring_directory)
    first = next(findings)
    changes.rotate(ring_directory, now=0)
    signed_dump(2, models / "b.pkl", keyring=ring_directory)
    assert [first.verdict, *(one.verdict for one in findings)] == [Verdict.SEALED, Verdict.SEALED]


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_it_is_told_whether_the_head_or_the_body_was_changed(
    models: Path, ring: Keyring, size: int
) -> None:
    for name in ("head", "body", "tag", "whole"):
        signed_dump(np.zeros(size, np.uint8), models / name, keyring=ring, context="a/b")
    flip(models / "head", 70)
    flip(models / "body", -40)
    flip(models / "tag", -1)
    result = found(models, keyring=ring)
    assert {name: f.verdict for name, f in result.items()} == {
        "head": Verdict.BAD_HEAD,
        "body": Verdict.BAD_BODY,
        "tag": Verdict.BAD_BODY,
        "whole": Verdict.SEALED,
    }
    facts = {name: f.envelope for name, f in result.items()}
    assert facts["head"] is not None
    assert facts["body"] is not None
    assert facts["head"].status is Status.UNVERIFIED
    assert facts["body"].status is Status.HEADER
    assert facts["body"].problem


@pytest.mark.parametrize(
    ("suite", "compress"), [(Suite.SHA256, None), (Suite.BLAKE3, None), (Suite.BLAKE3, "zstd")]
)
def test_audit_and_verify_agree_on_every_cut_and_on_every_flipped_byte(
    tmp_path: Path, suite: Suite, compress: Any
) -> None:
    ring = Keyring(Key.generate(suite))
    whole = signed_dumps(
        {"a": np.arange(300), "b": "text"}, keyring=ring, context="x", compress=compress
    )
    path = tmp_path / "it"
    options = AuditOptions(ring)
    changed = [whole[:cut] for cut in range(1, len(whole), 7)]
    changed += [
        whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        for place in range(0, len(whole), 3)
    ]
    for data in [whole, *changed]:
        path.write_bytes(data)
        (finding,) = (examine(f, options) for f in files_below([str(path)]))
        try:
            facts = verify(path, keyring=ring)
        except MalformedError:
            assert finding.verdict is Verdict.MALFORMED
        except SealError:
            assert finding.level is Level.ERROR or not data.startswith(whole[:8])
        else:
            assert finding.verdict is Verdict.SEALED
            assert finding.envelope == facts


def test_several_objects_in_one_file_are_all_judged(models: Path, ring: Keyring) -> None:
    for name in ("whole", "spare", "broken"):
        with open(models / name, "wb") as file:
            for number in range(3):
                signed_dump(number, file, keyring=ring)
            if name == "spare":
                file.write(b"more")
    flip(models / "broken", -1)
    result = found(models, keyring=ring)
    assert result["whole"].verdict is Verdict.SEALED
    assert result["whole"].level is Level.NOTE  # a load by path refuses it
    assert len(result["whole"].envelopes) == 3
    assert result["spare"].verdict is Verdict.MALFORMED
    assert result["broken"].verdict is Verdict.BAD_BODY
    assert "3 of 3" in result["broken"].reason


def test_a_sealed_file_that_was_compressed_is_told_as_unchecked(
    models: Path, ring: Keyring
) -> None:
    with gzip.open(models / "it.pkl.gz", "wb") as file:
        signed_dump(1, file, keyring=ring)
    finding = found(models, keyring=ring)["it.pkl.gz"]
    assert (finding.verdict, finding.level) == (Verdict.UNSEALED, Level.WARNING)
    assert finding.reason.startswith("gzip > sealed file: a sealed file")
    assert "its seal was not checked" in finding.reason
    assert finding.advice.startswith("unpack it")


def test_bytes_behind_an_envelope_are_no_object(models: Path, ring: Keyring) -> None:
    signed_dump(1, models / "it", keyring=ring)
    with open(models / "it", "ab") as file:
        file.write(b"\n")
    finding = found(models, keyring=ring)["it"]
    assert finding.verdict is Verdict.MALFORMED
    assert finding.reason == "1 unexpected byte after the sealed data"


def test_a_context_other_than_expected_and_a_time_that_is_over(models: Path, ring: Keyring) -> None:
    signed_dump(1, models / "fraud", keyring=ring, context="fraud/v3")
    signed_dump(1, models / "prices", keyring=ring, context="prices/v1")
    signed_dump(1, models / "none", keyring=ring)
    right, wrong = Verdict.SEALED, Verdict.WRONG_CONTEXT
    for context, expected in (
        ("fraud/v3", (right, wrong, wrong)),
        ("fraud/*", (right, wrong, wrong)),
        ({"*/fraud": "fraud/*", "*/prices": "prices/v1"}, (right, right, right)),
        (None, (right, right, right)),
    ):
        result = found(models, keyring=ring, context=context)
        assert tuple(result[n].verdict for n in ("fraud", "prices", "none")) == expected


def test_a_key_that_is_bound_to_contexts_stands_for_nothing_else(
    models: Path, ring_directory: Path
) -> None:
    signed_dump(1, models / "it", keyring=ring_directory, context="prices")
    key = open_keyring(ring_directory).primary or ""
    change_roster(ring_directory, lambda r: r.limit(key, sign_until=None, contexts=("fraud/*",)))
    assert found(models, keyring=ring_directory)["it"].verdict is Verdict.WRONG_CONTEXT


def test_without_any_key_what_is_sealed_is_by_an_unknown_one(models: Path, ring: Keyring) -> None:
    signed_dump(1, models / "it", keyring=ring, context="a")
    report = audit(models).report()
    (finding,) = report.findings
    assert finding.verdict is Verdict.UNKNOWN_KEY
    assert finding.envelope is not None
    assert finding.envelope.status is Status.UNVERIFIED
    assert finding.envelope.metadata is not None  # what it claims is told
    assert report.ring is None
    with pytest.raises(KeyringError):
        audit(models, keyring=models / "no ring here")


# --- verdicts on what is not -----------------------------------------------------------------


def test_unsealed_artifacts_are_found_by_content_and_not_by_name(
    models: Path, ring: Keyring, tmp_path: Path
) -> None:
    model = {"w": np.arange(1000.0)}
    (models / "plain").write_bytes(pickle.dumps(model))
    (models / "notes.txt").write_bytes(pickle.dumps(model, 0))
    (models / "g.bin").write_bytes(gzip.compress(pickle.dumps(model)))
    joblib.dump(model, models / "j.dat")
    joblib.dump(model, models / "z.dat", compress=3)
    np.save(models / "objects.npy", np.array([{}, None], object), allow_pickle=True)
    (models / "armed.pkl").write_bytes(pickle.dumps(Mark(tmp_path / "mark")))
    (models / "text.pkl.md").write_text("# nothing to see here\n")
    result = found(models, keyring=ring)
    assert result.pop("text.pkl.md").verdict is Verdict.NO_PICKLE
    assert {f.verdict for f in result.values()} == {Verdict.UNSEALED}
    armed = result.pop("armed.pkl")
    assert armed.contents is not None
    assert armed.contents.grade is Grade.BEYOND
    assert armed.level is Level.ERROR
    assert {f.contents.grade for f in result.values() if f.contents} == {Grade.DATA}
    assert {f.level for f in result.values()} == {Level.WARNING}
    assert all(f.advice for f in result.values())
    assert not (tmp_path / "mark").exists()


def test_on_request_sealed_pickles_are_walked_through_too(
    models: Path, ring: Keyring, tmp_path: Path
) -> None:
    signed_dump(Mark(tmp_path / "mark"), models / "armed", keyring=ring)
    signed_dump([1, 2], models / "data", keyring=ring, compress="zstd")
    assert found(models, keyring=ring)["armed"].contents is None
    result = found(models, keyring=ring, imports=True)
    armed, data = result["armed"].contents, result["data"].contents
    assert armed is not None
    assert armed.grade is not Grade.DATA
    assert data is None or data.grade is Grade.DATA
    assert result["armed"].verdict is Verdict.SEALED


def test_advice_leads_to_what_can_be_done_with_a_file(models: Path, ring: Keyring) -> None:
    raw = pickle.dumps(np.arange(3))
    store: Any = dbm.dumb.open(str(models / "shelf"), "c")  # noqa: SIM115 - the shelf closes it
    with shelve.Shelf[Any](store) as shelf:
        shelf["a"] = [1]
    (models / "c" / "e6" / "a9").mkdir(parents=True)
    (models / "c" / "cache.db").write_bytes(b"SQLite format 3\0" + bytes(100) + raw)
    (models / "c" / "e6" / "a9" / "1f.val").write_bytes(raw)
    (models / "text.pkl").write_text("some words")
    (models / "new\nline.pkl").write_bytes(raw)
    (models / "plain.pkl").write_bytes(raw)
    told = {name: one.general_advice for name, one in found(models, keyring=ring).items()}
    kept = [one for one in told if one.startswith("shelf.") and told[one]] + ["cache.db", "1f.val"]
    assert len(kept) >= 3
    assert all("pickleseal.integrations" in told[name] for name in kept)
    assert "--exclude" in told["text.pkl"]
    assert told["new\nline.pkl"] == told["plain.pkl"]


@pytest.mark.parametrize("suite", [Suite.SHA256, Suite.BLAKE3])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 12, 1 << 20, (2 << 20) + 5])
def test_a_backup_is_a_note_if_it_is_what_was_sealed(size: int, suite: Suite, models: Path) -> None:
    ring = Keyring(Key.generate(suite))
    raw = pickle.dumps([bytes(size), Mark(models / "ran")], 3)
    (models / "it.pkl").write_bytes(adopt_bytes(raw, keyring=ring))
    (models / "it.pkl.unsealed").write_bytes(raw)
    finding = found(models, keyring=ring)["it.pkl.unsealed"]
    assert (finding.verdict, finding.level) == (Verdict.BACKUP, Level.NOTE)
    assert "delete it" in finding.advice


@pytest.mark.parametrize("case", ["changed", "longer", "saved anew", "dumped", "other key", "gone"])
def test_what_only_has_the_name_of_a_backup_is_judged_as_it_is(
    case: str, ring: Keyring, models: Path
) -> None:
    raw = pickle.dumps([1, "text"])
    path, backup = models / "it.pkl", models / "it.pkl.unsealed"
    path.write_bytes(adopt_bytes(raw, keyring=ring))
    backup.write_bytes(raw)
    if case == "changed":
        flip(backup, raw.index(b"text"))
    elif case == "longer":
        backup.write_bytes(raw + pickle.dumps(Mark(models / "ran")))
    elif case == "saved anew":
        signed_dump([2, "text"], path, keyring=ring)
    elif case == "dumped":  # whoever has something sealed chooses its bytes
        signed_dump([1, "text"], path, keyring=ring)
        backup.write_bytes(extract(path.read_bytes(), keyring=ring))
    elif case == "other key":
        path.write_bytes(adopt_bytes(raw, keyring=Keyring(Key.generate())))
    elif case == "gone":
        path.unlink()
    finding = found(models, keyring=ring)["it.pkl.unsealed"]
    assert finding.verdict is Verdict.UNSEALED
    advice = {"longer": "do not load it", "gone": "if the file is yours, seal it"}
    assert advice.get(case, "it has the name of a backup") in finding.advice


def test_an_empty_body_proves_nothing_of_a_backup(ring: Keyring, models: Path) -> None:
    (models / "it.pkl").write_bytes(hand_sealed(ring, Metadata("pickle"), b""))
    (models / "it.pkl.unsealed").write_bytes(pickle.dumps(Mark(models / "ran")))
    assert found(models, keyring=ring)["it.pkl.unsealed"].level is Level.ERROR


def test_leftovers_links_and_special_files_are_told(models: Path, ring: Keyring) -> None:
    signed_dump(1, models / "it", keyring=ring)
    half = signed_dumps([1, 2], keyring=ring)[:-40]
    (models / ".pickleseal-0123456789abcdef.tmp").write_bytes(half)
    (models / ".pickleseal-named-so.tmp").write_bytes(pickle.dumps([1, 2]))
    (models / "link").symlink_to(models / "it")
    (models / "loop").symlink_to(models, target_is_directory=True)
    (models / "dangling").symlink_to(models / "nothing")
    os.mkfifo(models / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(models / "socket"))
    listener.close()
    result = {n: f.verdict for n, f in found(models, keyring=ring).items()}
    assert result == {
        "it": Verdict.SEALED,
        ".pickleseal-0123456789abcdef.tmp": Verdict.LEFTOVER,
        ".pickleseal-named-so.tmp": Verdict.UNSEALED,
        "link": Verdict.SKIPPED,
        "loop": Verdict.SKIPPED,
        "dangling": Verdict.SKIPPED,
        "fifo": Verdict.UNREADABLE,
        "socket": Verdict.UNREADABLE,
    }
    named = found(models / "link", models / "fifo", Path("/dev/zero"), keyring=ring)
    assert {n: f.verdict for n, f in named.items()} == {
        "link": Verdict.SEALED,
        "fifo": Verdict.UNREADABLE,
        "zero": Verdict.UNREADABLE,
    }


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX only")
def test_what_may_not_be_read_is_told_and_the_rest_is_audited(ring: Keyring) -> None:
    # Not in a folder of pytest's: each run of it closes those to all others.
    with tempfile.TemporaryDirectory() as folder:
        _audit_as_nobody(Path(folder), ring)


def _audit_as_nobody(models: Path, ring: Keyring) -> None:
    import subprocess

    signed_dump(1, models / "it", keyring=ring)
    signed_dump(1, models / "closed", keyring=ring)
    (models / "shut").mkdir()
    for path in (models / "closed", models / "shut"):
        path.chmod(0)
    code = (
        "import os, sys\n"
        "from pickleseal import audit\n"
        "list(audit(sys.argv[1]))\n"  # all that is imported late is imported now
        "if os.geteuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "for f in audit(sys.argv[1]): print(os.path.basename(f.path), f.verdict.name, f.level.name)"
    )
    models.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(models)],
        # Nobody may not write what a measuring of coverage would write at the end.
        env={name: text for name, text in os.environ.items() if "COVERAGE" not in name}
        | {"XDG_DATA_HOME": str(models / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    lines = set(done.stdout.splitlines())
    assert "closed UNREADABLE WARNING" in lines
    assert "shut UNREADABLE WARNING" in lines
    assert "it UNKNOWN_KEY ERROR" in lines
    (models / "shut").chmod(0o755)


# --- hostile trees ---------------------------------------------------------------------------


def test_files_that_vanish_shrink_and_change_kind_while_it_works_end_in_a_verdict(
    models: Path, ring: Keyring
) -> None:
    path = models / "it"
    whole = signed_dumps(np.zeros(400_000), keyring=ring)
    stop = threading.Event()

    def meddle() -> None:
        while not stop.is_set():
            path.write_bytes(whole)
            os.truncate(path, len(whole) // 2)
            path.unlink()
            path.symlink_to("/dev/zero")
            path.unlink()
            os.mkfifo(path)
            path.unlink()

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        verdicts = {f.verdict for _ in range(150) for f in audit(models, keyring=ring)}
    finally:
        stop.set()
        meddler.join()
    assert verdicts <= {
        Verdict.SEALED,
        Verdict.MALFORMED,
        Verdict.BAD_BODY,
        Verdict.UNREADABLE,
        Verdict.SKIPPED,
        Verdict.NO_PICKLE,
        Verdict.UNSEALED,
    }


def test_a_file_of_a_tebibyte_ends_at_once(models: Path, ring: Keyring) -> None:
    for name, start in (
        ("zeros", b""),
        ("envelope", signed_dumps(1, keyring=ring)),
        ("pickle", b"\x80\x04]\x94(K\x01\x8e" + (1 << 39).to_bytes(8, "little")),
    ):
        with open(models / name, "wb") as file:
            file.write(start)
            file.truncate(1 << 40)
    huge = bytearray(signed_dumps(1, keyring=Keyring(Key.generate())))
    huge[40:48] = (1 << 40).to_bytes(8, "little")
    with open(models / "claims", "wb") as file:
        file.write(huge)
        file.truncate(1 << 40)
    result = found(models, keyring=ring)
    assert result["zeros"].verdict is Verdict.NO_PICKLE
    assert result["envelope"].verdict is Verdict.MALFORMED
    assert result["claims"].level is Level.ERROR
    assert result["pickle"].verdict is Verdict.UNSEALED


def test_every_file_of_a_large_tree_has_a_finding_and_memory_stays_bounded(
    models: Path, ring: Keyring
) -> None:
    import tracemalloc

    for folder in range(20):
        (models / str(folder)).mkdir()
        for number in range(100):
            (models / str(folder) / f"{number}.txt").write_bytes(b"text")
    deep = models
    for _ in range(100):
        deep = deep / "d"
        deep.mkdir()
    signed_dump(np.zeros(10_000_000, np.uint8), deep / "it", keyring=ring)
    tracemalloc.start()
    try:
        report = audit(models, keyring=ring).report()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.verdicts == {Verdict.NO_PICKLE: 2000, Verdict.SEALED: 1}
    assert peak < 8 << 20


def test_names_that_are_no_text_and_names_that_act_are_taken(models: Path, ring: Keyring) -> None:
    names = [b"new\nline", b"esc\x1b[2J", b"not utf-8 \xff\xfe", b" ", "\u202eelif.pkl".encode()]
    for name in names:
        with open(os.path.join(os.fsencode(models), name), "wb") as file:
            file.write(signed_dumps(1, keyring=ring))
    result = audit(models, keyring=ring).report()
    assert {os.fsencode(os.path.basename(f.path)) for f in result.findings} == set(names)
    assert result.verdicts == {Verdict.SEALED: len(names)}


# --- what is audited -------------------------------------------------------------------------


def test_globs_choose_and_what_is_left_out_is_told(models: Path, ring: Keyring) -> None:
    (models / "sub").mkdir()
    (models / "sub" / "inner").mkdir()
    for path in ("a.pkl", "b.txt", "sub/c.pkl", "sub/inner/d.pkl"):
        signed_dump(1, models / path, keyring=ring)
    result = found(models, keyring=ring, include=["*.pkl"], exclude=["inner"])
    assert {name: f.verdict for name, f in result.items()} == {
        "a.pkl": Verdict.SEALED,
        "b.txt": Verdict.SKIPPED,
        "c.pkl": Verdict.SEALED,
        "inner": Verdict.SKIPPED,
    }
    assert all(f.reason for f in result.values() if f.verdict is Verdict.SKIPPED)
    named = found(models / "b.txt", keyring=ring, include=["*.pkl"])
    assert named["b.txt"].verdict is Verdict.SEALED


def test_how_a_path_is_typed_makes_no_difference_to_globs(
    models: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "sub").mkdir()
    signed_dump(1, models / "sub" / "it", keyring=ring, context="right")
    monkeypatch.chdir(models.parent)
    for root in ("models", "./models/", str(models), "models/../models", "."):
        for glob in ("models/sub/*", "./models/sub/it", "*/sub/*", "it"):
            wrong = audit(root, keyring=ring, context={glob: "other"}).report()
            assert wrong.verdicts == {Verdict.WRONG_CONTEXT: 1}, (root, glob)
        for glob in ("models/sub", "sub", "sub/", "models/sub/", "./models/sub/*", "*/sub"):
            left = audit(root, keyring=ring, exclude=[glob]).report()
            assert left.verdicts == {Verdict.SKIPPED: 1}, (root, glob)


def test_a_path_that_is_named_is_looked_at_whatever_else_is_said(
    models: Path, ring: Keyring
) -> None:
    (models / "real").mkdir()
    signed_dump(1, models / "real" / "it", keyring=ring)
    tree = models / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(models / "real", target_is_directory=True)
    (tree / "it").write_bytes((models / "real" / "it").read_bytes())
    seen = [f.path for f in audit([tree, tree / "link" / "it"], keyring=ring)]
    assert str(tree / "link" / "it") in seen
    report = audit([tree, tree / "it"], keyring=ring, exclude=["it"]).report()
    assert {f.path: f.verdict for f in report.findings}[str(tree / "it")] is Verdict.SEALED


def test_a_folder_that_becomes_a_link_leads_nowhere(models: Path, ring: Keyring) -> None:
    elsewhere = models.parent / "elsewhere"
    elsewhere.mkdir()
    for number in range(3):
        signed_dump(number, models / str(number), keyring=ring)
        (elsewhere / str(number)).write_bytes(pickle.dumps("not here"))
    audited = audit(models, keyring=ring)
    verdicts = [next(audited).verdict]
    models.rename(models.parent / "moved")
    models.symlink_to(elsewhere, target_is_directory=True)
    verdicts += [finding.verdict for finding in audited]
    assert verdicts == [Verdict.SEALED] * 3


def test_a_path_given_twice_or_within_another_is_audited_once(models: Path, ring: Keyring) -> None:
    (models / "sub").mkdir()
    signed_dump(1, models / "sub" / "it", keyring=ring)
    for paths in ([models, models], [models, models / "sub" / "it"], [models / "sub", models]):
        assert len(list(audit(paths, keyring=ring))) == 1


def test_a_path_that_is_not_there_is_an_error_at_once(models: Path) -> None:
    with pytest.raises(FileNotFoundError):
        audit([models, models / "gone"])


def test_findings_come_one_after_the_other_and_the_report_has_all(
    models: Path, ring: Keyring
) -> None:
    for number in range(5):
        signed_dump(number, models / str(number), keyring=ring)
    audited = audit(models, keyring=ring)
    assert repr(audited) == f"<Audit of {models}: iterate over it, or call report()>"
    assert isinstance(audited, Iterator)
    first = next(audited)
    report = audited.report()
    assert repr(report) == (
        f"<Report of {models}: 0 errors, 0 warnings, 0 notes, 5 with nothing to do>"
    )
    assert report.findings[0] is first
    assert len(report.findings) == 5
    assert report.roots == (str(models),)
    assert report.ring is not None
    assert report.ring.primary == ring.primary
    assert report.level is Level.NONE
    with pytest.raises(AttributeError):
        first.verdict = Verdict.REVOKED  # type: ignore[misc]


def test_a_stream_of_findings_is_counted_and_not_kept(models: Path, ring: Keyring) -> None:
    for number in range(4):
        signed_dump(number, models / str(number), keyring=ring)
    (models / "4").write_bytes(pickle.dumps([1]))
    audited = audit(models, keyring=ring, exclude=["3"])
    next(audited)
    assert [finding.verdict for finding in audited.stream()][-1] is Verdict.UNSEALED
    streamed, whole = audited.report(), audit(models, keyring=ring, exclude=["3"]).report()
    assert len(streamed.findings) == 1
    assert streamed.headline == whole.headline == "1 of 4 files (1 left out) needs attention"
    for name in ("verdicts", "levels", "level", "excluded", "files", "need_attention"):
        assert getattr(streamed, name) == getattr(whole, name)


def test_a_passphrase_is_asked_for_in_the_calling_thread(
    models: Path, ring_directory: Path
) -> None:
    from pickleseal.keys.passphrase import Passphrase
    from pickleseal.keys.store.lines import Opener

    for number in range(30):
        signed_dump(number, models / str(number), keyring=ring_directory)
    ids = [open_keyring(ring_directory).primary or ""]
    changes.protect(
        RingFiles(ring_directory),
        ids,
        Opener(),
        lambda: changes.Storage(Passphrase("correct horse")),
    )
    asked: list[threading.Thread] = []

    def ask() -> str:
        asked.append(threading.current_thread())
        return "correct horse"

    ring = open_keyring(ring_directory, passphrase=ask)
    assert audit(models, keyring=ring).report().verdicts == {Verdict.SEALED: 30}
    assert asked == [threading.main_thread()]


def test_an_archive_that_is_not_opened_is_named(models: Path, ring: Keyring) -> None:
    (models / "data.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(90))
    (models / "notes.txt").write_bytes(b"nothing")
    result = found(models, keyring=ring)
    assert result["data.7z"].verdict is result["notes.txt"].verdict is Verdict.NO_PICKLE
    assert result["data.7z"].level is Level.NOTE
    assert "7z" in result["data.7z"].reason
    assert result["notes.txt"].level is Level.NONE


def test_what_cannot_be_told_is_a_warning_with_its_reason(models: Path, ring: Keyring) -> None:
    (models / "model.pkl").write_bytes(pickle.dumps([1, 2]) + b"spare")
    finding = found(models, keyring=ring)["model.pkl"]
    assert finding.contents is not None
    assert finding.contents.grade is Grade.CANNOT_TELL
    assert finding.level is Level.WARNING
    assert finding.contents.reasons[0] in finding.reason
    assert finding.advice


def test_all_of_a_large_file_is_searched_on_request(models: Path, ring: Keyring) -> None:
    with open(models / "large", "wb") as file:
        file.seek(70 << 20)
        file.write(pickle.dumps(Mark(models / "mark")))
    plain = found(models, keyring=ring)["large"]
    assert plain.verdict is Verdict.NO_PICKLE
    assert "--deep" in plain.reason
    assert found(models, keyring=ring, deep=True)["large"].level is Level.ERROR


def test_a_single_string_of_globs_leaves_no_file_out_in_silence(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="include takes a list of globs"):
        audit(tmp_path, include="*.pkl")
    with pytest.raises(TypeError, match="exclude takes a list of globs"):
        audit(tmp_path, exclude="*.pkl")
