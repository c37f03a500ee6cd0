"""The commands of the program, and which of them a command line needs.

A command's module imports the rooms that it works in. Whoever types one command, or asks for help,
should not wait until all the others are imported, too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final, NoReturn

import typer

#: Help without boxes and colours: importing what draws these takes three times as long as typer.
PLAIN: Final = None

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


#: What is typed, and the first sentence of its help, so that listing a command need not import it;
#: in the order of `--help`. `snapshot create` is done by the module `snapshot_create` of `cli/`.
COMMANDS: Final[Mapping[tuple[str, ...], str]] = MappingProxyType(
    {
        ("demo",): (
            "Write, snapshot, break, verify, restore, roll back: with real servers and real work."
        ),
        ("doctor",): (
            "Check DSN, server, client tools, rights, space, clock and keys; change nothing."
        ),
        ("restore",): (
            "Restore a snapshot: load it beside the live database, prove it, then swap by name."
        ),
        ("rollback",): (
            "Swap back what a restore replaced, a database or files; what is in use now is kept."
        ),
        ("backup",): "Back up configuration, tools and knowledge store into one file; no database.",
        ("backup", "show"): (
            "Show a bundle's manifest; nothing else is read where it is not sealed."
        ),
        ("backup", "verify"): (
            "Read every byte of a bundle and say each difference from its "
            "manifest; extract nothing."
        ),
        ("backup", "diff"): "List every path that was added, removed or changed, and what of it.",
        ("backup", "restore"): (
            "Restore a bundle: extract it beside what is there, prove it, then exchange set by set."
        ),
        ("snapshot", "create"): (
            "Copy the database into the repository: what has changed since the "
            "last snapshot is read."
        ),
        ("snapshot", "export"): (
            "Write a snapshot into one `.pgdump` file for the stock `pg_restore`, and read it back."
        ),
        ("snapshot", "list"): (
            "List the snapshots, oldest first, with age, status and audit verdict."
        ),
        ("snapshot", "show"): (
            "Show what a snapshot's manifest says: versions, sizes, digests, tables, audit chain."
        ),
        ("snapshot", "verify"): (
            "Check a snapshot's signatures, its manifest, and that each object is "
            "there with its size."
        ),
        ("snapshot", "drill"): (
            "Restore a snapshot into a throwaway server, prove it there, and throw it away."
        ),
        ("snapshot", "delete"): (
            "Remove one snapshot of the repository; the next prune frees the "
            "space that only it takes."
        ),
        ("snapshot", "prune"): (
            "Remove the snapshots that no rule keeps, and the objects that none needs any more."
        ),
        ("repository", "init"): (
            "Make the place of the settings a repository; a second time changes only its keys."
        ),
        ("repository", "info"): "Show id, keys, size, newest snapshot, and the head of the ledger.",
        ("repository", "check"): (
            "Name what is missing, foreign, damaged or left over; nothing is repaired."
        ),
        ("run", "list"): "List the runs that this machine or the repository knows, oldest first.",
        ("run", "show"): (
            "Show the journal of a run, a line per transition, and what can be done now."
        ),
        ("run", "resume"): (
            "Go on with a run that was killed or stopped, also from another machine."
        ),
        ("run", "abort"): (
            "Undo everything that a killed or stopped run has done, in reverse order."
        ),
        ("run", "accept"): (
            "Drop the database that a run kept, after a snapshot of it; there is no rollback then."
        ),
        ("audit", "verify"): (
            "Recompute every row's HMAC and follow every link; name what is wrong, by id."
        ),
        ("audit", "anchor"): (
            "Sign the state of the audit chain; refuse one that goes back behind what was signed."
        ),
        ("audit", "capture"): (
            "Keep the rows that the findings name, their neighbours and verdicts, signed."
        ),
        ("audit", "recipe"): "Check the recipe of the audit chain.",
        ("audit", "retire"): (
            "Move the captured rows to a table of retired ones, and say so in the chain itself."
        ),
        ("manifests", "kubernetes"): (
            "Write what a cluster gets, from the settings; nothing in it is secret."
        ),
        ("manifests", "systemd"): (
            "Write services and timers that take, prune, verify and drill snapshots on this host."
        ),
    }
)


def needed(arguments: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the commands that `arguments` may mean: more than one where a value looks like one.

    Empty where none is found in there: such a command line is answered with a list, or refused.
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    return tuple(command for command in COMMANDS if command in _runs(words, len(command)))


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words)))


def add_commands(app: typer.Typer, wanted: Collection[tuple[str, ...]]) -> None:
    """Add the commands, in their groups, to the program: import the wanted, list the others."""
    groups = {
        name: typer.Typer(
            name=name,
            help=text,
            short_help=text,
            no_args_is_help=(name,) not in COMMANDS,
            invoke_without_command=(name,) in COMMANDS,
            rich_markup_mode=PLAIN,
        )
        for name, text in GROUPS.items()
    }
    for group in groups.values():
        app.add_typer(group)
    for command, summary in COMMANDS.items():
        typed_alone = command[0] in groups and len(command) == 1
        into = groups.get(command[0], app)
        if command not in wanted:
            if not typed_alone:
                into.command(command[-1], short_help=summary)(_only_listed)
            continue
        module = import_module(f"alexandria_backup.cli.{'_'.join(command)}")
        # A command that has others below it brings a program of its own.
        below = getattr(module, "app", None)
        if typed_alone:
            # What is typed without a further word: `alexandria backup`.
            into.callback(invoke_without_command=True)(module.command)
        elif isinstance(below, typer.Typer):
            into.add_typer(below, name=command[-1], short_help=summary)
        else:
            into.command(command[-1], short_help=summary)(module.command)


def _only_listed() -> NoReturn:
    raise AssertionError("a command that is typed is imported")
