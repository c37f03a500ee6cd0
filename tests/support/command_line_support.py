"""Whether a command line is one of this program's."""

from pathlib import Path
from typing import Any

import typer

from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.cli.main import application


def parse(words: list[str]) -> None:
    """Parse a command line to its end, as the program does, and run nothing."""
    invocation = Invocation(environ={}, cwd=Path())
    command: Any = typer.main.get_command(application())
    name, parent = "alexandria", None
    if not words or words == ["--version"]:
        return
    while True:
        below = hasattr(command, "commands")
        # A group's name alone stands for the group: `alexandria run`.
        if below and not words:
            return
        context = command.make_context(name, list(words), parent=parent, obj=invocation)
        rest = [*context._protected_args, *context.args]
        # A group that does something itself may be all that is typed.
        if not below or (not rest and command.invoke_without_command):
            return
        name, command, words = command.resolve_command(context, rest)
        parent = context
