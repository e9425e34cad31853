"""`pickleseal keys protect`, `unprotect`, `export`, `import`: how keys are stored and moved."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from pickleseal.cli.completion import key_ids
from pickleseal.cli.keygen import limits_of, named, plain, storage_of, ways_to_seal
from pickleseal.cli.options import SUITES, PathType, common, limits, note
from pickleseal.cli.output import FINE, Row, answer, guarded, print_product, wants_json
from pickleseal.errors import KeyringError, beginning, holds_key_line, shown
from pickleseal.files.atomic import write_private
from pickleseal.keys.bundle import Bundle, entry_text, read_bundle
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store import changes
from pickleseal.keys.store.commands import split_command
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.lines import Opener, check_foreign
from pickleseal.keys.store.lookup import keyring_directory
from pickleseal.keys.store.permissions import read_guarded

_MAX_INPUT = 1 << 22  # what is exported of the largest ring


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]", shell_complete=key_ids)
@click.option(
    "--os-keyring", is_flag=True, help="Store keys in the keyring of your system instead."
)
@common
@guarded
def protect(key_ids: tuple[str, ...], *, os_keyring: bool, keyring: str | None) -> int:
    """Encrypt keys with a passphrase: all of them, or the named ones.

    The new passphrase is read from PICKLESEAL_NEW_PASSPHRASE, or else asked for twice on the
    terminal. Keys that are behind another passphrase get the new one; the old one is asked for, or
    read from PICKLESEAL_PASSPHRASE. A revoked key that is protected already stays as it is, unless
    you name it. Copies made before, such as backups, stay as they are.

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
    return _tell(files, done, where, {} if os_keyring else before, _left(files, named_ids))


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]", shell_complete=key_ids)
@common
@guarded
def unprotect(key_ids: tuple[str, ...], *, keyring: str | None) -> int:
    """Store keys unencrypted in their files again.

    All keys that are not revoked, or the named ones. Anyone who can read the files has the keys
    then. The passphrase is asked for, or read from PICKLESEAL_PASSPHRASE. A key in the keyring of
    your system is copied into its file; the entry stays there, since copies of this keyring may
    need it.

    \b
    Examples:
      pickleseal keys unprotect
      pickleseal keys unprotect 2c0abba4
    """
    files = RingFiles(keyring_directory(keyring))
    named_ids = _named(files, key_ids)
    before = changes.os_entries(files, named_ids)
    done = changes.protect(files, named_ids, Opener(), None)
    return _tell(files, done, "in its file", before, _left(files, named_ids))


@click.command()
@click.argument("key_ids", nargs=-1, metavar="[KEY_ID...]", shell_complete=key_ids)
@click.option(
    "--all", "every", is_flag=True, help="All keys, the primary first, and all revocations."
)
@click.option("--revocations", is_flag=True, help="All revocations alone, which hold no secret.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PathType(dir_okay=False, local=True),
    help="Write to a new file that only you can read (mode 0600).",
)
@click.option("--yes", is_flag=True, help="Print to a terminal, too.")
@click.option(
    "--plain", "in_plain", is_flag=True, help="Export the secret itself, also of protected keys."
)
@common
@guarded
def export(
    key_ids: tuple[str, ...],
    *,
    every: bool,
    revocations: bool,
    output: str | None,
    yes: bool,
    in_plain: bool,
    keyring: str | None,
) -> int:
    """Export keys, one line each: the primary, or the named ones.

    Whoever has such a line can seal in your name; lines of keys with a passphrase stay encrypted.
    The lines are for PICKLESEAL_KEY, or for `keys import` on another machine, and keep the state,
    limits and note of each key. Of a revoked key the revocation is exported. On a terminal secrets
    are shown only with --yes.

    \b
    Examples:
      pickleseal keys export --output key.txt
      pickleseal keys export --all | ssh server pickleseal keys import -
      pickleseal keys export --revocations --output revoked.txt
    """
    if bool(key_ids) + every + revocations > 1:
        raise click.UsageError("name keys, or use one of --all and --revocations")
    files = RingFiles(keyring_directory(keyring))
    named_ids = _to_export(files.roster, key_ids, every=every, revocations=revocations)
    entries = [files.roster.entries[key_id] for key_id in named_ids]
    revoked = [entry.id for entry in entries if entry.state is State.REVOKED]
    found = [key_id for key_id in named_ids if key_id not in revoked]
    on_terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
    if found and on_terminal and not yes:
        raise KeyringError(
            "this would show secrets on the terminal: name a file with --output, or confirm with"
            " --yes"
        )
    lines = dict(
        zip(found, changes.export_lines(files, found, Opener(), plain=in_plain), strict=True)
    )
    ids = {"keys": found, "revoked": revoked}
    if output is not None:
        write_private(output, lambda: "".join(_texts(entries, lines)), exclusive=True)
        rows = [("key", key_id) for key_id in found] + [("revoked", key_id) for key_id in revoked]
        return answer({**ids, "path": output}, [*rows, ("file", output)])
    if wants_json():
        # Not print_json: it would hide the secrets.
        told = {**ids, "lines": [text.removesuffix("\n") for text in _texts(entries, lines)]}
        print_product(json.dumps(told, indent=2) + "\n")
    else:
        print_product("".join(_texts(entries, lines)))
    return FINE


