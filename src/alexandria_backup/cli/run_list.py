"""`alexandria run list`: what was run, and what waits."""

import typer
from rich.table import Table

from alexandria_backup.cli.invocation import Json, invocation_of


def command(context: typer.Context, *, json: Json = False) -> None:
    """List the runs that this machine or the repository knows, oldest first."""
    invocation = invocation_of(context)
    runs = invocation.wiring(json=json).runs.all()
    table = Table("run", "began", "status", "at step", box=None, pad_edge=False)
    for run in runs:
        table.add_row(run.run, f"{run.began:%Y-%m-%d %H:%M:%S}", run.status, run.step or "")
    invocation.renderer.result(runs, table if runs else "no runs yet")
