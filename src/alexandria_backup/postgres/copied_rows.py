"""The text of many rows, as libpq hands them out: in batches, each row at the cost of one call."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from alexandria_backup.postgres.libpq_waits import await_input, next_result, send_query

Connection = psycopg.Connection[tuple[Any, ...]]


class CopyOut:
    """What a `COPY … TO STDOUT` sends, in batches; `rows` is what the server says at the end."""

    def __init__(
        self,
        connection: Connection,
        statement: str,
        batch_bytes: int,
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._statement = statement
        self._batch_bytes = batch_bytes
        #: Makes errors of psycopg's ours.
        self._translated = translated
        #: Rows that were sent, as the server says at the end; -1 until then.
        self.rows = -1
        #: Messages that have come, known at the end: the server sends one for each row.
        self.messages = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the batches; StatementFailed where the server refuses, or the connection ends.

        Left early, the session is closed, as it stands in the middle of a COPY. Rows are taken from
        libpq itself: each costs a call, and there are millions.
        """
        buffer, room = BytesIO(), self._batch_bytes
        write, pgconn, messages = buffer.write, self._connection.pgconn, 0
        next_row = pgconn.get_copy_data
        with self._running():
            while True:
                # As few steps for a row as can be: this loop is what takes most of a copy's Python.
                size, row = next_row(1)
                if 0 < size < room:
                    # Copied at once, while it is in the processor's cache: to keep the rows and
                    # join them later costs three times as much.
                    write(row)
                    room -= size
                    messages += 1
                    continue
                if size == 0:
                    await_input(pgconn)
                    continue
                if size < 0:
                    break
                messages += 1
                rest = memoryview(row)
                while len(rest) >= room:
                    write(rest[:room])
                    yield buffer.getvalue()
                    rest, room = rest[room:], self._batch_bytes
                    buffer = BytesIO()
                    write = buffer.write
                write(rest)
                room -= len(rest)
            self.messages, self.rows = messages, self._ended()
        if room < self._batch_bytes:
            yield buffer.getvalue()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Send the statement; a block that leaves it in the middle ends the session."""
        pgconn = self._connection.pgconn
        try:
            with self._translated():
                send_query(pgconn, self._statement)
                begun = next_result(pgconn)
                if begun is None or begun.status != ExecStatus.COPY_OUT:
                    while next_result(pgconn) is not None:
                        pass
                    raise _failure(begun)
                yield
        except BaseException:
            if self._connection.info.transaction_status is TransactionStatus.ACTIVE:
                self._connection.close()
            raise

    def _ended(self) -> int:
        """Return the number of rows that the server has counted."""
        pgconn = self._connection.pgconn
        result = next_result(pgconn)
        if result is None or result.status != ExecStatus.COMMAND_OK:
            raise _failure(result)
        while next_result(pgconn) is not None:
            pass
        return int(result.command_tuples or 0)


def _failure(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("the connection ended in the middle of a COPY")
    return error_from_result(result)
