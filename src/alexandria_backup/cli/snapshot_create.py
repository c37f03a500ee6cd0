"""`alexandria snapshot create`: into the repository what has changed, or one file of it all."""

import sys
from typing import Annotated

import typer

from alexandria_backup.cli.ending import finish
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.snapshot_text import snapshot_text
from alexandria_backup.postgres.marker_rows import SCHEMA
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.wiring.wiring import Wiring


def command(
    context: typer.Context,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Where to: a path or URL of a file, or of a folder."),
    ] = None,
    kind: Annotated[SnapshotKind, typer.Option(help="What it is taken for.")] = SnapshotKind.MANUAL,
    note: Annotated[str | None, typer.Option(help="A word for whoever reads the list.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything, and store it anew.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Let schema `alexandria_backup` be made in the database."),
    ] = False,
    require_anchor: Annotated[
        bool,
        typer.Option(
            "--require-anchor",
            help="Sign the audit chain's state and store it in `anchor_to`; else it is not done.",
        ),
    ] = False,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    json: Json = False,
) -> None:
    """Copy the database into the repository: what has changed since the last snapshot is read.

    With `--file`, or where the repository is a plain folder, dump it into one `.pgdump` file as the
    paper recipe does, read that back in full, and record what is in it.
    """
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    if require_anchor:
        # Before anything is read: what cannot be anchored need not be begun.
        wiring.audits.require_anchoring()
    own_schema = True if yes else _consent(wiring, plan=plan or json or file is not None)
    create = wiring.taking.create(file=file, kind=kind, note=note, full=full, own_schema=own_schema)
    summary = plan_or_run(invocation, create, plan=plan, confirm=lambda _: None, text=snapshot_text)
    if summary is not None:
        finish(invocation, wiring, summary)
        if require_anchor:
            wiring.audits.anchor_snapshot(summary.state.snapshot)


def _consent(wiring: Wiring, *, plan: bool) -> bool | None:
    """Ask once, where somebody is there to answer; None leaves things as they are."""
    if plan or not sys.stdin.isatty() or not wiring.taking.needs_consent():
        return None
    return typer.confirm(
        f"Make schema `{SCHEMA}` in the database? Later snapshots then cost what has changed",
        default=False,
        err=True,
    )
