"""`pickleseal demo`: seal, load and refuse real files, and prove that nothing ran."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from pickleseal.auditing.audit import audit
from pickleseal.auditing.baselines import items_of
from pickleseal.auditing.findings import Change, Finding, Verdict
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
)
from pickleseal.errors import shown
from pickleseal.keys.key import Key
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.adopt import adopt_all, adoption_batch, survey
from pickleseal.migration.batch import Outcome
from pickleseal.migration.targets import Targets
from pickleseal.persistence.dump import signed_dump
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
    write: Callable[[Path], None]


@click.command()
@common
@guarded
def demo(*, keyring: str | None, as_json: bool) -> int:
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
        story = _Story(quiet=as_json)
        directory = "" if keyring is None else str(Path(keyring).resolve())
        outcome = _tell(story, folder, ring, directory)
    if as_json:
        print_json(outcome)
    return FINE if outcome["ok"] else CHECK_FAILED


def _tell(story: "_Story", folder: Path, ring: Keyring, directory: str) -> dict[str, Any]:
    story.chapter("1", "Fit a model and seal it with your key")
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
    story.say(f'signed_dump(model, "cancer.pkl", context="{CONTEXT}", serial={SERIAL})')
    story.fact("accuracy", f"{accuracy:.4f} on unseen data")
    story.fact("size", f"{path.stat().st_size:,} bytes")

    story.chapter("2", "Look at the file without loading it")
    story.say(f"pickleseal inspect {path.name}")
    found = inspect(path, keyring=ring)
    for name, text in found.rows():
        if name in ("status", "sealed by", "class", "context", "serial", "versions", "info"):
            story.fact(name, text)
    story.say(f"pickleseal audit {folder.name}/ --inventory the.list")
    listed = folder.parent / "the.list"
    _write_list(folder, listed, ring)
    story.fact("the.list", "a sealed inventory, to compare with in step 6")

    story.chapter("3", "Load it in a second, fresh Python")
    story.say(f'signed_load("cancer.pkl", context="{CONTEXT}", min_serial={SERIAL})')
    loaded = _run(_LOAD, folder, directory)
    same = loaded["accuracy"] == accuracy
    story.fact("process", str(loaded["pid"]))
    story.verdict(same, f"accuracy {loaded['accuracy']:.4f}, the same as before")

    story.chapter("4", "Try to load five bad files in its place")
    attacks = _attacks(folder, model, tree, ring)
    for number, attack in enumerate(attacks, 1):
        attack.write(folder / f"attack-{number}.pkl")
    result = _run(_ATTACK, folder, directory)
    refusals = []
    for number, attack in enumerate(attacks, 1):
        error, message = result["refusals"].get(f"attack-{number}.pkl", ["nothing", "it loaded"])
        refused = error == attack.error
        refusals.append({"attack": attack.title, "error": error, "message": message})
        story.say(attack.title)
        story.verdict(refused, f"refused, {error}" if refused else f"NOT refused: {error}")
        story.aside(message)
        same = same and refused

    story.chapter("5", "Check that nothing ran")
    events, mark = result["before"]
    quiet = not events and not mark
    story.verdict(quiet, f"names looked up by an unpickler during the five refusals: {events}")
    story.verdict(not mark, "the folder that the malicious pickle makes: not there")
    events, mark = result["after"]
    story.verdict(bool(events and mark), "after plain pickle.load of the same file: there")

    proven = quiet and bool(events and mark)
    (folder / "mark").rmdir()

    verdicts, as_told = _audit(story, path, attacks, ring, listed)
    adopted = _adopt(story, folder / "old", model, ring)
    ok = same and proven and as_told and adopted
    story.end(ok)
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
    story: "_Story", path: Path, attacks: list[Attack], ring: Keyring, listed: Path
) -> tuple[dict[str, str], bool]:
    """Audit the folder against the list; return each file's verdict, and whether all are right."""
    folder, older = path.parent, path.with_name(f"attack-{len(attacks)}.pkl")
    story.chapter("6", "Replace the newest model by last year's, and audit the folder")
    story.say(f"mv {older.name} {path.name}")
    os.replace(older, path)
    story.say(f"pickleseal audit {folder.name}/ --context {CONTEXT} --baseline {listed.name}")
    report = audit(
        folder, keyring=ring, context=CONTEXT, baseline=listed, baseline_context=LIST_CONTEXT
    ).report()
    story.findings(report)
    told = {os.path.basename(finding.path): _told(finding) for finding in report.findings}
    expected = {f"attack-{n}.pkl": attack.told.value for n, attack in enumerate(attacks, 1)}
    expected[path.name] = expected.pop(older.name)
    good = told == expected
    story.verdict(good, "one verdict for each file, and none was unpickled")
    story.aside("last year's model has your seal too: only the inventory shows that it is older")
    return told, good


