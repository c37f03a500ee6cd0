"""`alexandria repository check`: account for everything that lies in it."""

from typing import Annotated

import typer
from rich.table import Table

from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.events import Note, Warned
from alexandria_backup.repository.findings import Severity


def command(
    context: typer.Context,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every object, and compare it with its name.")
    ] = False,
    json: Json = False,
) -> None:
    """Name what is missing, foreign, damaged or left over; nothing is repaired.

    What `--deep` finds damaged is remembered, signed: the next snapshot stores it anew.
    """
    invocation = invocation_of(context)
    report = invocation.wiring(json=json).repositories.check(deep=deep)
    table = Table("severity", "code", "about", "message", box=None, pad_edge=False)
    for finding in report.findings:
        table.add_row(finding.severity.value, finding.code, finding.about, finding.message)
    invocation.renderer.result(report, table if report.findings else "nothing to say")
    read = f", {report.read:,} of them read" if deep else ""
    said = f"{report.snapshots} snapshots, {report.objects:,} objects{read}"
    said += f" ({amount(report.bytes, 'bytes')}), {report.ledger_entries:,} ledger entries"
    invocation.emit(Note(message=said))
    errors = report.of(Severity.ERROR)
    if errors:
        raise SnapshotDamaged(
            f"{len(errors)} things are wrong, first: {errors[0].about}: {errors[0].message}",
            hint="alexandria snapshot list   # and take a new one: it stores anew what is lost",
        )
    for finding in report.of(Severity.WARNING):
        invocation.emit(Warned(message=f"`{finding.about}`: {finding.message}"))
