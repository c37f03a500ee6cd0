"""The stand-in's own connections: known to the server by its name, not by ours."""

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import Timeouts

#: A database that does not answer in this time is away, and the application says so.
_TIMEOUTS = Timeouts(connect=3, statement=5, lock=5, idle_in_transaction=5)


def open_session(dsn: Dsn, *, part: str) -> Session:
    """Connect as the application does; raises what `connect` raises, and `StatementFailed`."""
    session = connect(dsn, purpose=f"demo {part}", timeouts=_TIMEOUTS)
    try:
        # A restore looks at who is connected, and must take this for a stranger.
        session.value(
            "SELECT pg_catalog.set_config('application_name', %s, false)", (f"alexandria {part}",)
        )
    except BaseException:
        session.close()
        raise
    return session
