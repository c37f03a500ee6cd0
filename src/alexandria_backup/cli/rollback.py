"""`alexandria rollback`: swap the previous database back."""

from typing import Annotated

import typer

from alexandria_backup.cli.bundle_confirmation import confirm_bundle_rollback
from alexandria_backup.cli.bundle_text import bundle_rollback_text
from alexandria_backup.cli.confirmation import confirm_rollback
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, Yes, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.run_text import rollback_text


def command(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="The run that kept the database; default: the newest.")
    ] = None,
    *,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Swap back what a restore replaced, a database or files; what is in use now is kept."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    if run is not None and wiring.bundle_restores.is_restore(run):
        plan_or_run(
            invocation,
            wiring.bundle_restores.rollback(run),
            plan=plan,
            confirm=confirm_bundle_rollback(invocation, yes=yes),
            text=bundle_rollback_text,
        )
        return
    rollback = wiring.restores.rollback(run, plan=plan)
    plan_or_run(
        invocation,
        rollback,
        plan=plan,
        confirm=confirm_rollback(invocation, yes=yes),
        text=rollback_text,
    )
