"""Appending to a chain: one row, one transaction, one writer at a time.

This is the public call for writers in Python; `sql_writer` has the same for writers elsewhere. Both
take the same lock, so they may write to one chain side by side.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.errors import AuditBroken, AuditUnverified
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified

#: The advisory lock that every writer of a chain takes first.
WRITER_LOCK: Final = 4711
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: Crockford's base 32, as the specification at github.com/ulid/spec has it.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS: Final = 26
_CHANCE_BITS: Final = 80


@dataclass(frozen=True, kw_only=True)
class NewEntry:
    """What is to be told in a new row."""

    principal: str | None
    action: str
    agent: str | None = None
    session: str | None = None
    #: JSON as text; it must be what the server gives back, so no jsonb column rewrites it.
    metadata: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Appended:
    """The row that was appended."""

    id: str
    hmac: bytes
    #: The HMAC that it follows; what stands for it in the first row of a chain.
    previous: bytes
    created_at: datetime


def append(
    session: Session, *, table: AuditTable, recipe: Recipe, key: bytes, entry: NewEntry
) -> Appended:
    """Append a row to the chain, in a transaction of its own.

    Right with any number of writers that use this function: an advisory lock makes them wait for
    each other, and the id is greater than the last one even within a millisecond or when the clock
    goes back, so that the greatest id is the tip. Raises AuditUnverified where the chain is not of
    that kind (ids are no ULIDs, a column is missing), and AuditBroken where the newest row carries
    no HMAC to go on from.
    """
    with session.transaction():
        return append_in_transaction(session, table=table, recipe=recipe, key=key, entry=entry)


def append_in_transaction(
    session: Session,
    *,
    table: AuditTable,
    recipe: Recipe,
    key: bytes,
    entry: NewEntry,
    passing_over: Collection[str] = (),
) -> Appended:
    """Append a row as part of the open transaction, which keeps all other writers waiting.

    Rows whose ids are in `passing_over` are not followed. Raises what `append` does.
    """
    _check_kind(table, recipe, entry)
    session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
    # Under the lock: the time orders rows as the chain does.
    at = datetime.now(UTC)
    newest, sealed_before = _tip(session, table, recipe, entry.tenant_id, passing_over)
    ident = ulid_after(at, newest)
    texts = _texts(entry, ident, at)
    previous = recipe.first_previous if sealed_before is None else recipe.write(sealed_before)
    texts[Role.PREV_HMAC] = previous
    values = [text.encode() if text is not None else None for text in map(texts.get, recipe.fields)]
    sealed = recipe.compute(key, values, sealed_before)
    stored: dict[str, object] = {
        **texts,
        Role.CREATED_AT: at,
        Role.HMAC: recipe.write(sealed),
    }
    _insert(session, table, stored)
    return Appended(
        id=ident,
        hmac=sealed,
        previous=recipe.genesis if sealed_before is None else sealed_before,
        created_at=at,
    )


def ulid_after(at: datetime, last: str | None) -> str:
    """Return a new ULID of the instant `at` that is greater than `last`.

    Raises AuditUnverified where `last` is no ULID.
    """
    fresh = (((at - _EPOCH) // timedelta(milliseconds=1)) << _CHANCE_BITS) | secrets.randbits(
        _CHANCE_BITS
    )
    if last is not None:
        fresh = max(fresh, _ulid_value(last) + 1)
    return "".join(_ALPHABET[fresh >> 5 * place & 31] for place in reversed(range(_LETTERS)))


def _ulid_value(text: str) -> int:
    value = 0
    for letter in text:
        digit = _ALPHABET.find(letter)
        if digit < 0 or len(text) != _LETTERS:
            raise AuditUnverified(f"the id `{text[:40]}` is no ULID, so rows cannot be appended")
        value = value << 5 | digit
    return value


def _texts(entry: NewEntry, ident: str, at: datetime) -> dict[str, str | None]:
    return {
        Role.ID: ident,
        Role.PRINCIPAL: entry.principal,
        Role.ACTION: entry.action,
        Role.AGENT: entry.agent,
        Role.SESSION: entry.session,
        Role.METADATA: entry.metadata,
        Role.TENANT_ID: entry.tenant_id,
        Role.CREATED_AT: str((at - _EPOCH) // _MICROSECOND),
    }


def _check_kind(table: AuditTable, recipe: Recipe, entry: NewEntry) -> None:
    told = _texts(entry, "", _EPOCH)
    lost = [role for role, text in told.items() if text is not None and role not in table.columns]
    strange = [field for field in recipe.fields if field not in set(Role)]
    if lost or strange:
        raise AuditUnverified(
            f"`{table}` cannot be written to: no value or no column for "
            + ", ".join(f"`{role}`" for role in (*lost, *strange))
        )


def _tip(
    session: Session,
    table: AuditTable,
    recipe: Recipe,
    tenant: str | None,
    passing_over: Collection[str],
) -> tuple[str | None, bytes | None]:
    """Return the greatest id of all, and the HMAC of the row of this chain to go on from."""
    ident, sealed = (quote_identifier(table.columns[role]) for role in (Role.ID, Role.HMAC))
    source = quote_qualified(table.schema, table.name)
    # Names are quoted. ULIDs sort as bytes, whatever the collation of the database.
    newest = f'ORDER BY {ident}::text COLLATE "C" DESC LIMIT 1'
    last = session.value(f"SELECT {ident}::text FROM {source} {newest}")  # noqa: S608
    where = f"{ident}::text <> ALL (<given>)"
    given: list[object] = [list(passing_over)]
    if recipe.per_tenant:
        column = quote_identifier(table.columns[Role.TENANT_ID])
        where += f" AND {column}::text IS NOT DISTINCT FROM <given>"
        given.append(tenant)
    query = f"SELECT {ident}::text, {sealed}::text FROM {source} WHERE {where} {newest}"  # noqa: S608
    # A percent sign in a name would be taken for a placeholder.
    row = session.one(query.replace("%", "%%").replace("<given>", "%s"), given)
    if row is None:
        return last, None
    digest = recipe.read((row[1] or "").encode())
    if digest is None:
        raise AuditBroken(f"the newest row `{row[0]}` of `{table}` has no HMAC in {recipe.output}")
    return last, digest


def _insert(session: Session, table: AuditTable, stored: dict[str, object]) -> None:
    roles = [role for role in stored if role in table.columns]
    columns = ", ".join(quote_identifier(table.columns[role]) for role in roles)
    # Where parameters are given, a literal percent sign in a name is doubled.
    target = f"{quote_qualified(table.schema, table.name)} ({columns})".replace("%", "%%")
    places = ", ".join(["%s"] * len(roles))
    session.execute(
        f"INSERT INTO {target} VALUES ({places})",  # noqa: S608 - quoted
        [stored[role] for role in roles],
    )
