"""Who and what else is bound to a database: asked from any database of the server."""

from dataclasses import dataclass
from datetime import datetime

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """A process of the server that is bound to a database: a client's, a walsender, a worker."""

    pid: int
    #: None for a worker without a role, such as autovacuum's.
    user: str | None
    application_name: str
    #: An address, or `local`.
    client: str
    #: Such as `active` or `idle in transaction`; None where the role may not know.
    state: str | None
    #: Since when it is in that state; None where the role may not know.
    since: datetime | None
    #: Such as `client backend` or `walsender`; `unknown` where the role may not know.
    backend_type: str
    #: True where our role may end it.
    may_terminate: bool

    def __str__(self) -> str:
        user = f"role `{self.user}`" if self.user else self.backend_type
        name = f", `{self.application_name}`" if self.application_name else ""
        return f"process {self.pid} ({user}{name}, {self.client})"


@dataclass(frozen=True, kw_only=True)
class PreparedTransaction:
    """A transaction prepared for two-phase commit: the database cannot be renamed over it."""

    gid: str
    owner: str
    prepared: datetime


@dataclass(frozen=True, kw_only=True)
class SlotFacts:
    """A logical replication slot; DROP DATABASE drops it without a word."""

    name: str
    plugin: str
    active: bool
    temporary: bool


@dataclass(frozen=True, kw_only=True)
class SubscriptionFacts:
    """A subscription: it writes into the database by itself."""

    name: str
    owner: str
    enabled: bool
    #: The slot on the publisher, or None.
    slot: str | None


def other_sessions(session: Session, database: str) -> tuple[SessionFacts, ...]:
    """Return every process bound to `database` but the session's own, oldest first."""
    records = session.records(load("activity")["other_sessions"], [database])
    return tuple(SessionFacts(**record) for record in records)


def prepared_transactions(session: Session, database: str) -> tuple[PreparedTransaction, ...]:
    """Return the prepared transactions of `database`, oldest first."""
    records = session.records(load("activity")["prepared_transactions"], [database])
    return tuple(PreparedTransaction(**record) for record in records)


def replication_slots(session: Session, database: str) -> tuple[SlotFacts, ...]:
    """Return the logical replication slots of `database`."""
    records = session.records(load("activity")["replication_slots"], [database])
    return tuple(SlotFacts(**record) for record in records)


def subscriptions(session: Session, database: str) -> tuple[SubscriptionFacts, ...]:
    """Return the subscriptions of `database`."""
    records = session.records(load("activity")["subscriptions"], [database])
    return tuple(SubscriptionFacts(**record) for record in records)


def terminate(session: Session, pid: int) -> bool:
    """Ask the server to end one of its processes; False where there is none of this number."""
    return bool(session.value(load("activity")["terminate"], [pid]))
