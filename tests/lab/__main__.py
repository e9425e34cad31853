"""`python -m lab`: run the parts and write the page of figures."""

import argparse
import math
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

from lab import crowd, fuzz, limits, lives, report, sweep

PAGE = Path(__file__).parent.parent.parent / "docs/explanation/evidence.md"
PARTS = {
    "sweep": (sweep.run, 0.5),
    "crowd": (crowd.run, 0.1),
    "limits": (limits.run, 0.1),
    "fuzz": (fuzz.run, 0.15),
    "lives": (lives.run, 0.15),
}
"""The parts, each with its share of the time."""


def main() -> int:
    """Return 1 if a judge complained, else 0."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("--minutes", type=float, default=18, help="for all parts (default: 18)")
    parser.add_argument("--seed", type=int, default=1, help="another one tries other points")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), help="this part alone, and write no page"
    )
    parser.add_argument("--output", type=Path, default=PAGE, help="the page of figures")
    chosen = parser.parse_args()
    if not __debug__:
        parser.error("without assertions no judge would complain: leave -O out")
    names = chosen.only or list(PARTS)
    whole = sum(PARTS[name][1] for name in names)
    parts = []
    started = time.monotonic()
    for name in names:
        run, weight = PARTS[name]
        seconds = 60 * chosen.minutes * weight / whole
        print(f"{name}: {math.ceil(seconds)} s", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="lab-", dir=report.memory_folder()) as folder:
            bench = report.Bench(Path(folder), chosen.seed, seconds, chosen.workers)
            part = run(bench)
        for complaint in part.complaints:
            print(complaint, file=sys.stderr, flush=True)
        parts.append(part)
    options = shlex.join(sys.argv[1:])
    command = f'make lab ARGS="{options}"' if options else "make lab"
    text = report.page(parts, command, chosen.seed, (time.monotonic() - started) / 60)
    print(text)
    if not chosen.only:
        report.write_page(text, chosen.output)
    return int(any(part.complaints for part in parts))


if __name__ == "__main__":
    sys.exit(main())
