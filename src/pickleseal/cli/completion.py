"""What a shell completes, and `pickleseal completion`, which prints the script for it."""

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete

from pickleseal.cli.output import FINE, write_out
from pickleseal.errors import PicklesealError, shown

_SHELLS = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print a script that completes commands, files and key ids in a shell.

    \b
    Switch it on for good with one of these:
      echo 'eval "$(pickleseal completion bash)"' >> ~/.bashrc
      echo 'eval "$(pickleseal completion zsh)"' >> ~/.zshrc
      pickleseal completion fish > ~/.config/fish/completions/pickleseal.fish

    It needs bash 4.4 or newer; in zsh, compinit must have run before. To complete, the shell runs
    pickleseal, which reads the keyring's list of keys and no other file.
    """
    made = _SHELLS[shell](context.find_root().command, {}, "pickleseal", "_PICKLESEAL_COMPLETE")
    write_out(made.source())
    return FINE


def key_ids(
    context: click.Context,
    param: click.Parameter,  # noqa: ARG001 - click's own
    incomplete: str,
) -> list[CompletionItem]:
    """Return the ids of the keys in the keyring that a command line names, or else in the usual."""
    from pickleseal.keys.store.directory import read_roster  # noqa: PLC0415 - only to complete
    from pickleseal.keys.store.lookup import keyring_directory  # noqa: PLC0415 - as above

    try:
        entries = read_roster(keyring_directory(context.params.get("keyring"))).entries
    except (PicklesealError, OSError):  # the command says what is wrong
        return []
    return [
        CompletionItem(entry.id, help=shown(f"{entry.state.value} {entry.note}".strip()))
        for entry in entries.values()
        if entry.id.startswith(incomplete.lower())
    ]
