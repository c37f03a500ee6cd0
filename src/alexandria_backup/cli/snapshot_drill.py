"""`alexandria snapshot drill`: restore into a throwaway server, prove it there, throw it away."""

from typing import Annotated

import typer

from alexandria_backup.cli.amounts import duration
from alexandria_backup.cli.instants import instant
from alexandria_backup.cli.invocation import At, Jobs, Json, Plan, invocation_of
from alexandria_backup.cli.plan_text import plan_text
from alexandria_backup.runbooks.drill_run import Drilled


def command(
    context: typer.Context,
    snapshot: Annotated[
        str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")
    ] = "latest",
    *,
    at: At = None,
    jobs: Jobs = None,
    plan: Plan = False,
    json: Json = False,
) -> None:
    """Restore a snapshot into a throwaway server, prove it there, and throw it away.

    The server is one of our own, of the snapshot's major version, or the one of `[drill]`. Rows,
    digests and audit chain are compared with the manifest, then the queries of `[drill] checks`
    are asked. What was found is signed and kept: a good one makes the status `drilled`. A drill
    that could not run is inconclusive (23), and nothing is known then. Nothing is left behind.
    """
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json)
    drill = wiring.drills.drill(snapshot, at=instant(at), jobs=jobs)
    if plan:
        steps = drill.plan()
        invocation.renderer.result(steps, plan_text(steps))
        return
    drilled = drill.run()
    invocation.renderer.result(drilled, _text(drilled))
    invocation.warnings += drilled.warnings
    wiring.audits.require(drilled.chain, f"`{drilled.snapshot}`")


def _text(drilled: Drilled) -> str:
    checks = ", ".join(f"`{name}`" for name in drilled.checks)
    lines = [
        f"drilled   `{drilled.snapshot}` on {drilled.server}",
        f"proved    {drilled.tables} tables and {drilled.rows:,} rows counted, "
        f"{drilled.digests} tables compared row by row"
        + (f", audit chain {drilled.chain.status}" if drilled.chain else ""),
        f"checks    {f'passed: {checks}' if checks else 'none: set `[drill] checks`'}",
        f"took      {duration(drilled.restore_seconds)}: find {duration(drilled.find_seconds)}, "
        f"load {duration(drilled.load_seconds)}, prove {duration(drilled.prove_seconds)}",
    ]
    lines += [f"not shown {reason}" for reason in drilled.not_compared]
    return "\n".join(lines)
