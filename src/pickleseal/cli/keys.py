"""`pickleseal keys`: look at the keys of a ring. Nothing here prints a secret."""

from datetime import UTC, datetime

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import FINE, console, guarded, print_json, print_rows
from pickleseal.errors import KeyringError, shown
from pickleseal.keyring import Entry, Keyring, State
from pickleseal.keystore.sources import find_keyring

_STYLES = {State.ACTIVE: "green", State.RETIRED: "yellow", State.REVOKED: "red"}


@click.group()
def keys() -> None:
    """Look at the keys of a keyring.

    An active key opens files, and the primary seals them; a retired one opens what it
    sealed before; a revoked one does neither.
    """


@keys.command(name="list")
@common
@guarded
def list_keys(*, keyring: str | None, as_json: bool) -> int:
    """List the keys of a ring, the primary first.

    \b
    Examples:
      pickleseal keys list
      pickleseal keys list --keyring keys --json
    """
    from rich.table import Table  # noqa: PLC0415 - only where a table is shown
    from rich.text import Text  # noqa: PLC0415 - as above

    ring = find_keyring(keyring)
    entries = sorted(ring.entries.values(), key=lambda e: (e.id != ring.primary, e.created or 0))
    if as_json:
        print_json(
            {"keyring": ring.name, "primary": ring.primary, "keys": [_plain(e) for e in entries]}
        )
        return FINE
    table = Table(title=Text(shown(ring.name)), title_justify="left", box=None, pad_edge=False)
    for heading in ("key", "state", "suite", "created", "note"):
        table.add_column(heading, overflow="fold", header_style="bold")
    for entry in entries:
        table.add_row(
            entry.id,
            Text(_state(ring, entry), _STYLES[entry.state]),
            entry.suite.name,
            _date(entry.created),
            Text(shown(entry.note)),
        )
    console().print(table)
    return FINE


@keys.command()
@click.argument("key_id", required=False)
@common
@guarded
def show(key_id: str | None, *, keyring: str | None, as_json: bool) -> int:
    """Show one key: the one whose id begins with KEY_ID, or else the primary.

    \b
    Examples:
      pickleseal keys show
      pickleseal keys show 2c0abba4
    """
    ring = find_keyring(keyring)
    entry = _find(ring, key_id)
    if as_json:
        print_json({"keyring": ring.name, "primary": entry.id == ring.primary, **_plain(entry)})
        return FINE
    print_rows(
        [
            ("key", entry.id),
            ("state", _state(ring, entry)),
            ("suite", f"{entry.suite.value} ({entry.suite.name})"),
            ("created", _date(entry.created)),
            ("note", entry.note),
            ("in", ring.name),
        ],
        styles={"state": _STYLES[entry.state]},
    )
    return FINE


def _find(ring: Keyring, key_id: str | None) -> Entry:
    wanted = ring.primary if key_id is None else key_id.lower()
    found = [e for e in ring.entries.values() if wanted is not None and e.id.startswith(wanted)]
    if len(found) != 1:
        raise KeyringError(
            f"{len(found)} keys of {ring.name} have an id that begins with"
            f" '{shown(wanted or '')}': see pickleseal keys list"
        )
    return found[0]


def _state(ring: Keyring, entry: Entry) -> str:
    return f"{entry.state.value}, primary" if entry.id == ring.primary else entry.state.value


def _date(seconds: int | None) -> str:
    if seconds is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "state": entry.state.value,
        "suite": entry.suite.value,
        "created": entry.created,
        "note": entry.note,
    }
