"""What a server is, and what our role may do on it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

#: Locales in which a server speaks English.
_ENGLISH: Final = re.compile(r"$|C\b|POSIX$|en\b|en_|english", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """A server, as one session sees it."""

    #: Such as 160014.
    version_num: int
    #: Such as `16.14 (Debian 16.14-1)`.
    version: str
    #: True on a standby: nothing can be written there.
    in_recovery: bool
    #: The same for a primary and its standbys; None where the role may not ask.
    system_identifier: int | None
    #: True where this session is encrypted.
    tls: bool
    #: The server's own clock.
    now: datetime
    #: None where the role may not ask.
    data_directory: str | None
    #: True where the session comes through a Unix socket or a loopback address. A forwarded port
    #: looks the same: whoever reads `data_directory` must look whether it is there.
    local: bool

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10_000


@dataclass(frozen=True, kw_only=True)
class RoleFacts:
    """The session's role, with what it has by inheritance; a superuser may everything."""

    name: str
    superuser: bool
    create_database: bool
    create_role: bool
    #: Roles whose rights it has, without itself.
    member_of: tuple[str, ...]
    #: Roles that it may become, and so may make owners, without itself.
    may_become: tuple[str, ...]


def server_facts(session: Session) -> ServerFacts:
    """Ask the server about itself; what the role may not know is None."""
    queries = load("server")
    (record,) = session.records(queries["server"])
    may_ask = session.value(queries["may_ask_control"])
    identifier = session.value(queries["system_identifier"]) if may_ask else None
    record["now"] = record["now"].astimezone(UTC)
    return ServerFacts(**record, system_identifier=identifier)


def role_facts(session: Session) -> RoleFacts:
    """Ask what the session's role may do."""
    (record,) = session.records(load("server")["role"])
    record["member_of"] = tuple(record["member_of"])
    record["may_become"] = tuple(record["may_become"])
    return RoleFacts(**record)


def messages_language(session: Session) -> str | None:
    """Return the locale of the server's messages, where sessions begin in another one than English.

    Sessions of ours change that where the role may; so must PostgreSQL's programs, see
    `english_messages`.
    """
    locale = str(session.value(load("server")["messages_language"]))
    return None if is_english(locale) else locale


def is_english(locale: str) -> bool:
    """Tell whether a server with this `lc_messages` speaks English."""
    return _ENGLISH.match(locale) is not None


def english_messages(session: Session) -> Mapping[str, str]:
    """Return the parameters by which a program's session speaks English, where the role may."""
    if messages_language(session) is None or not role_facts(session).superuser:
        return {}
    return {"lc_messages": "C"}


def strangers(session: Session, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of existing roles whose first one has not the rights of the second."""
    members, of = zip(*pairs, strict=True) if (pairs := tuple(pairs)) else ((), ())
    return tuple(session.all(load("server")["strangers"], [list(members), list(of)]))


def list_databases(session: Session) -> tuple[str, ...]:
    """Return the names of all databases of the server, templates and fenced ones too, sorted."""
    return tuple(name for (name,) in session.all(load("server")["databases"]))


def roles(session: Session) -> frozenset[str]:
    """Return the names of all roles of the server."""
    return frozenset(name for (name,) in session.all(load("server")["roles"]))
