"""Sessions: the only thing that other rooms see of a connection to PostgreSQL."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

from alexandria_backup.errors import ConnectionLost, DsnInvalid, PoolerRefused, StatementFailed
from alexandria_backup.postgres.copied_rows import CopyOut
from alexandria_backup.postgres.copied_values import copied_values
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.server_errors import (
    POOLER_HINT,
    connect_failure,
    statement_failure,
)
from alexandria_backup.postgres.startup import Timeouts, startup_parameters

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

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of one query that somebody else has written; several are refused.

        Values whose type psycopg does not know come as the server's bytes.
        """
        with self._translated():
            # Values in binary make it PostgreSQL's extended protocol, which takes one statement.
            return self._connection.execute(query.encode(), binary=True).fetchall()

    def parse(self, statement: str) -> None:
        """Let the server read one statement without running it; raises StatementFailed."""
        with self._translated():
            parsed = self._connection.pgconn.prepare(b"", statement.encode())
            if parsed.status != ExecStatus.COMMAND_OK:
                raise error_from_result(parsed, self._connection.info.encoding)

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

    def copy_out_batches(self, statement: str, *, batch_bytes: int) -> CopyOut:
        """Return what `COPY … TO STDOUT` sends, in batches of `batch_bytes`, the last one shorter.

        Batches are cut anywhere. The session can do nothing else until the last one is taken.
        """
        return CopyOut(self._connection, statement, batch_bytes, self._translated)

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

    def cut(self) -> None:
        """End the connection from another thread: who waits for the server gets ConnectionLost."""
        with suppress(OSError, psycopg.Error):
            descriptor = os.dup(self._connection.pgconn.socket)
            with socket.socket(fileno=descriptor) as wire:
                wire.shutdown(socket.SHUT_RDWR)

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


def connect(dsn: Dsn, *, purpose: str, timeouts: Timeouts = DEFAULT) -> Session:
    """Open a session; `purpose` is what `pg_stat_activity` shows after `alexandria-backup`.

    Raises PasswordRejected, DatabaseMissing or DatabaseUnreachable, and PoolerRefused where a
    connection pooler stands between: settings would leak into other clients' sessions there.
    """
    session = _opened(dsn, startup_parameters(dsn, purpose=purpose, timeouts=timeouts))
    try:
        return _settled(session)
    except ConnectionLost:
        # A limit that an administrator has set may end a session before it can be lifted. Which
        # limits there are, the server's version tells, and so this attempt.
        major = session.server_version // 10_000
        parameters = startup_parameters(dsn, purpose=purpose, timeouts=timeouts, server_major=major)
        return _settled(_opened(dsn, parameters))


def _opened(dsn: Dsn, parameters: dict[str, str]) -> Session:
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
    return Session(dsn, connection)


def _settled(session: Session) -> Session:
    """Return the session when it is fit for use; closed where it is not."""
    try:
        _refuse_pooler(session)
        session.all(load("session")["settle"])
    except BaseException:
        session.close()
        raise
    return session


def _refuse_pooler(session: Session) -> None:
    served_by = session.value(load("session")["backend_pid"])
    if served_by != session.pid:
        raise PoolerRefused(
            f"`{session.dsn}` leads through a connection pooler: "
            f"process {session.pid} answered the login, {served_by} the query",
            hint=POOLER_HINT,
        )
