"""Tables and B-tree indexes read with extension `amcheck`: indexes hold what the tables hold.

Where the database has not got the extension, it is there for the check alone, in a schema of its
own that is dropped with it. That schema's name is drawn, and its COMMENT says that it is ours and
of which database: a schema of the user's is never taken for it, whatever it is called.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from alexandria_backup.errors import ConnectionLost, StatementFailed
from alexandria_backup.events import Emit, Progress
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal, quote_qualified
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.sqlstates import DATA_CORRUPTED, INDEX_CORRUPTED

EXTENSION: Final = "amcheck"
_TABLE: Final = "table"
_SCHEMA_PREFIX: Final = "alexandria_backup_check_"
#: How many findings of one table are told.
_MOST_FINDINGS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was read, and what is wrong with it."""

    indexes: int
    tables: int
    #: One line each; empty where all is well.
    findings: tuple[str, ...]
    #: One line for each thing that could not be checked, and why.
    not_checked: tuple[str, ...]


def check_pages(session: Session, emit: Emit) -> Checked:
    """Check every B-tree index against its table, and every table's pages.

    Raises StatementFailed where the extension cannot be created.
    """
    with _extension(session) as schema:
        work = _work(session, schema)
        findings: list[str] = []
        not_checked: list[str] = []
        for done, one in enumerate(work, start=1):
            try:
                faults = session.all(one.statement, (one.oid,))
            except ConnectionLost:
                raise
            except StatementFailed as error:
                corrupted = error.sqlstate in {DATA_CORRUPTED, INDEX_CORRUPTED}
                (findings if corrupted else not_checked).append(f"{one.label}: {error.message}")
            else:
                # An index that is good has a row without a value.
                findings += [
                    f"{one.label}: block {fault[0]}, row {fault[1]}: {fault[2]}"
                    for fault in faults[:_MOST_FINDINGS]
                    if one.kind == _TABLE
                ]
            emit(Progress(work="amcheck", done=done, total=len(work), unit="relations"))
    not_checked += [
        f"index `{namespace}.{name}`: `amcheck` cannot check {method}"
        for namespace, name, method in session.all(load("amcheck")["other_indexes"])
    ]
    tables = sum(one.kind == _TABLE for one in work)
    if not tables:
        not_checked.append("pages of tables: this version of `amcheck` cannot")
    return Checked(
        indexes=len(work) - tables,
        tables=tables,
        findings=tuple(findings),
        not_checked=tuple(not_checked),
    )


class _Work(NamedTuple):
    kind: str
    statement: str
    oid: int
    namespace: str
    name: str

    @property
    def label(self) -> str:
        return f"{self.kind} `{self.namespace}.{self.name}`"


def _work(session: Session, schema: str) -> list[_Work]:
    queries = load("amcheck")
    index, table = (quote_qualified(schema, name) for name in ("bt_index_check", "verify_heapam"))
    of_index = f"SELECT {index}(%s::pg_catalog.regclass, true)"
    of_table = (
        f"SELECT blkno, offnum, msg FROM {table}"  # noqa: S608 - quoted
        "(%s::pg_catalog.regclass, check_toast => true)"
    )
    work = [_Work("index", of_index, *row) for row in session.all(queries["indexes"])]
    if session.value(queries["has_heap_check"], (schema,)):
        work += [_Work(_TABLE, of_table, *row) for row in session.all(queries["tables"])]
    return work


@contextmanager
def _extension(session: Session) -> Iterator[str]:
    """Give the schema that the extension is in."""
    queries = load("amcheck")
    mark = str(session.value(queries["mark"]))
    for (left,) in session.all(queries["left_by_a_killed_check"], (mark,)):
        _remove(session, left)
    found = session.value(queries["schema"])
    if found is not None:
        yield str(found)
        return
    name = _SCHEMA_PREFIX + secrets.token_hex(8)
    schema = quote_identifier(name)
    with session.transaction():
        session.execute(f"CREATE SCHEMA {schema}")
        session.execute(f"COMMENT ON SCHEMA {schema} IS {quote_literal(mark)}")
        session.execute(f"CREATE EXTENSION {EXTENSION} WITH SCHEMA {schema}")
    try:
        yield name
    finally:
        _remove(session, name)


def _remove(session: Session, schema: str) -> None:
    """Drop a schema of ours with the extension in it, and fail where it holds anything else."""
    if session.value(load("amcheck")["schema"]) == schema:
        session.execute(f"DROP EXTENSION {EXTENSION}")
    session.execute(f"DROP SCHEMA {quote_identifier(schema)}")
