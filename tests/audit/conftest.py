"""Chains to verify: a real table on a real server, filled by the application's own writer."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.capture import CaptureFacts, open_capture, seal
from alexandria_backup.audit.discovery import AuditTable, discover_in_columns, discover_table
from alexandria_backup.audit.evidence import Evidence, collect
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.retire import retire
from alexandria_backup.audit.rows import AuditRow, RowReader
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.sealing.signing import SigningKey
from alexandria_backup.secret import Secret

KEY = bytes(range(32))
ROWS = 40
TABLE = """
CREATE TABLE public.audit_logs (
    id text COLLATE "C" PRIMARY KEY, principal text, action text, agent text, session text,
    metadata text, tenant_id text, hmac text, prev_hmac text, created_at timestamptz
)
"""
COLUMNS = columns_of(f"{COPY_AUDIT_ROWS};").columns


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A chain in a database, and its ids in the chain's order."""

    session: Session
    ids: list[str] = field(default_factory=list)
    key: AuditKey = field(default_factory=lambda: AuditKey.of(KEY))

    def sql(self, statement: str, *parameters: object) -> None:
        self.session.execute(statement, parameters)

    def verify(
        self, *, key: AuditKey | None = None, keyless: bool = False, anchor: Anchor | None = None
    ) -> AuditReport:
        used = None if keyless else key or self.key
        return verify_live(self.session, recipe=ALEXANDRIA_V1, key=used, anchor=anchor)

    def rows(self) -> Iterator[AuditRow]:
        table = self.table()
        return map(RowReader(table, ALEXANDRIA_V1).read, live_lines(self.session, table))

    def table(self) -> AuditTable:
        found = discover_table(self.session)
        assert found is not None
        return found


@pytest.fixture
def session(server_any: EmbeddedServer, new_database: Callable[..., Secret]) -> Iterator[Session]:
    with connect(Dsn.parse(new_database(server_any)), purpose="test") as opened:
        opened.execute(TABLE)
        yield opened


@pytest.fixture
def chain(session: Session) -> Chain:
    lines = list(audit_rows(ROWS, seed=1, key=KEY))
    session.copy_in(COPY_AUDIT_ROWS, lines)
    ids = [line.split(b"\t")[0].decode() for line in lines]
    assert all(one < other for one, other in pairwise(ids))
    return Chain(session=session, ids=ids)


@pytest.fixture
def lines() -> list[bytes]:
    """The rows of a chain as the server writes them, in the chain's order."""
    made = [line.removesuffix(b"\n") for line in audit_rows(ROWS, seed=1, key=KEY)]
    return [re.sub(rb"(\d{4}-\d\d-\d\d)T(\S*[+]00):00", rb"\1 \2", line) for line in made]


@pytest.fixture
def table() -> AuditTable:
    found = discover_in_columns("public", "audit_logs", COLUMNS)
    assert found is not None
    return found


@pytest.fixture
def retired_row() -> Callable[[Chain], str]:
    """Edit a row, capture it and retire it; return its id."""

    def make(chain: Chain) -> str:
        chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[10])
        table, signing = chain.table(), SigningKey.from_seed("evidence", bytes(32))
        found = collect(chain.session, table=table, recipe=ALEXANDRIA_V1, key=chain.key)
        facts = capture_facts(chain, found)
        data = seal(
            facts, rows=found.rows, neighbours=found.neighbours, report=found.report, key=signing
        )
        retire(
            chain.session,
            table=table,
            recipe=ALEXANDRIA_V1,
            key=KEY,
            capture=open_capture(data, (signing.trusted,)),
            operator="ada",
            reason="it was edited",
        )
        return chain.ids[10]

    return make


@pytest.fixture
def facts_of() -> Callable[[Chain, Evidence], CaptureFacts]:
    return capture_facts


def capture_facts(chain: Chain, found: Evidence) -> CaptureFacts:
    return CaptureFacts(
        application="app",
        database=chain.session.dsn.database,
        system_identifier=7,
        server_version="PostgreSQL 18.4",
        table=str(chain.table()),
        recipe="alexandria-v1, version 1",
        at=datetime(2026, 11, 23, tzinfo=UTC),
        operator="ada",
        host="host",
        tool="alexandria-backup 0",
        reason="because",
        scope=found.scope,
        status=str(found.report.status),
        summary=found.report.summary(),
        rows=len(found.rows),
        rows_digest=found.digest,
        head=found.head,
        limits=("it shows what was there",),
    )
