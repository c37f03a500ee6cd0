"""`alexandria run accept`: the restore is good; drop the database it replaced."""

from typing import Annotated

import typer

from alexandria_backup.cli.bundle_confirmation import confirm_bundle_accept
from alexandria_backup.cli.confirmation import confirm_accept
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, Yes, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.run_text import summary_text


def command(
    context: typer.Context,
    run: str,
    *,
    discard: Annotated[
        bool, typer.Option("--discard", help="Take no snapshot of it before it is dropped.")
    ] = False,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Drop the database that a run kept, after a snapshot of it; there is no rollback then."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    if wiring.bundle_restores.is_restore(run):
        plan_or_run(
            invocation,
            wiring.bundle_restores.accept(run),
            plan=plan,
            confirm=confirm_bundle_accept(invocation, yes=yes),
            text=summary_text,
        )
        return
    accept = wiring.restores.accept(run, discard=discard)
    plan_or_run(
        invocation,
        accept,
        plan=plan,
        confirm=confirm_accept(invocation, yes=yes),
        text=summary_text,
    )
