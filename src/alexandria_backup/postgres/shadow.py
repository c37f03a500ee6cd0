"""Shadow databases: where a restore builds, and how a database tells which run it belongs to.

A shadow's name follows from its target alone, so making it is also the lock: there is one restore
per target. Which run made a database stands in its COMMENT, which any role may read from any
database of the server.
"""

from dataclasses import replace
from zlib import crc32

from alexandria_backup.errors import (
    LockedByAnotherRun,
    PrecheckRefused,
    StatementFailed,
    UsageError,
)
from alexandria_backup.postgres.attributes import set_grants
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.identifiers import fit_name, fits, quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker as Marker  # noqa: PLC0414 - others name it here
from alexandria_backup.postgres.queries import load

#: What the name of each database that a drill makes begins with.
DRILL_PREFIX = "alexandria_drill_"
_SHADOW_SUFFIX = "_alexandria_shadow"
_KEPT_SUFFIX = "_alexandria_kept_"
_NEW_PREFIX = "alexandria_new_"
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_DUPLICATE_DATABASE = "42P04"
_DEFAULT_TABLESPACE = "pg_default"


def shadow_name(database: str) -> str:
    """Return the name of the shadow of `database`: always the same, in at most 63 bytes."""
    return fit_name(database, _SHADOW_SUFFIX)


def kept_name(database: str, run_suffix: str) -> str:
    """Return the name under which a run keeps the database that it replaced."""
    return fit_name(database, _KEPT_SUFFIX + run_suffix)


def is_reserved(name: str) -> bool:
    """Tell whether a run may give this name to a database of its own, whatever its target."""
    return (
        name.startswith((_NEW_PREFIX, DRILL_PREFIX))
        or name.endswith(_SHADOW_SUFFIX)
        or _KEPT_SUFFIX in name
    )


def read_marker(session: Session, database: str) -> Marker | None:
    """Return the marker of a database, or None where there is no such database or no marker."""
    return Marker.decode(session.value(load("database")["comment_of"], [database]))


def create_shadow(maintenance: Session, name: str, *, like: DatabaseFacts, marker: Marker) -> None:
    """Create an empty database with the encoding, locale, owner and grants of `like`.

    It appears under its name together with its marker: it is made under a name of the run's own
    and then renamed, so that a crash cannot leave a shadow of nobody's. Until then its connection
    limit tells whose it is, which unlike a comment comes with CREATE DATABASE itself. Raises
    LockedByAnotherRun where there is a database of that name, and StatementFailed where the server
    refuses.
    """
    if not fits(name):
        raise UsageError(f"`{name}` is no name for a database: 1 to 63 bytes are")
    _refuse_existing(maintenance, name)
    discard_unfinished(maintenance, marker.run)
    unfinished = _unfinished_name(marker.run)
    maintenance.execute(
        f"CREATE DATABASE {quote_identifier(unfinished)} TEMPLATE template0 "
        f"CONNECTION LIMIT {_unfinished_limit(marker.run)} "
        + " ".join(_options(like, maintenance.server_version))
    )
    try:
        with maintenance.transaction():
            made = quote_identifier(unfinished)
            maintenance.execute(f"COMMENT ON DATABASE {made} IS {quote_literal(marker.encode())}")
            set_grants(maintenance, unfinished, like.grants)
            maintenance.execute(f"ALTER DATABASE {made} CONNECTION LIMIT -1")
            maintenance.execute(f"ALTER DATABASE {made} RENAME TO {quote_identifier(name)}")
    except StatementFailed as error:
        discard_unfinished(maintenance, marker.run)
        if error.sqlstate == _DUPLICATE_DATABASE:
            _refuse_existing(maintenance, name)
        raise


def note_begun(maintenance: Session, name: str, *, run: str) -> None:
    """Note that something is loaded into a shadow from now on; doing it twice is once."""
    marker = read_marker(maintenance, name)
    if marker is not None and marker.run == run and not marker.begun:
        text = quote_literal(replace(marker, begun=True).encode())
        maintenance.execute(f"COMMENT ON DATABASE {quote_identifier(name)} IS {text}")


def is_unfinished(maintenance: Session, run: str) -> bool:
    """Tell whether a crash in the middle of `create_shadow` left a database of this run.

    One that merely has the name is not it.
    """
    limit = maintenance.value(load("database")["connection_limit_of"], [_unfinished_name(run)])
    return bool(limit == _unfinished_limit(run))


def discard_unfinished(maintenance: Session, run: str) -> None:
    """Drop what a crash in the middle of `create_shadow` left of this run, where it left any."""
    name = quote_identifier(_unfinished_name(run))
    maintenance.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def drop_database(maintenance: Session, name: str, *, expected_oid: int, marker_run: str) -> None:
    """Drop a database that a run made or kept, with the sessions in it; absent is fine.

    Raises PrecheckRefused where the name leads to another database than the run's.
    """
    oid = maintenance.value(load("database")["oid_of"], [name])
    if oid is None:
        return
    marker = read_marker(maintenance, name)
    if oid != expected_oid or marker is None or marker.run != marker_run:
        owner = f"run `{marker.run}`" if marker else "no run of ours"
        raise PrecheckRefused(
            f"database `{name}` (OID {oid}) belongs to {owner} and is not dropped: "
            f"expected was OID {expected_oid} of run `{marker_run}`",
            hint="alexandria run list",
        )
    maintenance.execute(f"DROP DATABASE {quote_identifier(name)} WITH (FORCE)")


def _unfinished_name(run: str) -> str:
    return fit_name(_NEW_PREFIX + run, "")


def _unfinished_limit(run: str) -> int:
    """Return a limit that nobody else sets, of more than 2^30 connections."""
    return 1 << 30 | crc32(run.encode()) >> 2


def _refuse_existing(maintenance: Session, name: str) -> None:
    if database_facts(maintenance, name) is None:
        return
    marker = read_marker(maintenance, name)
    if marker is None:
        raise LockedByAnotherRun(
            f"there is a database `{name}` already, which no run of ours has made",
            hint="look at it; if nobody needs it, drop it",
        )
    raise LockedByAnotherRun(
        f"run `{marker.run}` works on `{marker.of}` since {marker.at:%Y-%m-%d %H:%M} UTC: "
        f"its database `{name}` exists",
        hint=f"alexandria run resume {marker.run}, or alexandria run abort {marker.run}",
    )


def _options(like: DatabaseFacts, server_version: int) -> list[str]:
    """Return the options of CREATE DATABASE; those of providers exist from version 15 on."""
    words = [
        f"ENCODING {quote_literal(like.encoding)}",
        f"LC_COLLATE {quote_literal(like.collate)}",
        f"LC_CTYPE {quote_literal(like.ctype)}",
        f"OWNER {quote_identifier(like.owner)}",
    ]
    if like.tablespace != _DEFAULT_TABLESPACE:
        # Named, even the default one would ask for a right that few roles have.
        words.append(f"TABLESPACE {quote_identifier(like.tablespace)}")
    if server_version >= 150000:
        words.append(f"LOCALE_PROVIDER {_PROVIDERS[like.locale_provider]}")
    if like.locale is not None and like.locale_provider != "c":
        keyword = "ICU_LOCALE" if like.locale_provider == "i" else "BUILTIN_LOCALE"
        words.append(f"{keyword} {quote_literal(like.locale)}")
    if like.icu_rules is not None:
        words.append(f"ICU_RULES {quote_literal(like.icu_rules)}")
    return words
