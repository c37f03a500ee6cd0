from collections.abc import Callable

import pytest

from alexandria_backup.demo.audit_tip import tip_is_sound
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

KEY = bytes(range(32))
TIP = "(SELECT max(id) FROM public.audit_logs)"


@pytest.fixture
def session(
    server18: EmbeddedServer,
    filled: Callable[[EmbeddedServer], Secret],
    connected: Callable[[Secret], Session],
) -> Session:
    return connected(filled(server18))


def test_a_filled_database_has_a_sound_tip_under_its_key_only(session: Session) -> None:
    assert tip_is_sound(session, key=KEY)
    assert not tip_is_sound(session, key=KEY[::-1])


@pytest.mark.parametrize(
    "change",
    [
        "action = 'nothing.happened'",
        "tenant_id = ''",
        "created_at = created_at + interval '1 microsecond'",
        "prev_hmac = repeat('0', 64)",
        "prev_hmac = 'no digits'",
        "hmac = NULL",
        "hmac = 'ü'",
    ],
)
def test_an_edited_tip_is_noticed(session: Session, change: str) -> None:
    assert session.execute(f"UPDATE public.audit_logs SET {change} WHERE id = {TIP}") == 1
    assert not tip_is_sound(session, key=KEY)


def test_an_empty_chain_is_sound(session: Session) -> None:
    session.execute("TRUNCATE public.audit_logs")
    assert tip_is_sound(session, key=KEY)
