"""`alexandria audit anchor`: verify the audit chain and sign its state for a place elsewhere."""

from typing import Annotated

import typer

from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of


def command(
    context: typer.Context,
    *,
    out: Annotated[
        str | None,
        typer.Option("--out", help="The folder or prefix that gets it; default: `anchor_to`."),
    ] = None,
    dsn_file: DsnFile = None,
    json: Json = False,
) -> None:
    """Sign the state of the audit chain; refuse one that goes back behind what was signed."""
    invocation = invocation_of(context)
    note, document = invocation.wiring(json=json, dsn_file=dsn_file).audits.anchor(out)
    invocation.renderer.result(note, document.rstrip("\n"))
