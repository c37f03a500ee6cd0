"""Sessions: the only thing that other rooms see of a connection to PostgreSQL.

Everything that changes how the server reads names or writes values is pinned in the start-up
packet, after the DSN's own `options`: nothing that a role, a database or a DSN sets can make a
query mean something else, or one dump differ from the next.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from alexandria_backup.errors import DsnInvalid, PoolerRefused, StatementFailed
from alexandria_backup.postgres.copied_values import copied_values
from alexandria_backup.postgres.dsn import Dsn, option_value
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.postgres.libpq_waits import await_input, next_result, send_query
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.server_errors import (
    POOLER_HINT,
    connect_failure,
    statement_failure,
)

#: The settings that decide how values are written as text; whoever compares digests relies on them.
RENDERING: Mapping[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
#: What else is pinned: pg_temp last, so that no temporary table can stand in for a catalogue.
#: With `row_security` off a query that would lose rows to a policy fails instead.
_PINNED: Mapping[str, str] = {
    "search_path": "pg_catalog, pg_temp",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "synchronize_seqscans": "off",
    "jit": "off",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
_APPLICATION_NAME_LIMIT = 63


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds; 0 means without end."""

    #: For a connection to one host; a `connect_timeout` in the DSN goes first.
    connect: float = 10.0
    #: For one statement.
    statement: float = 0.0
    #: For one lock.
    lock: float = 30.0
    #: For the next statement of an open transaction.
    idle_in_transaction: float = 0.0


DEFAULT = Timeouts()


