"""`python -m mutants`: try every mutant, list those that no test misses."""

import argparse
import functools
import math
import random
import sys
import time
from pathlib import Path

from mutants.guards import Mutant, mutants
from mutants.trial import PACKAGE, Trial, results, run_trial

TESTS = {
    "envelope": ("tests/envelope", "tests/test_vectors.py"),
    "keys": (
        *("tests/keys", "tests/cli/test_keys.py", "tests/cli/test_keys_travel.py"),
        "tests/migration/test_readmission.py",
    ),
    "persistence": ("tests/persistence", "tests/pickling", "tests/attacks/test_forgery.py"),
    "migration": (
        *("tests/migration", "tests/cli/test_adopt.py", "tests/cli/test_adopt_lists.py"),
        *("tests/cli/test_extract.py", "tests/cli/test_batch.py", "tests/cli/test_find_loads.py"),
    ),
    "pickling": (
        *("tests/pickling", "tests/persistence/test_missing_names.py"),
        *("tests/persistence/test_policy.py", "tests/attacks/test_forgery.py"),
    ),
    "files": (
        *("tests/files", "tests/envelope", "tests/persistence/test_targets.py"),
        *("tests/migration/test_targets.py", "tests/migration/test_reseal.py"),
        *("tests/auditing/test_audit.py", "tests/auditing/test_engines.py"),
        *("tests/cli/test_adopt_lists.py", "tests/test_stores.py"),
    ),
}
"""The tests that have to miss a guard of each folder."""
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


def main() -> int:
    """Return 1 if a mutant survives that is not listed as equivalent, else 0."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="try the mutants whose key contains one of these")
    parser.add_argument("--folder", action="append", choices=list(TESTS), help="of this one alone")
    parser.add_argument("--tests", action="append", help="run these tests and not its own")
    parser.add_argument("--left", action="store_true", help="those that no run yet saw missed")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of tests for a mutant")
    parser.add_argument("--share", type=float, default=1, help="try this share of them: 0.1")
    parser.add_argument("--seed", type=int, default=1, help="another one picks other mutants")
    parser.add_argument("--keep", type=Path, default=Path(".mutants"), help="for measurements")
    chosen = parser.parse_args()
    pick = random.Random(chosen.seed)
    listed = equivalents()
    survivors = 0
    for folder in chosen.folder or TESTS:
        found = [
            one
            for path in sorted((PACKAGE / folder).rglob("*.py"))
            for one in mutants(PACKAGE, path)
        ]
        stale = [key for key in listed if key.startswith(f"{folder}/")]
        stale = [key for key in stale if key not in {one.key for one in found}]
        for key in stale:
            print(f"listed as equivalent, and not there: {key}")
        tried = [one for one in found if pick.random() < chosen.share and one.key not in listed]
        if chosen.only:
            tried = [one for one in tried if any(part in one.key for part in chosen.only)]
        survivors += len(stale)
        kept = chosen.keep.absolute() / folder
        if chosen.left:
            missed = results(kept)
            tried = [one for one in tried if not missed.get(one.key)]
        if tried:
            work = functools.partial(survivors_of, chosen.seconds)
            left = run_trial(chosen.tests or TESTS[folder], kept, tried, work)
            survivors += len(left)
            print(f"{folder}: {len(tried)} mutants of {len(found)} tried, {len(left)} survived")
    return int(survivors > 0)


def survivors_of(seconds: float, trial: Trial, tried: list[Mutant]) -> list[Mutant]:
    """Try some mutants, and print and return those that survive."""
    trial.seconds = seconds
    trial.measure()
    left = []
    for number, mutant in enumerate(tried):
        started = time.monotonic()
        tests = trial.tests_of(mutant)
        if trial.survives(mutant, tests):
            left.append(mutant)
            reached = f"reached by {len(tests)} tests" if tests else "reached by no test"
            place = f"{mutant.path.relative_to(PACKAGE.parent.parent)}:{mutant.line}"
            print(f"\n{place}: survived, {reached}\n  {mutant.key}", flush=True)
        took = time.monotonic() - started
        print(f"\r{number + 1}/{len(tried)} {took:.1f} s ", end="", file=sys.stderr, flush=True)
    return left


def equivalents() -> dict[str, str]:
    """Return the mutants that are equivalent, each with its reason."""
    listed: dict[str, str] = {}
    key = ""
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            listed[key] = f"{listed[key]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            key = line
            listed[key] = ""
    unexplained = [one for one, reason in listed.items() if not reason]
    if unexplained:
        sys.exit(f"no reason is given for: {unexplained[0]}")
    return listed


if __name__ == "__main__":
    sys.exit(main())
