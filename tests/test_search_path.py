"""Where Python finds modules: beside the command, and in ordinary ways to install and run."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

import pickleseal
from pickleseal import signed_dump

PLANTED = "open('mark', 'w').close()\n"
VERIFY = ("-m", "pickleseal", "verify", "../model")


def run(
    *arguments: object, cwd: Path, python: Path | str = sys.executable, **env: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python with nothing set that changes where it finds modules."""
    # What measures coverage would import some modules first.
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE"))}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=cwd,
        env=bare | {name: str(value) for name, value in env.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def imported(*arguments: object, cwd: Path, **env: Any) -> set[str]:
    """Return the top-level modules that a process imports from files."""
    done = run("-v", *arguments, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    names = re.findall(
        r"^import '([\w.]+)' # <_frozen_importlib_external", done.stderr, re.MULTILINE
    )
    return {name.partition(".")[0] for name in names}


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder beside a sealed file."""
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    signed_dump([1], tmp_path / "model")
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_the_command_by_its_module_name_runs_nothing_that_is_planted(work: Path) -> None:
    (work / "nothing.py").touch()
    names = imported(*VERIFY, cwd=work) - imported("-m", "nothing", cwd=work) - {"pickleseal"}
    assert names >= {"json", "pickle", "re", "typing", "click", "cryptography"}
    for name in {*names, "rich"}:
        (work / f"{name}.py").write_text(PLANTED)
    done = run(*VERIFY, cwd=work)
    assert done.returncode == 0, done.stderr
    assert not (work / "mark").exists()
    (work / "other.py").write_text("import json")
    run("-m", "other", cwd=work)
    assert (work / "mark").exists()


@pytest.mark.parametrize("options", [["-P"], []])
def test_a_folder_that_pythonpath_names_is_searched_though_one_works_in_it(
    options: list[str], work: Path
) -> None:
    (work / "json.py").write_text(PLANTED)
    run(*options, *VERIFY, cwd=work, PYTHONPATH=work)
    assert (work / "mark").exists()


def test_a_module_of_another_name_that_imports_pickleseal_keeps_its_folder(work: Path) -> None:
    (work / "shop").mkdir()
    (work / "shop" / "__init__.py").write_text("import pickleseal")
    (work / "shop" / "__main__.py").write_text("import helper")
    (work / "helper.py").write_text(PLANTED)
    done = run("-m", "shop", "pickleseal", cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "mark").exists()


def test_the_command_runs_where_it_lies_itself_with_all_that_it_needs(work: Path) -> None:
    needed = run("-c", "import click; print(click.__path__[0])", cwd=work).stdout.strip()
    shutil.copytree(Path(pickleseal.__file__).parent, work / "pickleseal")
    shutil.copytree(needed, work / "click")
    with (work / "click" / "__init__.py").open("a") as file:
        file.write(PLANTED)
    done = run(*VERIFY, cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "mark").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that is in use")
def test_the_command_runs_in_a_folder_that_is_gone(work: Path) -> None:
    code = """
import os, subprocess, sys
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
sys.exit(subprocess.run([sys.executable, "-m", "pickleseal", "--version"]).returncode)
"""
    done = run("-c", code, cwd=work)
    assert done.returncode == 0, done.stderr


# --- ordinary ways to install and run --------------------------------------------------------

MODEL = "class Model:\n    pass\n"
SEAL = (
    "from pickleseal import signed_dump\nfrom shop.model import Model\nsigned_dump(Model(), {!r})"
)
LOAD = "from pickleseal import signed_load\nprint(type(signed_load({!r})).__module__)"


def package_in(folder: Path, model: Path) -> None:
    """Write a package that seals and loads."""
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "model.py").write_text(MODEL)
    (folder / "shop" / "train.py").write_text(SEAL.format(str(model)))
    (folder / "shop" / "predict.py").write_text(LOAD.format(str(model)))


@pytest.fixture
def installed(work: Path, tmp_path: Path) -> Path:
    """Return the path of a model that was sealed where its package is installed."""
    model, there = tmp_path / "shop.pkl", tmp_path / "there"
    venv.create(there, symlinks=os.name != "nt")
    python = there / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=work)
    inner = run(
        "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=work, python=python
    )
    folder = Path(inner.stdout.strip())
    (folder / "outer.pth").write_text(f"import site; site.addsitedir({site.stdout.strip()!r})\n")
    package_in(folder, model)
    done = run("-m", "shop.train", cwd=work, python=python)
    assert done.returncode == 0, done.stderr
    assert run("-m", "shop.predict", cwd=work, python=python).stdout == "shop.model\n"
    return model


def test_a_package_that_was_installed_loads_from_its_source(work: Path, installed: Path) -> None:
    package_in(work / "checkout", installed)
    done = run("-m", "shop.predict", cwd=work / "checkout")
    assert done.stdout == "shop.model\n", done.stderr
    script = work / "checkout" / "predict.py"
    script.write_text(LOAD.format(str(installed)))
    assert run(script, cwd=work).stdout == "shop.model\n"


@pytest.mark.parametrize("first", ["", "import shop.model\n"])
def test_a_package_that_was_installed_loads_from_where_pythonpath_leads(
    first: str, work: Path, installed: Path
) -> None:
    package_in(work / "checkout", installed)
    code = first + LOAD.format(str(installed))
    done = run("-c", code, cwd=work, PYTHONPATH=work / "checkout")
    assert done.stdout == "shop.model\n", done.stderr
    done = run("-P", "-c", code, cwd=work, PYTHONPATH=work / "checkout")
    assert done.stdout == "shop.model\n", done.stderr


def test_a_model_loads_with_packages_in_a_folder_of_their_own(work: Path, tmp_path: Path) -> None:
    import joblib

    target = work / "vendor"
    shutil.copytree(Path(joblib.__file__).parent, target / "joblib")
    signed_dump(joblib.hashing.hash, tmp_path / "hash.pkl")
    code = f"import joblib\n{LOAD.format(str(tmp_path / 'hash.pkl'))}\nprint(joblib.__file__)"
    done = run("-c", code, cwd=work, PYTHONPATH=target)
    assert done.stdout.split() == ["builtins", str(target / "joblib" / "__init__.py")], done.stderr


def test_a_module_that_is_imported_already_is_taken(work: Path, installed: Path) -> None:
    code = """
import sys, types
sys.modules["shop"] = types.ModuleType("shop")
sys.modules["shop.model"] = module = types.ModuleType("shop.model")
module.Model = type("Model", (), {"__module__": "shop.model"})
"""
    done = run("-c", code + LOAD.format(str(installed)), cwd=work)
    assert done.stdout == "shop.model\n", done.stderr
