"""The stand-in's audit chain, made from a seed as lines of COPY text."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from alexandria_backup.demo.audit_entry import GENESIS, AuditEntry, seal
from alexandria_backup.demo.ulid import ulid

#: What takes the lines of `audit_rows`.
COPY_AUDIT_ROWS = (
    "COPY public.audit_logs (id, principal, action, agent, session, metadata, tenant_id, "
    "hmac, prev_hmac, created_at) FROM STDIN"
)
#: The first row of the chain is a little later than this.
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ACTIONS = ("session.start", "message.create", "tool.call", "document.read", "settings.change")


def audit_rows(count: int, *, seed: int, key: bytes) -> Iterator[bytes]:
    """Yield `count` lines, the chain from its genesis; no value needs an escape."""
    chance = random.Random(seed)  # noqa: S311  # the same rows for the same seed
    previous = GENESIS
    for number in range(count):
        at = _EPOCH + timedelta(seconds=2 * number + 1, microseconds=chance.randrange(1_000_000))
        ident = ulid(at, chance.getrandbits(80))
        entry = AuditEntry(
            principal=f"user{1 + chance.randrange(20)}@example.org",
            action=_ACTIONS[chance.randrange(len(_ACTIONS))],
            agent=f"agent {1 + number % 8}" if number % 5 else None,
            metadata=f'{{"number": {number}, "ip": "10.0.{number % 7}.{number % 251}"}}',
        )
        sealed = seal(key, ident, entry, at, previous)
        values = (
            ident,
            entry.principal,
            entry.action,
            entry.agent,
            entry.session,
            entry.metadata,
            entry.tenant_id,
            sealed.hex(),
            previous.hex(),
            at.isoformat(),
        )
        yield ("\t".join(r"\N" if v is None else v for v in values) + "\n").encode()
        previous = sealed
