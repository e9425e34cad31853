"""A service that loads a sealed pipeline once, before it starts its workers.

Run it with: python examples/serve_a_model.py
It needs FastAPI and uvicorn: pip install fastapi uvicorn

The pipeline is loaded in the parent, so workers that are forked from it share its memory, and a
file that is not sealed for this service ends it before a port is open. Prints:

    {'status': 'ok', 'context': 'iris/v1', 'artifact': 'ps2:...'}
    {'species': 'setosa'}
    a file was changed: the service does not start: ...pipeline.pkl: ...
"""

import json
import multiprocessing
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from multiprocessing.process import BaseProcess
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pickleseal import Key, Keyring, SealError, signed_dump, signed_load, verify

CONTEXT = "iris/v1"


def load_service(path: Path, keyring: Keyring) -> FastAPI:
    """Return the service of a sealed pipeline, or raise SealError."""
    artifact = verify(path, context=CONTEXT, keyring=keyring).digest
    pipeline = signed_load(path, context=CONTEXT, expect=artifact, keyring=keyring)
    service = FastAPI()

    @service.get("/health")
    def health() -> dict[str, str | None]:
        return {"status": "ok", "context": CONTEXT, "artifact": artifact}

    @service.post("/predict")
    def predict(measures: list[float]) -> dict[str, str]:
        (species,) = pipeline.predict([measures])
        return {"species": species}

    return service


def start(service: FastAPI, listening: socket.socket, workers: int) -> list[BaseProcess]:
    """Fork the workers, which share what the parent has loaded."""
    config = uvicorn.Config(service, log_level="warning")
    fork = multiprocessing.get_context("fork")
    started: list[BaseProcess] = [
        fork.Process(target=uvicorn.Server(config).run, kwargs={"sockets": [listening]})
        for _ in range(workers)
    ]
    for worker in started:
        worker.start()
    return started


def ask(address: str, body: object = None) -> object:
    """Return the answer of the service, once it is up."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found: object = json.load(answer)
                return found
        except urllib.error.URLError:
            time.sleep(0.05)


def main() -> None:
    """Train, seal, serve and ask; then start with a file that was changed."""
    os.environ["no_proxy"] = "127.0.0.1"
    keyring = Keyring(Key.generate())
    data = load_iris()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(data.data, data.target_names[data.target])
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as port:
        path = Path(folder, "pipeline.pkl")
        signed_dump(pipeline, path, context=CONTEXT, keyring=keyring)
        workers = start(load_service(path, keyring), port, workers=2)
        address = f"http://127.0.0.1:{port.getsockname()[1]}"
        print(ask(f"{address}/health"))
        print(ask(f"{address}/predict", [5.1, 3.5, 1.4, 0.2]))
        for worker in workers:
            worker.terminate()
            worker.join()

        changed = bytearray(path.read_bytes())
        changed[-100] ^= 1
        path.write_bytes(changed)
        try:
            load_service(path, keyring)
        except SealError as error:
            print(f"a file was changed: the service does not start: {error}")


if __name__ == "__main__":
    main()