def _to_export(
    roster: Roster, beginnings: Sequence[str], *, every: bool, revocations: bool
) -> list[str]:
    """Return the ids of the keys to export, of all of them the primary first and revoked last."""
    if every or revocations:
        entries = sorted(
            (e for e in roster.entries.values() if every or e.state is State.REVOKED),
            key=lambda e: (e.state is State.REVOKED, e.id != roster.primary),
        )
        if not entries:
            raise KeyringError("this keyring has no such keys")
        return [entry.id for entry in entries]
    if beginnings:
        return list(dict.fromkeys(roster.find(beginning).id for beginning in beginnings))
    if roster.primary is None:
        raise KeyringError("the keyring has no primary: name a key, or use --all")
    return [roster.primary]


def _texts(entries: Iterable[Entry], lines: Mapping[str, KeyLine]) -> Iterator[str]:
    """Yield the lines of an export: each entry, and behind it the key line if there is one."""
    for entry in entries:
        line = lines.get(entry.id)
        yield f"{entry_text(entry)}{'' if line is None else f' {line.reveal()}'}\n"


@click.command(name="import")
@click.argument("file", required=False, type=PathType(readable=False, local=True))
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
@common
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
) -> int:
    """Import keys into a keyring, all or none.

    FILE has the lines that `keys export` wrote; `-` is the standard input. A key keeps the state,
    limits and note that come with it, unless you give others. Revocations are taken over. The first
    key of a keyring is its primary. Only import a key if you know whose it is: whoever else has it
    can make files that you will load.

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
        bundle = changes.command_bundle(split_command(command, "the command"))
    elif aws_kms is not None:
        bundle = Bundle((changes.kms_line(aws_kms, SUITES[suite]),))
    else:
        bundle = _read(file or "-")
    directory = keyring_directory(keyring)
    done = changes.import_keys(
        directory,
        bundle.lines,
        entries=bundle.entries,
        note=note,
        now=int(time.time()),
        make_primary=primary,
        retired=retired,
        limits=changes.Limits(sign_until, contexts or None),
        from_ring=file is not None,
    )
    given = {"--primary": primary, "--retired": retired, "--context": contexts, "--note": note}
    given["--sign-until"] = sign_until is not None
    options = ", ".join(option for option, value in given.items() if value)
    roster = done.roster
    rows: list[Row] = []
    for key_id in done.known:
        rows.append(("known", f"{key_id}, unchanged{f': {options} ignored' if options else ''}"))
        brought, here = bundle.entries.get(key_id), roster.entries[key_id]
        if brought is not None and _granted(brought) != _granted(here):
            rows.append(
                ("", f"here: {_granted(here)}; in the keyring it comes from: {_granted(brought)}")
            )
    for one in done.made:
        rows.append(("key", one.entry.id))
        rows.append(("state", f"{one.entry.state.value}{', primary' * one.is_primary}"))
        old = roster.entries.get(one.entry.replaces or "")
        if one.is_primary and old is not None and old.state is State.RETIRED:
            rows.append(("before", f"{one.entry.replaces}, retired: opens only"))
        if primary and one is done.made[0] and not one.is_primary:
            rows.append(("", "--primary ignored: the key is retired in the keyring it comes from"))
        rows += [("limits", limit) for limit in limits_of(one.entry)]
        brought = bundle.entries.get(one.entry.id)
        if brought is not None and limits_of(brought) != limits_of(one.entry):
            was = "; ".join(limits_of(brought)) or "none"
            rows.append(("", f"instead of those in the keyring it comes from: {was}"))
    rows += [("revoked", f"{entry.id}: {entry.reason}".rstrip(": ")) for entry in done.revoked]
    if done.made and file is not None:
        rows.append(("compare", "the ids: run `pickleseal keys list` where the lines come from"))
    option = named(keyring, directory)
    if done.revoked and roster.primary is None:
        rows += ways_to_seal(roster, option)
    else:
        rows.append(("next", f"pickleseal keys list{option}"))
    return answer(
        {
            "keyring": str(directory),
            "keys": [plain(one) for one in done.made],
            "known": done.known,
            "revoked": [entry.id for entry in done.revoked],
            "ignored": options.split(", ") if options and done.known else [],
        },
        rows,
        styles={"key": "green", "revoked": "red"},
    )


def _granted(entry: Entry) -> str:
    """Return in words what a ring lets a key do."""
    return ", ".join((entry.state.value, *limits_of(entry)))


def _named(files: RingFiles, beginnings: Sequence[str]) -> list[str]:
    """Return the ids of the named keys, or of all keys; of the revoked ones only plain files.

    The passphrase of another revoked key may be lost, which must not stop the others.
    """
    roster = files.roster
    if beginnings:
        return [roster.find(beginning).id for beginning in beginnings]
    return [
        entry.id
        for entry in roster.entries.values()
        if entry.state is not State.REVOKED or _form(files, entry.id) is Form.PLAIN
    ]


def _left(files: RingFiles, named_ids: Sequence[str]) -> list[str]:
    """Return the ids of protected keys that were not named, and left alone as they are revoked."""
    return [
        entry.id
        for entry in files.roster.entries.values()
        if entry.id not in named_ids
        and entry.state is State.REVOKED
        and _form(files, entry.id) not in (None, Form.PLAIN)
    ]


def _form(files: RingFiles, key_id: str) -> Form | None:
    with suppress(KeyringError):
        return outline(files.line(key_id)).form
    return None


def _tell(
    files: RingFiles, done: list[str], where: str, before: dict[str, str], revoked: list[str]
) -> int:
    """Report the keys that are stored again.

    `files` was read before the change. `before`: services where entries of them are left.
    `revoked`: keys that were left alone.
    """
    left = {key_id: before[key_id] for key_id in done if key_id in before}
    rows: list[Row] = []
    for key_id in done:
        kept = changes.kept_as(outline(files.line(key_id)))
        rows.append(("key", f"{key_id}, {where}; before: {kept}"))
    if left:
        rows.append(("left", "an entry in the keyring of your system: copies of this keyring may"))
        rows.append(("", "need it. If there are none, remove it with"))
        rows += [("", f"python -m keyring del {shlex.quote(s)} {i}") for i, s in left.items()]
    for key_id in revoked:
        rows.append(("revoked", f"{key_id}, left {changes.kept_as(outline(files.line(key_id)))}:"))
        rows.append(("", "name it to change it, too"))
    if not done and not wants_json():
        others = "the other keys" if revoked else "the keys"
        click.echo(f"nothing to change: {others} are stored like this already")
    document = {
        "keys": done,
        "left_revoked": revoked,
        **({"left_in_os_keyring": left} if left else {}),
    }
    return answer(document, rows, styles={"key": "green"})


def _read(file: str) -> Bundle:
    if holds_key_line(file):
        raise KeyringError(
            "this is a key line, not a file. Other users can see the arguments of a command: write"
            " it to the standard input of `pickleseal keys import -` instead, and revoke the key if"
            " this machine is shared"
        )
    words = _words_in(file)
    name = "the standard input" if file == "-" else shown(file)
    if not words:
        raise KeyringError(f"there is no key line in {name}")
    with beginning(name):
        bundle = read_bundle(words)
        check_foreign(bundle.lines)
    return bundle


def _words_in(file: str) -> list[KeyLine]:
    # Only the read raises here, so that no frame of a traceback holds the secret.
    if file == "-":
        return [KeyLine(text) for text in sys.stdin.read(_MAX_INPUT).split()]
    if os.path.isfile(file):
        data = read_guarded(Path(file), secret=False, limit=_MAX_INPUT, sticky=True)
        return [KeyLine(text) for text in data.decode("latin-1").split()]
    with open(file, encoding="latin-1") as stream:  # a pipe, such as /dev/stdin
        return [KeyLine(text) for text in stream.read(_MAX_INPUT).split()]
