"""`alexandria snapshot prune`: remove what no rule keeps, and what nobody needs."""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import typer
from rich.table import Table

from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.confirmation import confirm_word
from alexandria_backup.cli.invocation import Invocation, Json, Yes, invocation_of
from alexandria_backup.cli.prune_lines import PlanLine, PruneLine, plan_line, prune_line
from alexandria_backup.events import Note
from alexandria_backup.repository.prune_plan import PrunePlan

Keep: TypeAlias = int | None


def command(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")
    ] = False,
    keep_last: Annotated[Keep, typer.Option(min=0, help="Keep the newest ones.")] = None,
    keep_hourly: Annotated[Keep, typer.Option(min=0, help="Keep the last of each hour.")] = None,
    keep_daily: Annotated[Keep, typer.Option(min=0, help="Keep the last of each day.")] = None,
    keep_weekly: Annotated[Keep, typer.Option(min=0, help="Keep the last of each week.")] = None,
    keep_monthly: Annotated[Keep, typer.Option(min=0, help="Keep the last of each month.")] = None,
    keep_yearly: Annotated[Keep, typer.Option(min=0, help="Keep the last of each year.")] = None,
    keep_within_days: Annotated[
        Keep, typer.Option(min=0, help="Keep all no older than that against the newest.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove the snapshots that no rule keeps, and the objects that none needs any more.

    Any `--keep-…` replaces all rules of the settings. Each kind of each database is counted on its
    own, and the last good snapshot always stays.
    """
    invocation = invocation_of(context)
    repositories = invocation.wiring(json=json).repositories
    rules = repositories.rules(
        last=keep_last,
        hourly=keep_hourly,
        daily=keep_daily,
        weekly=keep_weekly,
        monthly=keep_monthly,
        yearly=keep_yearly,
        within_days=keep_within_days,
    )
    if dry_run:
        line = plan_line(repositories.plan_prune(rules), str(rules))
        invocation.renderer.result(line, _plan_table(line))
        return
    done = prune_line(repositories.prune(rules, _confirm(invocation, str(rules), yes=yes)))
    invocation.renderer.result(done, _done_text(done))


def _confirm(invocation: Invocation, rules: str, *, yes: bool) -> Callable[[PrunePlan], None]:
    def confirm(planned: PrunePlan) -> None:
        line = plan_line(planned, rules)
        for snapshot in line.snapshots:
            kept = ", ".join(snapshot.kept_by)
            said = f"stays: {kept}" if kept else "goes"
            invocation.emit(Note(message=f"{snapshot.id}  {said}"))
        freed = f"{line.objects:,} objects, {amount(line.bytes, 'bytes')}, go"
        invocation.emit(Note(message=freed))
        if line.removed:
            confirm_word(str(line.removed), f"remove {line.removed} snapshots", yes=yes)

    return confirm


def _plan_table(line: PlanLine) -> Table:
    table = Table("snapshot", "kept by", box=None, pad_edge=False)
    for snapshot in line.snapshots:
        table.add_row(snapshot.id, ", ".join(snapshot.kept_by) or "nothing: goes")
    table.caption = f"{line.objects:,} objects, {amount(line.bytes, 'bytes')}, would go"
    return table


def _done_text(line: PruneLine) -> str:
    lines = [f"{snapshot}: removed, {reason}" for snapshot, reason in line.snapshots.items()]
    lines += [f"{snapshot}: stays, it is being read or needed by now" for snapshot in line.spared]
    lines.append(f"{line.objects:,} objects removed, {amount(line.bytes, 'bytes')} freed")
    if line.head:
        lines.append(f"head  {line.head}")
    return "\n".join(lines)
