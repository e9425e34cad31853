"""`pickleseal demo`: seal, load and refuse real files, and prove that nothing ran."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click

from pickleseal.auditing.audit import audit
from pickleseal.auditing.baselines import items_of
from pickleseal.auditing.findings import Change, Verdict
from pickleseal.auditing.report import Report
from pickleseal.cli.findings import Groups, findings_text
from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    FINE,
    CouldNotRun,
    guarded,
    print_json,
    print_lines,
    wants_json,
)
from pickleseal.errors import shown
from pickleseal.keys.key import Key
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.adopt import adopt_all, adoption_batch, survey
from pickleseal.migration.batch import Outcome
from pickleseal.migration.targets import Targets
from pickleseal.persistence.dump import signed_dump, signed_dumps
from pickleseal.persistence.inspection import inspect
from pickleseal.persistence.inventory import Inventory
from pickleseal.persistence.inventory_file import write_inventory
from pickleseal.persistence.load import signed_load

CONTEXT = "cancer/knn"
OTHER_CONTEXT = "cancer/tree"

LIST_CONTEXT = "cancer/list"

SERIAL = 7

# Each runs in its own interpreter; argv is a folder and a keyring's directory, or "".
_LOAD = """
import json, os, sys
from pathlib import Path
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from pickleseal import signed_load

folder, keyring = sys.argv[1:]
model = signed_load(Path(folder, "cancer.pkl"), context="cancer/knn", keyring=keyring or None)
X, y = load_breast_cancer(return_X_y=True)
_, X_test, _, y_test = train_test_split(X, y, random_state=0)
print(json.dumps({"pid": os.getpid(), "accuracy": model.score(X_test, y_test)}))
"""
_ATTACK = """
import json, sys, pickle
from pathlib import Path
from pickleseal import SealError, signed_load

folder, keyring = Path(sys.argv[1]), sys.argv[2] or None
unpickled = []
sys.addaudithook(lambda event, _: unpickled.append(event) if event == "pickle.find_class" else None)
refusals = {}
for file in sorted(folder.glob("attack-*.pkl")):
    try:
        signed_load(file, context="cancer/knn", min_serial=7, keyring=keyring)
    except SealError as error:
        refusals[file.name] = [type(error).__name__, str(error.args[0])]
before = len(unpickled), (folder / "mark").exists()
with open(folder / "attack-2.pkl", "rb") as file:
    pickle.load(file)  # as without pickleseal; the mark is harmless
after = len(unpickled), (folder / "mark").exists()
print(json.dumps({"refusals": refusals, "before": before, "after": after}))
"""
_SAVE_AS_BEFORE = """
import sys
from pathlib import Path
import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.neighbors import KNeighborsClassifier

