"""What the figures were made with. No names of hosts or users, and no paths."""

import os
import platform
import re
import ssl
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.ways import WAYS

_FLAGS = ("sha_ni", "avx2", "avx512f")
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "blake3", "cryptography")


def describe(folder: str) -> dict[str, Any]:
    """Describe this machine, its Python, and the file system that a folder is on."""
    info = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    flags = set((re.search(r"^flags\s*:\s*(.+)$", info, re.MULTILINE) or [""])[0].split())
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.processor() or platform.machine(),
        "cores": _cores(),
        "features": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "file_system": _file_system(folder),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION.rsplit(" ", 3)[0],
        "packages": {name: found for name in _PACKAGES if (found := version(name))},
    }


def ways() -> list[dict[str, Any]]:
    """Describe the ways, each with the version that is here."""
    return [
        {
            "name": way.name,
            "label": way.label,
            "checks": way.checks,
            "note": way.note,
            "version": version(way.package) if way.package else None,
        }
        for way in WAYS
    ]


def version(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _file_system(folder: str) -> str | None:
    """Return the kind of file system, such as ext4: the mount whose path is the longest above."""
    best, kind = "", None
    for line in _read("/proc/mounts").splitlines():
        _, mount, name, *_ = line.split()
        above = mount.rstrip("/") + "/"
        if os.path.realpath(folder).startswith(above) and len(above) > len(best):
            best, kind = above, name
    return kind


def _read(path: str) -> str:
    if sys.platform != "linux":
        return ""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
