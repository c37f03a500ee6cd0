"""`alexandria snapshot list`: what there is, how old, and what is known of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from alexandria_backup.cli.amounts import age, amount
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.events import Warned
from alexandria_backup.repository.entries import SnapshotEntry


@dataclass(frozen=True, kw_only=True)
class Line:
    """One snapshot as `--json` shows it."""

    id: str
    #: `stored`, `read back`, `drilled` or `damaged`.
    status: str
    created: datetime
    kind: str | None
    database: str | None
    bytes: int | None
    rows: int | None
    #: The audit chain's status when the snapshot was read back.
    audit: str | None
    #: When the newest good drill was; None where there was none, or results are not kept.
    drilled: datetime | None
    #: Names of trusted keys that signed the manifest.
    signers: tuple[str, ...]
    problem: str | None
    #: What the checks of the newest drill were not content with, where the rows are as recorded; or
    #: that a result is dated in the future.
    doubt: str | None

    @classmethod
    def of(cls, entry: SnapshotEntry) -> "Line":
        """Return the line of an entry."""
        manifest = entry.manifest
        return cls(
            id=entry.id,
            status=entry.status,
            created=entry.created.astimezone(UTC),
            kind=manifest.kind.value if manifest else None,
            database=manifest.database.name if manifest else None,
            bytes=entry.bytes,
            rows=manifest.rows if manifest else None,
            audit=manifest.audit.status if manifest and manifest.audit else None,
            drilled=entry.drilled,
            signers=entry.signed.signers if entry.signed else (),
            problem=entry.problem,
            doubt=entry.doubt,
        )


def command(
    context: typer.Context,
    location: Annotated[
        str | None, typer.Argument(help="A folder or URL prefix; default: the repository.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List the snapshots, oldest first, with age, status and audit verdict."""
    invocation = invocation_of(context)
    lines = [Line.of(entry) for entry in invocation.wiring(json=json).snapshots.all(location)]
    table = Table(
        "id", "age", "kind", "database", "size", "rows", "status", "audit", box=None, pad_edge=False
    )
    now = datetime.now(UTC)
    for line in lines:
        table.add_row(
            line.id,
            age(max((now - line.created).total_seconds(), 0)),
            line.kind or "",
            line.database or "",
            "" if line.bytes is None else amount(line.bytes, "bytes"),
            "" if line.rows is None else f"{line.rows:,}",
            line.status,
            line.audit or "",
        )
    invocation.renderer.result(lines, table if lines else "no snapshots yet")
    for line in lines:
        for wrong in filter(None, (line.problem, line.doubt)):
            invocation.emit(Warned(message=f"`{line.id}`: {wrong}"))