class Session:
    """One connection, in autocommit; a context manager that closes it.

    Not to be shared between threads. Every method raises StatementFailed where the server refuses,
    and its subclass ConnectionLost where the connection ends. Placeholders are `%s`; where
    parameters are given, a literal percent sign is `%%`.
    """

    def __init__(self, dsn: Dsn, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        #: Where the session leads.
        self.dsn = dsn
        #: The server's process that serves it.
        self.pid = connection.info.backend_pid
        #: The server's version as a number, such as 160014.
        self.server_version = connection.info.server_version
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement, or without parameters several; return the rows it touched, or -1."""
        with self._translated():
            return self._run(statement, parameters).rowcount

    def all(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with self._translated():
            return self._run(statement, parameters).fetchall()

    def one(self, statement: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        with self._translated():
            return self._run(statement, parameters).fetchone()

    def value(self, statement: str, parameters: Sequence[object] = ()) -> Any:  # noqa: ANN401 - SQL's
        """Return the first column of the first row, or None where there is no row."""
        row = self.one(statement, parameters)
        return None if row is None else row[0]

    def records(self, statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Return all rows by the names of their columns."""
        with self._translated():
            cursor = self._run(statement, parameters)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    @contextmanager
    def transaction(
        self, *, read_only: bool = False, repeatable_read: bool = False
    ) -> Iterator[None]:
        """Make one transaction of the block: committed at its end, rolled back by an exception.

        Raises StatementFailed where one is open already, and where the server answers COMMIT with
        ROLLBACK, as it does after an error that the block swallowed.
        """
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            raise StatementFailed("a transaction is already open in this session")
        level = "REPEATABLE READ" if repeatable_read else "READ COMMITTED"
        mode = "READ ONLY" if read_only else "READ WRITE"
        self.execute(f"BEGIN ISOLATION LEVEL {level}, {mode}")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        with self._translated():
            answer = self._run("COMMIT", ()).statusmessage
        if answer != "COMMIT":
            raise StatementFailed(
                f"the transaction in database `{self.dsn.database}` was rolled back by the server"
            )

    @contextmanager
    def with_setting(self, name: str, value: str) -> Iterator[None]:
        """Give a parameter of the server's another value while the block runs."""
        before = self.value("SELECT current_setting(%s)", (name,))
        self.execute("SELECT set_config(%s, %s, false)", (name, value))
        try:
            yield
        finally:
            # Where the connection or its transaction is broken, the setting goes with it.
            with suppress(StatementFailed):
                self.execute("SELECT set_config(%s, %s, false)", (name, before))

    @contextmanager
    def imported(self, snapshot: str) -> Iterator[None]:
        """Make one read-only transaction of the block that sees what another one exported.

        StatementFailed where the exporting transaction has ended.
        """
        with self.transaction(read_only=True, repeatable_read=True):
            self.execute(f"SET TRANSACTION SNAPSHOT {quote_literal(snapshot)}")
            yield

    def copy_out(self, statement: str) -> Iterator[bytes]:
        """Yield what `COPY … TO STDOUT` sends: one chunk per row, with its line feed.

        The session can do nothing else until the iterator is exhausted or closed; closing it
        early cancels the statement, which aborts an open transaction.
        """
        with (
            self._translated(),
            self._connection.cursor() as cursor,
            cursor.copy(statement.encode()) as copy,
        ):
            for chunk in copy:
                yield bytes(chunk)

    @contextmanager
    def raw_copy_out(
        self, statement: str
    ) -> Iterator[tuple[Callable[[], tuple[int, memoryview]], Callable[[], int]]]:
        """Run `COPY … TO STDOUT` in libpq's own terms; for this room alone.

        Gives what returns size and bytes of the next row (a size below 0 is the end), and what
        returns the number of rows once the end has come.
        """
        pgconn = self._connection.pgconn

        def next_row() -> tuple[int, memoryview]:
            while (found := pgconn.get_copy_data(1))[0] == 0:
                await_input(pgconn)
            return found

        def ended() -> int:
            result = next_result(pgconn)
            if result is None or result.status != ExecStatus.COMMAND_OK:
                raise _copy_failure(result)
            while next_result(pgconn) is not None:
                pass
            return int(result.command_tuples or 0)

        try:
            with self._translated():
                send_query(pgconn, statement)
                begun = next_result(pgconn)
                if begun is None or begun.status != ExecStatus.COPY_OUT:
                    while next_result(pgconn) is not None:
                        pass
                    raise _copy_failure(begun)
                yield next_row, ended
        except BaseException:
            if self._connection.info.transaction_status is TransactionStatus.ACTIVE:
                self.close()
            raise

    def copy_out_batches(self, statement: str, *, batch_bytes: int) -> "CopyOut":
        """Return what `COPY … TO STDOUT` sends, in batches of `batch_bytes`, the last one shorter.

        Batches are cut anywhere. The session can do nothing else until the last one is taken.
        """
        return CopyOut(self, statement, batch_bytes)

    def copy_out_values(self, query: str) -> Iterator[list[bytes]]:
        """Yield the binary values of a query of one column without NULLs, many rows at a time.

        As with `copy_out`, the session can do nothing else meanwhile.
        """
        with self._translated():
            yield from copied_values(self._connection.pgconn, query)

    def copy_in(self, statement: str, chunks: Iterable[bytes]) -> int:
        """Feed `COPY … FROM STDIN` with chunks, cut anywhere; return the number of rows.

        Where `chunks` raises, the statement is cancelled, nothing is kept and the error goes on.
        """
        with self._translated(), self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for chunk in chunks:
                    copy.write(chunk)
            return cursor.rowcount

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back. May be called twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, statement: str, parameters: Sequence[object]) -> psycopg.Cursor[tuple[Any, ...]]:
        # As bytes: psycopg takes a str only where it is a literal of the program's own.
        return self._connection.execute(statement.encode(), parameters or None)

    def _roll_back(self) -> None:
        status = self._connection.info.transaction_status
        if status in {TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN}:
            # In the middle of a COPY nothing can be sent; the server rolls back what we leave.
            self.close()
            return
        # What went wrong first is what the caller must see.
        with suppress(psycopg.Error):
            self._run("ROLLBACK", ())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            lost = self._connection.closed
            raise statement_failure(error, self.dsn, lost=lost) from error


