"""Full and read-only disks, and too little memory, over every act.

Each of them is an error of its own, with exit code 2: never a verdict on a file.
"""

import itertools
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from lab.acts import ACTS
from lab.field import Field, Point
from lab.report import Bench, Part
from lab.turns import FAIL, MEMORY, Fault

KIB = 1024
FREE = (0, 4, 8, 16, 64, 256, 2048)
"""KiB that are left on a full disk."""
ADDED = (0, 64, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
"""KiB that an act may add to the address space."""


class Disk:
    """A file system in memory, on a folder."""

    def __init__(self, place: Path) -> None:
        """Mount it, or raise CalledProcessError where that is not allowed."""
        self.place = place
        place.mkdir()
        self._call("mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "lab", place)

    def _call(self, *command: object) -> None:
        subprocess.run([str(part) for part in command], check=True, capture_output=True)

    def remount(self, options: str) -> None:
        """Change its options."""
        self._call("mount", "-o", f"remount,{options}", self.place)

    def fill(self, left: int) -> None:
        """Leave so many bytes of space."""
        status = os.statvfs(self.place)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self.remount(f"size={used + left}")

    def free(self) -> None:
        """Undo what `fill` and a read-only mount did."""
        self.remount("rw,size=64m")

    def unmount(self) -> None:
        """Remove it."""
        self._call("umount", self.place)


def faults() -> list[Fault]:
    """Return what is tried with each act."""
    return [
        *(Fault(f"{left} KiB free", FAIL, left * KIB) for left in FREE),
        Fault("read-only", FAIL, -1),
        *(Fault(f"{added} KiB of memory", MEMORY, added * KIB) for added in ADDED),
    ]


def sort_of(fault: Fault) -> str:
    """Return the sort of a fault, for the table."""
    if fault.action == MEMORY:
        return "little memory"
    return "full disk" if fault.value >= 0 else "read-only disk"


def try_on_disk(field: Field, disk: Disk, point: Point) -> tuple[int | None, list[str]]:
    """Run an act on a disk that is full or read-only."""
    home = disk.place / "home"
    disk.free()
    shutil.copytree(field.built, home)
    try:
        if point.fault.value < 0:
            disk.remount("ro")
        else:
            disk.fill(point.fault.value)
        return field.tried(point, home, disk.free)
    finally:
        disk.free()
        shutil.rmtree(home)


def run(bench: Bench) -> Part:
    """Try every act with each fault, in the order that a seed gives."""
    until = time.monotonic() + bench.seconds
    return limits(bench.folder, list(ACTS), seed=bench.seed, until=until)


def limits(
    folder: Path, acts: list[str], *, seed: int, until: float, most: int | None = None
) -> Part:
    """Try acts with each fault, up to a time or a number."""
    disk: Disk | None = None
    note = ""
    try:
        disk = Disk(folder / "disk")
    except (OSError, subprocess.CalledProcessError):
        note = " Nothing may be mounted here, so disks were left out."
    field = Field(folder, None)
    codes: Counter[tuple[str, int | None]] = Counter()
    complaints = []
    try:
        with field.server:
            for name in acts:
                field.calls(name)
            points = [
                Point(name, sort_of(fault), fault)
                for name, fault in itertools.product(acts, faults())
                if disk is not None or fault.action == MEMORY
            ]
            random.Random(seed).shuffle(points)
            for point in points[:most]:
                if time.monotonic() > until:
                    break
                if disk is None or point.fault.action == MEMORY:
                    home = field.fresh()
                    code, said = field.tried(point, home)
                    shutil.rmtree(home)
                else:
                    code, said = try_on_disk(field, disk, point)
                codes[point.kind, code] += 1
                complaints += said
    finally:
        if disk is not None:
            disk.unmount()
    sorts = dict.fromkeys(map(sort_of, faults()))
    rows = [
        (sort, *(f"{count:,}" for count in (_all(codes, sort), codes[sort, 0], codes[sort, 2])))
        for sort in sorts
    ]
    return Part(
        "Full disks, read-only disks and too little memory",
        "Every act runs on a disk (tmpfs) with a few KiB left, on one that is read-only, and with a"
        " limit on its address space. It must be done, or exit with 2 and an error that is no"
        f" verdict on a file; and with the trouble gone a second run must finish.{note}",
        ("what", "runs", "exit 0", "exit 2"),
        rows,
        complaints,
    )


def _all(codes: Counter[tuple[str, int | None]], sort: str) -> int:
    return sum(count for (of, _), count in codes.items() if of == sort)
