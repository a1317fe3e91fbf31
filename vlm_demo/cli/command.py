"""Command: how every command of this package parses its arguments, on top of Typer.

Options may stand before, between and behind the arguments. Knows no command.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

NEGATIVE = re.compile(r"-(\d+(\.\d*)?|\.\d+)")


class Command(TyperCommand):
    """A command whose options of several values take them one after another: ``--photos A B C``.

    A number, and whatever contains a space, is a value or an argument even where it begins with a hyphen. The line as
    typed is the context's ``obj``. The contexts are Typer's, whose type has no public name.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind the command's name; see `TyperCommand.parse_args`."""
        ctx.obj = f"{ctx.command_path} {shlex.join(args)}"
        return super().parse_args(ctx, self._sorted(ctx, args))

    def _sorted(self, ctx: Any, words: Iterable[str]) -> list[str]:
        """The options, one value each, then ``--`` and the arguments."""
        known = {name: param for param in self.get_params(ctx) if isinstance(param, TyperOption) for name in param.opts}

        def begins_option(word: str) -> bool:
            if word.partition("=")[0] in known:
                return True
            return len(word) > 1 and word[0] == "-" and " " not in word and not NEGATIVE.fullmatch(word)

        options: list[str] = []
        arguments: list[str] = []
        rest = deque(words)
        while rest:
            word = rest.popleft()
            option = known.get(word)
            if word == "--":
                arguments += rest
                break
            if option is None:
                (options if begins_option(word) else arguments).append(word)
            elif option.is_flag:
                options.append(word)
            else:
                values: list[str] = []
                while rest and not begins_option(rest[0]) and (option.multiple or not values):
                    values.append(rest.popleft())
                if not values:
                    ctx.fail(f"Option {word!r} requires an argument.")
                options += [f"{word}={value}" for value in values]
        return [*options, "--", *arguments]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The arguments by name, then the options."""
        names = [param.metavar or param.name for param in self.params if not isinstance(param, TyperOption)]
        return [*names, "[options]"]


def application(text: str | None = None) -> typer.Typer:
    """A Typer application for a file's command, or for several of them with a ``text`` that describes them all."""
    return typer.Typer(help=text, add_completion=False, rich_markup_mode=None)


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """The parser of a value that has to be one of ``names``, which are read when it is called."""

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}.")
        return text

    return parse
