"""Test vectors of a recipe: rows with their HMACs, and what this program makes of them.

The file is TOML or JSON: `key` (in hex) or none, for the key of the settings; `recipe`, a table
with the choices of a recipe, or none, for that of the settings; and `rows`, each with the `values`
by field, `previous` (as the column holds it; left out for a chain's first row), and the `hmac`.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.rows import AuditRow, RowReader, row_named
from alexandria_backup.audit.timestamps import microseconds
from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.connect import Session
from alexandria_backup.sealing.hmac_sha256 import HmacSha256


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One row under a recipe."""

    id: str
    #: The bytes that are authenticated, in hex; None where the recipe cannot write this row.
    message: str | None
    #: What the recipe makes of it; None where there is no key.
    computed: str | None
    #: What the vector or the row says.
    stored: str | None
    fits: bool
    #: Why there is no message.
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """What a file of vectors holds."""

    key: bytes | None
    #: The choices of a recipe; None where the settings' is meant.
    recipe: Mapping[str, Any] | None
    rows: Sequence[Mapping[str, Any]]


def read_vectors(path: Path) -> Vectors:
    """Read a file of vectors; UsageError where it is none."""
    try:
        data = path.read_bytes()
        told = json.loads(data) if path.suffix == ".json" else tomllib.loads(data.decode())
        key, rows = told.get("key"), told["rows"]
        return Vectors(
            key=None if key is None else bytes.fromhex(key),
            recipe=told.get("recipe"),
            rows=[dict(row) for row in rows],
        )
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"`{path}` holds no test vectors: {error}", hint="see docs/reference/audit-recipe.md"
        ) from error


def try_vector(row: Mapping[str, Any], recipe: Recipe, key: bytes | None) -> Tried:
    """Compute one vector."""
    values = row.get("values")
    if not isinstance(values, Mapping):
        raise UsageError("a vector has no table `values`")
    strange = [name for name in values if name not in recipe.fields and name != Role.ID]
    if strange:
        raise UsageError(f"the recipe `{recipe.name}` covers no field `{strange[0]}`")
    previous = row.get("previous")
    stored = row.get("hmac")
    return _tried(
        AuditRow(
            id=str(values.get(Role.ID, "")).encode(),
            values=[_value(name, values.get(name)) for name in recipe.fields],
            hmac=None if stored is None else str(stored).encode(),
            prev_hmac=None if previous is None else str(previous).encode(),
            tenant=None,
            created_at=None,
        ),
        recipe,
        None if key is None else HmacSha256(key),
    )


def try_row(
    session: Session,
    table: AuditTable,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    ident: str,
) -> Tried:
    """Compute one row of the table; UsageError where there is none of this id."""
    reader = RowReader(table, recipe)
    # To its end: a COPY that is left early is cancelled, and an open transaction with it.
    lines = list(live_lines(session, table, where=row_named(table, ident), limit=1))
    if not lines:
        raise UsageError(f"`{table}` has no row `{ident}`")
    row = reader.read(lines[0])
    hasher = None
    if key is not None:
        judge = Judge(recipe, key)
        fits = judge.fits(row)
        if fits:
            return _tried(row, recipe, None, fits=True)
        first = (key.keys if isinstance(key, KeyRing) else (key,))[0]
        hasher = HmacSha256(first.reveal()[0][1])
    return _tried(row, recipe, hasher)


def _tried(
    row: AuditRow, recipe: Recipe, hasher: HmacSha256 | None, *, fits: bool = False
) -> Tried:
    ident = row.id.decode("utf-8", "backslashreplace")
    stored = None if row.hmac is None else row.hmac.decode("utf-8", "backslashreplace")
    begins = recipe.begins(row.prev_hmac)
    previous = None if begins else recipe.read(row.prev_hmac or b"")
    problem = None
    if not begins and previous is None:
        problem = f"its previous HMAC is not written in {recipe.output}"
    try:
        message = recipe.message(row.values, previous)
    except ValueError as error:
        problem, message = str(error), b""
    if problem is not None:
        return Tried(
            id=ident, message=None, computed=None, stored=stored, fits=False, problem=problem
        )
    computed = stored if fits else None
    if hasher is not None:
        computed = recipe.write(hasher.digest(message))
    return Tried(
        id=ident,
        message=message.hex(),
        computed=computed,
        stored=stored,
        fits=fits or (computed is not None and computed == stored),
    )


def _value(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.isoformat(sep=" ")
    text = str(value).encode()
    if name == Role.CREATED_AT:
        return microseconds(text.replace(b"T", b" ").replace(b"Z", b"+00")) or text
    return text
