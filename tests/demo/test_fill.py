import hmac
from collections.abc import Callable

import pytest

from alexandria_backup.demo import fill as filling
from alexandria_backup.events import Event, Progress
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

KEY = bytes(range(32))
#: One line per table: what its rows are, whatever order they lie in.
DIGEST = """
SELECT md5(string_agg(md5(t::text), '' ORDER BY t::text COLLATE "C")) FROM public.{} AS t
"""
#: The stamps of the triggers and defaults are no part of what the seed decides.
TABLES = ("users", "sessions", "messages", "documents", "licenses", "audit_logs", "agent_tools")

Opened = Callable[[Secret], Session]


@pytest.fixture
def empty(
    server18: EmbeddedServer, new_database: Callable[..., Secret], connected: Opened
) -> Callable[[], Session]:
    def make() -> Session:
        session = connected(new_database(server18))
        filling.create_schema(session)
        return session

    return make


def digests(session: Session) -> dict[str, str]:
    return {table: session.value(DIGEST.format(table)) for table in TABLES}


@pytest.mark.parametrize("rows", [1_000, 2_500, 50_000])
def test_a_plan_has_the_rows_that_were_asked_for(rows: int) -> None:
    plan = filling.plan(rows)
    assert plan.rows == rows
    assert min(vars(plan).values()) > 0


def test_few_rows_become_a_database_that_makes_sense() -> None:
    assert filling.plan(1) == filling.plan(filling.LEAST_ROWS)


def test_every_table_gets_the_rows_of_the_plan(
    server: EmbeddedServer, new_database: Callable[..., Secret], connected: Opened
) -> None:
    session = connected(new_database(server))
    filling.create_schema(session)
    events: list[Event] = []
    plan = filling.fill(session, rows=2_500, seed=1, key=KEY, emit=events.append)
    for table, rows in vars(plan).items():
        assert session.value(f"SELECT count(*) FROM public.{table}") == rows, table
    assert session.value("SELECT count(*) FROM public.agent_tools") > 0
    assert session.value("SELECT count(*) FROM pg_largeobject_metadata") > 0
    assert session.value("SELECT sum(messages) FROM public.usage_by_agent") == plan.messages
    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.done, last.total, last.unit) == (2_500, 2_500, "rows")


def test_the_same_seed_gives_the_same_rows_and_another_one_does_not(
    empty: Callable[[], Session],
) -> None:
    one, same, other = empty(), empty(), empty()
    filling.fill(one, rows=1_000, seed=1, key=KEY)
    filling.fill(same, rows=1_000, seed=1, key=KEY)
    filling.fill(other, rows=1_000, seed=2, key=KEY)
    assert digests(one) == digests(same)
    assert digests(one)["messages"] != digests(other)["messages"]
    assert digests(one)["audit_logs"] != digests(other)["audit_logs"]


def test_a_fill_that_fails_leaves_nothing(empty: Callable[[], Session]) -> None:
    session = empty()

    class Interrupted(Exception): ...

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.done == event.total:
            raise Interrupted

    with pytest.raises(Interrupted):
        filling.fill(session, rows=1_000, seed=1, key=KEY, emit=interrupt)
    session.close()


def test_the_chain_is_whole_from_its_genesis(
    server: EmbeddedServer, filled: Callable[[EmbeddedServer], Secret], connected: Opened
) -> None:
    """Computed here from what the server gives back, with nothing but the recipe's text."""
    session = connected(filled(server))
    previous = bytes(32)
    for *values, linked, sealed in session.all(
        "SELECT id, principal, action, agent, session, metadata, tenant_id,"
        " (extract(epoch FROM created_at) * 1000000)::bigint::text, prev_hmac, hmac"
        ' FROM public.audit_logs ORDER BY id COLLATE "C"'
    ):
        message = b"alexandria-audit-v1\n"
        for text in values:
            data = None if text is None else text.encode()
            message += b"\0" if data is None else b"\1" + len(data).to_bytes(4, "big") + data
        assert linked == previous.hex()
        previous = hmac.digest(KEY, message + previous, "sha256")
        assert sealed == previous.hex()
    assert previous != bytes(32)
