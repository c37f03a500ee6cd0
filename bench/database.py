"""The database that is measured: seeded, so that every run and every machine has the same rows.

Three tables as an application's: an audit chain, messages in words, and keys with values.
"""

import random
from collections.abc import Iterator
from itertools import islice

from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.postgres.connect import Session

SEED = 20_261_123
AUDIT_KEY = b"a key for measurements, of 32 by"
#: Bytes of COPY text that one row takes, about; and the share of the whole that each table gets.
_AUDIT_ROW, _MESSAGE, _PAIR = 330, 520, 150
_SHARES = {"audit": 0.30, "messages": 0.50, "pairs": 0.20}

_SCHEMA = """
CREATE TABLE public.audit_logs (
    id text COLLATE "C" PRIMARY KEY, principal text, action text, agent text, session text,
    metadata text, tenant_id text, hmac text, prev_hmac text, created_at timestamptz);
CREATE INDEX audit_logs_created_at_idx ON public.audit_logs (created_at);
CREATE TABLE public.messages (
    id bigint PRIMARY KEY, session_id uuid NOT NULL, content text NOT NULL, metadata jsonb,
    created_at timestamptz NOT NULL);
CREATE INDEX messages_session_idx ON public.messages (session_id, created_at);
CREATE TABLE public.pairs (key text PRIMARY KEY, value jsonb NOT NULL, version int NOT NULL);
CREATE TABLE public.settings (name text PRIMARY KEY, value text);
INSERT INTO public.settings SELECT 'setting ' || i, md5(i::text) FROM generate_series(1, 200) AS i;
"""

_PAIRS = """
INSERT INTO public.pairs
SELECT 'key:' || md5(i::text), jsonb_build_object('n', i, 'tags', ARRAY[md5('a' || i %% 97),
    md5('b' || i)], 'score', (i * 7919 %% 100003) / 1000.0), i %% 5
FROM generate_series(%s::bigint, %s::bigint) AS i
"""

_ANALYSE = "VACUUM ANALYZE"


def fill(session: Session, *, gigabytes: float) -> None:
    """Make the tables, with about this much COPY text in all."""
    session.execute(_SCHEMA)
    whole = gigabytes * 1e9
    session.copy_in(COPY_AUDIT_ROWS, _audit(round(whole * _SHARES["audit"] / _AUDIT_ROW)))
    add_messages(session, first=1, count=round(whole * _SHARES["messages"] / _MESSAGE))
    session.execute(_PAIRS, [1, round(whole * _SHARES["pairs"] / _PAIR)])
    session.execute(_ANALYSE)
    session.execute("CHECKPOINT")


def add_messages(session: Session, *, first: int, count: int) -> None:
    """Append messages."""
    session.copy_in("COPY public.messages FROM STDIN", _lots(_messages(first, count)))


def append_audit(session: Session, *, count: int, already: int) -> None:
    """Append to the audit chain: its rows come from a seed, so the first ones are passed over."""
    rows = audit_rows(already + count, seed=SEED, key=AUDIT_KEY)
    session.copy_in(COPY_AUDIT_ROWS, _lots(islice(rows, already, None)))


def change_a_few_places(session: Session, *, share: float, turn: int) -> None:
    """Update one stretch of neighbouring rows of two tables, `share` of the rows in all."""
    rows = session.value("SELECT max(id) FROM public.messages")
    width = max(1, round(rows * share))
    start = (turn * 7_919_777) % max(1, rows - width)
    session.execute(
        "UPDATE public.messages SET metadata = '{\"edited\": true}' WHERE id BETWEEN %s AND %s",
        [start, start + width],
    )


def change_at_random(session: Session, *, share: float, turn: int) -> None:
    """Update rows all over a table: in every frame, that is."""
    session.execute(
        "UPDATE public.pairs SET version = version + 1 WHERE hashtextextended(key, %s) & 1023 < %s",
        [turn, round(share * 1024)],
    )


def _audit(count: int) -> Iterator[bytes]:
    return _lots(audit_rows(count, seed=SEED, key=AUDIT_KEY))


def _messages(first: int, count: int) -> Iterator[bytes]:
    chance = random.Random(SEED + first)
    words = [
        "".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(4000)
    ]
    # Some words are common and most are rare, as in any language.
    weights = [1 / (rank + 3) for rank in range(len(words))]
    pool = [
        " ".join(chance.choices(words, weights, k=chance.randint(20, 60))) for _ in range(20_000)
    ]
    for number in range(first, first + count):
        text = f"{pool[chance.randrange(len(pool))]}. {pool[chance.randrange(len(pool))]}"
        session = f"{number // 20:032x}"
        metadata = f'{{"tokens": {len(text) // 4}}}' if number % 4 == 0 else r"\N"
        yield (
            f"{number}\t{session}\t{text}\t{metadata}\t"
            f"2026-{1 + number % 12:02}-{1 + number % 28:02} 12:00:{number % 60:02}+00\n"
        ).encode()


def _lots(lines: Iterator[bytes]) -> Iterator[bytes]:
    while lot := b"".join(islice(lines, 2000)):
        yield lot
