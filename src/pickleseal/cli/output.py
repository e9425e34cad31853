"""Output and exit codes of the commands: findings go to stdout, everything else to stderr."""

import functools
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pickleseal.errors import PicklesealError, SealError, counted, shown, without_secrets
from pickleseal.files.places import without_credentials
from pickleseal.keys.store import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pickleseal.files.walk import LeftOut

FINE = 0
CHECK_FAILED = 1
COULD_NOT_RUN = 2
INTERRUPTED = 130
TERMINATED = 143

_FOLDERS_NAMED = 3
_STDOUT = "pickleseal.stdout"
_JSON = "pickleseal.json"
_UNBROKEN = re.compile(r"^fix: .+|(?<=: )pickleseal .+|`[^`]+`\S*|\S+")

_Command = TypeVar("_Command", bound=Callable[..., int])


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console; it colours only on a terminal without NO_COLOR."""
    from rich.console import Console  # noqa: PLC0415 - only needed on a terminal

    no_color = bool(os.environ.get("NO_COLOR"))  # rich before 14 takes an empty one for a wish
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, no_color=no_color)


def write_out(text: str) -> None:
    """Write all of a text to stdout, or raise OSError.

    Python's own stdout loses the rest if a disk gets full in the middle of a long text.
    """
    stream = sys.stdout
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer
    if raw is None:
        click.echo(text, nl=False)
        return
    stream.flush()
    left = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while left:
        try:
            count = raw.write(left)
        except OSError as error:
            raise OSError(error.errno, error.strerror, "stdout") from None
        if count is None:
            raise BlockingIOError("stdout is in non-blocking mode: make it blocking")
        left = left[count:]


def print_json(value: object) -> None:
    """Print one JSON document without secrets, in ASCII, so that it can't control a terminal."""
    print_product(json.dumps(without_secrets(value), indent=2) + "\n")


def print_error(kind: str, message: str) -> None:
    """Print an error as JSON in one line, so that it is one in JSON Lines too."""
    error = {"kind": kind, "message": message}
    print_product(json.dumps(without_secrets({"error": error})) + "\n")


def print_product(text: str) -> None:
    """Write what a command was asked to print to stdout, with --quiet too."""
    context = click.get_current_context(silent=True)
    stream = sys.stdout if context is None else context.meta.get(_STDOUT, sys.stdout)
    with redirect_stdout(stream):
        write_out(text)


Row = tuple[str, str]
"""A name and a text."""


def answer(document: object, rows: Iterable[Row], *, styles: dict[str, str] | None = None) -> int:
    """Print the document with --json, else the rows as `print_rows` does; return FINE."""
    if wants_json():
        print_json(document)
    else:
        print_rows(rows, styles=styles)
    return FINE


def print_rows(rows: Iterable[Row], *, styles: dict[str, str] | None = None) -> None:
    """Print names and texts in two columns; `styles` colours the texts of some names.

    Texts are wrapped only on a terminal, so that a path stays in one piece elsewhere.
    """
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    if not _is_terminal(sys.stdout):
        for name, text in listed:
            click.echo(f"{name:<{width}}  {shown(text)}".rstrip())
        return
    from rich.text import Text  # noqa: PLC0415 - as above

    terminal = console()
    for name, text in listed:
        before = Text(f"{name:<{width}}  ", "bold")
        _fold(terminal, before, Text(shown(text), (styles or {}).get(name, "")))


_BEFORE = re.compile("^ *(?:[✗✓!·→-] )?")

Line = list[tuple[str, str]]
"""The parts of a line, each with its style; "" for none."""


def print_lines(lines: Iterable[Line], *, stderr: bool = False) -> None:
    """Print lines: as they are, or on a terminal coloured, and wrapped behind their mark."""
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:
        return
    if not _is_terminal(stream):
        plain = "".join(f"{''.join(text for text, _ in line)}\n" for line in lines)
        if stderr:
            click.echo(plain, err=True, nl=False)
        else:
            write_out(plain)
        return
    from rich.text import Text  # noqa: PLC0415 - as above

    terminal = console(stderr=stderr)
    for line in lines:
        text = Text.assemble(*line)
        indent = len(text.plain) - len(_BEFORE.sub("", text.plain))
        _fold(terminal, text[:indent], text[indent:])


