"""`pickleseal adopt`: lists of digests, and a context for each file."""

import os
import pickle
import re
import time
from datetime import timedelta
from pathlib import Path

import joblib
import pytest
from command import as_json, run
from old_files import is_sealed, old_models, sha256, told

from pickleseal import Keyring, SealError, open_keyring, signed_dump, signed_load
from pickleseal.files.walk import Found
from pickleseal.migration.adopt import read_digests, survey, with_own_contexts
from pickleseal.migration.batch import Batch, Candidate, Outcome
from pickleseal.migration.contexts import context_of


@pytest.fixture
def models(tmp_path: Path, ring_directory: Path, mark: Path) -> Path:
    return old_models(tmp_path, ring_directory, mark)


# --- lists of digests ------------------------------------------------------------------------


def test_with_a_list_of_digests_only_listed_files_are_adopted(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known.sha256"
    (models / "renamed.dat").write_bytes((models / "3.pkl").read_bytes())
    known.write_text(
        f"{sha256(models / '2.pkl')}  elsewhere/old.pkl\n"
        f"{sha256(models / '3.pkl').upper()} *3.pkl\n\n"
        f"{sha256(models / 'notes.txt')}  notes.txt\r\n"
    )
    command = ("adopt", models, "--yes", "--json", "--keyring", ring_directory)
    done = run(*command, "--digests", known)
    assert done.returncode == 1, "what is listed and no pickle is refused aloud"
    files = {
        str(Path(one["path"]).relative_to(models)): one["outcome"] for one in as_json(done)["files"]
    }
    assert {name for name, one in files.items() if one == "adopted"} == {
        "2.pkl",
        "3.pkl",
        "renamed.dat",
    }
    assert files["notes.txt"] == "refused"
    assert files["0.pkl"] == files["armed.pkl"] == "skipped"
    assert files["empty"] == "no pickle found"


def test_a_listed_digest_does_not_let_in_what_reaches_beyond_data(
    models: Path, ring_directory: Path
) -> None:
    armed = models / "armed.pkl"
    (found,) = survey(
        Batch([str(armed)]),
        keyring=open_keyring(ring_directory),
        digests=frozenset([sha256(armed)]),
    )
    assert found.outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "line",
    ["0" * 63 + "  a", "0" * 64, "g" * 64 + "  a", "# a", "SHA256 (a) = " + "0" * 64, "0" * 65],
)
def test_a_line_that_is_none_of_sha256sums_is_told_with_its_number(line: str) -> None:
    good = "0" * 64 + "  a\x0bb\u2028c.pkl\n"
    assert read_digests(good + "\\" + "1" * 64 + " *a\\nb\n") == {"0" * 64, "1" * 64}
    with pytest.raises(ValueError, match="2"):
        read_digests(good + line + "\n")


def test_a_list_that_is_none_exits_with_2(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known.sha256"
    known.write_text("nothing\n")
    for path in (known, tmp_path / "gone"):
        done = run("adopt", models, "--yes", "--digests", path, "--keyring", ring_directory)
        assert done.returncode == 2
    assert not list(models.rglob("*.unsealed"))


# --- what files are sealed for ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "context"),
    [
        ("a/fraud.pkl", "m/fraud"),
        ("a.b/fraud.v1.pkl", "m/fraud.v1"),
        ("fraud.pkl.gz", "m/fraud"),
        ("fraud.v1.joblib.z", "m/fraud.v1"),
        ("fraud.gz", "m/fraud"),
        ("fraud", "m/fraud"),
        (".pkl", "m/.pkl"),
    ],
)
def test_a_name_in_a_context_is_that_of_the_file_without_its_ending(
    inside: str, context: str
) -> None:
    assert context_of(inside, "m/{name}") == context


@pytest.mark.parametrize(
    ("path", "root", "context"),
    [
        ("lay/v1/model.pkl.gz", "lay", "m/v1/model"),
        ("lay/v1/model.pkl", "lay/", "m/v1/model"),
        ("/a/lay/model.pkl", "/a/lay", "m/model"),
        ("lay/v1/model.pkl", "lay/v1/model.pkl", "m/model"),
        ("./{name}/b.pkl", ".", "m/{name}/b"),
    ],
)
def test_a_path_in_a_context_begins_below_what_was_named(
    path: str, root: str, context: str
) -> None:
    candidate = Candidate(Found(path, None if path == root else path), root, path, named=False)
    assert context_of(candidate.inside, "m/{path}") == context


