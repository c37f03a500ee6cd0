"""Rows as evidence: their values, their exact bytes, and the digest that names them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

from alexandria_backup.archive.copy_text import fields
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.errors import ManifestInvalid


@dataclass(frozen=True, kw_only=True)
class CapturedRow:
    """One row."""

    id: str
    #: The verdicts that name it; empty where it is a neighbour, or belongs to a head.
    findings: tuple[str, ...]
    #: By column, as the server writes it as text; None where it is NULL.
    values: Mapping[str, str | None]
    #: The line of COPY text, which loads as exactly this row.
    copy_text: str
    #: Of the row in canonical form, in hex.
    sha256: str


def captured(line: bytes, reader: RowReader, findings: Sequence[str]) -> CapturedRow:
    """Return a row from its line of COPY text; raises ArchiveDamaged as `RowReader` does."""
    canonical = reader.canonical(line)
    values = zip(reader.layout.table.order, fields(line), strict=True)
    return CapturedRow(
        id=reader.layout.id_of(canonical).decode(),
        findings=tuple(findings),
        values={name: None if value is None else value.decode() for name, value in values},
        copy_text=line.decode(),
        sha256=sha256(canonical).hexdigest(),
    )


def written(rows: Iterable[CapturedRow]) -> bytes:
    """Return rows as NDJSON, one line for each."""
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows).encode()


def read_rows(document: bytes) -> list[CapturedRow]:
    """Read what `written` has written; raises ManifestInvalid where it is something else."""
    try:
        told = [json.loads(line) for line in document.decode().split("\n")[:-1]]
        return [CapturedRow(**{**one, "findings": tuple(one["findings"])}) for one in told]
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestInvalid("the captured rows are not of this format") from error


def set_digest(rows: Iterable[CapturedRow]) -> str:
    """Return the digest over rows whatever their order, as `RowSet` computes it."""
    digests = sorted(bytes.fromhex(row.sha256) for row in rows)
    return sha256(b"".join(digests)).hexdigest()
