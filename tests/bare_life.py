"""What people do with pickleseal, once through: `test_bare_systems` runs it with fewer calls."""

import os
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from click.testing import CliRunner

import pickleseal
from pickleseal import audit, inspect, signed_dump, signed_load
from pickleseal.cli import cli
from pickleseal.files.atomic import write_whole
from pickleseal.files.lock import locked
from pickleseal.files.walk import files_below


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    assert (done.exception, done.return_value) == (None, code), (arguments, done.output, done)
    return done.output


def main(folder: Path) -> None:
    ring, models = folder / "ring", folder / "models"
    models.mkdir()
    run("keygen", "--keyring", ring)
    array = np.arange(3_000_000.0)
    values: dict[str, Any] = {"small": [1, 2], "array": array, "text": "x" * 300_000}
    for compress in (None, "zstd"):
        for name, value in values.items():
            path = models / f"{name}-{compress}.pkl"
            for _ in range(2):  # new, and in the place of another
                signed_dump(value, path, keyring=ring, compress=compress)
            assert np.array_equal(signed_load(path, keyring=ring), value)
            with path.open("rb") as file:
                assert np.array_equal(signed_load(file, keyring=ring), value)
            with (folder / "stream").open("wb") as out:
                signed_dump(value, out, keyring=ring, compress=compress)
                signed_dump(value, out, keyring=ring)
            with (folder / "stream").open("rb") as file:
                assert np.array_equal(signed_load(file, keyring=ring), value)
                assert np.array_equal(signed_load(file, keyring=ring), value)
            assert inspect(path, keyring=ring).digest is not None
    signed_dump(1, models / "pinned.pkl", keyring=ring, context="c", serial=2)
    for _ in range(2):
        load = signed_load(
            models / "pinned.pkl", keyring=ring, context="c", pins=folder / "pins.json"
        )
        assert load == 1
    with (models / "old.pkl").open("wb") as file:
        pickle.dump([1, 2], file)
    joblib.dump({"array": array[:1000]}, models / "old.joblib", compress=3)
    run("adopt", models / "old.pkl", models / "old.joblib", "--keyring", ring, "--yes")
    run("extract", models / "old.pkl", "--to", folder / "plain", "--keyring", ring)
    assert len(list(files_below([str(models)]))) == len(os.listdir(models))
    run("audit", models / "array-None.pkl", "--keyring", ring, "--inventory", folder / "list")
    run("audit", models / "array-None.pkl", "--keyring", ring, "--baseline", folder / "list")
    run("keys", "rotate", "--keyring", ring)
    run("reseal", models, "--keyring", ring)
    run("verify", models, "--keyring", ring)
    run("keys", "doctor", "--keyring", ring)
    verdicts = {one.verdict.value for one in audit(models, keyring=ring, digests=True)}
    assert verdicts == {"sealed", "backup"}, verdicts
    wait_for_the_lock(folder / "lock")
    put_new(folder / "new")


def wait_for_the_lock(path: Path) -> None:
    said: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            time.sleep(1.5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with locked(path, said.append):
        pass
    holder.join()
    assert len(said) == 1


def put_new(path: Path) -> None:
    write_whole(str(path), b"1", exclusive=True)
    try:
        write_whole(str(path), b"2", exclusive=True)
    except pickleseal.TargetError:
        assert path.read_bytes() == b"1"
    else:
        raise AssertionError("it was overwritten")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.write("lived\n")
