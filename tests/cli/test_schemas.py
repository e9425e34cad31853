"""The published schemas of JSON output, held against what every command really prints."""

import io
import json
import os
import pickle
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import joblib
import numpy as np
import pytest
from armed import look, whole
from envelopes import hand_sealed
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from sklearn.preprocessing import LabelEncoder
from watching import Mark

from pickleseal import (
    Key,
    Keyring,
    adopt_bytes,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
)  # fmt: skip
from pickleseal.cli import cli, main
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.keys.store import changes, terminal
from pickleseal.keys.store.directory import read_roster
from pickleseal.persistence.inventory_file import read_inventory

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
FOLDER = PAGE.parent / "schemas"
SCHEMAS: dict[str, Any] = {p.stem: json.loads(p.read_text()) for p in FOLDER.glob("*.json")}
ROW = re.compile(r"\| (`.*`.*) \| \[.*\]\(schemas/(.*)\.json\) \|")
LISTED = [(texts, name) for texts, name in ROW.findall(PAGE.read_text())]
BY_COMMAND = {
    text: name
    for texts, name in LISTED
    for text in re.findall("`([^`]+)`", texts)
    if "--" not in text
}

# An exit code and a command line, in the order in which they change the world.
RUNS = """
0 keygen --json --keyring fresh --note mine
2 keygen --json --keyring fresh
2 keygen --json --sign-until never
0 find-loads --json source/good.py
1 find-loads --json source
2 find-loads --json source broken.py note.ipynb
2 find-loads --json nowhere
2 find-loads --json empty
0 keys list --json
2 keys list --json --keyring nowhere
0 keys show --json
2 keys show --json ffffffff
1 keys doctor --json
0 keys doctor --json --keyring fresh
2 keys doctor --json --keyring nowhere
0 keys export --json
0 keys export --json --output lines.txt
2 keys export --json --output lines.txt
0 keys import --json lines.txt --keyring fresh
0 keys import --json lines.txt --keyring fresh
2 keys import --json source/good.py --keyring fresh
0 inspect --json models/sealed.pkl
0 inspect --json --header-only models/sealed.pkl
0 inspect --json models/odd.pkl
0 inspect --json many.pkl
0 inspect --json adopted.pkl
1 inspect --json changed.pkl
1 inspect --json foreign.pkl
1 inspect --json models/bare.pkl
2 inspect --json nowhere
0 verify --json models/sealed.pkl models/link.txt
1 verify --json models many.pkl changed.pkl
1 verify --json models --backend threading --jobs 2
2 verify --json nowhere
2 verify --json empty
1 audit --json models --inventory the.list
0 audit --json moved --inventory moved.list
1 audit --json . --known mycompany --imports --backend threading --jobs 2
1 audit --json models --baseline the.list
1 audit --json other moved --baseline moved.list
2 audit --json empty
2 audit --json nowhere
2 audit --json . --baseline source/good.py
1 audit --format jsonl models changed.pkl foreign.pkl
2 audit --format jsonl nowhere
1 extract --json models --context * --to plain
1 extract --json models --context * --to plain
0 extract --json models/sealed.pkl --context fraud --output plain.pkl
1 extract --json changed.pkl --context fraud --output other.pkl
2 extract --json empty --to plain
1 adopt --json --dry-run models --context new
2 adopt --json models/bare.pkl
0 adopt --json --yes models/bare.pkl --context new
1 adopt --json --yes models
2 adopt --json empty
0 pins list --json
0 pins forget --json fraud
1 pins forget --json fraud
2 pins forget --json fraud --pins nowhere
2 pins list --json --pins nowhere
0 keys note --json {first} mine
0 keys limit --json {first} --sign-until 2100-01-01 --context *
2 keys limit --json {first}
0 keys protect --json {first}
0 keys unprotect --json
2 keys protect --json ffffffff
0 keys backup --json protected.backup
2 keys backup --json protected.backup
0 keys restore --json protected.backup --keyring restored
2 keys restore --json source/good.py --keyring restored
2 keys unprotect --json ffffffff
0 keys rotate --json
2 keys rotate --json --keyring nowhere
1 reseal --json --dry-run models changed.pkl
0 reseal --json models/sealed.pkl
0 reseal --json models/sealed.pkl
2 reseal --json nowhere
2 reseal --json empty
0 keys primary --json {first}
2 keys primary --json ffffffff
0 keys retire --json {second}
2 keys retire --json {first}
0 keys revoke --json {second} --reason stolen
2 keys revoke --json ffffffff --reason stolen
2 keys note --json ffffffff mine
0 keys revoke --json --id 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --reason stolen --since 2026-01-01
0 keys list --json
0 keys show --json {second}
"""


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command below a group, with its name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        elif command is not None:
            yield " ".join([*above, name]), command


WITH_JSON = {
    name
    for name, command in commands(cli)
    if any("--json" in parameter.opts for parameter in command.params)
}


