"""What psycopg raises, as errors of ours: the only place that knows its exceptions.

libpq hands out no SQLSTATE for a failed connection, so its message must be read; a server that
speaks another language falls back to DatabaseUnreachable, with the server's own words.
"""

import re
from typing import Final

import psycopg

from alexandria_backup.errors import (
    AlexandriaError,
    ConnectionLost,
    DatabaseMissing,
    DatabaseUnreachable,
    PasswordRejected,
    PoolerRefused,
    StatementFailed,
)
from alexandria_backup.postgres.dsn import Dsn

#: What to do about a pooler, wherever one is met.
POOLER_HINT = "give a DSN that reaches the server directly, not through a connection pooler"

#: What to do where replay on a standby has ended what was being read there; clients show it, too.
RECOVERY_CONFLICT: Final = "conflict with recovery"
RECOVERY_CONFLICT_HINT: Final = (
    "set `hot_standby_feedback` and a longer `max_standby_streaming_delay` on the standby, or take "
    "the snapshot from the primary"
)

_REJECTED = re.compile(
    r"authentication failed|no password supplied|password retrieved from file"
    r"|role \"[^\"]*\" does not exist|is not permitted to log in|no pg_hba\.conf entry"
    r"|authentication method requirement"
)
_MISSING = re.compile(r"database \"(?:.*)\" does not exist")
_FENCED = re.compile(r"not currently accepting connections")
_POOLER = re.compile(r"unsupported startup parameter")
_TOO_MANY = re.compile(r"too many clients|too many connections|connection slots are reserved")
_NOT_YET = re.compile(r"the database system is (?:starting up|shutting down|in recovery mode)")
_CERTIFICATE = re.compile(r"certificate|SSL|GSSAPI")

#: SQLSTATEs that end the session: admin_shutdown, crash_shutdown, cannot_connect_now and the like.
_FATAL_STATES = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})


def connect_failure(error: psycopg.Error, dsn: Dsn, *, needs_password: bool) -> AlexandriaError:
    """Return what to raise for a connection that did not come to be.

    The message names the DSN without its secrets, and what the server or libpq said.
    """
    said = _in_one_line(dsn.redact(str(error)))
    where = f"`{dsn}`"
    if _POOLER.search(said):
        return PoolerRefused(f"{where} leads to a connection pooler: {said}", hint=POOLER_HINT)
    if _FENCED.search(said):
        return DatabaseUnreachable(
            f"database `{dsn.database}` is fenced: it does not accept connections now",
            hint="alexandria run list",
        )
    if needs_password:
        return PasswordRejected(
            f"the server asks for a password, and the DSN {where} has none",
            hint="put the password into the DSN, or into a password file",
        )
    if _REJECTED.search(said):
        return PasswordRejected(
            f"the server refuses the login of {where}: {said}",
            hint="check role, password and the server's `pg_hba.conf`",
        )
    if _MISSING.search(said):
        return DatabaseMissing(
            f"the server has no database `{dsn.database}`",
            hint="check the database's name at the end of the DSN; if it was dropped: "
            "alexandria restore latest",
        )
    return DatabaseUnreachable(f"cannot connect to {where}: {said}", hint=_unreachable_hint(said))


def statement_failure(error: psycopg.Error, dsn: Dsn, *, lost: bool) -> StatementFailed:
    """Return what to raise for a statement: the server's message, never the parameters.

    The server's DETAIL is left out, since it quotes rows. `lost` says that the connection is gone.
    """
    said = _in_one_line(dsn.redact(error.diag.message_primary or str(error) or repr(error)))
    conflict = RECOVERY_CONFLICT in said
    # The server's own hint is to connect again, and would lead to the same end.
    hint = RECOVERY_CONFLICT_HINT if conflict else error.diag.message_hint
    where = f"database `{dsn.database}`"
    if lost or error.sqlstate in _FATAL_STATES:
        return ConnectionLost(
            f"the connection to {where} was lost: {said}", sqlstate=error.sqlstate, hint=hint
        )
    return StatementFailed(
        f"a statement in {where} failed: {said}", sqlstate=error.sqlstate, hint=hint
    )


def _unreachable_hint(said: str) -> str:
    if _TOO_MANY.search(said):
        return "end idle sessions or raise `max_connections`, then try again"
    if _NOT_YET.search(said):
        return "wait until the server is up, then try again"
    if "due to transaction timeout" in said:
        return "raise the server's `transaction_timeout`: no session can begin under it"
    if "permission denied for database" in said:
        return "grant the role CONNECT on the database"
    if _CERTIFICATE.search(said):
        return "check `sslmode` and `sslrootcert` in the DSN"
    return "check host and port of the DSN, and whether the server runs"


def _in_one_line(text: str) -> str:
    text = text.removeprefix("connection failed: ").removeprefix("connection is bad: ")
    return " ".join(text.split())
