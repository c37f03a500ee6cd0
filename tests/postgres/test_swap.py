"""Databases change names all at once or not at all, whatever they are called."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from alexandria_backup.errors import (
    DatabaseUnreachable,
    PrecheckRefused,
    SessionsRemain,
    StatementFailed,
    UsageError,
)
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import DatabaseFacts, Grant, Setting, database_facts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.fence import fence
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.shadow import kept_name, read_marker, shadow_name
from alexandria_backup.postgres.swap import name_of, swap, who_is
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]
RUN = "restore-20261123T120000Z-k3x9"


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


class Pair:
    """A live database and its replacement, each with a table that tells which it is."""

    def __init__(
        self, server: EmbeddedServer, maintenance: Session, make: NewDatabase, live: str
    ) -> None:
        self.server, self.maintenance = server, maintenance
        self.live, self.incoming, self.kept = live, shadow_name(live), kept_name(live, "k3x9")
        for name in (self.live, self.incoming):
            with connect(Dsn.parse(make(server, name=name)), purpose="test") as session:
                session.execute(f"create table public.is_{'live' if name == live else 'new'} ()")
        self.live_oid, self.incoming_oid = self.oid(self.live), self.oid(self.incoming)
        self.facts = self.facts_of(self.live)

    def oid(self, name: str) -> int:
        oid = who_is(self.maintenance, name)
        assert oid is not None
        return oid

    def facts_of(self, name: str) -> DatabaseFacts:
        facts = database_facts(self.maintenance, name)
        assert facts is not None
        return facts

    def table(self, name: str) -> object:
        with connect(Dsn.parse(self.server.conninfo(name)), purpose="look") as session:
            return session.value("select relname from pg_class where relname like 'is\\_%'")

    def forward(self, **changes: object) -> None:
        arguments = {
            "live": self.live,
            "live_oid": self.live_oid,
            "incoming": self.incoming,
            "incoming_oid": self.incoming_oid,
            "kept": self.kept,
            "kept_marker": Marker(run=RUN, role="kept", of=self.live),
            "facts": self.facts,
            **changes,
        }
        swap(self.maintenance, **arguments)  # type: ignore[arg-type] # checked by the server

    def names(self) -> tuple[str | None, str | None]:
        return name_of(self.maintenance, self.live_oid), name_of(
            self.maintenance, self.incoming_oid
        )


@pytest.fixture
def pair(server: EmbeddedServer, maintenance: Session, new_database: NewDatabase) -> Pair:
    return Pair(server, maintenance, new_database, f"live_{secrets.token_hex(4)}")


@pytest.mark.parametrize("name", ['it\'s "quoted" 100%s \\ $1', " Größe  日本 ", "ü" * 27 + "x"])
def test_there_and_back(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase, name: str
) -> None:
    # Up to 63 bytes, which is where names are cut.
    pair = Pair(server, maintenance, new_database, f"{secrets.token_hex(4)}{name}")
    fence(maintenance, pair.live, patience=30)
    pair.forward()
    assert pair.names() == (pair.kept, pair.live)
    assert pair.table(pair.live) == "is_new"
    marker = read_marker(maintenance, pair.kept)
    assert marker is not None
    assert (marker.run, marker.role, marker.of) == (RUN, "kept", pair.live)
    with pytest.raises(DatabaseUnreachable):
        pair.table(pair.kept)
    fence(maintenance, pair.live, patience=30)
    pair.forward(
        live_oid=pair.incoming_oid,
        incoming=pair.kept,
        incoming_oid=pair.live_oid,
        kept=pair.incoming,
        kept_marker=Marker(run=RUN, role="shadow", of=pair.live),
    )
    assert pair.names() == (pair.live, pair.incoming)
    assert pair.table(pair.live) == "is_live"
    assert pair.facts_of(pair.live).comment is None


def test_attributes_go_with_the_name(pair: Pair) -> None:
    facts = replace(
        pair.facts,
        comment="the application's",
        connection_limit=9,
        settings=(Setting(role=None, name="work_mem", value="5MB"),),
        grants=(*pair.facts.grants, Grant(grantee=None, privilege="CREATE")),
        # As read behind a fence; the new database must be open all the same.
        allow_connections=False,
    )
    pair.forward(facts=facts)
    found = pair.facts_of(pair.live)
    assert (found.comment, found.connection_limit) == ("the application's", 9)
    assert found.settings == facts.settings
    assert set(found.grants) == set(facts.grants)
    assert found.allow_connections
    assert pair.table(pair.live) == "is_new"


def test_nothing_there_before(pair: Pair) -> None:
    pair.maintenance.execute(f"drop database {quote_identifier(pair.live)}")
    pair.forward(live_oid=None)
    assert pair.table(pair.live) == "is_new"
    assert who_is(pair.maintenance, pair.kept) is None
    # And back: the name is then nobody's.
    fence(pair.maintenance, pair.live, patience=30)
    pair.forward(live_oid=pair.incoming_oid, incoming=None, incoming_oid=None, kept=pair.incoming)
    assert pair.names() == (None, pair.incoming)


def test_sessions_in_the_incoming_database_are_ended(pair: Pair) -> None:
    with connect(Dsn.parse(pair.server.conninfo(pair.incoming)), purpose="monitor"):
        pair.forward()
    assert pair.names() == (pair.kept, pair.live)


def test_a_session_in_the_live_database_is_named(
    server18: EmbeddedServer, new_database: NewDatabase
) -> None:
    # One version only: the server waits five seconds for the session to go.
    with connect(Dsn.parse(server18.conninfo()), purpose="test") as maintenance:
        pair = Pair(server18, maintenance, new_database, f"live_{secrets.token_hex(4)}")
        with (
            connect(Dsn.parse(server18.conninfo(pair.live)), purpose="stays") as stays,
            pytest.raises(SessionsRemain, match=f"process {stays.pid} .*alexandria-backup stays"),
        ):
            pair.forward()
        assert pair.names() == (pair.live, pair.incoming)


def test_a_prepared_transaction_forbids_it(pair: Pair) -> None:
    fence_off = Dsn.parse(pair.server.conninfo(pair.live))
    gid = secrets.token_hex(4)
    with connect(fence_off, purpose="test") as session:
        session.execute(f"begin; create table public.t (); prepare transaction '{gid}'")
    try:
        with pytest.raises(SessionsRemain, match=f"prepared transaction `{gid}`"):
            pair.forward()
        assert pair.names() == (pair.live, pair.incoming)
    finally:
        with connect(fence_off, purpose="test") as session:
            session.execute(f"rollback prepared '{gid}'")


def test_a_failure_in_the_middle_changes_nothing(pair: Pair) -> None:
    nobody = Setting(role="no such role", name="work_mem", value="5MB")
    with pytest.raises(StatementFailed):
        pair.forward(facts=replace(pair.facts, comment="new", settings=(nobody,)))
    assert pair.names() == (pair.live, pair.incoming)
    assert pair.facts_of(pair.live).comment is None
    assert read_marker(pair.maintenance, pair.live) is None
    assert pair.table(pair.live) == "is_live"


def test_other_databases_are_refused(pair: Pair) -> None:
    for wrong in (
        {"live_oid": pair.incoming_oid},
        {"live_oid": None},
        {"incoming_oid": 1},
        {"kept": pair.incoming},
        {"incoming": "not there"},
    ):
        with pytest.raises(PrecheckRefused):
            pair.forward(**wrong)
    assert pair.names() == (pair.live, pair.incoming)


def test_a_name_that_the_server_would_cut(pair: Pair) -> None:
    with pytest.raises(UsageError):
        pair.forward(kept=pair.live + "x" * 60)
    assert pair.names() == (pair.live, pair.incoming)


def test_an_owner_without_more_rights_can_swap(pair: Pair) -> None:
    role = f"owner_{pair.live}"
    pair.maintenance.execute(f"create role {role} login createdb")
    for name in (pair.live, pair.incoming):
        pair.maintenance.execute(f"alter database {quote_identifier(name)} owner to {role}")
    pair.facts = pair.facts_of(pair.live)
    try:
        with connect(Dsn.parse(pair.server.conninfo(user=role)), purpose="test") as owner:
            fence(owner, pair.live, patience=30)
            swap(
                owner,
                live=pair.live,
                live_oid=pair.live_oid,
                incoming=pair.incoming,
                incoming_oid=pair.incoming_oid,
                kept=pair.kept,
                kept_marker=Marker(run=RUN, role="kept", of=pair.live),
                facts=pair.facts,
            )
        assert pair.names() == (pair.kept, pair.live)
    finally:
        for name in (pair.live, pair.kept):
            quoted = quote_identifier(name)
            pair.maintenance.execute(f"alter database {quoted} owner to postgres")
        pair.maintenance.execute(f"drop role {role}")
