"""`alexandria snapshot show`: everything that is recorded of one snapshot."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer
from rich.table import Table

from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.instants import instant
from alexandria_backup.cli.invocation import At, Json, invocation_of
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import FramePart
from alexandria_backup.repository.results import Result

#: Reasons of one table that are listed.
_REASONS: Final = 3


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")],
    *,
    at: At = None,
    json: Json = False,
) -> None:
    """Show what a snapshot's manifest says: versions, sizes, digests, tables, audit chain.

    And what verify and drill have found since, as far as their signatures can be believed.
    """
    invocation = invocation_of(context)
    snapshots = invocation.wiring(json=json).snapshots
    entry = snapshots.entry(snapshots.as_of(snapshot, instant(at)))
    if entry.manifest is None:
        raise SnapshotDamaged(
            f"`{entry.id}` has no manifest that can be read: {entry.problem or 'there is none'}",
            hint=f"alexandria snapshot verify {snapshot}",
        )
    manifest = entry.manifest
    shown = {name: getattr(manifest, name) for name in type(manifest).model_fields}
    shown |= {"status": entry.status, "problem": entry.problem, "results": entry.results}
    invocation.renderer.result(shown, "\n".join((_head(manifest), *_found(entry))))
    if not json:
        invocation.renderer.result(entry.manifest.tables, _tables(entry.manifest))


def _head(manifest: Manifest) -> str:
    audit = manifest.audit.summary if manifest.audit else "no audit chain"
    # In a repository it is keyed, and says so.
    kind, _, digest = manifest.archive.sha256.rpartition(":")
    return "\n".join(
        (
            f"snapshot   {manifest.snapshot}, {manifest.kind.value}",
            f"taken      {manifest.created:%Y-%m-%d %H:%M:%S %Z}, by the server's clock",
            *(
                (f"read back  {manifest.read_back:%Y-%m-%d %H:%M:%S %Z}",)
                if manifest.read_back
                else ()
            ),
            f"database   {manifest.database.name} of PostgreSQL {manifest.server.version}",
            f"archive    {amount(manifest.archive.bytes, 'bytes')}, pg_dump {manifest.pg_dump}",
            f"{kind or 'sha256':<10} {digest}",
            f"contents   {len(manifest.tables)} tables, {manifest.rows:,} rows, "
            f"{manifest.large_objects.count:,} large objects",
            f"audit      {audit}",
            *((f"note       {manifest.note}",) if manifest.note else ()),
        )
    )


def _found(entry: SnapshotEntry) -> Iterator[str]:
    yield f"status     {entry.status}" + (f": {entry.problem}" if entry.problem else "")
    for result in entry.results:
        yield f"{result.examination.value:<10} {result.at:%Y-%m-%d %H:%M:%S %Z}, {_how(result)}"


def _how(result: Result) -> str:
    if not result.good:
        return f"not good: {result.problem}"
    spent = [result.details.get(f"{name}_seconds") for name in ("find", "load", "prove")]
    if None in spent:
        return "good"
    return "good: find {} s, load {} s, prove {} s".format(*spent)


def _tables(manifest: Manifest) -> Table:
    """List the tables; of those in frames also what was taken over, what was read, and why."""
    framed = any(part.framed for part in manifest.tables)
    of_frames = ("frames", "taken over", "read", "stored", "why") if framed else ()
    table = Table("table", "rows", *of_frames, box=None, pad_edge=False)
    for part in manifest.tables:
        rows = "not counted" if part.rows is None else f"{part.rows:,}"
        frames = _frames(part.framed.frames) if part.framed else ("in the base archive",)
        table.add_row(f"{part.schema_name}.{part.name}", rows, *(frames if framed else ()))
    return table


def _frames(frames: Sequence[FramePart]) -> tuple[str, ...]:
    read = [frame for frame in frames if frame.taken_from is None]
    why = Counter(frame.reason for frame in frames)
    told = [f"{reason} ({number:,})" for reason, number in why.most_common(_REASONS)]
    return (
        f"{len(frames):,}",
        f"{len(frames) - len(read):,}",
        f"{len(read):,}",
        amount(sum(part.bytes for frame in frames for part in frame.parts), "bytes"),
        "; ".join((*told, *(("and others",) if len(why) > len(told) else ()))),
    )
