"""Parameters of the server for sessions that load and build: chosen from what the server has.

A parameter that the role may not set would end the session at its start, so each is tried first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.sqlstates import INSUFFICIENT_PRIVILEGE

#: The share of the machine's memory that all builds together may take: the live database, and the
#: page cache that it lives on, stay beside them.
_SHARE: Final = 8
#: More makes no build of an index faster that fits into it, and one that does not, hardly.
_MOST_KB: Final = 1 << 20
_KB_PER_MB: Final = 1 << 10
#: The cheap one: pglz costs more time than the volume of WAL is worth.
_WAL_COMPRESSION: Final = "lz4"


@dataclass(frozen=True, kw_only=True)
class LoadSetting:
    """A parameter, and what it is while a load is at work."""

    name: str
    #: In the form in which `SHOW` has it.
    value: str
    #: What it would be otherwise.
    otherwise: str
    #: False where the role may not set it.
    applied: bool = True

    def __str__(self) -> str:
        said = "" if self.applied else ", which the role may not set"
        return f"{self.name} {self.value}{said}"


def choose_settings(
    session: Session, *, jobs: int, memory_bytes: int | None, cores: int | None
) -> tuple[LoadSetting, ...]:
    """Return the settings for `jobs` sessions that load at once, where they are not the server's.

    `memory_bytes` and `cores` are the machine's, None where nobody knows: what rests on them is not
    changed then. The session's own parameters change with it.
    """
    records = session.records(load("load")["parameters"])
    server = {str(record["name"]): record for record in records}
    wanted = dict(_wanted(server, jobs=jobs, memory_bytes=memory_bytes, cores=cores))
    return tuple(
        _tried(session, name, value)
        for name, value in wanted.items()
        if value != server[name]["setting"]
    )


def applied(settings: tuple[LoadSetting, ...]) -> Mapping[str, str]:
    """Return the parameters that a session may be started with."""
    return {item.name: item.value for item in settings if item.applied}


def _wanted(
    server: Mapping[str, Mapping[str, object]],
    *,
    jobs: int,
    memory_bytes: int | None,
    cores: int | None,
) -> Iterator[tuple[str, str]]:
    """Yield names and values, in the units of `pg_settings`."""
    # A load that is lost with the server is made anew; whatever is committed durably after it, the
    # swap above all, makes it durable with itself.
    yield "synchronous_commit", "off"
    if memory_bytes is not None:
        each = memory_bytes // 1024 // _SHARE // jobs // _KB_PER_MB * _KB_PER_MB
        now = int(str(server["maintenance_work_mem"]["setting"]))
        yield "maintenance_work_mem", str(max(now, min(each, _MOST_KB)))
    if cores is not None:
        most = int(str(server["max_parallel_workers"]["setting"]))
        # At least one: the last index is often built when all the other sessions have ended.
        yield "max_parallel_maintenance_workers", str(min(most, max(1, cores // jobs)))
    values = server["wal_compression"]["enumvals"]
    if isinstance(values, list) and _WAL_COMPRESSION in values:
        yield "wal_compression", _WAL_COMPRESSION


def _tried(session: Session, name: str, value: str) -> LoadSetting:
    otherwise = str(session.value("SELECT pg_catalog.current_setting(%s)", (name,)))
    try:
        session.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
    except StatementFailed as error:
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
        return LoadSetting(name=name, value=value, otherwise=otherwise, applied=False)
    shown = str(session.value("SELECT pg_catalog.current_setting(%s)", (name,)))
    return LoadSetting(name=name, value=shown, otherwise=otherwise)
