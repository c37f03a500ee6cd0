"""The commands of the program, and which of them a command line needs.

A command's module imports the rooms that it works in. Whoever types one command, or `--version`,
should not wait until all the others are imported, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

import typer

GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "snapshot": "Take, list and check snapshots.",
        "backup": "Back up configuration, tools and knowledge store into one file; no database.",
        "repository": "Make a repository; look at it, check it.",
        "run": "Look at runs; resume, abort or accept them.",
        "manifests": "Write what is deployed.",
        "audit": "Check the application's audit chain.",
    }
)

#: What is typed, and the module in `cli/` that does it; in the order of `--help`.
COMMANDS: Final[Mapping[tuple[str, ...], str]] = MappingProxyType(
    {
        ("demo",): "demo",
        ("doctor",): "doctor",
        ("restore",): "restore",
        ("rollback",): "rollback",
        ("backup",): "backup",
        ("backup", "show"): "backup_show",
        ("backup", "verify"): "backup_verify",
        ("backup", "diff"): "backup_diff",
        ("backup", "restore"): "backup_restore",
        ("snapshot", "create"): "snapshot_create",
        ("snapshot", "export"): "snapshot_export",
        ("snapshot", "list"): "snapshot_list",
        ("snapshot", "show"): "snapshot_show",
        ("snapshot", "verify"): "snapshot_verify",
        ("snapshot", "drill"): "snapshot_drill",
        ("snapshot", "delete"): "snapshot_delete",
        ("snapshot", "prune"): "snapshot_prune",
        ("repository", "init"): "repository_init",
        ("repository", "info"): "repository_info",
        ("repository", "check"): "repository_check",
        ("run", "list"): "run_list",
        ("run", "show"): "run_show",
        ("run", "resume"): "run_resume",
        ("run", "abort"): "run_abort",
        ("run", "accept"): "run_accept",
        ("audit", "verify"): "audit_verify",
        ("audit", "anchor"): "audit_anchor",
        ("audit", "capture"): "audit_capture",
        ("audit", "recipe"): "audit_recipe",
        ("audit", "retire"): "audit_retire",
        ("manifests", "kubernetes"): "manifests_kubernetes",
        ("manifests", "systemd"): "manifests_systemd",
    }
)


def needed(arguments: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the commands that `arguments` may mean: more than one where a value looks like one.

    All of them where none is found in there, or where help is asked for.
    """
    if "--version" in arguments[:1]:
        return ()
    words = [argument for argument in arguments if not argument.startswith("-")]
    found = tuple(command for command in COMMANDS if command in _runs(words, len(command)))
    return tuple(COMMANDS) if "--help" in arguments or not found else found


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words)))


def add_commands(app: typer.Typer, wanted: Sequence[tuple[str, ...]]) -> None:
    """Import the wanted commands and add them, in their groups, to the program."""
    groups = {
        name: typer.Typer(
            name=name,
            help=text,
            no_args_is_help=(name,) not in COMMANDS,
            invoke_without_command=(name,) in COMMANDS,
        )
        for name, text in GROUPS.items()
    }
    for group in groups.values():
        app.add_typer(group)
    for command in wanted:
        module = import_module(f"alexandria_backup.cli.{COMMANDS[command]}")
        if command in {(name,) for name in groups}:
            # What is typed without a further word: `alexandria backup`.
            groups[command[0]].callback(invoke_without_command=True)(module.command)
            continue
        into = groups[command[0]] if len(command) > 1 else app
        # A command that has others below it brings a program of its own.
        below = getattr(module, "app", None)
        if isinstance(below, typer.Typer):
            into.add_typer(below, name=command[-1])
        else:
            into.command(command[-1])(module.command)
