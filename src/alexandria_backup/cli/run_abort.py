"""`alexandria run abort`: undo a run that stopped."""

import typer

from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.cli.run_text import summary_text


def command(
    context: typer.Context, run: str, *, dsn_file: DsnFile = None, json: Json = False
) -> None:
    """Undo everything that a killed or stopped run has done, in reverse order."""
    invocation = invocation_of(context)
    summary = invocation.wiring(json=json, dsn_file=dsn_file).runs.abort(run)
    invocation.renderer.result(summary, summary_text(summary))
