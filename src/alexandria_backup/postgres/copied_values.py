"""COPY of one binary value per row, read from libpq itself: a third of the time per row.

The format is that of PostgreSQL's documentation of COPY, "Binary Format". The server sends one
message per row, the first with the header before it, and a trailer.
"""

import select
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
#: Signature, flags, length of an extension, which no version has.
_HEADER_BYTES: Final = len(_SIGNATURE) + 8
#: Number of values, and the length of the one.
_BEFORE_VALUE: Final = 6
_ROWS: Final = 2000
_BYTES: Final = 4 * 1024 * 1024


def copied_values(connection: PGconn, query: str) -> Iterator[list[bytes]]:
    """Yield the values of a query of one column that is never NULL, many at a time.

    The connection can do nothing else until the iterator is exhausted or closed; closing it early
    cancels the query. Raises psycopg's errors.
    """
    connection.send_query(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode())
    while connection.flush():
        select.select([], [connection.socket], [])
    finished = False
    try:
        _expect(connection, pq.ExecStatus.COPY_OUT)
        yield from _values(connection)
        finished = True
        _expect(connection, pq.ExecStatus.COMMAND_OK)
    finally:
        if not finished and connection.status == pq.ConnStatus.OK:
            connection.get_cancel().cancel()
            _drain(connection)
        while connection.status == pq.ConnStatus.OK and connection.get_result() is not None:
            pass


def _values(connection: PGconn) -> Iterator[list[bytes]]:
    get, rows, size = connection.get_copy_data, [], 0
    first = True
    while True:
        length, message = get(1)
        if length > 0:
            if first:
                first = False
                message = message[_HEADER_BYTES:]
            if len(message) > 2:
                rows.append(bytes(message[_BEFORE_VALUE:]))
                size += length
                if len(rows) == _ROWS or size > _BYTES:
                    yield rows
                    rows, size = [], 0
        elif length == 0:
            # Waits where Ctrl-C is heard.
            select.select([connection.socket], [], [])
            connection.consume_input()
        elif length == -1:
            yield rows
            return


def _expect(connection: PGconn, status: pq.ExecStatus) -> None:
    result = connection.get_result()
    if result is None:
        raise psycopg.OperationalError(connection.get_error_message())
    if result.status != status:
        raise error_from_result(result)


def _drain(connection: PGconn) -> None:
    while connection.get_copy_data(0)[0] > 0:
        pass
