"""Google Cloud and Azure on this machine: emulators, each in a process of its own on loopback."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

_START_LIMIT = 60
# The account that Azurite's documentation gives to everybody.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Cloud(NamedTuple):
    """A bucket or container, and how calls and commands reach it."""

    root: str
    options: dict[str, Any]
    variables: dict[str, str]
    secret: str

    def put(self, name: str, data: bytes) -> None:
        with fsspec.open(f"{self.root}/{name}", "wb", **self.options) as file:
            file.write(data)

    def get(self, name: str) -> bytes:
        fs = fsspec.filesystem(self.root.partition(":")[0], **self.options)
        fs.invalidate_cache()
        data: bytes = fs.cat_file(f"{self.root}/{name}")
        return data


@contextmanager
def google(folder: Path) -> Iterator[Cloud]:
    """Yield an empty bucket."""
    _require("gcsfs", "gcp_storage_emulator")
    port = _free_port()
    words = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    command = [sys.executable, "-m", "gcp_storage_emulator", *words, "--default-bucket", "models"]
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder, port):
        variables = {
            "STORAGE_EMULATOR_HOST": url,
            "FSSPEC_GS_TOKEN": "anon",
            # It would ask Google which kind of bucket it is, for a minute.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
        yield Cloud("gs://models", {"token": "anon", "endpoint_url": url}, variables, "")


@contextmanager
def azure(folder: Path) -> Iterator[Cloud]:
    """Yield an empty container."""
    _require("adlfs")
    from azure.storage.blob import BlobServiceClient

    program = shutil.which("azurite-blob", path=os.environ.get("AZURITE"))
    if program is None:
        pytest.skip("Azurite is not installed (npm install azurite)")
    port = _free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": _ACCOUNT,
        "AccountKey": _KEY,
        "BlobEndpoint": f"http://127.0.0.1:{port}/{_ACCOUNT}",
    }
    connection = ";".join(f"{name}={value}" for name, value in parts.items())
    with _running([program, *options, "--silent", "--skipApiVersionCheck"], folder, port):
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container("models")
        variables = {"AZURE_STORAGE_CONNECTION_STRING": connection}
        yield Cloud("az://models", {"connection_string": connection}, variables, _KEY)


CLOUDS: dict[str, Callable[[Path], Any]] = {"google": google, "azure": azure}


def _require(*modules: str) -> None:
    """Skip unless modules are installed; gcsfs reads its variables when it is imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, "it did not start"
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
