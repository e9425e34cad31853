"""`pickleseal keys protect`, `unprotect`, `export`, `import`: how keys are stored and moved."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import click

from pickleseal.cli.keygen import named, plain, storage_of
from pickleseal.cli.options import (
    SUITES,
    PathType,
    changing,
    limits,
    note,
)
from pickleseal.cli.output import (
    FINE,
    guarded,
    print_json,
    print_rows,
    write_out,
)
from pickleseal.errors import KeyringError, holds_key_line, shown
from pickleseal.files.atomic import write_private
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.roster import State
from pickleseal.keys.store import changes
from pickleseal.keys.store.commands import split_command
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.lines import Opener, check_foreign
from pickleseal.keys.store.lookup import keyring_directory

_MAX_INPUT = 1 << 16


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]")
@click.option(
    "--os-keyring", is_flag=True, help="Store them in the keyring of your system instead."
)
@changing
@guarded
def protect(
    key_ids: tuple[str, ...], *, os_keyring: bool, keyring: str | None, as_json: bool
) -> int:
    """Encrypt keys with a passphrase: all of them, or the named ones.

    The new passphrase is read from PICKLESEAL_NEW_PASSPHRASE, or else asked for twice on the
    terminal. Keys with another passphrase get the new one. Copies made before, such as backups,
    stay as they are.

    \b
    Examples:
      pickleseal keys protect
      pickleseal keys protect --os-keyring
    """
    opener = Opener()
    files = RingFiles(keyring_directory(keyring))
    named_ids = _named(files, key_ids)
    before = changes.os_entries(files, named_ids)
    done = changes.protect(
        files,
        named_ids,
        opener,
        lambda: storage_of(passphrase=not os_keyring, os_keyring=os_keyring),
    )
    where = "in the keyring of your system" if os_keyring else "behind the new passphrase"
    return _tell(files, done, where, {} if os_keyring else before, as_json=as_json)


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]")
@changing
@guarded
def unprotect(key_ids: tuple[str, ...], *, keyring: str | None, as_json: bool) -> int:
    """Store keys unencrypted in their files again.

    An entry in the keyring of your system stays there, since copies of this ring may need it.

    \b
    Examples:
      pickleseal keys unprotect
      pickleseal keys unprotect 2c0abba4
    """
    files = RingFiles(keyring_directory(keyring))
    named_ids = _named(files, key_ids)
    before = changes.os_entries(files, named_ids)
    done = changes.protect(files, named_ids, Opener(), None)
    return _tell(files, done, "in its file", before, as_json=as_json)


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]")
@click.option(
    "--all", "every", is_flag=True, help="All keys that are not revoked, the primary first."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="Write to a new file that only you can read (mode 0600).",
)
@click.option("--yes", is_flag=True, help="Print to a terminal, too.")
@click.option(
    "--plain", "in_plain", is_flag=True, help="Export the secret itself, also of protected keys."
)
@changing
@guarded
def export(
    key_ids: tuple[str, ...],
    *,
    every: bool,
    output: str | None,
    yes: bool,
    in_plain: bool,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Export keys, one line each: the primary, or the named ones.

    Whoever has such a line can seal in your name; lines of keys with a passphrase stay encrypted.
    The lines are for PICKLESEAL_KEY, or for `keys import` on another machine. On a terminal they
    are shown only with --yes.

    \b
    Examples:
      pickleseal keys export --output key.txt
      pickleseal keys export --all | ssh server pickleseal keys import -
    """
    directory = keyring_directory(keyring)
    if output is None and not yes and sys.stdout is not None and sys.stdout.isatty():
        raise KeyringError(
            "this would show secrets on the terminal: name a file with --output, or confirm with"
            " --yes"
        )
    files = RingFiles(directory)
    roster = files.roster
    if every:
        usable = [e.id for e in roster.entries.values() if e.state is not State.REVOKED]
        found = sorted(usable, key=lambda key_id: key_id != roster.primary)
    elif key_ids:
        found = list(dict.fromkeys(roster.find(key_id).id for key_id in key_ids))
    elif roster.primary is not None:
        found = [roster.primary]
    else:
        raise KeyringError("the ring has no primary: name a key, or use --all")
    lines = changes.export_lines(files, found, Opener(), plain=in_plain)
    if output is not None:
        write_private(
            output, lambda: "".join(line.reveal() + "\n" for line in lines), exclusive=True
        )
        if as_json:
            print_json({"keys": found, "path": output})
        else:
            print_rows([*(("key", key_id) for key_id in found), ("file", output)])
    elif as_json:
        # Not print_json: it would hide the secrets.
        told = {"keys": found, "lines": [line.reveal() for line in lines]}
        write_out(json.dumps(told, indent=2) + "\n")
    else:
        for line in lines:
            click.echo(line.reveal())
    return FINE


