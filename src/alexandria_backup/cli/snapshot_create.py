"""`alexandria snapshot create`: the paper recipe, read back in full."""

from typing import Annotated

import typer

from alexandria_backup.cli.ending import finish
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.run_text import snapshot_text
from alexandria_backup.repository.manifest_parts import SnapshotKind


def command(
    context: typer.Context,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Where to: a path or URL of a file, or of a folder."),
    ] = None,
    kind: Annotated[SnapshotKind, typer.Option(help="What it is taken for.")] = SnapshotKind.MANUAL,
    note: Annotated[str | None, typer.Option(help="A word for whoever reads the list.")] = None,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    json: Json = False,
) -> None:
    """Dump the database into one `.pgdump` file, read it back in full, and record what is in it."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    create = wiring.snapshots.create(file=file, kind=kind, note=note)
    summary = plan_or_run(invocation, create, plan=plan, confirm=lambda _: None, text=snapshot_text)
    if summary is not None:
        finish(invocation, wiring, summary)
