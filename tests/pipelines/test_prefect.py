"""Prefect: real flows on a server of their own, whose stored results are changed and moved."""

import asyncio
import base64
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contexts import context_of
from rings import rotate

from pickleseal import ContextError, NotSealedError

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
prefect = pytest.importorskip("prefect")

from prefect import flow, task  # noqa: E402
from prefect.filesystems import LocalFileSystem  # noqa: E402
from prefect.serializers import PickleSerializer  # noqa: E402
from prefect.testing.utilities import prefect_test_harness  # noqa: E402

from pickleseal.integrations.prefect import SealedLocalFileSystem  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

BLOCK = "sealed-local-file-system/results"
computed: list[str] = []


@task(persist_result=True, result_storage_key="{parameters[name]}", log_prints=False)
def fit(name: str) -> dict[str, str]:
    computed.append(name)
    return {"name": name}


@flow(result_storage=BLOCK, persist_result=True)
def train(*names: str) -> list[dict[str, str]]:
    return [fit(name) for name in names]


@pytest.fixture(scope="module")
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def folder(keys: Path, tmp_path: Path, _server: None) -> Path:
    computed.clear()
    folder = tmp_path / "results"
    SealedLocalFileSystem(basepath=str(folder)).save("results", overwrite=True)
    return folder


def record(planted: bytes) -> bytes:
    """Return what Prefect stores for a result, with its own serializer."""
    metadata = {"storage_key": "one", "serializer": {"type": "pickle"}}
    data = base64.encodebytes(planted).decode()
    return json.dumps({"metadata": metadata, "result": data}).encode()


def test_results_are_sealed_for_their_key(folder: Path, keys: Path) -> None:
    assert train("one") == [{"name": "one"}]
    assert context_of(folder / "one") == "prefect:results:one"
    rotate(keys)
    state = train("one", "two", return_state=True)
    assert state.result() == [{"name": "one"}, {"name": "two"}]
    assert computed == ["one", "two"]

    @flow(result_storage=BLOCK, persist_result=True)
    async def waiting() -> Any:
        return fit("one")

    later = asyncio.run(waiting(return_state=True))
    assert asyncio.run(later.aresult()) == {"name": "one"}
    assert computed == ["one", "two"]


def test_a_moved_or_unsealed_result_is_computed_again(
    folder: Path, planted: bytes, mark: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train("one", "two")
    shutil.copy(folder / "one", folder / "two")
    assert train("two") == [{"name": "two"}]
    for plant in (planted, record(planted)):
        (folder / "one").write_bytes(plant)
        assert train("one") == [{"name": "one"}]
    assert computed == ["one", "two", "two", "one", "one"]
    assert not mark.exists()
    refused = [r for r in caplog.records if r.name == "pickleseal.integrations"]
    assert [r.levelno for r in refused] == [logging.WARNING] * 3


def test_a_result_that_is_asked_for_is_refused(folder: Path, planted: bytes, mark: Path) -> None:
    @flow(result_storage=BLOCK, persist_result=True, cache_result_in_memory=False)
    def kept(key: str) -> str:
        return key

    one, two = (kept.with_options(name=key)(key, return_state=True) for key in ("one", "two"))
    files = [folder / state.data.metadata.storage_key for state in (one, two)]
    one, two = (state.model_copy(update={"data": state.data.metadata}) for state in (one, two))
    assert one.result(retry_result_failure=False) == "one"
    shutil.copy(*files)
    with pytest.raises(ContextError):
        two.result(retry_result_failure=False)
    files[0].write_bytes(record(planted))
    with pytest.raises(NotSealedError):
        one.result(retry_result_failure=False)
    assert not mark.exists()


def test_a_serializer_would_not_do(
    tmp_path: Path, folder: Path, planted: bytes, mark: Path
) -> None:
    """What is stored names the serializer that loads it."""
    storage = LocalFileSystem(basepath=str(folder))
    storage.save("plain", overwrite=True)
    options = {
        "result_storage": storage,
        "result_serializer": PickleSerializer(picklelib="pickleseal"),
    }
    plain = train.with_options(**options)
    assert plain("one") == [{"name": "one"}]
    (folder / "one").write_bytes(record(planted))
    plain("one", return_state=True)
    assert mark.exists()


def test_a_storage_without_a_name_is_refused(folder: Path) -> None:
    unsaved = SealedLocalFileSystem(basepath=str(folder))
    with pytest.raises(OSError, match="save this storage"):
        unsaved.write_path("one", b"", _sync=True)


def test_without_a_key_nothing_is_computed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "gone"))
    with pytest.raises(Exception, match="keygen"):
        train("one")
    assert computed == []
