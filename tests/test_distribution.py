"""The wheel and the source archive: what is in them, and that they work once installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pickleseal

ROOT = Path(__file__).parents[1]
TYPED = Path(__file__).with_name("typing_api.py")
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.once,
    pytest.mark.sweep,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout"),
]


class Built(NamedTuple):
    wheel: Path
    sdist: Path


def run(
    *arguments: object, where: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that finds no pickleseal but an installed one."""
    return subprocess.run(
        list(map(str, arguments)),
        cwd=where,
        env={**os.environ, "PYTHONSAFEPATH": "1", "PIP_NO_INPUT": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def succeed(*arguments: object, where: Path = ROOT, **environment: str) -> str:
    done = run(*arguments, where=where, **environment)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked(*paths: str) -> set[str]:
    return set(succeed("git", "ls-files", "-z", "--", *paths).split("\0")) - {""}


def build(folder: Path, mask: int) -> Built:
    """Build from a copy of what git tracks, whose files are new and have modes by `mask`."""
    pytest.importorskip("build")
    source = folder / "source"
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o666 & ~mask)
    (source / "keys" / "keyring.json").write_text("{}")
    succeed(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "."),
        where=source,
        SOURCE_DATE_EPOCH="1700000000",
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("built"), 0o022)


def in_sdist(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        assert all(member.isfile() for member in archive)
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == {name.removeprefix("src/") for name in tracked("src")}
    assert {name.partition("/")[2] for name in about} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"),
    }
    assert "pickleseal/py.typed" in names


def test_the_source_archive_holds_what_its_tests_need_and_no_key(built: Built) -> None:
    # The build adds its metadata, and the file by which it leaves others out.
    places = ("src", "tests", "docs", "examples", "benchmarks", "keys", "*.md", "LICENSE")
    kept = tracked(*places, "Makefile", "pyproject.toml", ".gitignore")
    assert in_sdist(built.sdist) == {*kept, "PKG-INFO"}


def test_two_builds_give_the_same_bytes(built: Built, tmp_path: Path) -> None:
    again = build(tmp_path, 0o077)
    for one, other in zip(built, again, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_the_wheel_of_the_source_archive_is_the_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    succeed(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "."),
        where=source,
        SOURCE_DATE_EPOCH="1700000000",
    )
    (again,) = (source / "dist").iterdir()
    assert again.read_bytes() == built.wheel.read_bytes()


def test_the_index_accepts_the_metadata(built: Built) -> None:
    pytest.importorskip("twine")
    succeed(sys.executable, "-m", "twine", "check", "--strict", *built)
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(name))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Version"] == pickleseal.__version__
    links = dict(one.split(", ") for one in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Security", "Source"} <= set(links)
    page = str(metadata.get_payload())
    assert "# pickleseal" in page
    assert re.findall(r"(?:\]\(|src=\"|srcset=\")(?!https://)[^)\"]+", page) == []


def python_of(minors: tuple[int, ...]) -> str:
    """Return the first CPython of these that this machine has and that can make environments."""
    for minor in minors:
        installed = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for one in (shutil.which(f"python3.{minor}"), *installed):
            if one is not None and run(one, "-c", "import venv, ensurepip").returncode == 0:
                return str(one)
    pytest.skip(f"there is no Python of {minors}")


@pytest.mark.parametrize("minors", [(11, 12), (14, 13)], ids=["oldest", "newest"])
def test_the_wheel_works_where_nothing_else_is_installed(
    built: Built, minors: tuple[int, ...], tmp_path: Path
) -> None:
    python = python_of(minors)
    succeed(python, "-m", "venv", tmp_path / "env")
    here = tmp_path / "env" / "bin"
    succeed(here / "python", "-m", "pip", "install", "--quiet", "--no-compile", built.wheel)
    succeed(here / "python", "-m", "pip", "check")
    where = succeed(here / "python", "-c", "import pickleseal; print(pickleseal.__file__)")
    assert where.startswith(str(tmp_path / "env"))
    command = here / "pickleseal"
    assert succeed(command, "--version").split()[-1] == pickleseal.__version__
    ring = tmp_path / "ring"
    succeed(command, "keygen", "--keyring", ring, where=tmp_path)
    succeed(command, "demo", "--keyring", ring, where=tmp_path)
    (tmp_path / "plain.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    done = run(command, "audit", "plain.pkl", "--format", "json", where=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["level"] == "error"


def checked_by_pyright(*arguments: object, where: Path) -> dict[str, Any]:
    tool = BIN / "basedpyright"
    if not tool.exists():
        pytest.skip("basedpyright is not installed")
    done = run(tool, *arguments, "--outputjson", where=where, PATH=f"{BIN}:{os.environ['PATH']}")
    assert done.returncode in (0, 1), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_pyright_knows_the_type_of_every_public_name(tmp_path: Path) -> None:
    told = checked_by_pyright("--verifytypes", "pickleseal", "--ignoreexternal", where=tmp_path)
    homes = {f"pickleseal.{name}" for name in pickleseal.__all__}
    for name in pickleseal.__all__:
        thing = getattr(pickleseal, name)
        if getattr(thing, "__module__", "").startswith("pickleseal"):
            homes.add(f"{thing.__module__}.{thing.__name__}")
    public = [
        one
        for one in told["typeCompleteness"]["symbols"]
        if one["name"] in homes or one["name"].rpartition(".")[0] in homes
    ]
    assert len(public) > 200
    assert not [one for one in public if not one["isTypeKnown"] or one["isTypeAmbiguous"]]


def test_pyright_sees_in_the_public_calls_what_mypy_sees(tmp_path: Path) -> None:
    rules = {
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "include": [str(TYPED)],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(rules))
    told = checked_by_pyright("--project", tmp_path, where=tmp_path)
    assert told["summary"]["filesAnalyzed"] == 1
    assert not [one for one in told["generalDiagnostics"] if one["severity"] == "error"]
