"""Waiting for the server in libpq's own terms, without holding up the rest of this process.

psycopg's compiled `get_result` and `get_copy_data(0)` wait with Python's global lock held: no other
thread runs meanwhile, neither who reads `pg_dump` nor who renews a lease, and Ctrl-C is not heard.
What is here waits for the socket first, where others run and signals arrive.
"""

import select

from psycopg.pq.abc import PGconn, PGresult


def send_query(connection: PGconn, statement: str) -> None:
    """Send a query; raises psycopg's OperationalError where the connection has ended."""
    connection.send_query(statement.encode())
    # 1 where the socket took a part only.
    while connection.flush():
        _await(connection, select.POLLOUT | select.POLLIN)
        connection.consume_input()


def next_result(connection: PGconn) -> PGresult | None:
    """Return the query's next result, None after the last one; raises as `await_input` does.

    Not to be asked in the middle of a COPY: its rows come first.
    """
    while connection.is_busy():
        await_input(connection)
    return connection.get_result()


def await_input(connection: PGconn) -> None:
    """Wait for the server to send something, and take it; OperationalError where it has gone."""
    _await(connection, select.POLLIN)
    connection.consume_input()


def _await(connection: PGconn, events: int) -> None:
    # Unlike `select`, for any number of open files.
    poll = select.poll()
    poll.register(connection.socket, events)
    poll.poll()
