"""The stand-in's audit chain, made from a seed as lines of COPY text."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from alexandria_backup.audit.recipe import ALEXANDRIA_V1, Role
from alexandria_backup.demo.ulid import ulid
from alexandria_backup.sealing.hmac_sha256 import HmacSha256

#: What takes the lines of `audit_rows`.
COPY_AUDIT_ROWS = (
    "COPY public.audit_logs (id, principal, action, agent, session, metadata, tenant_id, "
    "created_at, hmac, prev_hmac) FROM STDIN"
)
#: Seconds from 1970 to 2026: the first row of the chain is a little later than this.
_BEGIN_S = 1_767_225_600
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTIONS = ("session.start", "message.create", "tool.call", "document.read", "settings.change")


def audit_rows(count: int, *, seed: int, key: bytes) -> Iterator[bytes]:
    """Yield `count` lines, the chain from its genesis; no value needs an escape."""
    chance = random.Random(seed)  # noqa: S311  # the same rows for the same seed
    recipe, hasher, previous = ALEXANDRIA_V1, HmacSha256(key), ALEXANDRIA_V1.genesis
    for number in range(count):
        microseconds = (_BEGIN_S + 2 * number) * 1_000_000 + chance.randrange(2_000_000)
        at = _EPOCH + timedelta(microseconds=microseconds)
        row: dict[str, str | None] = {
            Role.ID: ulid(at, chance.getrandbits(80)),
            Role.PRINCIPAL: f"user{1 + chance.randrange(20)}@example.org",
            Role.ACTION: _ACTIONS[chance.randrange(len(_ACTIONS))],
            Role.AGENT: f"agent {1 + number % 8}" if number % 5 else None,
            Role.SESSION: None,
            Role.METADATA: f'{{"number": {number}, "ip": "10.0.{number % 7}.{number % 251}"}}',
            Role.TENANT_ID: None,
            Role.CREATED_AT: str(microseconds),
        }
        covered = [None if (text := row[role]) is None else text.encode() for role in recipe.fields]
        sealed = hasher.digest(recipe.message(covered, previous))
        row[Role.CREATED_AT] = at.isoformat()
        stored = (*row.values(), sealed.hex(), previous.hex())
        yield ("\t".join(r"\N" if text is None else text for text in stored) + "\n").encode()
        previous = sealed
