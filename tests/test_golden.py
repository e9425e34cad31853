"""What earlier versions sealed, and what this one would leave to later ones, loads as it was."""

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import make_golden
import numpy as np
import pytest
from make_golden import GOLDEN, INDEX_OF_ALL, LIST, OPTIONS, PASS, PINS, RING

from pickleseal import (
    Keyring,
    RollbackError,
    Suite,
    audit,
    inspect,
    open_keyring,
    reseal,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.auditing.findings import Change, Level, Verdict
from pickleseal.keys.roster import State
from pickleseal.persistence.pin_file import PinFile

# They were sealed with other versions of Python and of packages, and a load says so.
pytestmark = pytest.mark.filterwarnings("ignore::pickleseal.VersionMismatchWarning")

VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
NOW = "as made now"


@pytest.fixture(scope="session")
def made_now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "golden"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        make_golden.make(folder, patch)
    return folder


@pytest.fixture(params=[*VERSIONS, NOW])
def golden(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files of one version: git keeps no modes, and the ring's must be private."""
    folder = tmp_path / "golden"
    made = request.param == NOW
    shutil.copytree(request.getfixturevalue("made_now") if made else GOLDEN / request.param, folder)
    (folder / RING).chmod(0o700)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def kept(golden: Path) -> Keyring:
    return open_keyring(golden / RING, passphrase=lambda: PASS)


def index(golden: Path) -> dict[str, dict[str, str]]:
    told: dict[str, dict[str, str]] = json.loads((golden / INDEX_OF_ALL).read_text())
    return told


def plain(value: Any) -> Any:
    """Return a value with its arrays and buffers as plain lists and bytes."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def test_there_are_golden_files_of_a_version() -> None:
    assert VERSIONS


def test_every_golden_file_loads_as_it_was(golden: Path, kept: Keyring) -> None:
    for name, told in index(golden).items():
        options: dict[str, Any] = {}
        if "buffers" in told:
            data = (golden / told["buffers"]).read_bytes()
            sizes = [len(one) for one in ast.literal_eval(told["value"])]
            ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
            options["buffers"] = [data[e - s : e] for e, s in zip(ends, sizes, strict=True)]
        found = signed_load(
            golden / name,
            keyring=kept,
            context=told.get("context"),
            expect=told["digest"],
            on_mismatch="ignore",
            **options,
        )
        assert plain(found) == ast.literal_eval(told["value"]), name


def test_the_facts_of_a_golden_head_are_those_that_were_given(golden: Path, kept: Keyring) -> None:
    facts = inspect(golden / "full.pkl", keyring=kept)
    assert facts.metadata is not None
    assert facts.metadata.context == OPTIONS["context"]
    assert facts.metadata.serial == OPTIONS["serial"]
    assert facts.metadata.info == OPTIONS["info"]
    assert facts.metadata.expires == int(OPTIONS["expires"].timestamp())
    assert facts.metadata.created == make_golden.NOW


def test_objects_in_sequence_load_one_after_the_other(golden: Path, kept: Keyring) -> None:
    with (golden / "several.pkls").open("rb") as file:
        assert [signed_load(file, keyring=kept) for _ in range(2)] == [1, [2]]


def test_a_golden_ring_has_its_keys_and_seals(kept: Keyring) -> None:
    states = [(entry.state, entry.suite) for entry in kept.entries.values()]
    assert sorted(states) == sorted(
        (
            (State.RETIRED, Suite.SHA256),
            (State.REVOKED, Suite.BLAKE3),
            (State.ACTIVE, Suite.BLAKE3),
            (State.ACTIVE, Suite.BLAKE3),
        )
    )
    assert kept.primary is not None
    assert kept.entries[kept.primary].note == "ünï"
    assert signed_loads(signed_dumps([1], keyring=kept), keyring=kept) == [1]


def test_golden_pins_refuse_what_is_older(golden: Path, kept: Keyring) -> None:
    context = OPTIONS["context"]
    pin = PinFile(golden / PINS).read()[context]
    assert (pin.serial, pin.digest) == (OPTIONS["serial"], index(golden)["full.pkl"]["digest"])
    signed_load(golden / "full.pkl", keyring=kept, context=context, pins=golden / PINS)
    older = signed_dumps(0, keyring=kept, context=context, serial=OPTIONS["serial"] - 1)
    with pytest.raises(RollbackError):
        signed_loads(older, keyring=kept, context=context, pins=golden / PINS)


def test_a_golden_list_is_a_baseline_that_finds_nothing_changed(
    golden: Path, kept: Keyring
) -> None:
    def findings() -> dict[str, tuple[Verdict, Change | None]]:
        found = audit(
            ".",
            keyring=kept,
            baseline=LIST,
            baseline_context="lists",
            exclude=[RING, PINS, INDEX_OF_ALL, LIST, "external.bin"],
        ).report()
        listed = (one for one in found.findings if one.verdict is not Verdict.SKIPPED)
        return {Path(one.path).name: (one.verdict, one.change) for one in listed}

    before = findings()
    assert before.keys() == {*index(golden), "several.pkls", "unsealed.pkl.gz"}
    assert {change for _, change in before.values()} == {None}
    (golden / "unsealed.pkl.gz").unlink()
    (golden / "plain.pkl").write_bytes((golden / "zstd.pkl").read_bytes())
    after = findings()
    assert after["unsealed.pkl.gz"] == (Verdict.MISSING, Change.MISSING)
    assert after["plain.pkl"][1] is Change.CHANGED


def test_every_golden_file_can_be_sealed_anew(golden: Path, kept: Keyring) -> None:
    for name, told in index(golden).items():
        reseal(golden / name, keyring=kept)
        facts = inspect(golden / name, keyring=kept)
        assert facts.key_id == kept.primary
        if told["digest"].startswith("ps2"):
            assert facts.digest == told["digest"]


def test_an_audit_of_golden_files_refuses_none(golden: Path, kept: Keyring) -> None:
    paths = [golden / name for name in index(golden)]
    report = audit(paths, keyring=kept, imports=True).report()
    assert {one.verdict for one in report.findings} <= {
        Verdict.SEALED,
        Verdict.SEALED_RETIRED,
    }
    assert max(one.level for one in report.findings) <= Level.NOTE
