"""What the sessions of a load are set to: by the machine where it is known, and never less."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from site_support import new_role

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.load_settings import applied, choose_settings
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.server_machine import cores, memory_bytes

GB = 1 << 30


@pytest.fixture
def session(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        # The servers of the tests have it off already.
        opened.execute("SET synchronous_commit = on")
        yield opened


def values(session: Session, *, jobs: int, memory: int | None, cores: int | None) -> dict[str, str]:
    return dict(applied(choose_settings(session, jobs=jobs, memory_bytes=memory, cores=cores)))


def test_memory_is_shared_by_the_jobs_and_has_a_limit(session: Session) -> None:
    name = "maintenance_work_mem"
    assert values(session, jobs=2, memory=16 * GB, cores=None)[name] == "1GB"
    session.execute("RESET maintenance_work_mem")
    assert values(session, jobs=4, memory=4 * GB, cores=None)[name] == "128MB"


def test_memory_is_never_less_than_the_server_gives(session: Session) -> None:
    session.execute("SET maintenance_work_mem = '900MB'")
    assert "maintenance_work_mem" not in values(session, jobs=8, memory=GB, cores=None)


def test_nothing_rests_on_a_machine_that_nobody_knows(session: Session) -> None:
    chosen = values(session, jobs=2, memory=None, cores=None)
    assert chosen["synchronous_commit"] == "off"
    assert not {"maintenance_work_mem", "max_parallel_maintenance_workers"} & set(chosen)


@pytest.mark.parametrize(("found", "jobs", "workers"), [(1, 4, "1"), (16, 2, "8"), (12, 4, "3")])
def test_workers_are_as_many_as_processors_are_left(
    session: Session, found: int, jobs: int, workers: int
) -> None:
    chosen = values(session, jobs=jobs, memory=None, cores=found)
    assert chosen["max_parallel_maintenance_workers"] == workers


def test_what_the_role_may_not_set_is_told_and_left(
    session: Session, server: EmbeddedServer
) -> None:
    session.execute("SET wal_compression = off")
    role = new_role(server)
    try:
        with connect(Dsn.parse(server.conninfo(user=role)), purpose="test") as poor:
            chosen = choose_settings(poor, jobs=1, memory_bytes=None, cores=None)
            refused = [item for item in chosen if not item.applied]
            assert all(item.name == "wal_compression" for item in refused)
            assert "wal_compression" not in applied(chosen)
        # Sessions of this role can be started with the rest.
        dsn = Dsn.parse(server.conninfo(user=role)).with_settings(applied(chosen))
        with connect(dsn, purpose="test") as started:
            for item in chosen:
                expected = item.value if item.applied else item.otherwise
                assert started.value("SELECT current_setting(%s)", (item.name,)) == expected
    finally:
        session.execute(f'DROP ROLE "{role}"')


def test_settings_stand_behind_the_options_of_the_dsn(server_any: EmbeddedServer) -> None:
    given = Dsn.parse(server_any.conninfo())
    dsn = given.with_settings({"work_mem": "7MB"}).with_settings({"application_name": "a b\\c"})
    with connect(dsn, purpose="test") as session:
        assert session.value("SHOW work_mem") == "7MB"
    assert dsn.parameters()["options"] == r"-c work_mem=7MB -c application_name=a\ b\\c"
    assert given.with_settings({}) is given


def test_memory_is_the_container_s_where_that_is_less(session: Session, tmp_path: Path) -> None:
    server = server_facts(session)
    assert cores(server)
    whole = memory_bytes(server, ())
    assert whole is not None
    for text, expected in (("max", whole), ("123456789", 123_456_789), (str(1 << 62), whole)):
        (tmp_path / "limit").write_text(f"{text}\n")
        assert memory_bytes(server, (tmp_path / "none", tmp_path / "limit")) == expected
    elsewhere = replace(server, data_directory="/no/such/folder")
    assert (memory_bytes(elsewhere), cores(elsewhere)) == (None, None)