class CopyOut:
    """What a COPY sends, in batches; `rows` is what the server says at the end."""

    def __init__(self, session: Session, statement: str, batch_bytes: int) -> None:
        self._session = session
        self._statement = statement
        self._batch_bytes = batch_bytes
        #: Rows that were sent, as the server says at the end; -1 until then.
        self.rows = -1
        #: Messages that have come so far: the server sends one for each row.
        self.messages = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the batches; StatementFailed where the server refuses, or the connection ends.

        Left early, the session is closed, as it stands in the middle of a COPY. Rows are taken from
        libpq itself: each costs a call, and there are millions.
        """
        buffer, room = BytesIO(), self._batch_bytes
        write = buffer.write
        with self._session.raw_copy_out(self._statement) as (next_row, ended):
            while True:
                size, row = next_row()
                if size < 0:
                    break
                self.messages += 1
                if size < room:
                    # Copied at once, while it is in the processor's cache: to keep the rows and
                    # join them later costs three times as much.
                    write(row)
                    room -= size
                    continue
                rest = memoryview(row)
                while len(rest) >= room:
                    write(rest[:room])
                    yield buffer.getvalue()
                    rest, room = rest[room:], self._batch_bytes
                    buffer = BytesIO()
                    write = buffer.write
                write(rest)
                room -= len(rest)
            self.rows = ended()
        if room < self._batch_bytes:
            yield buffer.getvalue()


def _copy_failure(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("the connection ended in the middle of a COPY")
    return error_from_result(result)


def connect(dsn: Dsn, *, purpose: str, timeouts: Timeouts = DEFAULT) -> Session:
    """Open a session; `purpose` is what `pg_stat_activity` shows after `alexandria-backup`.

    Raises PasswordRejected, DatabaseMissing or DatabaseUnreachable, and PoolerRefused where a
    connection pooler stands between: settings would leak into other clients' sessions there.
    """
    parameters = startup_parameters(dsn, purpose=purpose, timeouts=timeouts)
    try:
        connection = psycopg.connect(
            make_conninfo(dsn.conninfo().reveal(), **parameters),
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        needs_password = error.pgconn is not None and error.pgconn.needs_password
        # Not `from error`: libpq's own text has not been redacted.
        raise connect_failure(error, dsn, needs_password=needs_password) from None
    except (psycopg.ProgrammingError, UnicodeError):
        raise DsnInvalid(f"libpq refuses the parameters of `{dsn}`") from None
    session = Session(dsn, connection)
    try:
        _refuse_pooler(session)
        session.all(load("session")["settle"])
    except BaseException:
        session.close()
        raise
    return session


def startup_parameters(dsn: Dsn, *, purpose: str, timeouts: Timeouts) -> dict[str, str]:
    """Return the parameters of libpq that we decide, for a connection to `dsn`."""
    given = dsn.parameters()
    limits = {
        "statement_timeout": timeouts.statement,
        "lock_timeout": timeouts.lock,
        "idle_in_transaction_session_timeout": timeouts.idle_in_transaction,
    }
    pinned = {
        **_PINNED,
        **RENDERING,
        **{name: f"{round(seconds * 1000)}ms" for name, seconds in limits.items()},
    }
    return {
        **{name: given.get(name, value) for name, value in KEEPALIVES.items()},
        "connect_timeout": given.get("connect_timeout", str(ceil(timeouts.connect))),
        "client_encoding": "UTF8",
        "application_name": application_name(purpose),
        "options": options(given.get("options", ""), pinned),
    }


def application_name(purpose: str) -> str:
    """Return the name by which a session of ours is known on the server."""
    name = f"alexandria-backup {purpose}"
    return name.encode()[:_APPLICATION_NAME_LIMIT].decode(errors="ignore")


def options(given: str, pinned: Mapping[str, str]) -> str:
    """Return libpq's `options`: those `given`, then the pinned settings; the last one wins."""
    return " ".join(
        filter(None, (given, *(f"-c {name}={option_value(text)}" for name, text in pinned.items())))
    )


def _refuse_pooler(session: Session) -> None:
    served_by = session.value(load("session")["backend_pid"])
    if served_by != session.pid:
        raise PoolerRefused(
            f"`{session.dsn}` leads through a connection pooler: "
            f"process {session.pid} answered the login, {served_by} the query",
            hint=POOLER_HINT,
        )
