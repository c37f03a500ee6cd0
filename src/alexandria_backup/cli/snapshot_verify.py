"""`alexandria snapshot verify`: read a snapshot as a restore would, to its last byte."""

from typing import Annotated

import typer

from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.events import Warned


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")],
    *,
    json: Json = False,
) -> None:
    """Read every byte of a snapshot; say what is in it and whether it is what was recorded."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json)
    verdict = wiring.snapshots.verify(snapshot)
    lines = [
        f"{verdict.snapshot}: {verdict.verdict}",
        f"read   {amount(verdict.bytes, 'bytes')}, sha256 {verdict.sha256}",
        f"rows   {verdict.rows:,} in {verdict.tables} tables",
        f"audit  {verdict.chain.summary if verdict.chain else 'no audit chain'}",
    ]
    invocation.renderer.result(verdict, "\n".join(lines))
    for reason in verdict.not_verified:
        invocation.emit(Warned(message=reason))
    wiring.audits.require(verdict.chain, f"`{verdict.snapshot}`")
