"""The plan of the house: imports go down only, each act has one place, importing is cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pickleseal

PACKAGE = Path(pickleseal.__file__).parent

FLOORS = [
    {"errors", "suite", "version", "globs", "beginnings"},
    {
        "mac",
        "tree",
        "envelope",
        "metadata",
        "auditing",
        "auditing.cursor",
        "auditing.views",
        "auditing.faults",
        "auditing.values",
    },
    {
        "keys",
        "opcodes",
        "packages",
        "unpacking",
        "callsites",
        "callsites.functions",
        "callsites.source",
        "roster",
        "codec",
        "auditing.literals",
        "auditing.memo",
        "auditing.record",
        "auditing.layers",
        "auditing.arrays",
    },
    {
        "keyring",
        "policy",
        "wrapping",
        "inventory",
        "keystore",
        "keystore.permissions",
        "locking",
        "callsites.mentions",
        "auditing.stack",
        "auditing.uses",
        "auditing.archives",
    },
    {
        "seal",
        "pins",
        "callsites.sites",
        "keystore.variables",
        "storage.files",
        "storage.memory",
        "storage.threads",
        "auditing.arguments",
        "auditing.stackwork",
        "auditing.specials",
    },
    {
        "callsites.notebooks",
        "keystore.commands",
        "keystore.surroundings",
        "storage.source",
        "storage.target",
        "storage.expansion",
        "auditing.wrapped",
    },
    {
        "keystore.passphrases",
        "keystore.providers.command",
        "keystore.providers.os_keyring",
        "keystore.providers.aws_kms",
        "storage.regular",
        "auditing.machine",
    },
    {"keystore.providers", "storage", "auditing.streams"},
    {"keystore.lines", "walk", "pinning"},
    {"keystore.directory", "opening"},
    {"keystore.sources", "keystore.changes", "keystore.doctor", "pickling"},
    {"persist", "inspection", "watching"},
    {"stocktaking", "auditing.findings", "adoption"},
    {"resealing", "extracting", "auditing.notebook", "auditing.names", "auditing.baselines"},
    {"auditing.grades", "auditing.report"},
    {
        "auditing.formats",
        "auditing.formats.plain",
        "auditing.formats.html",
        "auditing.formats.sarif",
        "auditing.containers",
    },
    {"auditing.examining", "adopting"},
    {"auditing.audits", "verifying"},
    {""},  # the public names: pickleseal/__init__.py
    {"cli.output", "cli.options", "cli.lazy", "integrations"},
    {"cli.settings", "cli.progress", "cli.keygen", "cli.findings", "integrations.pytest_plugin"},
    {
        "cli.keys",
        "cli.custody",
        "cli.doctor",
        "cli.audit",
        "cli.verify",
        "cli.inspect",
        "cli.reseal",
        "cli.demo",
        "cli.adopt",
        "cli.extract",
        "cli.pins",
        "cli.find_loads",
    },
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

PURE = {
    "errors", "suite", "mac", "tree", "envelope", "metadata", "keys", "keyring", "policy", "seal",
    "beginnings", "opcodes", "roster", "wrapping", "inventory", "codec", "unpacking", "pins",
    "callsites.functions", "callsites.source", "callsites.mentions", "callsites.sites",
    "callsites.notebooks",
    "auditing.cursor", "auditing.machine",
    "auditing.streams", "auditing.arrays", "auditing.archives", "auditing.layers", "auditing.views",
    "auditing.grades", "auditing.findings", "auditing.containers", "auditing.report",
    "auditing.faults", "auditing.values", "auditing.memo", "auditing.record", "auditing.uses",
    "auditing.stack", "auditing.literals", "auditing.arguments", "auditing.stackwork",
    "auditing.specials", "auditing.wrapped",
}  # fmt: skip
WORLDLY = {
    "os", "io", "pathlib", "time", "datetime", "sys", "mmap", "socket", "tempfile", "shutil",
    "threading", "subprocess", "warnings", "platformdirs", "rich", "click", "random", "secrets",
}  # fmt: skip


def rooms() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def source(room: str) -> ast.Module:
    path = PACKAGE.joinpath(*room.split(".")) if room else PACKAGE
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(room: str) -> Iterator[str]:
    """Give the dotted names that a room imports, anywhere in it."""
    for node in ast.walk(source(room)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def imported_rooms(room: str) -> Iterator[str]:
    for name in imports(room):
        if name == "pickleseal":
            yield ""
        elif name.startswith("pickleseal."):
            parts = name.split(".")[1:]
            # `from pickleseal.room import thing` and `from pickleseal import room` alike.
            while parts and ".".join(parts) not in LEVEL:
                parts.pop()
            yield ".".join(parts)


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    assert set(rooms()) == set(LEVEL)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_from_lower_floors_only(room: str) -> None:
    above = {other for other in imported_rooms(room) if LEVEL[other] >= LEVEL[room]}
    assert not above


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_reaches_for_nothing_of_the_world(room: str) -> None:
    reached = {name.split(".")[0] for name in imports(room)} & WORLDLY
    # Random bytes, of a new key or nonce, are the one thing the core asks the system for. A time
    # that is given is written as people read it: nobody asks what time it is. Which
    # Python this is tells where zstd is, and which modules are its own; and whether NumPy is loaded
    # tells what can be a scalar of its own. What Python has to say on the source that it parses
    # goes to nobody.
    asked = {"keys": {"os"}, "wrapping": {"os"}, "callsites.source": {"warnings"}}
    asked |= {"policy": {"datetime"}}
    asked |= {room: {"sys"} for room in ("codec", "auditing.layers", "auditing.streams")}
    asked |= {"metadata": {"sys"}}
    assert reached == asked.get(room, set())


def test_one_room_pickles() -> None:
    picklers = {"pickle", "cloudpickle", "joblib", "dill", "_pickle", "marshal", "shelve"}
    found = {
        (room, name) for room in rooms() for name in imports(room) if name.split(".")[0] in picklers
    }
    assert {room for room, _ in found} == {"pickling", "errors"}
    assert {name for room, name in found if room == "errors"} == {"pickle.UnpicklingError"}


def test_one_room_makes_tags() -> None:
    found = {room for room in rooms() for name in imports(room) if "hmac" in name.lower()}
    assert found == {"mac"}


def test_one_room_touches_artifacts() -> None:
    """`open`, `os.open` and their kind stand where files are the business.

    `walk` opens folders, and `locking` files of its own.
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
    for room in rooms():
        for node in ast.walk(source(room)):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else None
                name = node.func.id if isinstance(node.func, ast.Name) else name
                if name in openers:
                    found.add(room)
    assert {room for room in found if not room.startswith("cli")} == {
        "storage.files",
        "storage.regular",
        "storage.source",
        "storage.target",
        "keystore.permissions",
        "keystore.directory",
        "locking",
        "walk",
    }


