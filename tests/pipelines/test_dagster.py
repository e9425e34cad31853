"""Dagster: real runs of assets and jobs, whose files are changed and moved."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from contexts import context_of
from rings import primary_of, revoke, rotate

from pickleseal import ContextError, inspect, signed_load

dg = pytest.importorskip("dagster")

from dagster._core.errors import DagsterResourceFunctionError  # noqa: E402

from pickleseal.integrations.dagster import CONTEXT, SealedIOManager  # noqa: E402

pytestmark = pytest.mark.once

SITES = dg.StaticPartitionsDefinition(["north", "south"])
DAYS = dg.MultiPartitionsDefinition({"site": SITES, "day": dg.StaticPartitionsDefinition(["1"])})
trained: list[str] = []


@dg.asset(key=["shop", "model"], partitions_def=SITES)
def model(context) -> dict[str, str]:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Dagster's
    trained.append(context.partition_key)
    return {"site": context.partition_key}


@dg.asset(partitions_def=DAYS)
def day() -> int:
    return 1


@dg.asset(metadata={CONTEXT: "answers/v1"})
def chosen() -> list[int]:
    return [3]


@dg.asset(metadata={CONTEXT: dg.MetadataValue.text("answers/v2")})
def wrapped() -> list[int]:
    return [4]


@dg.asset(metadata={CONTEXT: 5})
def numbered() -> list[int]:
    return [5]


@dg.asset
def after(chosen: list[int]) -> int:
    return len(chosen)


@dg.op
def first() -> int:
    return 1


@dg.op
def second(number: int) -> int:
    return number + 1


@dg.job
def counting() -> None:
    second(first())


@pytest.fixture
def folder(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    trained.clear()
    return tmp_path / "files"


def run(folder: Path, *assets: Any, **options: Any) -> Any:
    manager = SealedIOManager(base_dir=str(folder), compress="zstd")
    return dg.materialize(assets, resources={"io_manager": manager}, **options)


def loaded(folder: Path, key: Any, **options: Any) -> Any:
    resources = {"io_manager": SealedIOManager(base_dir=str(folder))}
    definitions = dg.Definitions(assets=[model, chosen], resources=resources)
    return definitions.load_asset_value(key, **options)


def test_assets_and_outputs_are_sealed_for_their_place(folder: Path, keys: Path) -> None:
    for site in SITES.get_partition_keys():
        run(folder, model, partition_key=site)
    run(folder, day, partition_key=dg.MultiPartitionKey({"site": "north", "day": "1"}))
    assert run(folder, chosen, after).output_for_node("after") == 1
    assert context_of(folder / "shop/model/north") == "dagster:shop:model:north"
    assert inspect(folder / "shop/model/north").codec == "zstd"
    assert context_of(folder / "day/1/north") == "dagster:day:1:north"
    assert signed_load(folder / "chosen", context="answers/v1") == [3]
    rotate(keys)
    assert loaded(folder, ["shop", "model"], partition_key="south") == {"site": "south"}


def test_a_context_is_a_text_or_the_metadata_of_one(folder: Path) -> None:
    assert run(folder, wrapped).success
    assert signed_load(folder / "wrapped", context="answers/v2") == [4]
    done = run(folder, numbered, raise_on_error=False)
    (failure,) = (event for event in done.all_node_events if event.is_step_failure)
    error = failure.step_failure_data.error
    assert error.cause.cls_name == "MetadataError"
    assert CONTEXT in error.cause.message


def test_an_output_of_a_job_is_sealed_for_its_run(folder: Path) -> None:
    resources = {"io_manager": SealedIOManager(base_dir=str(folder))}
    definitions = dg.Definitions(jobs=[counting], resources=resources)
    done = definitions.get_job_def("counting").execute_in_process()
    assert done.output_for_node("second") == 2
    context = context_of(folder / done.run_id / "first/result")
    assert context == f"dagster:{done.run_id}:first:result"


def test_a_partition_in_the_place_of_another_is_refused(folder: Path) -> None:
    for site in SITES.get_partition_keys():
        run(folder, model, partition_key=site)
    shutil.copy(folder / "shop/model/north", folder / "shop/model/south")
    with pytest.raises(ContextError, match="dagster:shop:model:north"):
        loaded(folder, ["shop", "model"], partition_key="south")
    assert loaded(folder, ["shop", "model"], partition_key="north") == {"site": "north"}


def test_what_is_not_sealed_is_never_unpickled(folder: Path, planted: bytes, mark: Path) -> None:
    run(folder, chosen, after)
    (folder / "chosen").write_bytes(planted)
    done = run(folder, chosen, after, selection=[after], raise_on_error=False)
    (failure,) = (event for event in done.all_node_events if event.is_step_failure)
    error = failure.step_failure_data.error
    assert (error.cls_name, error.cause.cls_name) == (
        "DagsterExecutionLoadInputError",
        "NotSealedError",
    )
    assert not mark.exists()


def test_a_run_that_only_loads_needs_no_key_that_seals(folder: Path, keys: Path) -> None:
    run(folder, chosen)
    rotate(keys)
    revoke(keys, primary_of(keys))

    @dg.asset(io_manager_key="plain")
    def told(chosen: list[int]) -> int:
        return len(chosen)

    manager = SealedIOManager(base_dir=str(folder))
    resources = {"io_manager": manager, "plain": dg.mem_io_manager}
    done = dg.materialize([chosen, told], selection=[told], resources=resources)
    assert done.output_for_node("told") == 1


def test_without_a_key_nothing_is_computed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "gone"))
    with pytest.raises(DagsterResourceFunctionError) as caught:
        run(folder, model, partition_key="north")
    assert "keygen" in str(caught.value.__cause__)
    assert trained == []
