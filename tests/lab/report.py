"""What a part of the lab is given and gives back, and the page of figures."""

import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

BEGIN = "<!-- Written by make lab. -->"
END = "<!-- Up to here. -->"
_PACKAGES = ("numpy", "blake3", "cryptography", "hypothesis", "atheris")


class Bench(NamedTuple):
    """What a part may use: a folder of its own, a seed, its time and its worker processes."""

    folder: Path
    seed: int
    seconds: float
    workers: int


class Part(NamedTuple):
    """What a part did: a table of counts, and what its judge complained of.

    `skipped`: why it could not run here.
    """

    title: str
    did: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    complaints: list[str]
    skipped: str = ""


def memory_folder() -> str | None:
    """Return a folder in memory, if there is one: what is tried are calls, not disks."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def page(parts: list[Part], command: str, seed: int, minutes: float) -> str:
    """Return the figures of a run in Markdown."""
    lines = [
        "| | |",
        "|---|---|",
        f"| command | `{command}` |",
        f"| time | {minutes:.0f} min |",
        f"| seed | {seed} |",
        *(f"| {name} | {text} |" for name, text in _machine()),
        f"| faults found | {sum(len(part.complaints) for part in parts)} |",
    ]
    for part in parts:
        lines += ["", f"## {part.title}", "", *_sentences(part.did), ""]
        if part.skipped:
            lines.append(f"Not run: {part.skipped}.")
            continue
        lines += [_row(part.header), "|---|" + "--:|" * (len(part.header) - 1)]
        lines += [_row(row) for row in part.rows]
        lines += ["", f"Faults found: {len(part.complaints)}."]
    return "\n".join(lines) + "\n"


def write_page(text: str, path: Path) -> None:
    """Put figures between the two marks of a page."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _sentences(text: str) -> list[str]:
    return text.replace(". ", ".\n").split("\n")


def _machine() -> Iterator[tuple[str, str]]:
    try:
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "machine", f"{model[1] if model else platform.machine()}, {cores} cores"
    yield "system", f"{platform.system()}, {' '.join(platform.libc_ver())}"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    found = {dist.name.lower(): dist.version for dist in metadata.distributions() if dist.name}
    here = [f"{name} {found[name]}" for name in _PACKAGES if name in found]
    yield "packages", ", ".join(here)
    if hasattr(os, "getloadavg"):  # a busy machine tries fewer points
        yield "load average", f"{os.getloadavg()[2]:.1f}"
    yield "run as", "root" if hasattr(os, "geteuid") and os.geteuid() == 0 else sys.platform
