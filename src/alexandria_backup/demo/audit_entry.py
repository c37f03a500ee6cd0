"""How the stand-in chains its audit rows: the recipe `alexandria-v1`, one writer at a time."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alexandria_backup.audit.recipe import ALEXANDRIA_V1, Role
from alexandria_backup.demo.ulid import ulid
from alexandria_backup.postgres.connect import Session

GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One row of `audit_logs` before it is chained."""

    principal: str | None
    action: str
    agent: str | None = None
    session: str | None = None
    metadata: str | None = None
    tenant_id: str | None = None


def seal(key: bytes, ident: str, entry: AuditEntry, at: datetime, previous: bytes) -> bytes:
    """Return the HMAC of a row."""
    row = {
        Role.ID: ident,
        Role.PRINCIPAL: entry.principal,
        Role.ACTION: entry.action,
        Role.AGENT: entry.agent,
        Role.SESSION: entry.session,
        Role.METADATA: entry.metadata,
        Role.TENANT_ID: entry.tenant_id,
        Role.CREATED_AT: str((at - _EPOCH) // timedelta(microseconds=1)),
    }
    recipe = ALEXANDRIA_V1
    covered = [None if (text := row[role]) is None else text.encode() for role in recipe.fields]
    return recipe.compute(key, covered, previous)


_TIP = """
SELECT id, principal, action, agent, session, metadata, tenant_id, created_at, hmac, prev_hmac
FROM public.audit_logs ORDER BY id COLLATE "C" DESC LIMIT 1
"""


def append(session: Session, *, key: bytes, entry: AuditEntry) -> None:
    """Append a row to the chain, in a transaction of its own."""
    with session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(4711)")
        tip = session.one(_TIP)
        previous = GENESIS if tip is None else bytes.fromhex(tip[8])
        at = datetime.now(UTC)
        ident = ulid(at, secrets.randbits(80))
        sealed = seal(key, ident, entry, at, previous)
        session.execute(
            "INSERT INTO public.audit_logs VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)",
            (
                ident,
                entry.principal,
                entry.action,
                entry.agent,
                entry.session,
                entry.metadata,
                entry.tenant_id,
                sealed.hex(),
                previous.hex(),
                at,
            ),
        )


def tip_is_sound(session: Session, *, key: bytes) -> bool:
    """Return whether the newest row's HMAC is right; an empty chain is sound."""
    tip = session.one(_TIP)
    if tip is None:
        return True
    ident, principal, action, agent, place, metadata, tenant, at, found, previous = tip
    entry = AuditEntry(
        principal=principal,
        action=action,
        agent=agent,
        session=place,
        metadata=metadata,
        tenant_id=tenant,
    )
    return hmac.compare_digest(seal(key, ident, entry, at, bytes.fromhex(previous)).hex(), found)
