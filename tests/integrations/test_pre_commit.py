"""The hook for pre-commit: it is well-formed, and stops a commit with an unsealed pickle."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from pickleseal import open_keyring, signed_dump

HOOKS = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"

pytestmark = [
    pytest.mark.sweep,
    # Where the tests lie beside an installed wheel there is no hook to hold.
    pytest.mark.skipif(not HOOKS.exists(), reason="the hook is not here"),
    pytest.mark.skipif(shutil.which("git") is None, reason="there is no git"),
]


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    (only,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    assert isinstance(only, dict)
    return only


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty git repository that knows nothing of whoever runs this."""
    place = tmp_path / "repository"
    place.mkdir()
    for name in [name for name in os.environ if name.startswith(("GIT_", "PRE_COMMIT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    git(place, "init", "--quiet")
    git(place, "config", "user.name", "A")
    git(place, "config", "user.email", "a@example.invalid")
    return place


def git(place: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=place, check=True, capture_output=True, encoding="utf-8"
    ).stdout


def run_hook(
    hook: dict[str, Any], repository: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    """Run the hook as pre-commit does: entry, arguments, and the paths of what is staged."""
    staged = git(repository, "diff", "--cached", "--name-only", "-z").split("\0")[:-1]
    assert staged
    return subprocess.run(
        [*hook["entry"].split(), *more, *hook["args"], *staged],
        cwd=repository,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def stage(repository: Path, name: str, content: bytes) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    git(repository, "add", "--", name)


def test_the_hook_has_what_pre_commit_asks_for(hook: dict[str, Any]) -> None:
    assert hook["id"] == "pickleseal-audit"
    assert hook["language"] == "python"
    assert hook["entry"].split()[0] == "pickleseal"
    # All others would be looked at by their names, and pickles have any.
    assert hook["types"] == ["file"]
    assert not {"files", "exclude", "exclude_types", "types_or"} & set(hook)


def test_a_staged_unsealed_pickle_is_found_whatever_it_is_called(
    hook: dict[str, Any], repository: Path
) -> None:
    for number, name in enumerate(["model.pkl", "without_extension", "notes.md"]):
        stage(repository, name, pickle.dumps([number], protocol=number))
    done = run_hook(hook, repository)
    assert done.returncode == 1
    for name in ("model.pkl", "without_extension", "notes.md"):
        assert name in done.stdout


def test_a_commit_without_artifacts_passes(hook: dict[str, Any], repository: Path) -> None:
    stage(repository, "code.py", b"print(1)\n")
    assert run_hook(hook, repository).returncode == 0


def test_a_staged_sealed_pickle_passes_with_its_keyring(
    hook: dict[str, Any], repository: Path, ring_directory: Path
) -> None:
    signed_dump([1], repository / "model.pkl", keyring=open_keyring(ring_directory))
    git(repository, "add", "model.pkl")
    assert run_hook(hook, repository, "--keyring", str(ring_directory)).returncode == 0
    assert run_hook(hook, repository).returncode == 1


def test_files_that_are_not_staged_are_not_looked_at(
    hook: dict[str, Any], repository: Path
) -> None:
    stage(repository, "code.py", b"print(1)\n")
    (repository / "scratch.pkl").write_bytes(pickle.dumps([1]))
    assert run_hook(hook, repository).returncode == 0


def test_a_staged_file_that_is_called_like_an_option_is_none(
    hook: dict[str, Any], repository: Path
) -> None:
    stage(repository, "model.pkl", pickle.dumps([1]))
    stage(repository, "--fail-on=never", b"")
    assert run_hook(hook, repository).returncode == 1


@pytest.fixture
def pre_commit(repository: Path, hook: dict[str, Any]) -> list[str]:
    """Return the real tool, set up to run the hook with the pickleseal that is installed here."""
    tool = shutil.which("pre-commit")
    if tool is None:
        pytest.skip("pre-commit is not installed")
    # `python` would install pickleseal anew, from the network.
    local = {**hook, "language": "system"}
    config = {"repos": [{"repo": "local", "hooks": [local]}]}
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    git(repository, "add", ".pre-commit-config.yaml")
    return [tool]


def test_pre_commit_itself_takes_the_hook(repository: Path, pre_commit: list[str]) -> None:
    subprocess.run([*pre_commit, "validate-manifest", str(HOOKS)], check=True)


def test_pre_commit_stops_the_commit_of_an_unsealed_pickle(
    repository: Path, pre_commit: list[str]
) -> None:
    subprocess.run([*pre_commit, "install"], cwd=repository, check=True, capture_output=True)
    git(repository, "commit", "--quiet", "-m", "settings")
    stage(repository, "model", pickle.dumps([1]))
    commit = subprocess.run(
        ["git", "commit", "-m", "model"],
        cwd=repository,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert commit.returncode != 0
    assert "unsealed" in commit.stdout + commit.stderr
    assert len(git(repository, "log", "--format=%h").split()) == 1


@pytest.mark.sweep
def test_pre_commit_installs_the_hook_from_a_clone(
    repository: Path, pre_commit: list[str], tmp_path: Path
) -> None:
    """As a user does: a repository and a revision in the settings, and an environment made anew."""
    root = HOOKS.parent
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    git(tmp_path, "clone", "--quiet", str(root), str(tmp_path / "clone"))
    revision = git(tmp_path / "clone", "rev-parse", "HEAD").strip()
    hook = {"id": "pickleseal-audit", "args": ["--fail-on", "unknown", "--"]}
    config = {"repos": [{"repo": str(tmp_path / "clone"), "rev": revision, "hooks": [hook]}]}
    stage(repository, ".pre-commit-config.yaml", yaml.safe_dump(config).encode())
    stage(repository, "data", pickle.dumps([1]))
    stage(repository, "armed", b"cos\nsystem\n(S'true'\ntR.")
    done = subprocess.run(
        [*pre_commit, "run", "pickleseal-audit"],
        cwd=repository,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "armed" in done.stdout, done.stdout + done.stderr
    git(repository, "rm", "--quiet", "--force", "armed")
    subprocess.run([*pre_commit, "run", "pickleseal-audit"], cwd=repository, check=True)
