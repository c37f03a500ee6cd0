"""`alexandria demo`: the whole story on an embedded PostgreSQL."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from alexandria_backup.cli.amounts import amount, duration
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.demo.outcome import DEFAULT_ROWS, Outcome


def command(
    context: typer.Context,
    *,
    rows: Annotated[int, typer.Option(min=1_000, help="About how many rows.")] = DEFAULT_ROWS,
    keep: Annotated[
        Path | None, typer.Option(help="A new folder in which everything is left to look at.")
    ] = None,
    json: Json = False,
) -> None:
    """Write, snapshot, break, verify, restore, roll back: with real servers and real work."""
    # Here, since it imports every room: `--help` needs none of them.
    from alexandria_backup.demo.story import tell  # noqa: PLC0415

    invocation = invocation_of(context)
    invocation.json = json
    outcome = tell(rows=rows, keep=keep, emit=invocation.emit)
    invocation.renderer.result(outcome, _table(outcome))
    if not json:
        invocation.renderer.result(None, _last_lines(outcome))
    # What the story has met on purpose, such as the broken chain, is no warning about the demo.
    invocation.warnings.clear()


def _table(outcome: Outcome) -> Table:
    table = Table("scene", "took", "bytes", "rows", "downtime", "result", box=None, pad_edge=False)
    for scene in outcome.scenes:
        table.add_row(
            scene.title,
            duration(scene.seconds),
            "" if scene.bytes is None else amount(scene.bytes, "bytes"),
            "" if scene.rows is None else f"{scene.rows:,}",
            "" if scene.downtime_seconds is None else duration(scene.downtime_seconds),
            scene.result,
        )
    return table


def _last_lines(outcome: Outcome) -> str:
    lines = [f"everything is left in {outcome.kept_in}"] if outcome.kept_in else []
    return "\n".join([*lines, f"audit chain: {outcome.chain}", "demo: verified"])
