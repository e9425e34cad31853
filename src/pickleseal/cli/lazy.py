"""A group of commands each of which is imported when it is called."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A click group whose commands are in modules that are imported only when they are needed.

    `elsewhere`: by the command's name, its module and its help in one line.
    Other commands are added as to any group. An audit in CI need not wait for what makes keys, and
    who asks for help need wait for neither.
    """

    def __init__(
        self,
        *,
        elsewhere: Mapping[str, tuple[str, str]],
        **options: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(**options)
        self._elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None."""
        if cmd_name not in self._elsewhere:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"pickleseal.cli.{self._elsewhere[cmd_name][0]}")
        commands = (one for one in vars(module).values() if isinstance(one, click.Command))
        return next(one for one in commands if one.name == cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so, without importing what is elsewhere."""
        found = [
            CompletionItem(name, help=text)
            for name, text in self._rows()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; where there is none, name the one most like it."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            from difflib import get_close_matches  # noqa: PLC0415 - only for a typing error

            # Some versions of click take a name like "\x1b" for an option, and show the help.
            hints = [f" Did you mean '{one}'?" for one in get_close_matches(args[0], names, n=1)]
            ctx.fail(f"No such command '{args[0]}'.{''.join(hints)}")
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's own
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands, without importing those that are elsewhere."""
        with formatter.section("Commands"):
            formatter.write_dl(self._rows(formatter.width))

    def _rows(self, width: int = 100) -> list[tuple[str, str]]:
        rows = {name: text for name, (_, text) in self._elsewhere.items()}
        for name, command in self.commands.items():
            rows[name] = command.get_short_help_str(width)
        return sorted(rows.items())
