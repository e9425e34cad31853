"""The command `pickleseal`: it calls the library and prints the result."""

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
    CHECK_FAILED,
    COULD_NOT_RUN,
    INTERRUPTED,
    TERMINATED,
    refuse_key_line,
    show_click_error,
)
from pickleseal.errors import holds_part, shown
from pickleseal.files.handles import is_shortage

_COMMANDS = {
    "adopt": "Seal existing pickle and joblib files without unpickling them.",
    "audit": "Check every file under PATH.",
    "completion": "Print a script that completes commands, files and key ids in a shell.",
    "demo": "Seal, load and refuse real files, step by step.",
    "extract": "Write plain pickle or joblib files from sealed ones.",
    "find-loads": "List the lines of Python source that load or save plain pickles.",
    "inspect": "Show who sealed a file, when and for what.",
    "keygen": "Make a key, and a keyring if there is none.",
    "keys": "List, rotate, revoke, protect and share keys.",
    "pins": "List and forget the newest serials that were loaded.",
    "reseal": "Seal files again under the primary key.",
    "verify": "Check the seals of files.",
}
"""For each command, which is in a module of its name: the first line of its help."""


@click.group(
    cls=LazyGroup,
    elsewhere={name: (name.replace("-", "_"), text) for name, text in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="pickleseal")
def cli() -> None:
    """Load only the pickles that you wrote yourself.

    Make a key once with `pickleseal keygen`. Save and load in Python with signed_dump and
    signed_load. To see it work, run `pickleseal demo`.

    Without --keyring, a command uses the keyring that PICKLESEAL_KEYRING names, the keys in
    PICKLESEAL_KEY (not to change keys), or else your own keyring.

    \b
    Exit codes of every command:
      0    fine
      1    a check failed: a file was refused
      2    could not run: no key, wrong usage, or a file could not be read
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)
    """


def main() -> NoReturn:
    """Run the command with the process's arguments and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an unprintable character must not fail a command
    _clean_up_when_terminated()
    if any("://" in argument for argument in sys.argv):
        _hush_stores()
    if holds_part(" ".join(sys.argv[1:])):
        # A line that was split between arguments: only its beginning could be recognized later.
        refuse_key_line(as_json=_asks_for_json(sys.argv))
        sys.exit(COULD_NOT_RUN)
    try:
        code = cli.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        show_click_error(error, as_json=_asks_for_json(sys.argv))
        code = COULD_NOT_RUN
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = INTERRUPTED
    except (MemoryError, ImportError) as error:  # while a command was imported
        # For want of memory a library cannot be mapped, too, which is an ImportError.
        click.echo(f"error: {shown(str(error)) or 'not enough memory'}", err=True)
        code = COULD_NOT_RUN
    except SystemExit as ended:
        # Commands return their codes. click itself exits, with 1, where nobody reads the output any
        # more, as after `| head`; and 1 is for checks.
        code = COULD_NOT_RUN if ended.code == CHECK_FAILED else ended.code
    except OSError as error:
        if is_shortage(error):  # while a command was imported
            click.echo(f"error: {error.strerror}", err=True)
            sys.exit(COULD_NOT_RUN)
        # Nothing more can be written, not even at exit.
        if not isinstance(error, BrokenPipeError):
            click.echo(f"error: cannot write the output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = COULD_NOT_RUN
    sys.exit(code)


def _asks_for_json(arguments: list[str]) -> bool:
    formats = {"--format=json", "--format=jsonl"}
    after = {arguments[at + 1] for at, one in enumerate(arguments[:-1]) if one == "--format"}
    return not formats.union(["--json"]).isdisjoint(arguments) or bool(after & {"json", "jsonl"})


def _hush_stores() -> None:
    """Drop what the packages of stores log, as gcsfs does with a traceback of each retry."""
    import logging  # noqa: PLC0415 - takes milliseconds

    logging.lastResort = logging.NullHandler()


def _clean_up_when_terminated() -> None:
    """Handle SIGTERM like Ctrl-C, so that unfinished files are removed."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, _: FrameType | None) -> NoReturn:
        # `timeout` sends a second one at once, which would interrupt the cleanup.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(TERMINATED)

    def end_at_once() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
        # A worker that joblib forks has nothing to clean up. Waiting for a lock, it may never run
        # a handler of Python's, and who ends it would wait for ever.
        os.register_at_fork(after_in_child=end_at_once)
