"""Objects that an audit does not read again, and what nobody can hide by that."""

import json
import os
import pickle
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import as_json, call
from jsonschema import Draft202012Validator
from local_s3 import BUCKET, LocalS3
from rings import rotate

from pickleseal import Keyring, audit, signed_dumps
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.formats.plain import to_line
from pickleseal.errors import PicklesealError
from pickleseal.keys.store.directory import open_keyring

pytest.importorskip("s3fs")

MIB = 1 << 20
ROOT = "s3://models"


@pytest.fixture
def ring(ring_directory: Path) -> Keyring:
    return open_keyring(ring_directory)


def schema(name: str) -> Draft202012Validator:
    path = Path(__file__).parents[2] / f"docs/reference/schemas/{name}.json"
    return Draft202012Validator(json.loads(path.read_text()))


def put(s3: LocalS3, name: str, data: bytes) -> None:
    s3.client().put_object(Bucket=BUCKET, Key=name, Body=data)


def sealed(obj: Any, ring: Keyring, **options: Any) -> bytes:
    return signed_dumps(obj, keyring=ring, **options)


def write(path: Path, findings: list[Finding]) -> Path:
    path.write_text("".join(map(to_line, findings)), encoding="ascii")
    return path


def again(report: Path, ring: Keyring, **options: Any) -> dict[str, Finding]:
    """Audit since a report; return the findings by name."""
    found = audit(ROOT, keyring=ring, since=report, **options)
    return {finding.path.rpartition("/")[2]: finding for finding in found}


def reads(s3: LocalS3) -> list[str]:
    """Return the objects that were read since the last time."""
    paths = [one.path for one in s3.requests if one.method == "GET" and one.path.count("/") > 1]
    s3.requests.clear()
    return [path.rpartition("/")[2] for path in paths]