def make_world(folder: Path) -> Keyring:
    """Make a ring, and files of every kind that the commands tell apart."""
    changes.create_key(folder / "ring", now=1_700_000_000)
    ring = open_keyring(folder / "ring")
    for name in ("models/.venv", "source", "empty", "moved", "other"):
        (folder / name).mkdir(parents=True)
    models, source = folder / "models", folder / "source"
    soon = timedelta(days=9)
    signed_dump(
        LabelEncoder().fit([1, 2]), models / "sealed.pkl", keyring=ring, context="fraud",
        serial=3, expires=soon, info={"auc": 0.9},
    )  # fmt: skip
    external = External(1, 8, "ab" * 32)
    odd = Metadata("pickle", imports_omitted=5000, external=external)
    (models / "odd.pkl").write_bytes(hand_sealed(ring, odd, pickle.dumps(1)))
    (models / "bare.pkl").write_bytes(pickle.dumps({"a": 1}))
    (models / "own.pkl").write_bytes(whole(look("mycompany.models", "Model")))
    (models / "armed.pkl").write_bytes(pickle.dumps(Mark(folder / "mark")))
    joblib.dump(np.arange(9), models / "old.joblib", compress=1)
    adopted = adopt_bytes((models / "old.joblib").read_bytes(), keyring=ring)
    (folder / "adopted.pkl").write_bytes(adopted)
    (models / "notes.txt").write_text("notes")
    os.symlink("sealed.pkl", models / "link.txt")
    (models / ".venv" / "pyvenv.cfg").touch()
    whole_file = (models / "sealed.pkl").read_bytes()
    (folder / "changed.pkl").write_bytes(whole_file[:-1] + bytes([whole_file[-1] ^ 1]))
    (folder / "foreign.pkl").write_bytes(signed_dumps(1, keyring=Keyring(Key.generate())))
    (folder / "many.pkl").write_bytes(signed_dumps(1, keyring=ring) * 1003)
    signed_dump([1], folder / "moved" / "one.pkl", keyring=ring)
    (source / "good.py").write_text("print()")
    (source / "loads.py").write_text("import pickle\nmodel = pickle.load(open('a', 'rb'))\n")
    (folder / "broken.py").write_text("def")
    (folder / "note.ipynb").write_text("no notebook")
    os.symlink("../models", source / "link")
    return ring


class Printed(NamedTuple):
    code: int
    stdout: str
    stderr: str


def printed(arguments: list[str]) -> Printed:
    """Return a command's exit code, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["pickleseal", *arguments])
        patch.setattr(sys, "stdin", None)
        patch.setattr(signal, "signal", lambda *_: None)  # which would outlive the command
        with pytest.raises(SystemExit) as ended:
            main()
    return Printed(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def documents(arguments: list[str], text: str) -> list[tuple[str, Any]]:
    """Return the documents that a command printed, each with the name of its schema."""
    name = " ".join(arguments[:2]) if arguments[0] in ("keys", "pins") else arguments[0]
    if "jsonl" in arguments:
        return [("audit-line", json.loads(line)) for line in text.splitlines()]
    return [(BY_COMMAND[name], json.loads(text))]


def play(folder: Path, ring: Keyring, *instead: str) -> Iterator[tuple[str, list[str], Printed]]:
    """Run all commands in a world; yield each line, its arguments, and what came out.

    `instead`: options to use in the place of --json.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PICKLESEAL_KEYRING", str(folder / "ring"))
        patch.setenv("PICKLESEAL_PINS", str(folder / "pins.json"))
        signed_load("models/sealed.pkl", context="fraud")
        ids = {"first": ring.primary, "second": None}
        for run in RUNS.strip().splitlines():
            expected, *arguments = shlex.split(run.format_map(ids))
            if arguments[0] == "audit" and "other" in arguments:
                os.rename("moved/one.pkl", "other/one.pkl")
            if "protect" in arguments:  # not before: to keys doctor it is a finding
                for name in ("PICKLESEAL_PASSPHRASE", "PICKLESEAL_NEW_PASSPHRASE"):
                    patch.setenv(name, "correct horse battery")
            if instead and "--json" in arguments:
                at = arguments.index("--json")
                arguments[at : at + 1] = instead
            done = printed(arguments)
            assert done.code == int(expected), (run, done)
            yield run, arguments, done
            others = set(read_roster(folder / "ring").entries) - {*ids.values()}
            ids["second"] = next(iter(others), ids["second"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, Any]]:
    """For each run: its command line, and the schema's name and the document for each it prints."""
    folder = tmp_path_factory.mktemp("world")
    found: list[tuple[str, str, Any]] = []
    ring = make_world(folder)
    for run, arguments, done in play(folder, ring):
        assert done.stdout.isascii(), run
        found += [(run, *one) for one in documents(arguments, done.stdout)]
    listed = read_inventory(str(folder / "the.list"), keyring=ring)
    lines = listed.inventory.encode().splitlines()
    return found + [("", "inventory-line", json.loads(line)) for line in lines]


