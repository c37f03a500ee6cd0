"""`alexandria repository info`: what it is, what it holds, and whom it trusts."""

from datetime import UTC, datetime

import typer

from alexandria_backup.cli.amounts import age, amount
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.events import Note
from alexandria_backup.repository.summary import RepositorySummary


def command(context: typer.Context, *, json: Json = False) -> None:
    """Show id, keys, size, newest snapshot, and the head of the ledger."""
    invocation = invocation_of(context)
    summary = invocation.wiring(json=json).repositories.info()
    invocation.renderer.result(summary, _text(summary))
    for note in summary.notes:
        invocation.emit(Note(message=note))


def _text(summary: RepositorySummary) -> str:
    newest = "none"
    if summary.newest is not None:
        old = age(max((datetime.now(UTC) - summary.newest.created).total_seconds(), 0))
        newest = f"{summary.newest.id}, {old} ago, {summary.newest.status}"
    lines = [
        f"repository  {summary.id} in {summary.url}",
        f"made        {summary.created:%Y-%m-%d %H:%M:%S} UTC",
        f"encrypted   {'to ' + ', '.join(summary.recipients) if summary.recipients else 'no'}",
        f"signed      {'by ' + ', '.join(summary.trusted_keys) if summary.trusted_keys else 'no'}",
        f"snapshots   {summary.snapshots}; newest: {newest}",
        f"objects     {summary.objects:,}, {amount(summary.bytes, 'bytes')}",
        f"in use      {summary.in_use or 'no'}",
        f"head        {', '.join(summary.heads)}",
    ]
    if summary.read_only:
        lines.append(f"read only   {summary.read_only}")
    return "\n".join(lines)
