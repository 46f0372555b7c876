"""Groups of commands: a plain one, and one that imports them when they are called, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["LazyGroup", "PlainGroup", "Verbs"]

_WHOLE = 1_000
#: Verb to (module that has ``command``, one line of help).
Verbs = Mapping[str, tuple[str, str]]


class PlainGroup(click.Group):
    """A group whose list of commands gives the first sentence of each whole, where click would break it off."""

    group_class = type  # groups in it are of this kind too

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with a sentence each."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in sorted(self.commands.items())])


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        verbs: What it consists of.
    """

    def __init__(self, *arguments: Any, verbs: Verbs, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in alphabetical order."""
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in self._verbs:
            return None
        command = importlib.import_module(self._verbs[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with a line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in sorted(self._verbs.items())])
