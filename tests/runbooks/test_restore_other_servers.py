"""A database under construction asks nothing of other servers, in a restore and in a drill.

The other server is a second database of the same one: what was done there is seen by a sequence
that moves with every look.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from drill_support import drills_of
from oracle_support import keep_in_frames, snapshot, wreck
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer

#: One for each way from a materialized view to another server.
VIEWS = (
    *("by_table", "by_view", "by_function", "by_text", "by_partition", "by_heir", "by_dblink"),
    "by_another",
)

_OTHER = """
CREATE SEQUENCE looked;
CREATE VIEW things AS SELECT 1 AS id, nextval('looked') AS n;
CREATE TABLE kept (id int);
"""
_HERE = """
CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink;
CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '{host}', port '{port}', dbname '{other}');
CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user '{user}');
CREATE FOREIGN TABLE far (id int, n bigint) SERVER other OPTIONS (table_name 'things');
CREATE TABLE part (id int, n bigint) PARTITION BY LIST (id);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
CREATE FOREIGN TABLE part_1 PARTITION OF part FOR VALUES IN (1)
    SERVER other OPTIONS (table_name 'things');
INSERT INTO part VALUES (2, 2);
CREATE TABLE family (id int, n bigint);
CREATE FOREIGN TABLE heir () INHERITS (family) SERVER other OPTIONS (table_name 'things');
CREATE VIEW seen AS SELECT * FROM far;
CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(n) FROM far; END;
CREATE FUNCTION said() RETURNS bigint LANGUAGE plpgsql AS
    'BEGIN RETURN (SELECT sum(n) FROM public.seen); END';
CREATE MATERIALIZED VIEW by_table AS SELECT * FROM far;
CREATE MATERIALIZED VIEW by_view AS SELECT * FROM seen;
CREATE MATERIALIZED VIEW by_function AS SELECT counted() AS n;
CREATE MATERIALIZED VIEW by_text AS SELECT said() AS n;
CREATE MATERIALIZED VIEW by_partition AS SELECT * FROM part;
CREATE MATERIALIZED VIEW by_heir AS SELECT * FROM family;
CREATE MATERIALIZED VIEW by_dblink AS
    SELECT * FROM dblink('{conninfo}', 'SELECT n FROM things') AS t (n bigint);
CREATE MATERIALIZED VIEW by_another AS SELECT * FROM by_table;
CREATE MATERIALIZED VIEW local AS SELECT count(*) AS n FROM part_2;
"""


@dataclass(frozen=True, kw_only=True)
class Linked:
    """A site whose database reads from another one."""

    site: Site
    other: str

    def looks(self) -> int:
        """How often the other database was looked into."""
        found: int = self.site.value("SELECT last_value FROM looked", database=self.other)
        return found

    def filled(self) -> dict[str, bool]:
        return dict(self.site.sql("SELECT matviewname, ispopulated FROM pg_matviews"))


@pytest.fixture
def linked(new_site: Callable[..., Site], debian_server: EmbeddedServer) -> Iterator[Linked]:
    site = keep_in_frames(new_site(debian_server))
    other = f"{site.database[:40]}_other"
    site.sql(f'CREATE DATABASE "{other}"', database="postgres")
    site.sql(_OTHER, database=other)
    with site.connection(other) as connection:
        info = connection.info
        conninfo = debian_server.conninfo(other).reveal().replace("'", "''")
        text = _HERE.format(
            host=info.host, port=info.port, other=other, user=info.user, conninfo=conninfo
        )
    site.sql(text)
    yield Linked(site=site, other=other)
    site.sql(f'DROP DATABASE "{other}" WITH (FORCE)', database="postgres")


def test_a_drill_asks_nothing_of_other_servers_and_says_what_it_leaves_out(linked: Linked) -> None:
    with drills_of(linked.site) as drills:
        drills.snapshot()
        before = linked.looks()
        ended = drills.drilled()
    assert linked.looks() == before
    for view in VIEWS:
        assert f"materialized view `public.{view}` is not filled in a drill" in ended.stdout
    assert "`public.local`" not in ended.stdout


def test_a_restore_leaves_such_views_empty_and_says_how_to_fill_them(linked: Linked) -> None:
    site = linked.site
    snapshot(site)
    wreck(site)
    before = linked.looks()
    ended = site.run("restore", "latest", "--yes")
    assert ended.returncode == 3, ended.stderr
    assert linked.looks() == before
    assert linked.filled() == {**dict.fromkeys(VIEWS, False), "local": True}
    for view in VIEWS:
        command = f'REFRESH MATERIALIZED VIEW "public"."{view}"'
        assert command in ended.stderr
        site.sql(command)
    assert all(linked.filled().values())


def test_rows_of_a_foreign_table_in_an_archive_are_not_inserted_elsewhere(linked: Linked) -> None:
    site = linked.site
    site.sql("CREATE FOREIGN TABLE kept (id int) SERVER other")
    site.sql("INSERT INTO kept VALUES (1)", database=linked.other)
    archive = site.dump(options=("-Fc", "--include-foreign-data=other"))
    before = linked.looks()
    ended = site.run("restore", str(archive), "--yes")
    assert ended.returncode == 3, ended.stderr
    assert "rows of foreign table `public.kept` are not inserted" in ended.stderr
    assert site.sql("SELECT id FROM kept", database=linked.other) == [(1,)]
    assert linked.looks() == before