def _told(finding: Finding) -> str:
    return (Change.OLDER if finding.change is Change.OLDER else finding.verdict).value


def _adopt(story: "_Story", folder: Path, model: Any, ring: Keyring) -> bool:  # noqa: ANN401
    """Adopt files that other tools wrote and load one; return whether all went as promised."""
    story.chapter("7", "Adopt an existing joblib file without unpickling it")
    folder.mkdir()
    _run(_SAVE_AS_BEFORE, folder, "")
    (folder / "armed.pkl").write_bytes(_armed(folder / "mark"))
    story.say("pickleseal adopt old/ --context cancer/old")
    found = list(survey(adoption_batch([str(folder)]), keyring=ring, context="cancer/old"))
    done = {
        os.path.basename(one.path): one.outcome
        for one in adopt_all(found, keyring=ring, targets=Targets(), context="cancer/old")
    }
    good = done == {"armed.pkl": Outcome.REFUSED, "knn.joblib": Outcome.ADOPTED}
    story.verdict(good, "knn.joblib is sealed as it was; armed.pkl imports more than data: refused")
    story.say('signed_load("old/knn.joblib", context="cancer/old")')
    again = signed_load(folder / "knn.joblib", keyring=ring, context="cancer/old")
    same = type(again) is type(model)
    story.verdict(same, "loaded through joblib, from verified memory")
    return good and same


def _write_list(folder: Path, path: Path, ring: Keyring) -> None:
    report = audit(folder, keyring=ring).report()
    items = tuple(item for finding in report.findings for item in items_of(finding))
    listed = Inventory(report.started, items)
    write_inventory(listed, str(path), keyring=ring, context=LIST_CONTEXT)


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


def _attacks(folder: Path, model: object, tree: object, ring: Keyring) -> list[Attack]:
    genuine = (folder / "cancer.pkl").read_bytes()
    middle = len(genuine) // 2
    malicious = _armed(folder / "mark")

    def flip(path: Path) -> None:
        path.write_bytes(genuine[:middle] + bytes([genuine[middle] ^ 1]) + genuine[middle + 1 :])

    def plant(path: Path) -> None:
        path.write_bytes(malicious)

    def seal_as_another(path: Path) -> None:
        stranger = Keyring(Key.generate())
        signed_dump(model, path, keyring=stranger, context=CONTEXT)

    def seal_for_another_place(path: Path) -> None:
        signed_dump(tree, path, keyring=ring, context=OTHER_CONTEXT)

    def seal_as_of_old(path: Path) -> None:
        signed_dump(model, path, keyring=ring, context=CONTEXT, serial=SERIAL - 1)

    return [
        Attack(
            "the genuine file with a single bit flipped", "BadSealError", Verdict.BAD_BODY, flip
        ),
        Attack("a malicious pickle", "NotSealedError", Verdict.UNSEALED, plant),
        Attack(
            "a model sealed by somebody else's key",
            "UnknownKeyError",
            Verdict.UNKNOWN_KEY,
            seal_as_another,
        ),
        Attack(
            "another model of yours in its place",
            "ContextError",
            Verdict.WRONG_CONTEXT,
            seal_for_another_place,
        ),
        Attack("your model of last year put back", "RollbackError", Change.OLDER, seal_as_of_old),
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


class _Story:
    """What the demo prints; nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def chapter(self, number: str, title: str) -> None:
        self._line()
        self._line((f" {number} ", "bold reverse"), (f" {title}", "bold"))

    def say(self, text: str) -> None:
        self._line((f"    {text}", "cyan"))

    def fact(self, name: str, text: str) -> None:
        self._line((f"    {name:<10}", "dim"), (shown(text), ""))

    def verdict(self, good: bool, text: str) -> None:  # noqa: FBT001 - reads well here
        mark = ("    ✓ ", "bold green") if good else ("    ✗ ", "bold red")
        self._line(mark, (shown(text), "green" if good else "red"))

    def aside(self, text: str) -> None:
        self._line((f"      {shown(text)}", "dim"))

    def findings(self, report: Report) -> None:
        for line in findings_text(Groups(report.findings, most=None), report.counts):
            self._line(("    ", ""), *line)

    def end(self, good: bool) -> None:  # noqa: FBT001 - as above
        self._line()
        if good:
            self._line(("All as promised: your model loads, and nothing else does.", "bold green"))
        else:
            self._line(("Something went wrong: see above.", "bold red"))

    def _line(self, *parts: tuple[str, str]) -> None:
        if not self._quiet:
            print_lines([list(parts)])
