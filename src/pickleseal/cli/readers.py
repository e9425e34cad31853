"""Who reads the files of a command: this machine's processors, or workers of a cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

import click

from pickleseal.auditing.engines import CAN_COPY, FORK, cluster

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _share(text: str) -> float:
    """Return the share, from 0 to 1, of `1%` or `1`."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise click.BadParameter(f"'{text}' is not a percentage: write it as 1%")
    return share


_OPTIONS = (
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many processes look at files. Default: one for each processor, where it is"
        " faster.",
    ),
    click.option(
        "--backend",
        metavar="NAME",
        help="Which of joblib's backends reads files, without a key: dask, ray, spark, loky,"
        " threading. Default: this process, and copies of it.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="Of the cluster, for --backend dask and ray."
    ),
    click.option(
        "--recheck",
        type=_share,
        metavar="PERCENT",
        help="Read this many of the sealed files again here, and all others that workers read.",
    ),
)


def reading(command: _Function) -> _Function:
    """Add --jobs, --backend, --scheduler and --recheck to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Readers(NamedTuple):
    """What an audit is told of who reads, by the names of its arguments."""

    n_jobs: int | None
    backend: str
    recheck: float


@contextmanager
def readers(
    jobs: int | None, backend: str | None, scheduler: str | None, recheck: float | None
) -> Iterator[Readers]:
    """Return who reads, as the options say, and stay connected to their cluster."""
    if recheck is not None and backend is None:
        raise click.UsageError("--recheck goes with --backend")
    if scheduler is None and backend == "dask":
        raise click.UsageError("--backend dask needs --scheduler, such as tcp://host:8786")
    local = "loky" if jobs is not None and not CAN_COPY else FORK
    with nullcontext() if scheduler is None else cluster(backend, scheduler):
        yield Readers(jobs, backend or local, recheck or 0.0)