def test_verified_is_made_in_one_room_and_unpickled_in_one() -> None:
    makers, unpicklers = set(), set()
    for room in rooms():
        for node in ast.walk(source(room)):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "Verified":
                makers.add(room)
            if isinstance(node.func, ast.Name) and node.func.id in ("_Unpickler", "Unpickler"):
                unpicklers.add(room)
            if isinstance(node.func, ast.Attribute) and node.func.attr == "restore":
                unpicklers.add(f"{room} calls restore")
    assert makers == {"seal"}
    assert unpicklers == {"pickling", "persist calls restore"}


def test_revoked_keys_open_again_in_one_room_alone() -> None:
    callers = {
        room
        for room in rooms()
        for node in ast.walk(source(room))
        if (isinstance(node, ast.Attribute) and node.attr in ("reopening", "revoked_keys"))
        or (isinstance(node, ast.Name) and node.id == "revoked_keys")
    }
    assert callers == {"resealing"}


@pytest.mark.parametrize("room", rooms())
def test_no_guard_is_an_assert_and_no_tag_is_compared_with_operators(room: str) -> None:
    for node in ast.walk(source(room)):
        assert not isinstance(node, ast.Assert)
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
            assert sized or not names & {"tag", "tags", "signature", "mac_bytes"}


def test_the_public_names_are_there_and_none_is_a_room() -> None:
    for name in pickleseal.__all__:
        assert getattr(pickleseal, name) is not None
    listed = {name for name in dir(pickleseal) if not name.startswith("__")}
    assert listed == set(pickleseal.__all__)
    assert not set(pickleseal.__all__) & {room.split(".")[0] for room in rooms()}


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
    """Tell which modules a fresh process has once it has run some code."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def imported(code: str, *names: str) -> set[str]:
    """Tell which of some modules code imports: not those that a measuring of coverage brings."""
    return set(names) & (loaded_by(code) - loaded_by("pass"))


HEAVY = (
    *("sklearn", "numpy", "scipy", "pandas", "joblib", "rich", "cloudpickle", "platformdirs"),
    *("importlib.metadata", "concurrent.futures", "asyncio", "inspect"),
    *("pickleseal.auditing", "pickleseal.adoption", "pickleseal.watching"),
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
