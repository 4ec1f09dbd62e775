"""Groups of commands: the order in which help lists them, and a group whose first command may be left out."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

__all__ = ["Defaulted", "InOrder", "in_order"]

ORDER = (
    *("demo", "run", "export", "calibrate", "build", "verify", "evaluate", "bench"),
    *("train", "synth", "explain", "doctor"),
)


def in_order(names: Sequence[str]) -> list[str]:
    """Commands as help lists them; those that the order does not know come last."""
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class InOrder(TyperGroup):
    """All commands; typer itself lists groups after single commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of `in_order`."""
        return in_order(super().list_commands(ctx))


class Defaulted(TyperGroup):
    """A group that takes any other first word for an argument of its first command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name in front where there is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