@pytest.mark.parametrize("context", ["m/{Name}", "m/{name", "name}", "{{name}}", "{name}{}", "{"])
def test_another_brace_in_a_context_is_refused_before_anything_is_sealed(
    models: Path, ring_directory: Path, context: str
) -> None:
    command = ("adopt", models, "--yes", "--context", context, "--keyring", ring_directory)
    done = run(*command)
    assert done.returncode == 2
    assert "{name}" in done.stderr
    assert "{path}" in done.stderr
    assert not list(models.rglob("*.unsealed"))


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Return a folder with two files of the same name."""
    folder = tmp_path / "lay"
    for version in ("v1", "v2"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.pkl").write_bytes(pickle.dumps(version))
    return folder


def test_files_of_the_same_name_are_told_apart_by_their_paths(
    versions: Path, ring_directory: Path
) -> None:
    command = ("adopt", versions, "--yes", "--keyring", ring_directory, "--context")
    refused = run(*command, "m/{name}")
    assert refused.returncode == 1
    assert "{path}" in refused.stdout + refused.stderr
    assert run(*command, "m/{path}").returncode == 0
    for version in ("v1", "v2"):
        path = versions / version / "model.pkl"
        loaded = signed_load(path, keyring=ring_directory, context=f"m/{version}/model")
        assert loaded == version
    assert run(*command, "m/{path}").returncode == 0, "begun again, it goes on"


def test_a_context_that_has_the_path_already_is_not_told_to_take_it(
    versions: Path, ring_directory: Path
) -> None:
    (versions / "v1" / "model.joblib").write_bytes(pickle.dumps(1))
    found = survey(Batch([str(versions)]), keyring=open_keyring(ring_directory), context="{path}")
    reasons = [one.reason for one in with_own_contexts(found, "{path}") if one.reason]
    assert len(reasons) == 2
    assert not [reason for reason in reasons if "{path}" in reason]


def test_what_each_file_would_be_sealed_for_is_shown_before_it_is(
    versions: Path, ring_directory: Path
) -> None:
    command = ("adopt", versions, "--dry-run", "--keyring", ring_directory, "--context")
    assert re.findall("for '(.*)'", run(*command, "m/{path}").stdout) == [
        "m/v1/model",
        "m/v2/model",
    ]
    shared = run(*command, "m/model")
    assert "for '" not in shared.stdout
    assert "all for 'm/model'" in shared.stderr
    assert "{path}" in shared.stderr, "it says how each gets its own"
    asked = run("adopt", versions, "--context", "m/{path}", "--keyring", ring_directory)
    assert "for 'm/v1/model'" in asked.stderr, "a person sees it before saying yes"
    listed = as_json(run(*command, "m/{path}", "--json"))["files"]
    assert [one["context"] for one in listed] == ["m/v1/model", "m/v2/model"]


def test_files_that_would_be_sealed_for_the_same_name_are_all_refused(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    (folder / "s").mkdir(parents=True)
    names = ("fraud.v1.pkl", "fraud.v2.pkl", "fraud.pkl", "s/fraud.pkl", "churn.pkl", "churn.txt")
    for name in names:
        (folder / name).write_bytes(pickle.dumps(name))
    (folder / "churn.txt").write_text("nothing to see")
    command = ("adopt", folder, "--yes", "--json", "--keyring", ring_directory)
    done = run(*command, "--context", "m/{name}")
    assert done.returncode == 1
    files = {
        str(Path(one["path"]).relative_to(folder)): one["outcome"] for one in as_json(done)["files"]
    }
    assert files == {
        "fraud.v1.pkl": "adopted",
        "fraud.v2.pkl": "adopted",
        "fraud.pkl": "refused",
        "s/fraud.pkl": "refused",
        "churn.pkl": "adopted",
        "churn.txt": "no pickle found",
    }
    loaded = signed_load(folder / "fraud.v2.pkl", keyring=ring_directory, context="m/fraud.v2")
    assert loaded == "fraud.v2.pkl"
    assert run(*command, "--context", "m/fraud").returncode == 0, "others keep their own"
    assert is_sealed(folder / "s" / "fraud.pkl"), "where all are for one, somebody says so"


def test_the_context_of_an_envelope_is_not_given_to_another_file(
    ring_directory: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / "m" / "fraud.pkl", tmp_path / "m" / "fraud.joblib"
    path.parent.mkdir()
    signed_dump(1, path, keyring=ring_directory, context="fraud")
    other.write_bytes(pickle.dumps(2))
    found = survey(
        Batch([str(path.parent)]), keyring=open_keyring(ring_directory), context="{name}"
    )
    outcomes = told(with_own_contexts(found, "{name}"), path.parent)
    assert outcomes == {"fraud.pkl": "already sealed", "fraud.joblib": "refused"}


def test_a_name_that_no_context_can_hold_is_told_in_the_survey(
    tmp_path: Path, ring: Keyring
) -> None:
    path = tmp_path / "a\nb.pkl"
    path.write_bytes(pickle.dumps(1))
    (found,) = survey(Batch([str(path)]), keyring=ring, context="{name}")
    assert found.outcome is Outcome.FAILED


def test_a_named_file_that_is_sealed_for_another_named_context_is_refused(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "m.pkl"
    signed_dump(1, path, keyring=ring, context="m")
    (found,) = survey(Batch([str(path)]), keyring=ring, context="other")
    assert found.outcome is Outcome.REFUSED
    assert "for 'm'" in found.reason
    assert "extract it to another folder" in found.reason
    for context in (None, "m", "{name}", "other/{name}"):
        (found,) = survey(Batch([str(path)]), keyring=ring, context=context)
        assert found.outcome is Outcome.ALREADY_SEALED


@pytest.mark.parametrize("context", [(), ("--context", "m/{path}"), ("--context", "m")])
def test_files_of_a_folder_keep_the_contexts_that_they_are_sealed_for(
    context: tuple[str, ...], ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    own = folder / "own.pkl"
    signed_dump(1, own, keyring=ring_directory, context="mine")
    (folder / "new.pkl").write_bytes(pickle.dumps(2))
    before = own.read_bytes()
    command = ("adopt", folder, "--yes", "--keyring", ring_directory, *context)
    done = run(*command)
    assert done.returncode == 0
    assert "1 adopted, 1 already sealed" in done.stderr
    assert f"{own}  it is sealed already, for 'mine'" in done.stderr
    assert own.read_bytes() == before
    again = run(*command, "--json")
    assert again.returncode == 0
    files = {os.path.basename(one["path"]): one for one in as_json(again)["files"]}
    assert files["own.pkl"]["outcome"] == "already sealed"
    assert files["own.pkl"]["context"] == "mine"


def test_the_advice_for_files_of_one_name_lets_the_folder_be_adopted(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for ending in ("bz2", "xz"):
        joblib.dump([ending], folder / f"churn.joblib.{ending}")
    command = ("adopt", "--yes", "--keyring", ring_directory, "--context")
    refused = run(*command, "m/{path}", folder)
    assert refused.returncode == 1
    assert "adopt each one separately with its own --context" in refused.stderr
    assert run(*command, "m/churn-bz2", folder / "churn.joblib.bz2").returncode == 0
    assert run(*command, "m/{path}", folder).returncode == 0
    assert run(*command, "m/{path}", folder).returncode == 0
    for context, ending in (("m/churn-bz2", "bz2"), ("m/churn", "xz")):
        path = folder / f"churn.joblib.{ending}"
        assert signed_load(path, keyring=ring_directory, context=context) == [ending]


def test_of_many_files_refused_for_reasons_of_their_own_a_part_is_listed(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02}.pkl").write_bytes(pickle.dumps([1]) * (number + 2))
    command = ("adopt", folder, "--yes", "--keyring", ring_directory)
    done = run(*command)
    assert done.returncode == 1
    assert "39.pkl" in done.stderr
    assert "40.pkl" not in done.stderr
    assert "20 more files" in done.stderr
    assert [one["outcome"] for one in as_json(run(*command, "--json"))["files"]] == ["refused"] * 60


def test_what_is_sealed_and_no_load_takes_is_refused_and_not_called_sealed(
    ring_directory: Path, tmp_path: Path
) -> None:
    longer, over = tmp_path / "longer.pkl", tmp_path / "over.pkl"
    signed_dump(1, longer, keyring=ring_directory)
    with longer.open("ab") as file:
        file.write(b"behind the envelope")
    signed_dump(1, over, keyring=ring_directory, expires=timedelta(seconds=1))
    while time.time() < os.stat(over).st_mtime + 1.1:
        pass
    for path in (longer, over):
        with pytest.raises(SealError):
            signed_load(path, keyring=ring_directory)
        done = run("adopt", path, "--yes", "--json", "--keyring", ring_directory)
        assert done.returncode == 1
        (one,) = as_json(done)["files"]
        assert one["outcome"] == "refused"
