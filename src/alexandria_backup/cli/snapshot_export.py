"""`alexandria snapshot export`: a snapshot as one archive that needs nothing of ours any more."""

from enum import StrEnum
from typing import Annotated

import typer

from alexandria_backup.archive.toc import Compression
from alexandria_backup.cli.amounts import amount
from alexandria_backup.cli.instants import instant
from alexandria_backup.cli.invocation import At, Json, invocation_of
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.export import parse_format_version


class Compress(StrEnum):
    """What is written: `lz4` can only be read."""

    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")],
    file: Annotated[
        str,
        typer.Argument(help="The new file, as a path or URL; a folder gets one of the id's name."),
    ],
    *,
    at: At = None,
    compress: Annotated[
        Compress,
        typer.Option(
            help="`gzip` is read by every `pg_restore` of the format; `zstd` is much faster, and "
            "needs one of 16 or newer that was built with it."
        ),
    ] = Compress.GZIP,
    format_version: Annotated[
        str | None,
        typer.Option(
            help="`1.14` is read by `pg_restore` from 12 on, `1.15` from 16 on, `1.16` from 17 on; "
            "default: as `pg_dump` wrote it."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a snapshot into one `.pgdump` file for the stock `pg_restore`, and read it back."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json)
    exported = wiring.reading.export(
        wiring.snapshots.as_of(snapshot, instant(at)),
        file=file,
        compression=Compression(compress.value),
        format_minor=parse_format_version(format_version) if format_version else None,
    )
    lines = [
        f"{exported.snapshot}: written to {exported.location}",
        f"read back  {amount(exported.bytes, 'bytes')}, sha256 {exported.sha256}",
        f"contents   {exported.tables} tables, {exported.rows:,} rows",
        f"format     {exported.format_version}, {exported.compression}: "
        f"pg_restore {exported.pg_restore} or newer",
    ]
    invocation.renderer.result(exported, "\n".join(lines))
    for reason in exported.not_verified:
        invocation.emit(Warned(message=reason))
