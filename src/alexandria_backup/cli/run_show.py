"""`alexandria run show`: the journal of one run."""

import typer

from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.cli.run_text import journal_text


def command(context: typer.Context, run: str, *, json: Json = False) -> None:
    """Show the journal of a run, a line per transition, and what can be done now."""
    invocation = invocation_of(context)
    transitions = invocation.wiring(json=json).runs.journal(run).transitions
    invocation.renderer.result(transitions, journal_text(transitions))
