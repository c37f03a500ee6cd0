"""`alexandria audit retire`: move captured rows out of the audit table; nothing is deleted."""

from pathlib import Path
from typing import Annotated

import typer

from alexandria_backup.cli.confirmation import confirm_retirement
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, Yes, invocation_of


def command(
    context: typer.Context,
    *,
    capture: Annotated[
        Path, typer.Option("--capture", help="The evidence, which holds exactly these rows.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the chain.")],
    operator: Annotated[
        str | None, typer.Option("--operator", help="Who retires them; default: this user.")
    ] = None,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Move the captured rows to a table of retired ones, and say so in the chain itself."""
    invocation = invocation_of(context)
    audits = invocation.wiring(json=json, dsn_file=dsn_file).audits
    planned = audits.plan_retirement(capture, reason=reason, operator=operator)
    if plan:
        said = f"{planned.rows:,} rows would move from `{planned.table}` to "
        lines = [f"{said}`{planned.retired_table}`, in one transaction:"]
        lines += [f"  {statement};" for statement in planned.statements]
        lines.append("and a row `audit.retired` would be appended to the chain, which says so")
        invocation.renderer.result(planned, "\n".join(lines))
        return
    confirm_retirement(planned, yes=yes)
    done = audits.retire(capture, reason=reason, operator=operator)
    lines = [
        f"retired   {done.rows:,} rows of `{done.table}`, now in `{done.retired_table}`",
        f"recorded  in row `{done.entry}`, by capture {done.capture[:12]}…",
        "hint: alexandria audit verify",
    ]
    invocation.renderer.result(done, "\n".join(lines))