def test_what_was_sealed_and_whole_and_is_listed_alike_is_not_read(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    for name in ("a.pkl", "b.pkl", "changed.pkl"):
        put(s3, name, sealed(name, ring))
    put(s3, "bare.pkl", pickle.dumps([1]))
    put(s3, "notes.txt", b"nothing")
    report = write(tmp_path / "report", list(audit(ROOT, keyring=ring, marks=True)))
    put(s3, "changed.pkl", sealed("anew", ring))
    put(s3, "new.pkl", sealed("new", ring))
    reads(s3)
    found = again(report, ring)
    assert reads(s3) == ["bare.pkl", "changed.pkl", "new.pkl", "notes.txt"]
    for name in ("a.pkl", "b.pkl"):
        assert found[name].verdict is Verdict.NOT_READ
        assert found[name].level is Level.NONE
        assert not found[name].envelopes
        assert "listed as when it was sealed and whole, at 20" in found[name].reason
    assert found["changed.pkl"].verdict is found["new.pkl"].verdict is Verdict.SEALED
    assert found["bare.pkl"].verdict is Verdict.UNSEALED


def test_a_report_since_a_report_serves_the_next_and_keeps_the_first_time(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    put(s3, "a.pkl", sealed(1, ring))
    (first,) = audit(ROOT, keyring=ring, marks=True)
    assert first.mark is not None
    old = first._replace(mark=first.mark._replace(read=1_700_000_000))
    second = again(write(tmp_path / "1", [old]), ring)["a.pkl"]
    third = again(write(tmp_path / "2", [second]), ring)["a.pkl"]
    assert second == third
    assert third.mark == old.mark
    assert "at 2023-11-14 22:13:20 UTC" in third.reason


def test_an_audit_that_was_ended_goes_on_where_it_was(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    for number in range(5):
        put(s3, f"{number}.pkl", sealed(number, ring))
    audited = audit(ROOT, keyring=ring, marks=True)
    report = write(tmp_path / "report", [next(audited) for _ in range(3)])
    with report.open("a") as file:
        file.write(to_line(next(audited))[:-20])  # it was being written
    reads(s3)
    assert len(again(report, ring)) == 5
    assert reads(s3) == ["3.pkl", "4.pkl"]


@pytest.mark.parametrize("part", [None, 8, 5])
def test_a_large_object_that_was_sent_in_parts_is_known_again(
    s3: LocalS3, ring: Keyring, tmp_path: Path, part: int | None
) -> None:
    data = sealed(np.arange(20 * MIB // 8), ring)
    if part is None:
        put(s3, "large.pkl", data)
    else:
        client, where = s3.client(), {"Bucket": BUCKET, "Key": "large.pkl"}
        upload = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
        sent = []
        for number, at in enumerate(range(0, len(data), part * MIB), 1):
            body = data[at : at + part * MIB]
            made = client.upload_part(**upload, PartNumber=number, Body=body)
            sent.append({"PartNumber": number, "ETag": made["ETag"]})
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent})
    report = write(tmp_path / "report", list(audit(ROOT, keyring=ring, marks=True)))
    reads(s3)
    assert again(report, ring)["large.pkl"].verdict is Verdict.NOT_READ
    assert reads(s3) == []


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_an_object_that_is_exchanged_while_it_is_audited_is_read_the_next_time(
    s3: LocalS3, ring: Keyring, tmp_path: Path, size: int
) -> None:
    """The list shows one object, the reads another, and the first is back when it is asked for."""
    good = sealed(bytes(size), ring)
    bad = bytearray(good)
    bad[-1] ^= 1
    put(s3, "a.pkl", bytes(bad))

    def exchange(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"].endswith("a.pkl"):
            kept, s3.fault = s3.fault, None
            put(s3, "a.pkl", good if environ["REQUEST_METHOD"] == "GET" else bytes(bad))
            s3.fault = kept

    s3.fault = exchange
    (shown,) = audit(ROOT, keyring=ring, marks=True)
    s3.fault = None
    assert shown.verdict is Verdict.SEALED
    assert shown.mark is None
    put(s3, "a.pkl", bytes(bad))
    found = again(write(tmp_path / "report", [shown]), ring)["a.pkl"]
    assert found.verdict is Verdict.BAD_BODY


def test_all_is_read_again_when_what_it_was_judged_by_has_changed(
    s3: LocalS3, ring: Keyring, ring_directory: Path, tmp_path: Path
) -> None:
    put(s3, "a.pkl", sealed(1, ring, context="m/a"))
    report = write(tmp_path / "report", list(audit(ROOT, keyring=ring, marks=True)))
    assert again(report, ring)["a.pkl"].verdict is Verdict.NOT_READ
    assert again(report, ring, context="other")["a.pkl"].verdict is Verdict.WRONG_CONTEXT
    assert again(report, ring, imports=True)["a.pkl"].verdict is Verdict.SEALED
    rotate(ring_directory)
    assert again(report, open_keyring(ring_directory))["a.pkl"].level is Level.NOTE


def test_what_expires_or_is_a_file_or_was_read_by_a_worker_has_no_mark(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    put(s3, "a.pkl", sealed(1, ring, expires=timedelta(hours=1)))
    (tmp_path / "a.pkl").write_bytes(sealed(1, ring))
    found = audit([ROOT, tmp_path / "a.pkl"], keyring=ring, marks=True)
    assert [one.mark for one in found] == [None, None]
    put(s3, "b.pkl", sealed(1, ring))
    (finding,) = audit(f"{ROOT}/b.pkl", keyring=ring, marks=True, n_jobs=2, backend="threading")
    assert finding.verdict is Verdict.SEALED
    assert finding.mark is None


def test_the_client_of_workers_passes_over_the_same_objects(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    put(s3, "a.pkl", sealed(1, ring))
    report = write(tmp_path / "report", list(audit(ROOT, keyring=ring, marks=True)))
    put(s3, "b.pkl", sealed(2, ring))
    reads(s3)
    found = again(report, ring, n_jobs=2, backend="threading")
    assert [found[name].verdict.value for name in ("a.pkl", "b.pkl")] == ["not read", "sealed"]
    assert reads(s3) == ["b.pkl"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_report_that_others_could_have_changed_is_refused(
    s3: LocalS3, ring: Keyring, tmp_path: Path
) -> None:
    put(s3, "a.pkl", sealed(1, ring))
    report = write(tmp_path / "report", list(audit(ROOT, keyring=ring, marks=True)))
    report.chmod(0o646)
    with pytest.raises(PicklesealError, match="chmod"):
        audit(ROOT, keyring=ring, since=report)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    shutil.copy(report, shared)
    (shared / "report").chmod(0o600)
    with pytest.raises(PicklesealError, match="chmod"):
        audit(ROOT, keyring=ring, since=shared / "report")
    with pytest.raises(PicklesealError, match="on this machine"):
        audit(ROOT, keyring=ring, since=f"{ROOT}/report")


def test_a_file_that_is_no_report_is_refused(s3: LocalS3, ring: Keyring, tmp_path: Path) -> None:
    put(s3, "a.pkl", sealed(1, ring))
    wrong = tmp_path / "wrong"
    wrong.write_text('{"findings": []}\n')
    with pytest.raises(PicklesealError, match="no report in JSON Lines"):
        audit(ROOT, keyring=ring, since=wrong)
    with pytest.raises(FileNotFoundError):
        audit(ROOT, keyring=ring, since=tmp_path / "gone")
    with pytest.raises(ValueError, match="baseline"):
        audit(ROOT, keyring=ring, since=wrong, baseline=wrong)
    for text in ('{"path": 1}', '{"path": "s3://models/a.pkl", "mark": {"etag": 1}}', ""):
        lines = [text, '{"path": "b"}']
        wrong.write_text("\n".join(lines))
        assert again(wrong, ring)["a.pkl"].verdict is Verdict.SEALED


def test_every_form_of_report_says_what_was_not_read(
    s3: LocalS3, ring: Keyring, ring_directory: Path, tmp_path: Path
) -> None:
    for number in range(3):
        put(s3, f"{number}.pkl", sealed(number, ring))
    arguments = ("audit", ROOT, "--keyring", ring_directory)
    first, second, sarif = (tmp_path / name for name in ("1", "2", "sarif"))
    assert call(*arguments, "--output", f"jsonl={first}").returncode == 0
    put(s3, "3.pkl", sealed(3, ring))
    outputs = ("--output", f"jsonl={second}", "--output", f"sarif={sarif}")
    done = call(*arguments, "--since", first, *outputs, "--html", tmp_path / "page")
    assert done.returncode == 0, done.stderr
    assert "3  not read" in done.stdout
    assert "1 sealed of 1 file (3 not read): nothing needs attention" in done.stderr
    assert "3 not read: the store lists them as when they were" in done.stderr
    lines = [json.loads(line) for line in second.read_text().splitlines()]
    for line in [json.loads(line) for line in first.read_text().splitlines()] + lines:
        schema("audit-line").validate(line)
        assert ("mark" in line) == (line["verdict"] in ("sealed", "not read"))
    assert [line["verdict"] for line in lines] == [*["not read"] * 3, "sealed"]
    (run,) = json.loads(sarif.read_text())["runs"]
    assert run["properties"]["filesNotRead"] == 3
    page = (tmp_path / "page").read_text()
    assert "None of 1 file (3 not read) needs attention" in page
    assert "3 not read: the store lists them as when they were" in page
    done = call(*arguments, "--since", second, "--json")
    told = as_json(done)
    schema("audit").validate(told)
    assert done.returncode == 0
    assert (told["files"], told["not_read"], told["since"]) == (0, 4, str(second))
    assert told["oldest"] == lines[0]["mark"]["read"]
    for wrong in (("--inventory", tmp_path / "i"), ("--output", f"jsonl={first}")):
        assert call(*arguments, "--since", first, *wrong).returncode == 2
