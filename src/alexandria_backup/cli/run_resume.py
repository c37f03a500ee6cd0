"""`alexandria run resume`: go on where a run stopped."""

import typer

from alexandria_backup.cli.confirm_resumed import confirm_any
from alexandria_backup.cli.ending import finish
from alexandria_backup.cli.invocation import DsnFile, Json, Yes, invocation_of
from alexandria_backup.cli.run_text import summary_text


def command(
    context: typer.Context,
    run: str,
    *,
    dsn_file: DsnFile = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Go on with a run that was killed or stopped, also from another machine."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    summary = wiring.runs.resume(run, confirm_any(invocation, yes=yes))
    invocation.renderer.result(summary, summary_text(summary))
    finish(invocation, wiring, summary)
