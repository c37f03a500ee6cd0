"""What every session is started with: limits, and what decides how names and values are read.

Everything is pinned in the start-up packet, after the DSN's own `options`: nothing that a role, a
database or a DSN sets can make a query mean something else, or one dump differ from the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from alexandria_backup.postgres.dsn import Dsn, option_value

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
#: Limits that only these major versions and later know: an earlier server refuses the session.
_LATER_LIMITS: Final = {"idle_session_timeout": 14, "transaction_timeout": 17}


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


def startup_parameters(
    dsn: Dsn, *, purpose: str, timeouts: Timeouts, server_major: int | None = None
) -> dict[str, str]:
    """Return the parameters of libpq that we decide, for a connection to `dsn`.

    Where the server's version is not known yet, `later_limits` are not among them.
    """
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
        **later_limits(server_major),
    }
    return {
        **{name: given.get(name, value) for name, value in KEEPALIVES.items()},
        "connect_timeout": given.get("connect_timeout", str(ceil(timeouts.connect))),
        "client_encoding": "UTF8",
        "application_name": application_name(purpose),
        "options": options(given.get("options", ""), pinned),
    }


def later_limits(server_major: int | None) -> dict[str, str]:
    """Return what lifts the limits that not every server knows; nothing where it is not known.

    Lifted by a statement alone, the least of them would end a session before it comes to that.
    """
    known = (name for name, since in _LATER_LIMITS.items() if since <= (server_major or 0))
    return dict.fromkeys(known, "0")


def application_name(purpose: str) -> str:
    """Return the name by which a session of ours is known on the server."""
    name = f"alexandria-backup {purpose}"
    return name.encode()[:_APPLICATION_NAME_LIMIT].decode(errors="ignore")


def options(given: str, pinned: Mapping[str, str]) -> str:
    """Return libpq's `options`: those `given`, then the pinned settings; the last one wins."""
    return " ".join(
        filter(None, (given, *(f"-c {name}={option_value(text)}" for name, text in pinned.items())))
    )
