"""Fuzzing of the targets: guided by coverage with atheris, or else by seeded mutations.

`python -m lab.fuzz TARGET FOLDER ...` is the process that atheris needs for itself.
"""

import importlib.util
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.report import Bench, Part
from lab.turns import environment

GUIDED = importlib.util.find_spec("atheris") is not None
_TIMEOUT = 20
"""Seconds after which an input counts as one that hangs."""
_MEMORY = 2048
"""MiB of memory that no input may need."""
_MOST = 1 << 16
"""Bytes of an input."""


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changes that a seed gives; `other` is spliced in."""
    raw = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        start = chance.randrange(len(raw) + 1)
        end = min(len(raw), start + chance.choice((0, 1, 1, 2, 4, 8, 64)))
        size = chance.choice((0, 1, 1, 2, 4, 8, 64))
        piece = chance.randrange(len(other) + 1)
        raw[start:end] = chance.choice(
            (
                chance.randbytes(size),
                bytes(raw[start:end]) * 2,
                other[piece : piece + size],
                chance.choice((b"\0", b"\xff", b"0", b"-1", b'"', b"{", b"[", b"1e999", b"\\u")),
            )
        )
    return bytes(raw[:_MOST])


def mutate(
    check: Callable[[bytes], None],
    seeds: tuple[bytes, ...],
    *,
    seed: int,
    until: float,
    most: int | None = None,
) -> tuple[int, list[str]]:
    """Call a target with mutations of its seeds, up to a time or a number; return their number."""
    chance = random.Random(seed)
    pool = list(seeds)
    complaints = []
    count = 0
    while count != most and time.monotonic() < until:
        count += 1
        data = mutated(chance.choice(pool), chance.choice(pool), chance)
        if chance.random() < 0.01:
            pool.append(data)  # so that changes add up
        try:
            check(data)
        except Exception:  # noqa: BLE001 - whatever escapes is a complaint
            complaints.append(f"{data!r}\n{traceback.format_exc()}")
    return count, complaints


def guided(
    name: str, seeds: tuple[bytes, ...], folder: Path, seed: int, seconds: float
) -> tuple[int, list[str]]:
    """Run atheris on a target; return the number of its inputs, and the complaints."""
    corpus = folder / name.replace(" ", "-")
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    options = (
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed}",
        f"-timeout={_TIMEOUT}",
        f"-rss_limit_mb={_MEMORY}",
        f"-max_len={_MOST}",
        f"-artifact_prefix={corpus}.",
        "-print_final_stats=1",
    )
    done = subprocess.run(
        [sys.executable, "-m", "lab.fuzz", name, *options, corpus],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment(),
    )
    said = done.stdout + done.stderr
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    if done.returncode == 0 and found:
        return int(found[1]), []
    inputs = [path.read_bytes() for path in folder.glob(f"{corpus.name}.*")]
    return int(found[1]) if found else 0, [f"{name}: {inputs!r}\n{said[-4000:]}"]


def run(bench: Bench) -> Part:
    """Fuzz each target for its part of the time."""
    from lab.targets import make

    targets = make()
    seconds = bench.seconds * bench.workers / len(targets)

    def work(name: str) -> tuple[int, list[str]]:
        target = targets[name]
        if GUIDED:
            return guided(name, target.seeds, bench.folder, bench.seed, seconds)
        until = time.monotonic() + seconds / bench.workers
        return mutate(target.check, target.seeds, seed=bench.seed, until=until)

    with ThreadPoolExecutor(bench.workers if GUIDED else 1) as workers:
        found = dict(zip(targets, workers.map(work, targets), strict=True))
    how = "guided by coverage (atheris)" if GUIDED else "by seeded mutations, without atheris"
    return Part(
        "Fuzzing",
        f"Parsers of bytes from outside get bytes that were changed, {how}."
        " The second target recomputes the tags, to reach the checks after them."
        " No exception but the package's own may escape, no input may hang, and none may take much"
        " memory.",
        ("target", "inputs"),
        [(name, f"{count:,}") for name, (count, _) in found.items()],
        [one for _, complaints in found.values() for one in complaints],
    )


def _serve() -> None:
    import atheris

    with atheris.instrument_imports(include=["pickleseal"]):
        from lab.targets import make
    check = make()[sys.argv[1]].check
    atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
    atheris.Fuzz()


if __name__ == "__main__":
    _serve()