COLOUR = re.compile(r"\x1b\[[\d;]*[349]\d")


def test_a_quiet_command_prints_nothing_if_all_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it says why, as without --quiet, and NO_COLOR takes the colours from that."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for run, arguments, done in play(tmp_path, make_world(tmp_path), "--quiet"):
        if done.code:
            assert done.stdout + done.stderr, run
            assert not COLOUR.search(done.stdout + done.stderr), run
        elif arguments[:2] == ["keys", "export"] and "--output" not in arguments:
            assert done.stdout.startswith("pickleseal-")  # what it is asked to print
        else:
            assert (done.stdout, done.stderr) == ("", ""), run


def test_a_quiet_command_asks_nothing(tmp_path: Path) -> None:
    make_world(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "ring"))
        patch.setattr(terminal, "is_there", lambda: True)
        assert printed(["adopt", "--quiet", "models/bare.pkl"]).code == 2


def test_every_command_takes_the_same_common_options() -> None:
    for name, command in commands(cli):
        options = {option for parameter in command.params for option in parameter.opts}
        # It prints a script and does nothing else.
        assert {"--json", "-q", "--quiet"} <= options or name == "completion"


def test_every_command_with_json_has_a_schema() -> None:
    assert set(BY_COMMAND) == WITH_JSON
    assert {name for _, name in LISTED} | {"inventory-line"} == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_valid_and_has_its_own_id(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert re.fullmatch(rf"urn:pickleseal:schema:{name}:[0-9]+\.[0-9]+", schema["$id"])


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object in a document."""
    if isinstance(value, dict):
        yield value
    for one in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from parts(one)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_leaves_no_field_open(name: str) -> None:
    for part in parts(SCHEMAS[name]):
        if "properties" in part:
            assert part["additionalProperties"] is False
            assert set(part["required"]) <= set(part["properties"])


def test_definitions_of_one_name_are_alike() -> None:
    first: dict[str, Any] = {}
    for schema in SCHEMAS.values():
        for name, definition in schema.get("$defs", {}).items():
            assert name == "output" or first.setdefault(name, definition) == definition


def test_what_commands_print_is_as_their_schemas_say(told: list[tuple[str, str, Any]]) -> None:
    for run, name, document in told:
        errors = list(Draft202012Validator(SCHEMAS[name]).iter_errors(document))
        best = best_match(errors)
        assert best is None, (run, best.message, list(best.absolute_path))


def test_schemas_name_nothing_that_is_not_printed(told: list[tuple[str, str, Any]]) -> None:
    for name in set(SCHEMAS) - {"demo", "audit-line"}:
        of_schema = [document for _, one, document in told if one == name]
        seen = {key for document in of_schema for part in parts(document) for key in part}
        named = {key for part in parts(SCHEMAS[name]) for key in part.get("properties", ())}
        envelope = set(SCHEMAS["inspect"]["$defs"]["envelope"]["properties"])
        metadata = set(SCHEMAS["inspect"]["$defs"]["metadata"]["properties"])
        if name != "inspect":  # which prints all of them
            named -= envelope | metadata
        # Objects of a store have a mark: see tests/auditing/test_since.py. Keys in the system's
        # keyring leave an entry: see tests/keys/test_os_keyring_keys.py.
        named -= {
            "mark",
            "left_in_os_keyring",
            *SCHEMAS["audit-line"]["$defs"]["finding"]["properties"]["mark"]["properties"],
        }
        assert named <= seen, (name, named - seen)


def test_every_command_was_run_well_and_badly(told: list[tuple[str, str, Any]]) -> None:
    for command in WITH_JSON - {"demo"}:
        runs = [run for run, *_ in told if f" {command} " in run]
        good = {run for run in runs if run[0] != "2"}
        assert good, command
        assert good != set(runs), command


@pytest.mark.parametrize("command", sorted(WITH_JSON))
def test_a_usage_error_is_as_the_schema_says(command: str) -> None:
    code, text, _ = printed([*command.split(), "--json", "--no-such-option"])
    assert code == 2
    document = json.loads(text)
    Draft202012Validator(SCHEMAS[BY_COMMAND[command]]).validate(document)
    assert document["error"]["kind"] == "UsageError"


@pytest.mark.parametrize("way", [["--format", "json"], ["--format=json"], ["--format", "jsonl"]])
def test_an_audit_answers_a_wrong_use_in_json_however_it_was_asked_to(way: list[str]) -> None:
    for more in (["--no-such-option"], ["--inventory-context", "x", "."]):
        code, text, _ = printed(["audit", *way, *more])
        assert (code, json.loads(text)["error"]["kind"]) == (2, "UsageError")
        assert text.count("\n") == 1


def test_an_error_in_json_lines_is_one_line(tmp_path: Path) -> None:
    code, text, _ = printed(["audit", str(tmp_path / "gone"), "--format", "jsonl"])
    assert (code, text.count("\n")) == (2, 1)
    Draft202012Validator(SCHEMAS["audit-line"]).validate(json.loads(text))