@click.command(name="import")
@click.argument("file", required=False)
@click.option(
    "--command", metavar="TEXT", help="A key that a command prints, such as '/usr/bin/pass show x'."
)
@click.option("--aws-kms", metavar="ARN", help="The ARN of an HMAC key in AWS KMS.")
@click.option(
    "--suite",
    type=click.Choice(list(SUITES)),
    default="blake3",
    show_default=True,
    help="The suite of a key in AWS KMS. The lines of other keys name theirs.",
)
@click.option("--primary", is_flag=True, help="Make the first of them the primary.")
@click.option("--retired", is_flag=True, help="Import them as retired: they open only.")
@limits
@note
@changing
@guarded
def import_(
    file: str | None,
    *,
    command: str | None,
    aws_kms: str | None,
    suite: str,
    primary: bool,
    retired: bool,
    contexts: tuple[str, ...],
    sign_until: int | None,
    note: str,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Import keys into a ring, all or none.

    FILE has the lines that `keys export` wrote; `-` is the standard input. The first key of a ring
    is its primary. Only import a key if you know whose it is: whoever else has it can make files
    that you will load.

    \b
    Examples:
      pickleseal keys import key.txt
      pickleseal keys import --retired old-ring/2c0abba4d7207b23347f7eeb6b697b9d.key
      pickleseal keys import --command "/usr/bin/pass show pickleseal"
      pickleseal keys import --aws-kms arn:aws:kms:eu-central-1:111122223333:key/...
    """
    if (file, command, aws_kms).count(None) != 2:
        raise click.UsageError("name one source: a FILE, --command or --aws-kms")
    if primary and retired:
        raise click.UsageError("a retired key cannot be the primary")
    if command is not None:
        lines: Sequence[KeyLine] = [changes.command_line(split_command(command, "the command"))]
    elif aws_kms is not None:
        lines = [changes.kms_line(aws_kms, SUITES[suite])]
    else:
        lines = _read_lines(file or "-")
    directory = keyring_directory(keyring)
    made, known = changes.import_keys(
        directory,
        lines,
        note=note,
        now=int(time.time()),
        make_primary=primary,
        retired=retired,
        limits=changes.Limits(sign_until, contexts or None),
    )
    if as_json:
        keys = [plain(one) for one in made]
        print_json({"keyring": str(directory), "keys": keys, "known": known})
        return FINE
    rows = [("known", f"{key_id}, unchanged") for key_id in known]
    for one in made:
        rows.append(("key", one.entry.id))
        rows.append(("state", f"{one.entry.state.value}{', primary' * one.is_primary}"))
    rows.append(("next", f"pickleseal keys list{named(keyring, directory)}"))
    print_rows(rows, styles={"key": "green"})
    return FINE


def _named(files: RingFiles, beginnings: Sequence[str]) -> list[str]:
    """Return the ids of the named keys, or of all keys; of the revoked ones only plain files."""
    roster = files.roster
    if beginnings:
        return [roster.find(beginning).id for beginning in beginnings]
    return [
        entry.id
        for entry in roster.entries.values()
        if entry.state is not State.REVOKED or _is_plain(files, entry.id)
    ]


def _is_plain(files: RingFiles, key_id: str) -> bool:
    with suppress(KeyringError):
        return outline(files.line(key_id)).form is Form.PLAIN
    return False


def _tell(
    files: RingFiles, done: list[str], where: str, before: dict[str, str], *, as_json: bool
) -> int:
    """Report the keys that are stored anew.

    `files` was read before the change. `before`: services where entries of them are left.
    """
    left = {key_id: before[key_id] for key_id in done if key_id in before}
    if as_json:
        print_json({"keys": done, **({"left_in_os_keyring": left} if left else {})})
    elif done:
        rows = []
        for key_id in done:
            kept = changes.kept_as(outline(files.line(key_id)))
            rows.append(("key", f"{key_id}, {where}; before: {kept}"))
        if left:
            rows.append(("left", "an entry in the keyring of your system: copies of this ring may"))
            rows.append(("", "need it. If there are none, remove it with"))
            rows += [("", f"python -m keyring del {shlex.quote(s)} {i}") for i, s in left.items()]
        print_rows(rows, styles={"key": "green"})
    else:
        click.echo("nothing to change: the keys are stored like this already")
    return FINE


def _read_lines(file: str) -> list[KeyLine]:
    if holds_key_line(file):
        raise KeyringError(
            "this is a key line, not a file. Other users can see the arguments of a command: write"
            " it to the standard input of pickleseal keys import - instead, and revoke the key if"
            " this machine is shared"
        )
    lines = _into_lines(file)
    name = "the standard input" if file == "-" else shown(file)
    if not lines:
        raise KeyringError(f"there is no key line in {name}")
    try:
        check_foreign(lines)
    except KeyringError as error:
        raise KeyringError(f"{name}: {error}") from None
    return lines


def _into_lines(file: str) -> list[KeyLine]:
    # Only the read raises here, so that no frame of a traceback holds the secret.
    if file == "-":
        return [KeyLine(text) for text in sys.stdin.read(_MAX_INPUT).split()]
    with open(file, encoding="latin-1") as stream:
        return [KeyLine(text) for text in stream.read(_MAX_INPUT).split()]
