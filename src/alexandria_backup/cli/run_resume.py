"""`alexandria run resume`: go on where a run stopped."""

import typer

from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.cli.run_text import summary_text


def command(
    context: typer.Context, run: str, *, dsn_file: DsnFile = None, json: Json = False
) -> None:
    """Go on with a run that was killed or stopped, also from another machine."""
    invocation = invocation_of(context)
    summary = invocation.wiring(json=json, dsn_file=dsn_file).resume(run)
    invocation.renderer.result(summary, summary_text(summary))
