"""The plan of the house: imports go down only, each act has one place, importing is cheap."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pickleseal

PACKAGE = Path(pickleseal.__file__).parent

FOLDERS = (
    "cli",  # one file a group of commands
    "integrations",  # one file a framework
    "",  # the public names: pickleseal/__init__.py
    "auditing",  # verdicts on saved files, and reports of them
    "migration",  # files that exist already: adopted, extracted, sealed anew
    "persistence",  # dump, load, inspect: the order of the checks
    "scanner",  # what an unsealed pickle would do; knows no key and no seal
    "pickling",  # the one door to the unpickler
    "envelope",  # bytes, hashes, metadata, seal
    "keys",  # suites, tags, rings, and where they are kept
    "files",  # knows no format
    "notebook",  # small tables of HTML
    "errors",
    "version",
)
"""A module imports only from its own folder and from those below it."""
LEVEL = {folder: -level for level, folder in enumerate(FOLDERS)}

PURE = {
    *("errors", "notebook"),
    *("files.magic", "files.strict_json"),
    *("keys.context", "keys.key", "keys.keyring", "keys.mac", "keys.passphrase", "keys.roster"),
    "keys.suite",
    *("envelope.compression", "envelope.digests", "envelope.hashing", "envelope.layout"),
    *("envelope.metadata", "envelope.seal"),
    *("pickling.inflate", "pickling.names", "pickling.opcodes"),
    *("persistence.inventory", "persistence.pins", "persistence.policy"),
    *("migration.source", "auditing.findings", "auditing.report"),
    "scanner",
}
"""Modules, or folders with all in them, that touch no file, clock, environment or terminal."""
WORLDLY = {
    "os", "io", "pathlib", "time", "datetime", "sys", "mmap", "socket", "tempfile", "shutil",
    "threading", "subprocess", "warnings", "platformdirs", "rich", "click", "random", "secrets",
}  # fmt: skip
EXCEPTIONS = {
    ("keys.key", "os"),  # a new key's random bytes
    ("keys.passphrase", "os"),  # a new nonce
    ("persistence.policy", "datetime"),  # a time that is given, as people read it
    ("envelope.metadata", "sys"),  # whether NumPy is loaded, whose scalars are numbers
    ("envelope.compression", "sys"),  # which Python this is tells where zstd is
    ("scanner.containers.layers", "sys"),
    ("scanner.containers.streams", "sys"),
    ("scanner.names", "pathlib"),
    ("scanner.names", "sys"),  # the list of good names lies beside the module
    ("migration.source.text", "warnings"),  # what Python says of the source goes to nobody
}


TOP = {
    *("src", "tests", "keys", "docs", "examples", "benchmarks", ".ci", ".github"),
    *("pyproject.toml", "Makefile", ".gitignore", ".pre-commit-hooks.yaml", "action.yml"),
    *("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff"),
}
"""What git keeps at the top of the tree: nothing that a command left there by mistake."""


def rooms() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@functools.cache
def nodes(room: str) -> list[ast.AST]:
    path = PACKAGE.joinpath(*room.split(".")) if room else PACKAGE
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]


def imports(room: str) -> Iterator[str]:
    """Return the dotted names that a room imports, anywhere in it."""
    for node in nodes(room):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def imported_rooms(room: str) -> Iterator[str]:
    for name in imports(room):
        if name.split(".")[0] == "pickleseal":
            parts = name.split(".")[1:]
            # `from pickleseal.room import thing` and `from pickleseal import room` alike.
            while parts and ".".join(parts) not in ROOMS:
                parts.pop()
            yield ".".join(parts)


ROOMS = rooms()


def level(room: str) -> int:
    return LEVEL[room.split(".", maxsplit=1)[0]]


def test_every_folder_is_on_the_list() -> None:
    assert {room.split(".")[0] for room in ROOMS} == {*FOLDERS, "__main__"}


def test_a_module_imports_only_from_its_folder_and_those_below() -> None:
    below = [room for room in ROOMS if room != "__main__"]
    found = ((room, other) for room in below for other in imported_rooms(room))
    assert not [(room, other) for room, other in found if level(other) > level(room)]


def test_imports_run_in_no_circle() -> None:
    below = {room: set(imported_rooms(room)) - {room} for room in ROOMS}
    while free := [room for room, others in below.items() if not others & below.keys()]:
        for room in free:
            del below[room]
    assert not below


def test_a_pure_module_touches_nothing_of_the_world() -> None:
    pure = [room for room in ROOMS if any(f"{room}.".startswith(f"{one}.") for one in PURE)]
    reached = {(room, name.split(".")[0]) for room in pure for name in imports(room)}
    assert {(room, what) for room, what in reached if what in WORLDLY} == EXCEPTIONS


def test_one_folder_pickles() -> None:
    picklers = {"pickle", "cloudpickle", "joblib", "dill", "_pickle", "marshal", "shelve"}
    found = {
        (room, name) for room in ROOMS for name in imports(room) if name.split(".")[0] in picklers
    }
    assert found == {
        *((f"pickling.{room}", "pickle") for room in ("dump", "external", "recorder")),
        *((f"pickling.{room}", "pickle") for room in ("joblib", "load", "lookup")),
        ("pickling.dump", "cloudpickle"),
        ("pickling.joblib", "joblib.numpy_pickle"),
        ("errors", "pickle.UnpicklingError"),
        # A store of joblib.Memory, which loads nothing by itself.
        ("integrations.joblib", "joblib"),
        ("integrations.joblib", "joblib._store_backends.CacheWarning"),
        ("integrations.joblib", "joblib._store_backends.FileSystemStoreBackend"),
        ("integrations.shelve", "shelve"),  # whose methods that pickle are replaced
        # joblib's Parallel, whose workers and client pickle what they say to each other.
        ("auditing.workers", "joblib"),
    }


def test_one_room_makes_tags() -> None:
    found = {room for room in ROOMS for name in imports(room) if "hmac" in name.lower()}
    assert found == {"keys.mac"}


def test_one_room_touches_artifacts() -> None:
    """`open`, `os.open` and their kind stand where files are the business.

    `files.walk` opens folders, `files.lock` files of its own, `keys.store.terminal` the terminal,
    and `integrations.shelve` a dbm.
    """
    openers = {
        "open",
        "fdopen",
        "pread",
        "preadv",
        "pwrite",
        "pwritev",
        "read_bytes",
        "write_bytes",
    }
    found = set()
    for room in ROOMS:
        for node in nodes(room):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else None
                name = node.func.id if isinstance(node.func, ast.Name) else name
                if name in openers:
                    found.add(room)
    assert {room for room in found if not room.startswith("cli")} == {
        "files.handles",
        "files.regular",
        "files.atomic",
        "files.lock",
        "files.walk",
        # Through the file system of the framework.
        *("integrations.dagster", "integrations.kedro"),
        "integrations.shelve",
        "envelope.source",
        "keys.store.permissions",
        "keys.store.terminal",
    }


def test_verified_is_made_in_one_room_and_unpickled_in_one() -> None:
    makers, mentions, unpicklers, doors = set(), set(), set(), set()
    for room in ROOMS:
        for node in nodes(room):
            if isinstance(node, ast.Name | ast.Attribute):
                spelled = ast.unparse(node)
                if spelled.endswith("Unpickler") or spelled in ("pickle.load", "pickle.loads"):
                    mentions.add(room)
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            if called == "Verified":
                makers.add(room)
            if called.endswith("Unpickler"):
                unpicklers.add(room)
            # RQ's own method has the name, too.
            ours = not ast.unparse(node.func).startswith("super()")
            if called in ("restore", "restore_joblib") and ours:
                doors.add((called, room))
    assert makers == {"envelope.seal"}
    assert mentions == {"pickling.lookup", "pickling.load", "pickling.joblib"}
    assert unpicklers == {"pickling.load", "pickling.joblib"}
    assert doors == {("restore", "persistence.load"), ("restore_joblib", "pickling.load")}


def test_revoked_keys_open_again_only_where_digests_are_compared() -> None:
    callers = {
        room
        for room in ROOMS
        for node in nodes(room)
        if (isinstance(node, ast.Attribute) and node.attr in ("reopening", "revoked_keys"))
        or (isinstance(node, ast.Name) and node.id == "revoked_keys")
    }
    assert callers == {"migration.reseal", "persistence.inventory_file"}


def test_no_guard_is_an_assert_and_no_tag_is_compared_with_operators() -> None:
    all_nodes = [(room, node) for room in ROOMS for node in nodes(room)]
    for room, node in all_nodes:
        assert not isinstance(node, ast.Assert), room
        if isinstance(node, ast.Compare):
            names = {
                part.id if isinstance(part, ast.Name) else part.attr
                for side in (node.left, *node.comparators)
                for part in ast.walk(side)
                if isinstance(part, ast.Name | ast.Attribute)
            }
            sized = any(
                isinstance(side, ast.Call) and getattr(side.func, "id", "") == "len"
                for side in (node.left, *node.comparators)
            )
            assert sized or not names & {"tag", "tags", "signature", "mac_bytes"}, room


def test_the_public_names_are_there_and_none_is_a_room() -> None:
    for name in pickleseal.__all__:
        assert getattr(pickleseal, name) is not None
    listed = {name for name in dir(pickleseal) if not name.startswith("__")}
    assert listed == set(pickleseal.__all__)
    assert not set(pickleseal.__all__) & {room.split(".")[0] for room in ROOMS}


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'signed_lode'"):
        pickleseal.signed_lode  # type: ignore[attr-defined]  # noqa: B018 - it is the point


def test_names_that_are_imported_later_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    checked = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        (node.module.removeprefix("pickleseal."), alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == {(room, name) for name, room in pickleseal._ROOMS.items()}


def loaded_by(code: str) -> set[str]:
    """Return which modules a fresh process has once it has run some code."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def imported(code: str, *names: str) -> set[str]:
    """Return which of some modules code imports: not those that a measuring of coverage brings."""
    return set(names) & (loaded_by(code) - loaded_by("pass"))


HEAVY = (
    *("sklearn", "numpy", "scipy", "pandas", "joblib", "rich", "cloudpickle", "platformdirs"),
    *("importlib.metadata", "concurrent.futures", "asyncio", "inspect"),
    *("pickleseal.auditing", "pickleseal.migration", "pickleseal.auditing.watch"),
)


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported("import pickleseal", "click", *HEAVY) == set()


def test_asking_for_help_imports_no_command() -> None:
    code = (
        "from click.testing import CliRunner; from pickleseal.cli import cli;"
        "assert 'audit' in CliRunner().invoke(cli, ['--help']).stdout"
    )
    commands = ("pickleseal.cli.audit", "pickleseal.cli.keys", "pickleseal.auditing")
    assert imported(code, *commands) == set()


def test_top_of_the_tree() -> None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= TOP
