"""`alexandria backup restore`: extract beside what is there, prove it, exchange, keep the old."""

from typing import Annotated

import typer

from alexandria_backup.cli.bundle_confirmation import confirm_bundle_restore
from alexandria_backup.cli.bundle_text import restore_text
from alexandria_backup.cli.invocation import Json, Plan, Yes, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.warnings_of_run import remember_warnings


def command(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="The bundle: a path or a URL.")],
    *,
    to: Annotated[str, typer.Option("--to", help="`/`, or a folder that stands for it.")],
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME", help="Restore this set alone; may be given several times."
        ),
    ] = None,
    plan: Plan = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Restore a bundle: extract it beside what is there, prove it, then exchange set by set."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json)
    restore = wiring.bundle_restores.restore(bundle, to=to, sets=tuple(only) if only else None)
    summary = plan_or_run(
        invocation,
        restore,
        plan=plan,
        confirm=confirm_bundle_restore(invocation, yes=yes),
        text=restore_text,
    )
    if summary is not None:
        remember_warnings(invocation, summary)
