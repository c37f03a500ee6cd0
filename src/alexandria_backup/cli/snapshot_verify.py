"""`alexandria snapshot verify`: is it there; and with `--deep`, does it read to its last byte."""

from typing import Annotated

import typer

from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.instants import instant
from alexandria_backup.cli.invocation import At, Invocation, Json, invocation_of
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.events import Warned
from alexandria_backup.repository.layout import object_name
from alexandria_backup.wiring.wiring import Wiring


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")],
    *,
    at: At = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read everything, as a restore does.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a snapshot's signatures, its manifest, and that each object is there with its size.

    With `--deep`, and for a file always, read every byte through the same reader as restore, and
    compare what is in it with what was recorded. Results about a repository's snapshot are signed
    and kept: its status rests on them.
    """
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json)
    snapshot = wiring.snapshots.as_of(snapshot, instant(at))
    if not deep and not wiring.snapshots.is_file(snapshot):
        _examine(invocation, wiring, snapshot)
        return
    verdict = wiring.reading.verify(snapshot)
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


def _examine(invocation: Invocation, wiring: Wiring, snapshot: str) -> None:
    examined = wiring.repositories.examine(snapshot)
    signed = ", ".join(examined.signers) or "nobody"
    said = "all there" if not examined.bad else f"{len(examined.bad)} missing or damaged"
    lines = [
        f"{examined.snapshot}: {examined.objects:,} objects, "
        f"{amount(examined.bytes, 'bytes')}, {said}",
        f"signed by {signed}; nothing was read: `--deep` does",
    ]
    lines += [f"{object_name(one.object)} {one.problem}" for one in examined.bad]
    invocation.renderer.result(examined, "\n".join(lines))
    if not examined.recorded:
        invocation.emit(
            Warned(
                message="the result is not kept: this machine has no signing key, or may not write"
            )
        )
    if examined.bad:
        raise SnapshotDamaged(
            f"`{examined.snapshot}` lacks {len(examined.bad)} objects, such as "
            f"`{object_name(examined.bad[0].object)}`, which {examined.bad[0].problem}",
            hint="alexandria snapshot create   # stores anew what is damaged or lost",
        )