def _fold(terminal: "Console", before: "Text", text: "Text") -> None:
    """Print `text` after `before`, wrapped to where it begins, without trailing blanks.

    Paths and commands stay whole, to be copied: the terminal breaks them if it must.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    plain, width = text.plain, terminal.width - before.cell_len
    breaks, start = [], 0
    for word in _UNBROKEN.finditer(plain):
        is_first = word.start() == start
        if not is_first and cell_len(plain[start : word.end()]) > width:
            start = word.start()
            breaks.append(start)
    for part in text.divide(breaks):
        line = before + part
        line.rstrip()
        terminal.print(line, soft_wrap=True)
        before = before.blank_copy(" " * before.cell_len)


def _is_terminal(stream: Any) -> bool:  # noqa: ANN401 - sys.stdout may be None
    """Return whether rich is needed: importing it takes as long as verifying a thousand files."""
    return stream is not None and (stream.isatty() or bool(os.environ.get("FORCE_COLOR")))


def left_out_lines(left_out: "LeftOut") -> list[Line]:
    """Return a line that says how many files a walk left out, if any."""
    folders = [path for path, count in left_out.folders.items() if count]
    if not folders:
        return []
    named = [shown(path) for path in folders[:_FOLDERS_NAMED]]
    more = len(folders) - len(named)
    where = ", ".join(named) + (f" and {counted(more, 'more folder')}" if more else "")
    text = f"left out {counted(left_out.files, 'file')} in {where}: name a folder to look into it"
    return [[(text, "dim")]]


def kind_of(error: BaseException) -> str:
    """Return the kind of an error in words, such as "bad seal" for BadSealError."""
    words = re.findall("[A-Z][a-z]+", type(error).__name__.removesuffix("Error"))
    return " ".join(words).lower()


def describe(error: BaseException) -> dict[str, str]:
    """Return an error as JSON output has it."""
    return {"kind": type(error).__name__, "message": shown(_text(error))}


def show_click_error(error: click.ClickException, *, as_json: bool) -> None:
    """Print an error of click's with control characters escaped."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # from click 8.2
        error.show()
        return
    # The message contains what was typed; click adds lists on lines of their own.
    text = error.format_message()
    if error.message:
        text = text.replace(error.message, shown(error.message))
    text = "\n".join(map(shown, text.expandtabs(4).split("\n")))
    if as_json:
        print_error("UsageError", text)
    else:
        click.UsageError(text, getattr(error, "ctx", None)).show()


def refuse_key_line(*, as_json: bool) -> None:
    """Print that the arguments contain a part of a key line, and nothing of them."""
    message = (
        "the arguments contain a part of a key line, which is not shown here. A key line belongs"
        " in PICKLESEAL_KEY, or in the standard input of `pickleseal keys import -`. Other users"
        " can see the arguments of a command: if this machine is shared, treat the key as leaked"
    )
    if as_json:
        print_error("UsageError", message)
    else:
        click.echo(f"error: {message}", err=True)


class CouldNotRun(Exception):  # noqa: N818 - the outcome of a command
    """A command could not run, and checked nothing."""


def confirm(doubt: str, question: str, *, yes: bool) -> None:
    """Ask a question on the terminal, unless `yes`; raise CouldNotRun if the answer is not yes.

    `doubt`: why it is asked. Programs, which read JSON, are not asked, and with --quiet nobody is:
    the question rests on what is printed before it.
    """
    if yes:
        return
    if wants_json() or is_quiet() or not terminal.is_there():
        raise CouldNotRun(f"{doubt}. To do it anyway, add --yes")
    if terminal.ask(f"{shown(doubt)}.\n{question} [y/N]: ").lower() not in ("y", "yes"):
        raise CouldNotRun("nothing was done")


def check_no_folder(path: str) -> None:
    """Raise CouldNotRun if `path` is a folder where one file is expected."""
    if os.path.isdir(path):
        audit = (
            f"pickleseal audit {shlex.quote(path)}" if path.isprintable() else "pickleseal audit"
        )
        raise CouldNotRun(f"{path} is a folder: name its files, or see {audit}")


def guarded(command: _Command) -> _Command:
    """Turn a command's errors into a message and an exit code, without a traceback; add --quiet.

    The command returns its exit code, and has an option --json, perhaps --format besides: see
    `wants_json`.
    """

    @functools.wraps(command)
    def guard(
        *arguments: Any,  # noqa: ANN401 - click's own
        as_json: bool,
        quiet: bool = False,
        **options: Any,  # noqa: ANN401 - as above
    ) -> int:
        as_json = as_json or options.get("kind") in ("json", "jsonl")
        click.get_current_context().meta[_JSON] = as_json
        try:
            if not quiet:
                return command(*arguments, **options)
            with _held_back() as codes:
                codes.append(command(*arguments, **options))
            return codes[0]
        except BrokenPipeError:
            raise
        except (PicklesealError, OSError, ValueError, MemoryError, CouldNotRun) as error:
            if as_json:
                print_error(**describe(error))
            else:
                said = shown(_text(error))
                print_lines([[("error:", "bold red"), (f" {said}", "")]], stderr=True)
            return CHECK_FAILED if isinstance(error, SealError) else COULD_NOT_RUN

    quietly = click.option("-q", "--quiet", is_flag=True, help="Print nothing if all is fine.")
    return quietly(guard)  # type: ignore[return-value]


def wants_json() -> bool:
    """Return whether the command was called with --json."""
    return bool(click.get_current_context().meta[_JSON])


def is_quiet() -> bool:
    """Return whether the command was called with --quiet."""
    return bool(click.get_current_context().params.get("quiet"))


@contextmanager
def _held_back() -> Iterator[list[int]]:
    """Yield a list for the exit code; print what was printed meanwhile unless the code is FINE."""
    click.get_current_context().meta[_STDOUT] = sys.stdout
    codes: list[int] = []
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield codes
    finally:
        if codes != [FINE]:
            write_out(out.getvalue())
            click.echo(err.getvalue(), err=True, nl=False)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, PicklesealError) and error.filename:
        named = without_credentials(os.fsdecode(error.filename))
        return f"{shown(named)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return str(error) or "not enough memory"
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the current folder was removed: change to another one"
    return str(error)
