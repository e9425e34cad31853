"""How long an audit takes as a whole process, beside what hashes, verifies or scans the same.

The trees: many small models, sealed; a few large arrays, sealed; the small models as plain pickles.
"""

import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Turn, take_turns, timings
from benchmarks.results import AuditRow
from benchmarks.ways import BASELINE

ROOT = Path(__file__).parent.parent
SCANNERS = Path(sys.prefix, "scanners", "bin")
"""Tools that want other versions of what pickleseal needs have an environment of their own."""
TREES = {
    "small": "{count} sealed models",
    "large": "{count} sealed arrays of {size} MB",
    "plain": "{count} plain pickles",
}
HASHER = "sha256sum"
TOOLS = {
    HASHER: "every byte hashed, nothing judged",
    "pickleseal audit": "every seal checked; of a plain pickle, what it would import",
    "openssl dgst -sha256": "every byte hashed, with the processor's own instructions",
    "model_signing verify": "a signature over the digests of all files",
    "picklescan": "looks for bad names in pickles",
    "modelscan": "the same",
}


def measure(folder: str, *, quick: bool, say: Callable[[str], None]) -> list[AuditRow]:
    """Make the trees, and time each tool on those that it has something to say of."""
    count, large, megabytes = (40, 2, 20) if quick else (2000, 3, 200)
    say("audit: making the trees")
    trees = _make(Path(folder), count, large, megabytes)
    rows = []
    for tree, place in trees.items():
        number = large if tree == "large" else count
        title = TREES[tree].format(count=f"{number:,}".replace(",", " "), size=megabytes)
        commands = _commands(tree, place, Path(folder))
        turns: dict[str, Turn] = {}
        first: dict[str, float] = {}
        found = {name: AuditRow(tree, title, name) for name in commands}
        for name, command in commands.items():
            say(f"audit: {title}: {name}")
            if command is None:
                found[name].reason = "it is not installed"
                continue
            key = BASELINE if name == HASHER else name
            turn = _turn(command)
            turn()  # the first time may have to compile what it imports
            first[key] = turn()["audit"]
            turns[key] = turn
        if BASELINE not in turns:  # there is nothing to compare with
            rows += found.values()
            continue
        rounds = take_turns(turns, first, 1 if quick else 12, 1 if quick else 5)
        for key in turns:
            name = HASHER if key == BASELINE else key
            found[name].timing = timings(rounds, key)["audit"]
        rows += found.values()
    return rows


def _make(folder: Path, count: int, large: int, megabytes: int) -> dict[str, Path]:
    import numpy as np
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    from pickleseal import signed_dump
    from pickleseal.keys.store.changes import create_key

    create_key(folder / "ring", now=int(time.time()))
    trees = {name: folder / name for name in TREES}
    for place in trees.values():
        place.mkdir()
    samples, classes = load_breast_cancer(return_X_y=True)
    models = [
        RandomForestClassifier(n_estimators=size, random_state=0).fit(samples, classes)
        for size in range(8, 36, 4)
    ]
    for number in range(count):
        model = models[number % len(models)]
        name = f"{number:04}.pkl"
        signed_dump(
            model, trees["small"] / name, keyring=folder / "ring", context=name, durable=False
        )
        (trees["plain"] / name).write_bytes(pickle.dumps(model, 5))
    for number in range(large):
        array = np.random.default_rng(number).random(megabytes * 125_000)
        path = trees["large"] / f"{number}.pkl"
        signed_dump(array, path, keyring=folder / "ring", durable=False)
    return trees


def _commands(tree: str, place: Path, folder: Path) -> dict[str, list[str] | None]:
    files = sorted(map(str, place.iterdir()))
    audit = [sys.executable, "-m", "pickleseal", "audit", str(place), "--fail-on", "never"]
    commands: dict[str, list[str] | None] = {
        HASHER: _found("sha256sum", *files),
        "pickleseal audit": [*audit, "--keyring", str(folder / "ring")],
        "openssl dgst -sha256": _found("openssl", "dgst", "-sha256", *files),
    }
    if tree == "plain":
        commands["picklescan"] = _found("picklescan", "-p", str(place))
        commands["modelscan"] = _found("modelscan", "-p", str(place))
    else:
        commands["model_signing verify"] = _signed(place, folder)
    return commands


def _found(name: str, *arguments: str) -> list[str] | None:
    path = shutil.which(name, path=f"{SCANNERS}{os.pathsep}{os.environ['PATH']}")
    return None if path is None else [path, *arguments]


def _signed(place: Path, folder: Path) -> list[str] | None:
    """Sign a tree with a key made for it, and give the command that verifies it."""
    private, public = folder / "private.pem", folder / "public.pem"
    signature = folder / f"{place.name}.sig"
    sign = _found(
        "model_signing", "sign", "key", str(place),
        "--private_key", str(private), "--signature", str(signature),
    )  # fmt: skip
    if sign is None:
        return None
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    for command in (
        ["openssl", "genpkey", *curve, "-out", str(private)],
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)],
        sign,
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
    return _found(
        "model_signing", "verify", "key", str(place),
        "--public_key", str(public), "--signature", str(signature),
    )  # fmt: skip


def _turn(command: list[str]) -> Turn:
    def turn() -> dict[str, float]:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False)
        took = time.perf_counter() - start
        assert done.returncode in (0, 1), done.stderr[-500:]
        return {"audit": took}

    return turn
