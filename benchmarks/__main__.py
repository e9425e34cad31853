"""`python -m benchmarks`: measure, print tables, and write results, the picture and the page."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks import aims, audits, children, machine, measure, plot, report, results, stores
from benchmarks.objects import CASES

ROOT = Path(__file__).parent.parent
_WIDTH = 150
"""Of what is printed where there is no terminal."""
OTHERS = ("memory", "start", "audit", "stores")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small objects, about 15 seconds")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="one object, memory, start, audit, or stores; repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write results.json, the picture and the pages; without it a full run writes"
        " those of this repository, and any other run writes nothing",
    )
    parser.add_argument(
        "--plot-only", action="store_true", help="draw and write anew from results.json"
    )
    parser.add_argument("--list", action="store_true", help="name the objects")
    chosen = parser.parse_args()
    names = [*(case.name for case in CASES), *OTHERS]
    if chosen.list:
        print("\n".join(names))
        return
    for name in chosen.only or ():
        if name not in names:
            parser.error(f"there is no {name}: {', '.join(names)}")
    folder = chosen.output
    kept = folder / "results.json" if folder else ROOT / "benchmarks/results.json"
    if chosen.plot_only:
        if not kept.exists():
            kept = ROOT / "benchmarks/results.json"
        write(results.load(kept), folder)
        return
    if not __debug__:
        parser.error("without assertions a wrong result would not be seen: leave -O out")
    found = run(set(chosen.only or names), quick=chosen.quick)
    report.show(found, Console() if sys.stdout.isatty() else Console(width=_WIDTH))
    if folder or not (chosen.quick or chosen.only):
        results.save(found, kept)
        write(results.load(kept), folder)  # as kept, rounded, so that drawing anew changes nothing


def write(found: results.Results, folder: Path | None) -> None:
    """Write the picture and the pages."""
    picture = folder / "speed.svg" if folder else ROOT / "docs/pictures/speed.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(plot.draw(found), encoding="utf-8")
    report.write_pages(found, folder or ROOT / "docs/explanation")


def run(chosen: set[str], *, quick: bool) -> results.Results:
    """Measure what was chosen."""
    start = time.perf_counter()
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        console.status("Beginning") as status,
    ):

        def say(text: str) -> None:
            took = time.perf_counter() - start
            status.update(f"{took:4.0f} s  {text}")

        found = results.Results(quick, 0.0, machine.describe(folder), machine.ways())
        # While this process is small, and no object of its own stands in the way.
        if "memory" in chosen:
            found.memory_size = children.memory_size(quick=quick)
            found.memory = children.measure_memory(folder, quick=quick, say=say)
        if "start" in chosen:
            found.start = children.measure_start(quick=quick, say=say)
        if "audit" in chosen:
            found.audits = audits.measure(folder, quick=quick, say=say)
        if "stores" in chosen:
            found.stores = stores.measure(quick=quick, say=say)
        for case in CASES:
            if case.name in chosen:
                say(f"{case.name}: making it")
                found.cases.append(measure.measure(case, folder, quick=quick, say=say))
    found.seconds = time.perf_counter() - start
    found.goals = aims.goals(found)
    if len(chosen) < len(CASES) + len(OTHERS):
        found.goals = [goal for goal in found.goals if goal.got is not None]
    return found


if __name__ == "__main__":
    sys.exit(main())
