"""Ask before anything is changed: the operator types the name of the database."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from alexandria_backup.cli.amounts import age, amount
from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.errors import Interrupted, UsageError
from alexandria_backup.events import Note
from alexandria_backup.runbooks.accept import AcceptState
from alexandria_backup.runbooks.restore_state import GivenUp, RestoreState, Source
from alexandria_backup.runbooks.rollback import RollbackState

if TYPE_CHECKING:
    # A restore needs nothing of it, and it takes a tenth of its start.
    from alexandria_backup.audit.retire import Retired

#: How many tables are named before the rest is counted.
_MOST_TABLES = 12


def confirm_restore(invocation: Invocation, *, yes: bool) -> Callable[[RestoreState], None]:
    """Return what shows the snapshot and what it gives up, then asks."""

    def confirm(state: RestoreState) -> None:
        for line in restore_lines(state):
            invocation.emit(Note(message=line))
        if state.works_in_place:
            invocation.emit(Note(message="downtime  for the whole load, since it is in place"))
        if state.request.to_database is None:
            _ask(state.target, f"restore into `{state.target}`", yes=yes)

    return confirm


def confirm_rollback(invocation: Invocation, *, yes: bool) -> Callable[[RollbackState], None]:
    """Return what shows which rows the swap back gives up, then asks."""

    def confirm(state: RollbackState) -> None:
        becomes = "is put aside" if state.in_place else f"becomes `{state.kept_name}`"
        invocation.emit(Note(message=f"`{state.target}` {becomes}, and is kept"))
        for line in given_up_lines(state.given_up):
            invocation.emit(Note(message=line))
        _ask(state.target, f"roll back `{state.target}`", yes=yes)

    return confirm


def confirm_accept(invocation: Invocation, *, yes: bool) -> Callable[[AcceptState], None]:
    """Return what shows which database is dropped for good, then asks."""

    def confirm(state: AcceptState) -> None:
        kept = state.kept.name if state.kept else state.target
        what = ", ".join(state.aside) or f"`{kept}`"
        invocation.emit(
            Note(message=f"{what} ({amount(state.bytes, 'bytes')}) is dropped; no rollback then")
        )
        for slot in state.slots:
            invocation.emit(Note(message=f"its replication slot `{slot}` is dropped with it"))
        _ask(kept, f"drop {what}" if state.aside else f"drop `{kept}`", yes=yes)

    return confirm


def confirm_word(expected: str, what: str, *, yes: bool) -> None:
    """Ask for a word before something that is not a run; raises Interrupted or UsageError."""
    _ask(expected, what, yes=yes)


def confirm_retirement(planned: "Retired", *, yes: bool) -> None:
    """Ask before audit rows are moved."""
    _ask(
        planned.table,
        f"move {planned.rows:,} rows of `{planned.table}` to `{planned.retired_table}`",
        yes=yes,
    )


def restore_lines(state: RestoreState) -> list[str]:
    """Return what an operator must know before a restore: the snapshot, its age, what is lost."""
    source = state.source
    if source is None:
        return []
    taken = "at an unknown time"
    if source.created is not None:
        old = (datetime.now(UTC) - source.created).total_seconds()
        taken = f"{source.created:%Y-%m-%d %H:%M:%S} UTC, {age(max(old, 0))} ago"
    rows = sum(table.rows or 0 for table in source.tables)
    lines = [
        f"snapshot  `{source.snapshot}` of `{source.database}`, {taken}",
        f"contents  {amount(source.bytes, 'bytes')}, {len(source.tables)} tables, {rows:,} rows, "
        + (_how_well_known(source)),
        f"audit     {source.chain.summary if source.chain else 'no audit chain in the snapshot'}",
    ]
    lines += left_out_lines(source)
    return lines + given_up_lines(state.given_up)


def left_out_lines(source: Source) -> list[str]:
    """Return a line for each thing that some tables alone cannot have, or that is empty."""
    return [
        *(f"left out  {what}: it needs a table that is not restored" for what in source.left_out),
        *(f"empty     `{name}`: created for its form alone" for name in source.empty),
    ]


def given_up_lines(differences: tuple[GivenUp, ...]) -> list[str]:
    """Return a line for each table whose number of rows changes."""
    lines = []
    for item in differences[:_MOST_TABLES]:
        live = _rows_now(item)
        after = "gone" if item.snapshot is None else f"{item.snapshot:,} rows"
        lines.append(f"changes   {item.table}: {live} now, {after} afterwards")
    if len(differences) > _MOST_TABLES:
        lines.append(f"changes   and {len(differences) - _MOST_TABLES} more tables")
    return lines


def _rows_now(item: GivenUp) -> str:
    if not item.there:
        return "not there"
    if item.live is None:
        return "not readable"
    return f"{'about ' if item.estimated else ''}{item.live:,} rows"


def _ask(expected: str, what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"to {what} needs an answer, and there is no terminal", hint="add `--yes`")
    typed = typer.prompt(f"To {what}, type `{expected}`", err=True)
    if typed != expected:
        raise Interrupted(f"`{typed}` is not `{expected}`; nothing was changed")


def _how_well_known(source: Source) -> str:
    if not source.read_in_full:
        return "every object is there"
    return "read back just now" if source.manifest else "read just now; no manifest vouches for it"
