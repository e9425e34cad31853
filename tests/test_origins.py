"""Where top-level modules are said to come from, in real processes with planted files."""

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import types
import zipapp
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import NamedTuple

import pytest

from pickleseal import errors, origins
from pickleseal.origins import Origin, of_modules, origin_of

# Asks for each name of the command line, after importing those that begin with "+"; of those that
# begin with "?" it asks for the first part that is local. What pickleseal itself imports is not
# imported first: some of the planted files would be run by that.
ASK = f"""
import importlib, importlib.util, json, sys
def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
errors = load("pickleseal.errors", {errors.__file__!r})
origins = load("pickleseal.origins", {origins.__file__!r})
answers = {{}}
for name in sys.argv[1:]:
    if name.startswith("+"):
        importlib.import_module(name[1:])
    if name.startswith("?"):
        answers[name] = origins.first_local(name[1:], loaded_too=False)
    else:
        answers[name] = origins.origin_of(name.lstrip("+"))
print(json.dumps(answers))
"""


class Python(NamedTuple):
    """An interpreter, and how to start it."""

    executable: Path | str = sys.executable
    options: tuple[str, ...] = ()
    cwd: Path | None = None
    env: tuple[tuple[str, object], ...] = ()

    def run(self, *arguments: object) -> str:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") or name.startswith("PYTHONDONT")
        }
        done = subprocess.run(
            [self.executable, *self.options, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.cwd,
            env=clean | {name: str(value) for name, value in self.env},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, *names: str) -> dict[str, str | None]:
        """Give what a new process says of each name; it imports those that begin with "+"."""
        return dict(json.loads(self.run("-c", ASK, *names)))


def planted(folder: Path, name: str, kind: str = "module") -> Path:
    """Put a module into a folder; give the file that it makes where it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{name}.mark"
    code = f"open({str(mark)!r}, 'w').close()\n"
    if kind == "module":
        (folder / f"{name}.py").write_text(code)
    elif kind == "package":
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    elif kind == "bytecode":
        source = folder / "source.txt"
        source.write_text(code)
        py_compile.compile(str(source), str(folder / f"{name}.pyc"), doraise=True)
    elif kind == "extension":
        (folder / f"{name}{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    return mark


RUNNABLE = ["module", "package", "bytecode"]


# --- what is planted -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*RUNNABLE, "extension"])
@pytest.mark.parametrize("name", ["statistics", "numpy", "nowhere_else"])
def test_what_lies_in_the_working_directory_is_local_and_is_not_run(
    name: str, kind: str, tmp_path: Path
) -> None:
    mark = planted(tmp_path, name, kind)
    assert Python(cwd=tmp_path).ask(name) == {name: "local"}
    assert not mark.exists()


@pytest.mark.parametrize("kind", RUNNABLE)
def test_what_is_planted_would_run_if_it_were_imported(kind: str, tmp_path: Path) -> None:
    mark = planted(tmp_path, "statistics", kind)
    assert Python(cwd=tmp_path).ask("+statistics") == {"+statistics": "local"}
    assert mark.exists()


@pytest.mark.parametrize("entry", ["absolute", "relative"])
def test_what_pythonpath_leads_to_is_local(entry: str, tmp_path: Path) -> None:
    mark = planted(tmp_path / "mine", "numpy")
    path = "mine" if entry == "relative" else tmp_path / "mine"
    python = Python(cwd=tmp_path, env=(("PYTHONPATH", path),))
    assert python.ask("numpy", "statistics") == {"numpy": "local", "statistics": "std"}
    assert not mark.exists()


def test_what_lies_beside_the_script_is_local(tmp_path: Path) -> None:
    mark = planted(tmp_path / "scripts", "statistics")
    script = tmp_path / "scripts" / "ask.py"
    script.write_text(ASK)
    answer = Python(cwd=tmp_path).run(script, "statistics", "ask", "__main__", "json")
    assert json.loads(answer) == {
        "statistics": "local",
        "ask": "local",
        "__main__": "local",
        "json": "std",
    }
    assert not mark.exists()


def test_what_lies_in_a_zipapp_is_local(tmp_path: Path) -> None:
    mark = planted(tmp_path / "app", "statistics")
    (tmp_path / "app" / "__main__.py").write_text(ASK)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    for place in (tmp_path / "app.pyz", "app.pyz"):
        answer = Python(cwd=tmp_path).run(place, "statistics", "+statistics", "numpy", "wave")
        assert json.loads(answer) == {
            "statistics": "local",
            "+statistics": "local",
            "numpy": "dist",
            "wave": "std",
        }
        assert mark.exists()
        mark.unlink()


@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("-P", {"statistics": "std", "numpy": "dist", "json": "std", "os": "std"}),
        ("-I", {"statistics": "std", "numpy": "dist", "json": "std", "os": "std"}),
        ("-S", {"statistics": "local", "numpy": None, "json": "std", "os": "std"}),
        ("-IS", {"statistics": "std", "numpy": None, "json": "std", "os": "std"}),
    ],
)
def test_the_options_of_python_that_keep_it_from_looking_somewhere_hold(
    option: str, answer: dict[str, str | None], tmp_path: Path
) -> None:
    mark = planted(tmp_path, "statistics")
    assert Python(options=(option,), cwd=tmp_path).ask(*answer) == answer
    assert not mark.exists()


def test_a_folder_that_no_import_would_take_hides_nothing(tmp_path: Path) -> None:
    for name in ("statistics", "numpy", "nowhere_else"):
        (tmp_path / name).mkdir()
    assert Python(cwd=tmp_path).ask("statistics", "numpy", "nowhere_else") == {
        "statistics": "std",
        "numpy": "dist",
        "nowhere_else": "local",
    }


def test_a_folder_is_no_site_folder_by_its_name(tmp_path: Path) -> None:
    names = ("site-packages", "dist-packages", "lib-dynload")
    marks = [planted(tmp_path / name, name.replace("-", "_")) for name in names]
    python = Python(cwd=tmp_path, env=(("PYTHONPATH", os.pathsep.join(names)),))
    assert set(python.ask(*(mark.stem for mark in marks)).values()) == {"local"}


def test_no_setting_of_the_build_is_imported_from_the_working_directory(tmp_path: Path) -> None:
    name = Python(options=("-I",)).run(
        "-c", "import sysconfig as s; print(s._get_sysconfigdata_name(), end='')"
    )
    marks = [planted(tmp_path, planted_name) for planted_name in (name, "sysconfig", "site")]
    assert Python(cwd=tmp_path).ask("statistics", "numpy", "nowhere_else", "pickleseal") == {
        "statistics": "std",
        "numpy": "dist",
        "nowhere_else": None,
        "pickleseal": "dist",
    }
    assert not any(mark.exists() for mark in marks)


# --- what is installed ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sklearn", "numpy", "scipy", "pandas", "pytest", "pickleseal"])
def test_installed_modules_are_of_a_distribution_loaded_or_not(name: str) -> None:
    assert Python().ask(name, f"+{name}") == {name: "dist", f"+{name}": "dist"}


@pytest.mark.parametrize(
    "name", ["builtins", "sys", "os", "collections", "_codecs", "datetime", "wave", "lib2to3"]
)
def test_modules_of_the_standard_library_are_loaded_or_not(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip("not of this Python")
    assert Python().ask(name, f"+{name}") == {name: "std", f"+{name}": "std"}


@pytest.mark.parametrize("options", [(), ("-I", "-S"), ("-X", "frozen_modules=off")])
def test_each_module_of_the_standard_library_that_can_be_found_is_of_it(
    options: tuple[str, ...],
) -> None:
    # setuptools brings a distutils of its own.
    names = sorted(sys.stdlib_module_names - {"distutils"})
    answers = Python(options=options).ask(*names)
    assert set(answers.values()) == {"std", None}
    missing = {name for name, answer in answers.items() if answer is None}
    assert missing.isdisjoint(("json", "statistics", "unittest", "encodings", "asyncio"))


def test_what_is_not_to_be_found_has_no_origin() -> None:
    for name in ("no_such_module", "__builtin__", "copy_reg", "cPickle", "a/b"):
        assert origin_of(name) is None


@pytest.mark.parametrize("name", ["", ".", ".planted", "./tests", "a..b", "json.", "json..tool"])
def test_a_name_with_an_empty_part_is_local(name: str) -> None:
    assert origin_of(name) is Origin.LOCAL
    assert origins.is_local(name)


def test_an_import_of_a_name_with_an_empty_part_runs_a_file_and_asking_does_not(
    tmp_path: Path,
) -> None:
    mark = planted(tmp_path, "planted")
    python = Python(cwd=tmp_path)
    assert python.ask(".planted") == {".planted": "local"}
    assert not mark.exists()
    fails = "try: __import__('.planted')\nexcept ValueError: pass"
    python.run("-c", fails)
    assert mark.exists()


def test_of_a_dotted_name_the_first_part_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    planted(tmp_path, "linalg")
    assert origin_of("linalg") is Origin.LOCAL
    assert origin_of("numpy.linalg") is Origin.DIST
    assert origin_of("no_such_module.linalg") is None


# --- throw-away environments -------------------------------------------------------------------


class Environment(NamedTuple):
    """A virtual environment of its own, and a folder beside it."""

    python: Python
    site: Path
    beside: Path

    def at(self, cwd: Path) -> Python:
        return self.python._replace(cwd=cwd)

    def install(self, name: str, text: str = "") -> None:
        path = self.site / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)


def _environment(folder: Path, *options: str) -> Environment:
    Python().run("-m", "venv", "--without-pip", *options, folder / "venv")
    python = Python(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    place = python.run("-c", "import site; print(site.getsitepackages()[0], end='')")
    return Environment(python._replace(cwd=folder), Path(place), folder)


@pytest.fixture(scope="module")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return _environment(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def plain(_plain: Environment, tmp_path: Path) -> Iterator[Environment]:
    """Give an environment with nothing installed, and empty it again."""
    before = set(_plain.site.iterdir())
    yield _plain._replace(beside=tmp_path)
    for path in set(_plain.site.iterdir()) - before:
        path.rename(tmp_path / f"was-{path.name}")


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give an environment that sees what is installed for the Python it was made from."""
    return _environment(tmp_path_factory.mktemp("sharing"), "--system-site-packages")


def test_an_environment_that_shares_those_of_its_python_has_them(
    sharing: Environment, plain: Environment
) -> None:
    shared = Python(sys._base_executable).run(  # type: ignore[attr-defined]
        "-c",
        "import pkgutil, site\n"
        "print(*(module.name for module in pkgutil.iter_modules(site.getsitepackages())))",
    )
    names = sorted(set(shared.split()) - sys.stdlib_module_names)[:20]
    if not names:
        pytest.skip("nothing is installed for the Python that this one was made from")
    assert set(sharing.python.ask(*names, "json").values()) == {"dist", "std"}
    assert set(plain.python.ask(*names).values()) == {None}


def test_the_users_own_site_folder_counts_where_python_heeds_it(
    sharing: Environment, tmp_path: Path
) -> None:
    python = sharing.python._replace(env=(("PYTHONUSERBASE", tmp_path),))
    folder = python.run("-c", "import site; print(site.getusersitepackages(), end='')")
    planted(Path(folder), "of_the_user")
    assert python.ask("of_the_user") == {"of_the_user": "dist"}
    unheeding = python._replace(options=("-s",), env=(*python.env, ("PYTHONPATH", folder)))
    assert unheeding.ask("of_the_user") == {"of_the_user": "local"}


def test_a_site_folder_of_another_environment_does_not_count(
    plain: Environment, sharing: Environment
) -> None:
    plain.install("elsewhere.py")
    python = sharing.python._replace(env=(("PYTHONPATH", plain.site),))
    assert python.ask("elsewhere") == {"elsewhere": "local"}


def test_what_lies_below_a_site_folder_is_local_to_who_works_there(plain: Environment) -> None:
    for name in ("statistics", "helper"):
        planted(plain.site / "package", name)
    plain.install("package/__init__.py")
    inside = plain.at(plain.site / "package")
    assert inside.ask("statistics", "helper", "package") == {
        "statistics": "local",
        "helper": "local",
        "package": "dist",
    }
    plain.install("package/ask.py", ASK)
    script = plain.site / "package" / "ask.py"
    assert json.loads(plain.python.run(script, "statistics", "helper")) == {
        "statistics": "local",
        "helper": "local",
    }
    # A folder that a distribution adds to the path is its own all the same.
    added = plain.python._replace(env=(("PYTHONPATH", plain.site / "package"),))
    assert added.ask("helper") == {"helper": "dist"}
    assert plain.at(plain.site).ask("package") == {"package": "dist"}


def test_links_count_by_the_folder_that_they_lie_in(plain: Environment) -> None:
    planted(plain.beside / "project", "linked", "package")
    (plain.site / "linked").symlink_to(plain.beside / "project" / "linked")
    plain.install("owned.py")
    (plain.beside / "owned.py").symlink_to(plain.site / "owned.py")
    assert plain.python.ask("linked", "+linked", "owned") == {
        "linked": "dist",
        "+linked": "dist",
        "owned": "dist",
    }
    assert plain.at(plain.beside).ask("owned") == {"owned": "local"}


def test_an_environment_may_be_reached_through_a_link(plain: Environment) -> None:
    plain.install("owned.py")
    link = plain.beside / "env"
    link.symlink_to(plain.site.parents[2])
    python = Python(link / "bin" / "python", cwd=plain.beside)
    assert python.ask("owned", "statistics") == {"owned": "dist", "statistics": "std"}


def test_a_namespace_is_local_if_one_of_its_folders_is(plain: Environment) -> None:
    plain.install("spread/one.py")
    (plain.beside / "spread").mkdir()
    assert plain.python.ask("spread", "+spread") == {"spread": "dist", "+spread": "dist"}
    assert plain.at(plain.beside).ask("spread", "+spread") == {
        "spread": "local",
        "+spread": "local",
    }


# --- what lies in a package ----------------------------------------------------------------------

SPREAD = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"


def test_a_file_in_the_place_of_an_installed_part_of_a_package_is_local(plain: Environment) -> None:
    plain.install("spread/__init__.py", SPREAD)
    plain.install("spread/whole/__init__.py")
    mark = planted(plain.beside / "spread", "part")
    assert plain.at(plain.beside).ask("spread", "?spread.part", "?spread.part.more") == {
        "spread": "dist",
        "?spread.part": "spread.part",
        "?spread.part.more": "spread.part",
    }
    assert plain.at(plain.beside).ask("?spread.whole") == {"?spread.whole": None}
    assert not mark.exists()
    assert plain.at(plain.beside).ask("+spread.part") == {"+spread.part": "dist"}
    assert mark.exists()


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_project_has_a_part_of_a_namespace_and_nothing_in_place_of_what_is_installed(
    kind: str, plain: Environment
) -> None:
    project = plain.beside / "project"
    plain.install("project.pth", f"{project}\n")
    for name in ("one.py", "deep/one.py", "deep/sub/__init__.py"):
        plain.install(f"spread/{name}")
    marks = [planted(project / "spread", name, kind) for name in ("one", "own")]
    marks += [planted(project / "spread" / "deep", name, kind) for name in ("one", "sub", "own")]
    here = plain.at(project)
    for name, local in (
        ("spread", None),
        ("spread.one", "spread.one"),
        ("spread.own", None),
        ("spread.deep", None),
        ("spread.deep.one", "spread.deep.one"),
        ("spread.deep.sub.more", "spread.deep.sub"),
        ("spread.deep.own", None),
        ("spread.no_such_module", None),
    ):
        assert here.ask(f"?{name}") == {f"?{name}": local}
        # From elsewhere the site folder comes first.
        assert plain.python.ask(f"?{name}") == {f"?{name}": None}
    assert not any(mark.exists() for mark in marks)


def test_a_package_in_the_place_of_an_installed_namespace_is_local(plain: Environment) -> None:
    project = plain.beside / "project"
    plain.install("project.pth", f"{project}\n")
    plain.install("spread/deep/one.py")
    mark = planted(project, "spread", "package")
    assert plain.at(project).ask("spread", "?spread.deep") == {
        "spread": "local",
        "?spread.deep": "spread",
    }
    assert not mark.exists()


def test_what_lies_in_a_package_that_is_edited_is_part_of_it(plain: Environment) -> None:
    source = plain.beside / "project" / "src"
    planted(source, "edited", "package")
    planted(source / "edited", "inner", "package")
    planted(source / "edited" / "inner", "deep")
    planted(source / "edited" / "spread", "deep")
    plain.install("edited.pth", f"{source}\n")
    assert plain.python.ask("?edited.inner.deep", "?edited.spread.deep") == {
        "?edited.inner.deep": None,
        "?edited.spread.deep": None,
    }


def test_a_package_by_a_link_has_its_parts(plain: Environment) -> None:
    planted(plain.beside / "store" / "linked", "part")
    planted(plain.beside / "store" / "linked" / "deep", "part")
    (plain.site / "linked").symlink_to(plain.beside / "store" / "linked")
    names = ("?linked.part", "?linked.deep.part")
    assert plain.python.ask(*names) == dict.fromkeys(names)


def test_where_a_package_leads_to_a_folder_of_no_distribution_its_parts_are_local(
    plain: Environment,
) -> None:
    other = plain.beside / "other"
    mark = planted(other, "part")
    plain.install("leads/__init__.py", f"__path__.append({str(other)!r})\n")
    assert plain.python.ask("?leads.part") == {"?leads.part": "leads.part"}
    assert not mark.exists()
    named = plain.python._replace(env=((origins.VARIABLE, other),))
    assert named.ask("?leads.part") == {"?leads.part": None}


def test_what_a_finder_of_a_program_makes_is_not_local(plain: Environment) -> None:
    plain.install(
        "makes.py",
        """
import importlib.util, sys, types
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "makes.made":
            return importlib.util.spec_from_loader(name, Finder)
    @staticmethod
    def create_module(spec): return None
    @staticmethod
    def exec_module(module): pass
sys.meta_path.append(Finder)
sys.modules["makes.by_hand"] = types.ModuleType("makes.by_hand")
__path__ = []
""",
    )
    for name in ("makes.made", "makes.by_hand"):
        assert plain.python.ask(f"?{name}") == {f"?{name}": None}


# --- editable installs -------------------------------------------------------------------------


def test_what_a_pth_file_leads_to_is_of_a_distribution(plain: Environment) -> None:
    project = plain.beside / "project" / "src"
    planted(project, "edited", "package")
    planted(plain.beside / "other", "not_edited")
    plain.install("deeper/inner.py")
    plain.install("a.pth", f"\n  \n{project}\n./deeper\n")
    plain.install(".hidden.pth", f"{plain.beside / 'other'}\n")
    other = os.path.relpath(plain.beside / "other", plain.site)
    plain.install("b.pth", f"# /../{other}\nimport sys # /../{other}\n")
    python = plain.python._replace(env=(("PYTHONPATH", plain.beside / "other"),))
    assert python.ask("edited", "+edited", "inner", "not_edited") == {
        "edited": "dist",
        "+edited": "dist",
        "inner": "dist",
        "not_edited": "local",
    }


def test_pth_files_that_cannot_be_read_lead_nowhere(plain: Environment) -> None:
    planted(plain.beside / "mine", "mine")
    (plain.site / "gone.pth").symlink_to(plain.beside / "gone.pth")
    plain.install("folder.pth/inner.py")
    # Written when Python has started, since some versions do not start with it.
    wide = f"{plain.beside / 'mine'}\n".encode("utf-16")
    write = f"open({str(plain.site / 'wide.pth')!r}, 'wb').write({wide!r})\n"
    python = plain.python._replace(env=(("PYTHONPATH", plain.beside / "mine"),))
    assert json.loads(python.run("-c", write + ASK, "mine")) == {"mine": "local"}


def test_who_works_in_an_edited_project_has_its_modules_and_not_what_hides_others(
    plain: Environment,
) -> None:
    project = plain.beside / "project"
    marks = [planted(project, name) for name in ("statistics", "owned")]
    planted(project, "edited", "package")
    plain.install("owned.py")
    plain.install("project.pth", f"{project}\n")
    (plain.site / "edited").mkdir()
    names = ("edited", "owned", "statistics")
    assert plain.at(project).ask(*names) == dict(
        zip(names, ("dist", "local", "local"), strict=True)
    )
    assert plain.python.ask(*names) == dict(zip(names, ("dist", "dist", "std"), strict=True))
    assert not any(mark.exists() for mark in marks)


@pytest.mark.parametrize("way", ["PYTHONPATH", "sys.path"])
def test_what_hides_others_in_an_edited_project_is_local_wherever_one_works(
    way: str, plain: Environment
) -> None:
    project = plain.beside / "project"
    marks = [planted(project, name) for name in ("configparser", "owned", "edited")]
    plain.install("owned.py")
    plain.install("project.pth", f"{project}\n")
    (plain.beside / "work").mkdir()
    python, first = plain.at(plain.beside / "work"), ""
    if way == "PYTHONPATH":
        python = python._replace(env=(("PYTHONPATH", project),))
    else:  # as by a program that looks there after its own folder
        first = f"import sys; sys.path.insert(1, {str(project)!r})\n"
    answer = json.loads(python.run("-c", first + ASK, "configparser", "owned", "edited"))
    assert answer == {"configparser": "local", "owned": "local", "edited": "dist"}
    assert not any(mark.exists() for mark in marks)
    answer = json.loads(python.run("-c", first + ASK, "+configparser"))
    assert answer == {"+configparser": "local"}
    assert marks[0].exists()


def test_what_hides_others_is_local_below_a_site_folder_too(plain: Environment) -> None:
    planted(plain.site / "deeper", "configparser")
    planted(plain.site / "deeper", "inner")
    plain.install("deeper.pth", "./deeper\n")
    python = plain.python._replace(env=(("PYTHONPATH", plain.site / "deeper"),))
    assert python.ask("configparser", "inner") == {"configparser": "local", "inner": "dist"}


# --- folders that their users name ---------------------------------------------------------------


def test_a_named_folder_holds_packages_and_nothing_of_the_standard_library(
    plain: Environment,
) -> None:
    packages = plain.beside / "packages"
    for folder in (packages, packages / "deeper"):
        marks = [planted(folder, name) for name in ("configparser", "helper")]
        path = (("PYTHONPATH", folder),)
        python = plain.python._replace(env=(*path, (origins.VARIABLE, packages)))
        assert python.ask("configparser", "helper", "wave") == {
            "configparser": "local",
            "helper": "dist",
            "wave": "std",
        }
        unnamed = plain.python._replace(env=path)
        assert unnamed.ask("helper") == {"helper": "local"}
        assert not any(mark.exists() for mark in marks)
        assert python.ask("+configparser") == {"+configparser": "local"}
        assert marks[0].exists()


def test_a_named_folder_below_a_site_folder_is_one_all_the_same(plain: Environment) -> None:
    vendored = plain.site / "vendored"
    for name in ("configparser", "helper"):
        planted(vendored, name)
    env = (("PYTHONPATH", vendored), (origins.VARIABLE, vendored))
    python = plain.at(vendored)._replace(env=env)
    assert python.ask("configparser", "helper") == {"configparser": "local", "helper": "dist"}


def test_a_site_folder_may_be_named_too(plain: Environment) -> None:
    plain.install("owned.py")
    plain.install("configparser.py")
    env = (("PYTHONPATH", plain.site), (origins.VARIABLE, plain.site))
    python = plain.python._replace(env=env)
    assert python.ask("configparser", "owned") == {"configparser": "dist", "owned": "dist"}


def test_a_relative_path_names_no_folder(plain: Environment) -> None:
    planted(plain.beside / "packages", "helper")
    named = os.pathsep.join((str(plain.beside), "packages"))
    python = plain.python._replace(env=(("PYTHONPATH", "packages"), (origins.VARIABLE, named)))
    code = (
        ASK.partition("answers")[0]
        + "try: origins.origin_of('helper')\n"
        + "except errors.PolicyError as error: print(origins.VARIABLE in str(error))"
    )
    assert python._replace(cwd=plain.beside).run("-c", code).split() == ["True"]
    assert python.ask("json") == {"json": "std"}


# --- frozen programs -----------------------------------------------------------------------------


@pytest.mark.parametrize(("frozen", "origin"), [("sys.frozen = True", "std"), ("", "local")])
def test_a_frozen_program_has_all_its_modules_in_its_folder(
    frozen: str, origin: str, plain: Environment
) -> None:
    internal = plain.beside / "program" / "_internal"
    planted(internal, "of_it")
    planted(internal / "lib-dynload", "_of_it", "extension")
    (internal / "spread").mkdir()
    planted(plain.beside / "library", "wave", "package")
    planted(plain.beside / "library", "zipped")
    zipapp.create_archive(plain.beside / "library", internal / "base_library.zip", main="wave:main")
    planted(plain.beside / "program" / "_internal2", "beside_it")
    planted(plain.beside / "program", "above_it")
    folders = (
        internal / "base_library.zip",
        internal / "lib-dynload",
        internal,
        plain.beside / "program" / "_internal2",
        plain.beside / "program",
    )
    start = (
        "import sys\n"
        f"sys.path[1:1] = {list(map(str, folders))!r}\n"
        f"sys._MEIPASS = {str(internal)!r}\n"
        f"{frozen}\n"
    )
    within = ("of_it", "+of_it", "_of_it", "spread", "wave", "+wave", "zipped", "+zipped")
    outside = ("beside_it", "above_it")
    answer = json.loads(plain.python.run("-c", start + ASK, *within, *outside, "json"))
    assert answer == (
        dict.fromkeys(within, origin) | dict.fromkeys(outside, "local") | {"json": "std"}
    )


# As setuptools writes it.
FINDER = """
import sys
from importlib.machinery import ModuleSpec, all_suffixes
from importlib.util import spec_from_file_location
from pathlib import Path

MAPPING = {mapping!r}
NAMESPACES = {namespaces!r}
PATH_PLACEHOLDER = "__editable__.project-1.0.finder" + ".__path_hook__"


class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            place = Path(MAPPING[fullname])
            for file in (place / "__init__.py", *map(place.with_suffix, all_suffixes())):
                if file.exists():
                    return spec_from_file_location(fullname, file)
        return None


class _EditableNamespaceFinder:
    @classmethod
    def _path_hook(cls, path):
        if path == PATH_PLACEHOLDER:
            return cls
        raise ImportError

    @classmethod
    def find_spec(cls, fullname, target=None):
        if fullname in NAMESPACES:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = NAMESPACES[fullname] or [PATH_PLACEHOLDER]
            return spec
        return None


def install():
    sys.meta_path.append(_EditableFinder)
    sys.path_hooks.append(_EditableNamespaceFinder._path_hook)
    sys.path.append(PATH_PLACEHOLDER)
"""


def test_what_a_finder_of_setuptools_leads_to_is_of_a_distribution(plain: Environment) -> None:
    project = plain.beside / "project"
    planted(project / "lib", "pack", "package")
    planted(project, "single")
    planted(project, "not_of_it")
    (project / "spread").mkdir()
    home = "__editable___project_1_0_finder"
    mapping = {"pack": str(project / "lib" / "pack"), "single": str(project / "single")}
    namespaces: dict[str, list[str]] = {"spread": [str(project / "spread")], "empty": []}
    plain.install(f"{home}.py", FINDER.format(mapping=mapping, namespaces=namespaces))
    plain.install("__editable__.project-1.0.pth", f"import {home}; {home}.install()")
    mine = ("pack", "+pack", "single", "+single", "spread", "+spread", "empty", "+empty")
    assert plain.python.ask(*mine, home) == dict.fromkeys([*mine, home], "dist")
    # In the project's own folder the same files are found first; others there are not of it, and
    # neither is what somebody puts before the project.
    assert plain.at(project).ask("single", "+single", "not_of_it", "spread") == {
        "single": "dist",
        "+single": "dist",
        "not_of_it": "local",
        "spread": "dist",
    }
    mark = planted(plain.beside, "single")
    (plain.beside / "spread").mkdir()
    assert plain.at(plain.beside).ask("single", "spread") == {"single": "local", "spread": "local"}
    assert not mark.exists()


REDIRECTOR = """
import sys
from importlib.util import spec_from_file_location

class Finder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname == "mine":
            return spec_from_file_location("mine", {file!r})

sys.meta_path.append(Finder)
"""


@pytest.mark.parametrize(
    ("home", "origin"), [("editables/redirector", "dist"), ("packaged/hook", "local")]
)
def test_other_finders_are_heeded_if_they_are_there_for_editable_installs(
    home: str, origin: str, plain: Environment
) -> None:
    planted(plain.beside, "mine")
    plain.install(f"{home}.py", REDIRECTOR.format(file=str(plain.beside / "mine.py")))
    plain.install("mine.pth", f"import {home.replace('/', '.')}\n")
    assert plain.python.ask("mine", "+mine") == {"mine": origin, "+mine": origin}


def test_a_finder_from_elsewhere_gives_nothing_a_better_origin(plain: Environment) -> None:
    planted(plain.beside, "mine")
    home = plain.beside / "lib" / "__editable___mine_finder.py"
    home.parent.mkdir()
    home.write_text(REDIRECTOR.format(file=str(plain.beside / "mine.py")))
    python = plain.python._replace(env=(("PYTHONPATH", home.parent),))
    assert python.ask(f"+{home.stem}", "mine") == {f"+{home.stem}": "local", "mine": "local"}


def test_asking_for_distutils_imports_no_setuptools(plain: Environment) -> None:
    plain.install(
        "_distutils_hack/__init__.py",
        "import sys\n"
        "class DistutilsMetaFinder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'distutils':\n"
        "            import setuptools\n"
        "sys.meta_path.insert(0, DistutilsMetaFinder())\n",
    )
    plain.install("distutils-precedence.pth", "import _distutils_hack\n")
    bare = plain.python.ask("distutils")["distutils"]
    assert bare == ("std" if sys.version_info < (3, 12) else None)
    mark = planted(plain.beside, "setuptools")
    assert plain.at(plain.beside).ask("distutils") == {"distutils": "local"}
    assert not mark.exists()
    plain.install("setuptools/__init__.py")
    assert plain.python.ask("distutils") == {"distutils": "dist"}
    (plain.beside / "setuptools.py").unlink()
    mark = planted(plain.beside, "distutils")
    assert plain.at(plain.beside).ask("distutils") == {"distutils": "local"}
    assert not mark.exists()


# --- what is loaded, and what changes ------------------------------------------------------------


def test_a_module_made_by_hand_is_local_and_one_that_is_barred_is_not_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = types.ModuleType("by_hand")
    named.__file__ = json.__file__
    monkeypatch.setitem(sys.modules, "by_hand", named)
    assert origin_of("by_hand") is Origin.LOCAL
    named.__spec__ = ModuleSpec("by_hand", None)
    assert origin_of("by_hand") is Origin.LOCAL
    named.__spec__ = ModuleSpec("by_hand", None, origin="built-in")
    assert origin_of("by_hand") is Origin.LOCAL
    monkeypatch.setitem(sys.modules, "by_hand", object())
    assert origin_of("by_hand") is Origin.LOCAL
    monkeypatch.setitem(sys.modules, "statistics", None)
    assert origin_of("statistics") is None


def test_main_is_local_whatever_it_is() -> None:
    assert origin_of("__main__") is Origin.LOCAL


def test_a_module_that_waits_for_its_first_use_goes_on_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = planted(tmp_path, "waiting")
    spec = importlib.util.spec_from_file_location("waiting", tmp_path / "waiting.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "waiting", module)
    spec.loader.exec_module(module)
    assert origin_of("waiting") is Origin.LOCAL
    assert not mark.exists()
    assert vars(module) is not None
    assert module.__doc__ is None
    assert mark.exists()


def test_a_new_module_path_or_working_directory_gives_a_new_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path / "there", "colorsys")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert origin_of("colorsys") is Origin.STD
    with monkeypatch.context() as changed:
        changed.syspath_prepend(str(tmp_path / "there"))
        assert origin_of("colorsys") is Origin.LOCAL
    importlib.invalidate_caches()
    assert origin_of("colorsys") is Origin.STD
    with monkeypatch.context() as changed:
        changed.setattr(sys, "path", ["", *sys.path])
        changed.chdir(tmp_path)
        assert origin_of("colorsys") is Origin.STD
        changed.chdir(tmp_path / "there")
        assert origin_of("colorsys") is Origin.LOCAL
    with monkeypatch.context() as changed:
        spec = importlib.util.spec_from_file_location("colorsys", tmp_path / "there/colorsys.py")
        assert spec is not None
        changed.setitem(sys.modules, "colorsys", importlib.util.module_from_spec(spec))
        assert origin_of("colorsys") is Origin.LOCAL
    assert origin_of("colorsys") is Origin.STD


def test_a_working_directory_that_is_gone_does_not_matter(plain: Environment) -> None:
    plain.install("package/helper.py")
    plain.install("owned.py")
    (plain.beside / "gone").mkdir()
    leave = "import os; os.rmdir(os.getcwd())\n"
    python = plain.at(plain.beside / "gone")
    python = python._replace(env=(("PYTHONPATH", plain.site / "package"),))
    names = ("helper", "owned", "statistics", "nowhere_else")
    answer = json.loads(python.run("-c", leave + ASK, *names))
    assert answer == dict(zip(names, ("dist", "dist", "std", None), strict=True))


def test_a_relative_place_is_local_wherever_the_process_goes(plain: Environment) -> None:
    planted(plain.beside / "lib", "helper")
    zipapp.create_archive(plain.beside / "lib", plain.beside / "lib.zip", main="helper:main")
    leave = (
        "import os, sys; sys.path.insert(1, 'lib.zip')\n"
        f"import helper; os.chdir({str(plain.site)!r})\n"
    )
    answer = json.loads(plain.at(plain.beside).run("-c", leave + ASK, "helper"))
    assert answer == {"helper": "local"}


def test_what_was_asked_for_is_not_imported_by_it() -> None:
    code = ASK + "print([name for name in sys.argv[1:] if name in sys.modules])"
    names = ("wave", "sklearn", "pandas", "pickleseal", "no_such_module")
    lines = Python(options=("-I",)).run("-c", code, *names).splitlines()
    assert lines[-1] == "[]"


def test_importing_it_is_cheap() -> None:
    heavy = {"site", "sysconfig", "importlib.metadata", "pathlib", "zipfile"}
    code = ASK + f"print(sorted({heavy!r} & set(sys.modules)))"
    assert Python(options=("-I", "-S")).run("-c", code).splitlines()[-1] == "[]"


# --- tables ------------------------------------------------------------------------------------


def test_a_table_has_what_is_found_by_its_origin_and_sorted() -> None:
    modules = ["numpy", "json", "__main__", "sklearn", "os", "json", "no_such_module"]
    assert of_modules(modules) == {
        "dist": ("numpy", "sklearn"),
        "local": ("__main__",),
        "std": ("json", "os"),
    }
    assert list(of_modules(modules)) == ["dist", "local", "std"]
    assert {type(key) for key in of_modules(modules)} == {str}
    assert of_modules(["json"]) == {"std": ("json",)}
    assert of_modules([]) == {}


def test_local_is_what_is_found_and_neither_of_python_nor_installed() -> None:
    assert origins.is_local("__main__")
    for name in ("json", "numpy", "no_such_module"):
        assert not origins.is_local(name)


def test_no_loaded_module_of_this_process_is_said_to_be_of_somewhere_else() -> None:
    checks: dict[Origin, Callable[[str], bool]] = {
        # CPython's own tests, and what they load, are no part of that list.
        Origin.STD: lambda name: (
            name in {*sys.stdlib_module_names, "sitecustomize"}
            or name.startswith(("_sysconfig", "_missing_stdlib"))
            or "test" in name
        ),
        Origin.DIST: lambda name: name not in sys.stdlib_module_names or name == "distutils",
        Origin.LOCAL: lambda name: name not in sys.stdlib_module_names,
    }
    for name in [name for name in sys.modules if "." not in name]:
        origin = origin_of(name)
        assert origin is None or checks[origin](name), (name, origin)


def test_no_loaded_part_of_a_package_of_this_process_is_said_to_be_local() -> None:
    import pandas as pd
    import scipy.stats
    import sklearn.ensemble

    assert pd.DataFrame
    assert scipy.stats
    assert sklearn.ensemble
    # What measures coverage has parts there of packages that are not.
    loaded = [name for name, module in sys.modules.items() if "." in name and module]
    inner = [name for name in loaded if name.partition(".")[0] in sys.modules]
    judged = {name: origins.first_local(name, loaded_too=True) for name in inner}
    assert len(judged) > 500
    assert {
        name: local
        for name, local in judged.items()
        if local and not origins.is_local(name.partition(".")[0])
    } == {}
