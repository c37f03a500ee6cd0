"""Fill the stand-in's database: everything is made from a seed, and fast.

The server makes most rows itself (`INSERT … SELECT` over `generate_series`); the audit chain is
computed here and sent with COPY. The same seed and number of rows give the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice

from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.demo.fill_statements import PARAMETERS, STATEMENTS
from alexandria_backup.events import Emit, Progress, discard
from alexandria_backup.postgres.connect import Session

#: The smallest database that makes sense: every table has rows, and the chain some length.
LEAST_ROWS = 1_000
#: Rows per chunk of a COPY, and so per progress.
_LOT = 2_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many rows each table gets."""

    users: int
    agents: int
    tools: int
    sessions: int
    messages: int
    documents: int
    licenses: int
    audit_logs: int

    @property
    def rows(self) -> int:
        """All rows together; those of `agent_tools` are few and not counted."""
        counted = (self.users, self.agents, self.tools, self.sessions, self.messages)
        return sum(counted) + self.documents + self.licenses + self.audit_logs


def plan(rows: int) -> Plan:
    """Share out about `rows` rows, at least `LEAST_ROWS`; messages take what is left."""
    rows = max(rows, LEAST_ROWS)
    users, agents, tools, licenses = max(20, rows // 400), max(8, rows // 2000), 12, 2
    sessions, documents, audit_logs = rows // 25, rows // 50, rows * 3 // 10
    others = users + agents + tools + licenses + sessions + documents + audit_logs
    return Plan(
        users=users,
        agents=agents,
        tools=tools,
        licenses=licenses,
        sessions=sessions,
        documents=documents,
        audit_logs=audit_logs,
        messages=rows - others,
    )


def create_schema(session: Session) -> None:
    """Create the stand-in's schema in an empty database."""
    session.execute((files("alexandria_backup.demo") / "schema.sql").read_text(encoding="utf-8"))


def fill(session: Session, *, rows: int, seed: int, key: bytes, emit: Emit = discard) -> Plan:
    """Fill the empty tables with about `rows` rows, in one transaction; return what was made.

    `key` is the audit chain's, for the recipe `alexandria-v1`.
    """
    made = plan(rows)
    given = tuple({"seed": seed, **vars(made)}[name] for name in PARAMETERS)
    done = 0
    with session.transaction():
        for table, statement in STATEMENTS.items():
            session.execute(statement, given)
            done += getattr(made, table, 0)
            emit(Progress(work="fill the database", done=done, total=made.rows, unit="rows"))
        chain = audit_rows(made.audit_logs, seed=seed, key=key)
        session.copy_in(COPY_AUDIT_ROWS, _chunks(chain, done, made.rows, emit))
        session.execute("REFRESH MATERIALIZED VIEW public.usage_by_agent")
    # Outside: what the planner knows is no part of the data, and other sessions want it at once.
    session.execute("ANALYZE")
    return made


def _chunks(lines: Iterator[bytes], done: int, total: int, emit: Emit) -> Iterator[bytes]:
    """Join lines, since each chunk costs a call of libpq; tell how far it is."""
    while lot := list(islice(lines, _LOT)):
        yield b"".join(lot)
        done += len(lot)
        emit(Progress(work="fill the database", done=done, total=total, unit="rows"))
