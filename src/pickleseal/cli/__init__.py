"""The command `pickleseal`: it calls the library and shows what comes of it, no more."""

import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click

from pickleseal import __version__
from pickleseal.cli.lazy import LazyGroup
from pickleseal.cli.output import (
    COULD_NOT_RUN,
    INTERRUPTED,
    TERMINATED,
    show_click_error,
)

_COMMANDS = {
    "adopt": ("adopt", "adopt", "Seal pickles and joblib files that exist already, as they are."),
    "audit": ("audit", "audit", "Give a verdict on every file here."),
    "demo": ("demo", "demo", "See it all at work: seal, load, refuse."),
    "extract": (
        "extract",
        "extract",
        "Write the plain pickles and joblib files that are in envelopes.",
    ),
    "find-loads": (
        "find_loads",
        "find_loads",
        "List the places in Python source that load and save plain pickles.",
    ),
    "inspect": ("inspect", "inspect", "Tell who sealed a file, when and for what."),
    "keygen": ("keygen", "keygen", "Make a key, and the keyring if there is none."),
    "keys": ("keys", "keys", "Manage the keys of a keyring."),
    "pins": ("pins", "pins", "Show and forget the newest serials that were loaded."),
    "reseal": ("reseal", "reseal", "Seal files again under the primary key."),
    "verify": ("verify", "verify", "Check that the seals of files hold."),
}
"""Each command's room below this one, its name there, and the first line of its help."""


@click.group(
    cls=LazyGroup,
    elsewhere=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="pickleseal")
def cli() -> None:
    """Load only the pickles that you wrote yourself.

    Make a key once with `pickleseal keygen`. Seal and load in Python, with signed_dump and
    signed_load. Check files here.

    \b
    Exit codes, of every command:
      0  fine
      1  a check failed: a file was refused
      2  it could not run: no key, no such file, wrong usage
      130  it was interrupted
      143  it was told to end (SIGTERM)

    To see all of it at work, run `pickleseal demo`.
    """


def main() -> NoReturn:
    """Run the command with the process's arguments, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a mark that cannot be shown is no failure
    _clean_up_when_terminated()
    try:
        code = cli.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        show_click_error(error, as_json="--json" in sys.argv)
        code = COULD_NOT_RUN
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except MemoryError:  # while a command was imported
        click.echo("error: not enough memory", err=True)
        code = COULD_NOT_RUN
    except OSError as error:
        # Nothing more can be written, not at exit either.
        if not isinstance(error, BrokenPipeError):
            click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = COULD_NOT_RUN
    sys.exit(code)


def _clean_up_when_terminated() -> None:
    """Let SIGTERM end the command as Ctrl-C does: what was begun to be written is removed."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, _: FrameType | None) -> NoReturn:
        # `timeout` sends a second one at once, which would end the cleaning.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(TERMINATED)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
