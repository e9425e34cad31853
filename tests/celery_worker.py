"""A worker of Celery as a process of its own, and its application in this one."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import unmeasured

from pickleseal import Suite
from pickleseal.keys.store.changes import create_key

SHOP = Path(__file__).parent / "integrations" / "celery_shop"


@contextmanager
def celery_worker(folder: Path, broker: str, results: str) -> Iterator[Any]:
    """Yield the application `shop`; `keys`, `mark` and `worker.log` in the folder are its."""
    ring = folder / "keys"
    create_key(ring, suite=Suite.BLAKE3, note="", now=0)
    with pytest.MonkeyPatch.context() as patch, (folder / "worker.log").open("wb") as log:
        patch.setenv("SHOP_BROKER", broker)
        patch.setenv("SHOP_RESULTS", results)
        patch.setenv("SHOP_MARK", str(folder / "mark"))
        patch.setenv("PICKLESEAL_KEYRING", str(ring))
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-l", "INFO"],
            cwd=SHOP,
            env=unmeasured(),
            stdout=log,
            stderr=log,
        )
        try:
            spec = importlib.util.spec_from_file_location("shop", SHOP / "shop.py")
            assert spec is not None
            assert spec.loader is not None
            shop = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, "shop", shop)
            spec.loader.exec_module(shop)
            yield shop
        finally:
            process.terminate()
            process.wait()
