"""`--amcheck`: what was loaded is read to its last page; a fault fails the proof."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oracle_support import Good, brought_back, snapshot, wreck
from site_support import Site

from alexandria_backup.errors import ConnectionLost
from alexandria_backup.events import Event, discard
from alexandria_backup.postgres.amcheck import check_pages
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks import restore_prove
from alexandria_backup.secret import Secret


@pytest.fixture
def debian_site(new_site: Callable[..., Site], debian_server: EmbeddedServer) -> Site:
    return new_site(debian_server)


def test_pages_are_read_and_the_extension_goes_again(debian_site: Site) -> None:
    site = debian_site
    site.sql("CREATE INDEX by_hash ON track USING hash (name)")
    archive = site.dump()
    ended = brought_back(site, archive, "--amcheck", good=Good(site=site))
    assert "not compared  index `public.by_hash`: `amcheck` cannot check hash" in ended.stdout
    # Chinook's own 11 tables and 22 indexes, and the catalogues'.
    assert "indexes and tables read to their last page" in ended.stdout
    assert ended.stdout.count("not compared  index") == 1
    assert site.value("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == 0
    assert site.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'alexandria%%'") == 0


def test_an_extension_that_the_database_has_stays(debian_site: Site) -> None:
    site = debian_site
    site.sql('CREATE SCHEMA "Tools"; CREATE EXTENSION amcheck SCHEMA "Tools"')
    archive = site.dump()
    brought_back(site, archive, "--amcheck", good=Good(site=site))
    assert site.value("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == 1


def test_an_index_that_lacks_rows_fails_the_proof(
    debian_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = debian_site
    archive = site.dump()
    wreck(site)
    broken = site.fingerprint()

    def check_damaged(shadow: Any, emit: Any) -> Any:
        # A function that is not what it says makes an index that lies, without touching a file.
        shadow.execute(
            "CREATE FUNCTION public.twist(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
            "CREATE INDEX twisted ON public.track (public.twist(track_id));"
            "CREATE OR REPLACE FUNCTION public.twist(int) RETURNS int IMMUTABLE LANGUAGE sql AS "
            "'SELECT -$1'"
        )
        return check_pages(shadow, emit)

    monkeypatch.setattr(restore_prove, "check_pages", check_damaged)
    ended = site.run("restore", str(archive), "--amcheck", "--yes")
    assert ended.returncode == 40, ended.stderr
    assert "`amcheck` finds 1 faults in what was just written: index `public.twisted`" in (
        ended.stderr
    )
    assert site.fingerprint() == broken
    assert set(site.databases()) == {site.database}


def test_what_a_killed_check_has_left_is_removed(debian_site: Site) -> None:
    site = debian_site
    dsn = Dsn.parse(site.server.conninfo(site.database))
    ours = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'alexandria%%'"
    with connect(dsn, purpose="test") as killed:
        backend = killed.value("SELECT pg_backend_pid()")

        def kill(_: Event) -> None:
            site.value("SELECT pg_terminate_backend(%s, 10000)", backend)

        with pytest.raises(ConnectionLost):
            check_pages(killed, kill)
    assert site.value(ours) == 1
    with connect(dsn, purpose="test") as session:
        checked = check_pages(session, discard)
    assert checked.findings == checked.not_checked == ()
    assert checked.tables > 11
    assert site.value("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == 0
    assert site.value(ours) == 0


def test_a_schema_of_the_users_that_is_called_like_ours_stays(debian_site: Site) -> None:
    site = debian_site
    site.sql(
        "CREATE SCHEMA alexandria_backup_check;"
        "CREATE TABLE alexandria_backup_check.kept AS SELECT generate_series(1, 3) AS id"
    )
    archive = site.dump()
    brought_back(site, archive, "--amcheck", good=Good(site=site))
    assert site.value("SELECT count(*) FROM alexandria_backup_check.kept") == 3
    assert site.value("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == 0


def test_damaged_pages_are_found(debian_site: Site, new_database: Callable[..., Secret]) -> None:
    site = debian_site
    site.sql("CREATE TABLE damaged AS SELECT generate_series(1, 500) AS id")
    file = site.value("SELECT pg_relation_filenode('damaged')")
    folder = site.value("SHOW data_directory")
    # The files of a copy have not been read into the server's memory yet.
    copy = new_database(site.server, template=site.database, name=f"{site.database}_c")
    name = Dsn.parse(copy).database
    oid = site.value("SELECT oid::int8 FROM pg_database WHERE datname = %s", name)
    with (Path(folder) / "base" / str(oid) / str(file)).open("r+b") as pages:
        # The head of the first row, which lies at the end of its page: written in the far future.
        pages.seek(8192 - 32)
        pages.write(b"\xff\xff\xff\x7f")
    with connect(Dsn.parse(copy), purpose="test") as session:
        checked = check_pages(session, discard)
    site.clear()
    assert any(f.startswith("table `public.damaged`: block 0, row 1") for f in checked.findings)


def test_a_server_without_it_is_refused_beforehand(site: Site) -> None:
    snapshot(site)
    refused = site.run("restore", "latest", "--amcheck", "--yes")
    assert refused.returncode == 12
    assert "the server lacks extension `amcheck`" in refused.stderr
    assert set(site.databases()) == {site.database}
