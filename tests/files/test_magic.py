"""What stands in the place of a pickle is called what it is: by a load, an audit and adopt."""

from pathlib import Path

import pytest
from command import run

from pickleseal import (
    AdoptionError,
    Keyring,
    NotSealedError,
    adopt_bytes,
    audit,
    inspect,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.auditing.findings import Level, Verdict
from pickleseal.scanner.grade import Grade

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"

STAND_INS = [
    (POINTER, "Git LFS pointer", "git lfs pull"),
    (b"/annex/objects/SHA256E-s5--00.pkl\n", "git-annex pointer", "git annex get"),
    (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML page", "download"),
    (b"\xef\xbb\xbf\r\n  <HTML lang='en'>", "HTML page", "download"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML", "download"),
    (b"<Error><Code>NoSuchKey</Code></Error>", "XML", "download"),
    (b'{"message": "Bad credentials"}', "JSON", "download"),
    (b'{\n  "error": {}}', "JSON", "download"),
    (b'[{"error": 1}]', "JSON", "download"),
    (b"", "empty", "whole copy"),
]


@pytest.mark.parametrize(("data", "called", "advice"), STAND_INS)
def test_a_stand_in_is_called_what_it_is_with_what_to_do(
    data: bytes, called: str, advice: str, tmp_path: Path, ring: Keyring
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    refusals = []
    for refuse in (
        lambda: signed_loads(data, keyring=ring),
        lambda: signed_load(path, keyring=ring),
        lambda: verify(path, keyring=ring),
        lambda: inspect(path, keyring=ring),
    ):
        with pytest.raises(NotSealedError) as refused:
            refuse()
        refusals.append(str(refused.value))
    with pytest.raises(AdoptionError) as not_adopted:
        adopt_bytes(data, keyring=ring)
    (finding,) = audit(path, keyring=ring)
    if data:
        assert finding.contents is not None
        assert finding.contents.grade is Grade.CANNOT_TELL
        assert finding.level is Level.WARNING
    else:
        assert finding.verdict is Verdict.NO_PICKLE
        assert finding.level is Level.NOTE
    for text in (*refusals, str(not_adopted.value), f"{finding.reason}; {finding.advice}"):
        assert called in text or "nothing to read" in text
        assert advice in text


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl.gz", "MODEL.PKL", "arrays.npz"])
def test_the_audit_goes_by_the_name(name: str, tmp_path: Path, ring: Keyring) -> None:
    for place in (tmp_path / name, tmp_path / "data.csv"):
        place.write_bytes(POINTER)
    levels = {Path(f.path).name: f.level for f in audit(tmp_path, keyring=ring)}
    assert levels == {name: Level.WARNING, "data.csv": Level.NONE}


def test_an_audit_of_pointers_says_how_to_fetch_the_files(
    tmp_path: Path, ring_directory: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pkl").write_bytes(POINTER)
    done = run("audit", tmp_path / "models", "--keyring", ring_directory)
    assert done.returncode == 1
    assert "git lfs pull" in done.stdout
