"""Workers forked after a load share the memory of what was loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from pickleseal import open_keyring, signed_dump

SIZE = 64 << 20

WORKER = """
import os, sys
import numpy as np
from pickleseal import signed_load

array = signed_load(sys.argv[1], keyring=sys.argv[2])
if os.fork() == 0:
    array.sum()
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split(":") for line in file.readlines()[1:])
    print(sum(int(sizes[f"Private_{kind}"].split()[0]) for kind in ("Clean", "Dirty")) * 1024)
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux only")
def test_a_forked_worker_shares_what_its_parent_loaded(
    ring_directory: Path, tmp_path: Path
) -> None:
    import numpy as np

    file = tmp_path / "array.pkl"
    signed_dump(np.ones(SIZE // 8), file, keyring=open_keyring(ring_directory))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(file), str(ring_directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < SIZE // 4