model = KNeighborsClassifier(n_neighbors=3).fit(*load_breast_cancer(return_X_y=True))
joblib.dump(model, Path(sys.argv[1], "knn.joblib"), compress=3)
print("null")
"""


class Attack(NamedTuple):
    """A file that must not load: its title, the error that refuses it, its verdict in an audit."""

    title: str
    error: str
    told: Verdict | Change
    data: bytes


@click.command()
@common
@guarded
def demo(*, keyring: str | None) -> int:
    """Seal, load and refuse real files, step by step.

    A nearest-neighbours model of scikit-learn's breast cancer data is sealed with your key and
    loaded by a second Python. Then five bad files are refused, an audit names what is wrong with
    each, and an existing joblib file is adopted.
    All files are in a temporary folder. The exit code is 0 if everything went as promised.

    \b
    Examples:
      pickleseal demo
      pickleseal demo --keyring keys
    """
    ring = find_keyring(keyring)
    with tempfile.TemporaryDirectory(prefix="pickleseal-demo-") as name:
        folder = Path(name, "models")
        folder.mkdir()
        directory = "" if keyring is None else str(Path(keyring).resolve())
        outcome = _tell(folder, ring, directory)
    if wants_json():
        print_json(outcome)
    return FINE if outcome["ok"] else CHECK_FAILED


def _tell(folder: Path, ring: Keyring, directory: str) -> dict[str, Any]:
    _chapter("1", "Fit a model and seal it with your key")
    model, tree, accuracy = _fit()
    path = folder / "cancer.pkl"
    signed_dump(
        model,
        path,
        keyring=ring,
        context=CONTEXT,
        serial=SERIAL,
        info={"accuracy": round(accuracy, 4)},
    )
    _say(f'signed_dump(model, "cancer.pkl", context="{CONTEXT}", serial={SERIAL})')
    _fact("accuracy", f"{accuracy:.4f} on unseen data")
    _fact("size", f"{path.stat().st_size:,} bytes")

    _chapter("2", "Look at the file without loading it")
    _say(f"pickleseal inspect {path.name}")
    found = inspect(path, keyring=ring)
    for name, text in found.rows():
        if name in ("status", "sealed by", "class", "context", "serial", "versions", "info"):
            _fact(name, text)
    _say(f"pickleseal audit {folder.name}/ --inventory the.list")
    listed = folder.parent / "the.list"
    _write_list(audit(folder, keyring=ring).report(), listed, ring)
    _fact("the.list", "a sealed inventory, to compare with in step 6")

    _chapter("3", "Load it in a second, fresh Python")
    _say(f'signed_load("cancer.pkl", context="{CONTEXT}", min_serial={SERIAL})')
    loaded = _run(_LOAD, folder, directory)
    same = loaded["accuracy"] == accuracy
    _fact("process", str(loaded["pid"]))
    _verdict(same, f"accuracy {loaded['accuracy']:.4f}, the same as before")

    _chapter("4", "Try to load five bad files in its place")
    attacks = _attacks(path, model, tree, ring)
    for number, attack in enumerate(attacks, 1):
        (folder / f"attack-{number}.pkl").write_bytes(attack.data)
    result = _run(_ATTACK, folder, directory)
    refusals = []
    for number, attack in enumerate(attacks, 1):
        error, message = result["refusals"].get(f"attack-{number}.pkl", ["nothing", "it loaded"])
        refused = error == attack.error
        refusals.append({"attack": attack.title, "error": error, "message": message})
        _say(attack.title)
        _verdict(refused, f"refused, {error}" if refused else f"NOT refused: {error}")
        _aside(message)
        same = same and refused

    _chapter("5", "Check that nothing ran")
    events, mark = result["before"]
    quiet = not events and not mark
    _verdict(quiet, f"names looked up by an unpickler during the five refusals: {events}")
    _verdict(not mark, "the folder that the malicious pickle makes: not there")
    armed = all(result["after"])
    _verdict(armed, "after plain pickle.load of the same file: there")
    (folder / "mark").rmdir()

    verdicts, as_told = _audit(path, attacks, ring, listed)
    adopted = _adopt(folder / "old", model, ring)
    ok = same and quiet and armed and as_told and adopted
    _line()
    end = "All as promised: your model loads, and nothing else does."
    _line((end, "bold green") if ok else ("Something went wrong: see above.", "bold red"))
    return {
        "ok": ok,
        "accuracy": {"before": accuracy, "after": loaded["accuracy"]},
        "sealed_by": found.key_id,
        "refusals": refusals,
        "names_looked_up": result["before"][0],
        "mark_after_refusals": result["before"][1],
        "mark_after_plain_pickle": result["after"][1],
        "verdicts": verdicts,
        "adopted": adopted,
    }


def _audit(
    path: Path, attacks: list[Attack], ring: Keyring, listed: Path
) -> tuple[dict[str, str], bool]:
    """Audit the folder against the list; return each file's verdict, and whether all are right."""
    folder, older = path.parent, path.with_name(f"attack-{len(attacks)}.pkl")
    _chapter("6", "Replace the newest model by last year's, and audit the folder")
    _say(f"mv {older.name} {path.name}")
    os.replace(older, path)
    _say(f"pickleseal audit {folder.name}/ --context {CONTEXT} --baseline {listed.name}")
    report = audit(
        folder, keyring=ring, context=CONTEXT, baseline=listed, baseline_context=LIST_CONTEXT
    ).report()
    for line in findings_text(Groups(report.findings, most=None), report.counts):
        _line(("    ", ""), *line)
    told = {
        os.path.basename(one.path): Change.OLDER if one.change is Change.OLDER else one.verdict
        for one in report.findings
    }
    expected = {f"attack-{n}.pkl": attack.told for n, attack in enumerate(attacks, 1)}
    expected[path.name] = expected.pop(older.name)
    good = told == expected
    _verdict(good, "one verdict for each file, and none was unpickled")
    _aside("last year's model has your seal too: only the inventory shows that it is older")
    return {name: verdict.value for name, verdict in told.items()}, good


