"""What the application checks when it comes up: whether the newest audit row is its own."""

import hmac

from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.postgres.connect import Session

# The first columns are those of the recipe, in its order and forms.
_TIP = """
SELECT id, principal, action, agent, session, metadata, tenant_id,
    (extract(epoch FROM created_at) * 1000000)::bigint::text, prev_hmac, hmac
FROM public.audit_logs ORDER BY id DESC LIMIT 1
"""


def tip_is_sound(session: Session, *, key: bytes) -> bool:
    """Return whether the newest row's HMAC is right; an empty chain is sound."""
    tip = session.one(_TIP)
    if tip is None:
        return True
    *covered, previous, stored = tip
    if stored is None or previous is None:
        return False
    values = [None if text is None else text.encode() for text in covered]
    try:
        expected = ALEXANDRIA_V1.compute(key, values, bytes.fromhex(previous))
    except ValueError:
        return False
    return hmac.compare_digest(expected.hex().encode(), stored.encode())
