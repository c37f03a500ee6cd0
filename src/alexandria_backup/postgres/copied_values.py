"""COPY of one binary value per row, read from libpq itself: a third of the time per row.

The format is that of PostgreSQL's documentation of COPY, "Binary Format". The server sends one
message per row, the first with the header before it, and a trailer.
"""

import itertools
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
_TRAILER_BYTES: Final = 2
#: So many bytes are handed on at once.
_BYTES: Final = 512 * 1024


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
        if connection.status == pq.ConnStatus.OK:
            if not finished:
                connection.get_cancel().cancel()
            _settle(connection)


def _values(connection: PGconn) -> Iterator[list[bytes]]:
    waiting = _messages(connection)
    first = next(waiting, [])
    if first:
        first[0] = first[0][_HEADER_BYTES:]
    for messages in itertools.chain([first], waiting):
        # The trailer comes last, alone or with the rows before it.
        if messages and len(messages[-1]) == _TRAILER_BYTES:
            messages.pop()
        yield [bytes(message[_BEFORE_VALUE:]) for message in messages]


def _messages(connection: PGconn) -> Iterator[list[memoryview]]:
    """Yield what the server sends, many messages at a time, the first list with the first one."""
    get, messages, size = connection.get_copy_data, list[memoryview](), 0
    while True:
        # Rows are read by the million: nothing is done here that can be done for many at once.
        length, message = get(1)
        while length > 0:
            messages.append(message)
            size += length
            if size > _BYTES:
                yield messages
                messages, size = [], 0
            length, message = get(1)
        if length < 0:
            yield messages
            return
        # Waits where Ctrl-C is heard.
        select.select([connection.socket], [], [])
        connection.consume_input()


def _expect(connection: PGconn, status: pq.ExecStatus) -> None:
    result = connection.get_result()
    if result is None:
        raise psycopg.OperationalError(connection.get_error_message())
    if result.status != status:
        raise error_from_result(result)


def _settle(connection: PGconn) -> None:
    """Take what is left of the query, so that the next one can be sent."""
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.COPY_OUT:
            while connection.get_copy_data(0)[0] > 0:
                pass