def _adopt(folder: Path, model: Any, ring: Keyring) -> bool:  # noqa: ANN401
    """Adopt files that other tools wrote and load one; return whether all went as promised."""
    _chapter("7", "Adopt an existing joblib file without unpickling it")
    folder.mkdir()
    _run(_SAVE_AS_BEFORE, folder, "")
    (folder / "armed.pkl").write_bytes(_armed(folder / "mark"))
    _say("pickleseal adopt old/ --context cancer/old")
    found = list(survey(adoption_batch([str(folder)]), keyring=ring, context="cancer/old"))
    done = {
        os.path.basename(one.path): one.outcome
        for one in adopt_all(found, keyring=ring, targets=Targets())
    }
    good = done == {"armed.pkl": Outcome.REFUSED, "knn.joblib": Outcome.ADOPTED}
    _verdict(good, "knn.joblib is sealed as it was; armed.pkl imports more than data: refused")
    _say('signed_load("old/knn.joblib", context="cancer/old")')
    again = signed_load(folder / "knn.joblib", keyring=ring, context="cancer/old")
    same = type(again) is type(model)
    _verdict(same, "loaded through joblib, from verified memory")
    return good and same


def _write_list(report: Report, path: Path, ring: Keyring) -> None:
    items = tuple(item for finding in report.findings for item in items_of(finding))
    inventory = Inventory(report.started, items)
    write_inventory(inventory, str(path), keyring=ring, context=LIST_CONTEXT)


def _fit() -> tuple[object, object, float]:
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - takes a second
    from sklearn.model_selection import train_test_split  # noqa: PLC0415 - as above
    from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415 - as above
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415 - as above

    samples, classes = load_breast_cancer(return_X_y=True)
    train, test, train_classes, test_classes = train_test_split(samples, classes, random_state=0)
    model = KNeighborsClassifier(n_neighbors=3).fit(train, train_classes)
    tree = DecisionTreeClassifier(random_state=0).fit(train, train_classes)
    return model, tree, float(model.score(test, test_classes))


def _attacks(path: Path, model: object, tree: object, ring: Keyring) -> list[Attack]:
    genuine = path.read_bytes()
    flipped = bytearray(genuine)
    flipped[len(genuine) // 2] ^= 1
    stranger = Keyring(Key.generate())
    return [
        Attack(
            "the genuine file with a single bit flipped",
            "BadSealError",
            Verdict.BAD_BODY,
            bytes(flipped),
        ),
        Attack(
            "a malicious pickle", "NotSealedError", Verdict.UNSEALED, _armed(path.with_name("mark"))
        ),
        Attack(
            "a model sealed by somebody else's key",
            "UnknownKeyError",
            Verdict.UNKNOWN_KEY,
            signed_dumps(model, keyring=stranger, context=CONTEXT),
        ),
        Attack(
            "another model of yours in its place",
            "ContextError",
            Verdict.WRONG_CONTEXT,
            signed_dumps(tree, keyring=ring, context=OTHER_CONTEXT),
        ),
        Attack(
            "your model of last year put back",
            "RollbackError",
            Change.OLDER,
            signed_dumps(model, keyring=ring, context=CONTEXT, serial=SERIAL - 1),
        ),
    ]


def _armed(mark: Path) -> bytes:
    """Return a protocol 0 pickle that calls os.mkdir(mark)."""
    return b"cos\nmkdir\n(V" + str(mark).encode("raw_unicode_escape") + b"\ntR."


def _run(code: str, folder: Path, directory: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own code, in this Python
        [sys.executable, "-P", "-c", code, str(folder), directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        click.echo("\n".join(map(shown, done.stderr.splitlines())), err=True)
        raise CouldNotRun("the second Python failed")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _chapter(number: str, title: str) -> None:
    _line()
    _line((f" {number} ", "bold reverse"), (f" {title}", "bold"))


def _say(text: str) -> None:
    _line((f"    {text}", "cyan"))


def _fact(name: str, text: str) -> None:
    _line((f"    {name:<10}", "dim"), (shown(text), ""))


def _verdict(good: bool, text: str) -> None:  # noqa: FBT001 - reads well here
    mark = ("    ✓ ", "bold green") if good else ("    ✗ ", "bold red")
    _line(mark, (shown(text), "green" if good else "red"))


def _aside(text: str) -> None:
    _line((f"      {shown(text)}", "dim"))


def _line(*parts: tuple[str, str]) -> None:
    if not wants_json():
        print_lines([list(parts)])
