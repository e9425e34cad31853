"""Build the preloaded library that counts calls, with the system's compiler."""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


def missing() -> str:
    """Return what this system lacks to count calls, or an empty text."""
    if sys.platform != "linux":
        return "calls are counted on Linux alone"
    return "" if shutil.which("cc") else "there is no C compiler (cc) here"


def build(folder: Path) -> Path:
    """Compile the library into a folder and return its path."""
    made = folder / "faults.so"
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["cc", *flags, "-o", made, SOURCE], check=True)
    return made
