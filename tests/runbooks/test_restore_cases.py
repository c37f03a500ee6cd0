"""What a database may hold, and what may be tied to it: a restore brings back all of it.

Archives that were damaged, killed runs and bad input have files of their own.
"""

import json
import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from oracle_support import Good, brought_back, keep_in_frames, snapshot, wreck
from psycopg import sql
from shapes_support import HASHED, SHAPES, create_shapes, drop_shapes
from site_support import CHINOOK_TABLES, Site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.transition import Phase

# ── what stands in a schema ──────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["files", pytest.param("repository", marks=pytest.mark.campaign)])
def site(site: Site, request: pytest.FixtureRequest) -> Site:
    """A site that keeps files, or a repository with each table in frames of its own."""
    if request.param == "repository":
        keep_in_frames(site)
    return site


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_object_comes_back(site: Site, shape: str) -> None:
    create_shapes(site, SHAPES[shape])
    snapshot(site)
    good = Good(site=site, moving=HASHED)
    restored = brought_back(site, "latest", damage=drop_shapes, good=good)
    assert "not compared" not in restored.stdout


def test_all_of_them_together_come_back_on_the_oldest_server_from_a_plain_archive(
    new_site: Callable[..., Site], server16: EmbeddedServer
) -> None:
    site = new_site(server16)
    create_shapes(site, *SHAPES.values())
    archive = site.dump()
    good = Good(site=site, moving=HASHED)
    # With schema `shop`, most of the tables are gone: what is left looks like another application.
    brought_back(site, archive, "--yes-different", damage=drop_shapes, good=good)


def test_materialized_views_are_as_full_as_they_were(site: Site) -> None:
    create_shapes(site, SHAPES["views"])
    snapshot(site)
    brought_back(site, "latest", damage=drop_shapes)
    assert site.sql("SELECT s, t FROM shop.filled, shop.upon") == [(20, 21)]
    populated = "SELECT ispopulated FROM pg_matviews WHERE matviewname = 'not_filled'"
    assert site.value(populated) is False


def test_partitions_that_load_through_their_root_are_compared_as_one(site: Site) -> None:
    create_shapes(site, SHAPES["hash_on_enum"], SHAPES["partitions"])
    archive = site.dump(options=("-Fc", "--load-via-partition-root"))
    good = Good(site=site, moving=HASHED)
    brought_back(site, archive, damage=drop_shapes, good=good)


def test_a_row_of_20_mb_comes_back(site: Site) -> None:
    site.sql("CREATE TABLE huge (id int, body text, raw bytea)")
    site.sql("ALTER TABLE huge ALTER body SET STORAGE external, ALTER raw SET STORAGE external")
    site.sql(
        "INSERT INTO huge SELECT 1, repeat(md5('x'), 20 * 1024 * 1024 / 32), "
        "decode(repeat(md5('y'), 65536), 'hex')"
    )
    archive = site.dump(options=("-Fc", "-Z1"))
    brought_back(site, archive)


def test_extension_vector_comes_back(site: Site) -> None:
    site.sql("CREATE EXTENSION vector")
    create_shapes(
        site,
        "CREATE TABLE shop.chunk (id int PRIMARY KEY, embedding public.vector(3));"
        "INSERT INTO shop.chunk SELECT i, ARRAY[i, i / 3.0, -i]::public.vector "
        "FROM generate_series(1, 200) i;"
        "CREATE INDEX ON shop.chunk USING hnsw (embedding public.vector_l2_ops)",
    )
    snapshot(site)
    brought_back(site, "latest", damage=drop_shapes)


def test_large_objects_come_back_with_their_owners(site: Site) -> None:
    oids = [4_000_000_000, 77_777, 2_147_483_648]
    for oid in oids:
        site.sql("SELECT lo_from_bytea(%s, %s)", oid, str(oid).encode() * 1_000)
    site.sql(f'ALTER LARGE OBJECT 77777 OWNER TO "{site.role}"')
    site.sql("GRANT SELECT ON LARGE OBJECT 4000000000 TO PUBLIC")
    site.sql("SELECT lo_create(88888)")
    query = (
        "SELECT m.oid::int8, pg_get_userbyid(m.lomowner), m.lomacl::text, md5(lo_get(m.oid)) "
        "FROM pg_largeobject_metadata AS m ORDER BY 1"
    )
    before = site.sql(query)
    snapshot(site)
    site.sql("SELECT lo_unlink(77777)")
    site.sql("SELECT lo_put(4000000000, 5, 'overwritten')")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert site.sql(query) == before


def test_a_sequence_that_is_behind_is_restored_as_it_was_and_told(site: Site) -> None:
    site.sql("CREATE TABLE ticket (id serial PRIMARY KEY, what text)")
    site.sql("INSERT INTO ticket SELECT i, 'by hand' FROM generate_series(1, 20) AS i")
    snapshot(site)
    restored = brought_back(site, "latest", code=3)
    assert "sequence `public.ticket_id_seq` would next give 1" in restored.stderr
    assert site.value("SELECT last_value FROM ticket_id_seq") == 1


# ── what acts on the world ───────────────────────────────────────────────────────────────────────


def test_an_event_trigger_that_forbids_everything_comes_back_last(site: Site) -> None:
    site.sql(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no commands here'; END $$"
    )
    for name, event in (("refuse_ddl", "ddl_command_start"), ("Drop it", "sql_drop")):
        site.sql(f'CREATE EVENT TRIGGER "{name}" ON {event} EXECUTE FUNCTION refuse()')
        site.sql(f"COMMENT ON EVENT TRIGGER \"{name}\" IS 'on purpose'")
    site.sql('ALTER EVENT TRIGGER "Drop it" DISABLE')
    snapshot(site)
    query = (
        "SELECT evtname, evtevent, evtenabled, obj_description(oid, 'pg_event_trigger') "
        "FROM pg_event_trigger ORDER BY 1"
    )
    before = site.sql(query)

    brought_back(site, "latest", damage=lambda s: s.sql("DELETE FROM playlist_track"))

    assert site.sql(query) == before
    with pytest.raises(psycopg.errors.RaiseException):
        site.sql("CREATE TABLE forbidden (a int)")
    back = site.run("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert site.sql(query) == before


@pytest.fixture
def subscribed(site: Site) -> Iterator[Site]:
    """A site with a subscription whose publisher is nowhere."""
    subscribe(site)
    yield site
    unsubscribe(site)


def subscribe(site: Site) -> None:
    site.sql(
        "CREATE SUBSCRIPTION feed CONNECTION 'host=/nowhere dbname=none connect_timeout=1' "
        "PUBLICATION p WITH (connect = false)"
    )


def unsubscribe(site: Site) -> None:
    """A database with a subscription cannot be dropped: take it away from all of the site's."""
    for name in site.databases():
        with site.connection("postgres") as connection:
            alter = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true")
            connection.execute(alter.format(sql.Identifier(name)))
        for (found,) in site.sql(
            "SELECT subname FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid "
            "WHERE datname = current_database()",
            database=name,
        ):
            for deed in ("DISABLE", "SET (slot_name = NONE)"):
                site.sql(f'ALTER SUBSCRIPTION "{found}" {deed}', database=name)
            site.sql(f'DROP SUBSCRIPTION "{found}"', database=name)


SUBSCRIPTION = (
    "SELECT subname, subenabled, subslotname, subconninfo, subpublications "
    "FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid "
    "WHERE datname = current_database()"
)


def test_a_subscription_comes_back_without_reaching_for_its_publisher(subscribed: Site) -> None:
    site = subscribed
    before = site.sql(SUBSCRIPTION)
    rows = site.fingerprint()
    snapshot(site)
    wreck(site)
    broken = site.fingerprint()

    restored = site.run("restore", "latest", "--yes")

    assert restored.returncode == 3, restored.stderr
    assert site.fingerprint() == rows
    ((name, enabled, slot, *rest),) = site.sql(SUBSCRIPTION)
    assert (name, enabled, slot) == ("feed", False, None)
    assert tuple(rest) == before[0][3:]
    assert "subscription `feed` was restored disabled and without a slot" in restored.stderr
    assert "ALTER SUBSCRIPTION" in restored.stderr
    assert "ENABLE" in restored.stderr

    back = site.run("rollback", "--yes")
    assert back.returncode in {0, 3}, back.stderr
    assert site.sql(SUBSCRIPTION) == before
    assert site.fingerprint() == broken


def test_a_subscription_that_was_enabled_never_runs_twice(subscribed: Site) -> None:
    site = subscribed
    site.sql("ALTER SUBSCRIPTION feed ENABLE")
    snapshot(site)
    wreck(site)
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 3, restored.stderr
    running = "SELECT count(*) FROM pg_subscription WHERE subenabled"
    assert site.value(running, database="postgres") == 0
    back = site.run("rollback", "--yes")
    assert back.returncode == 3, back.stderr
    assert "ENABLE" in back.stderr
    assert site.sql(SUBSCRIPTION)[0][2] == "feed"


def test_a_restore_that_fails_leaves_the_subscription_enabled(
    new_site: Callable[..., Site], server_any: EmbeddedServer
) -> None:
    site = new_site(server_any)
    site.config.write_text(
        site.config.read_text(encoding="utf-8").replace(
            "[application]", '[application]\nchecks = ["SELECT false"]'
        ),
        encoding="utf-8",
    )
    subscribe(site)
    try:
        site.sql("ALTER SUBSCRIPTION feed ENABLE")
        before = site.sql(SUBSCRIPTION)
        snapshot(site)
        restored = site.run("restore", "latest", "--yes")
        assert restored.returncode == 40, restored.stderr
        assert site.sql(SUBSCRIPTION) == before
        assert set(site.databases()) == {site.database}
    finally:
        unsubscribe(site)


def test_what_was_replaced_can_be_dropped_although_it_subscribes(subscribed: Site) -> None:
    """The server refuses to drop a database with a subscription: one without a slot included."""
    site = subscribed
    snapshot(site)
    wreck(site)
    assert site.run("restore", "latest", "--yes").returncode == 3
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    accepted = site.run("run", "accept", run, "--yes")
    assert accepted.returncode == 3, accepted.stderr
    # The publisher keeps WAL for the slot until somebody drops it there.
    assert "its slot `feed` stays on the publisher" in accepted.stderr
    assert set(site.databases()) == {site.database}


def test_a_copy_beside_the_live_database_subscribes_to_nothing(subscribed: Site) -> None:
    site = subscribed
    before = site.sql(SUBSCRIPTION)
    snapshot(site)
    name = f"{site.database}_copy"
    copied = site.run("restore", "latest", "--to-database", name, "--yes")
    assert copied.returncode == 3, copied.stderr
    ((_, enabled, slot, *_rest),) = site.sql(SUBSCRIPTION, database=name)
    assert (enabled, slot) == (False, None)
    assert site.sql(SUBSCRIPTION) == before


def test_publications_come_back(site: Site) -> None:
    site.sql("CREATE PUBLICATION part FOR TABLE track (track_id, name) WHERE (milliseconds > 5)")
    site.sql("CREATE PUBLICATION \"every one\" FOR ALL TABLES WITH (publish = 'insert')")
    site.sql("CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA public")
    query = "SELECT pubname, puballtables, pubinsert, pubdelete FROM pg_publication ORDER BY 1"
    members = (
        "SELECT pubname, schemaname, tablename, attnames, rowfilter FROM pg_publication_tables "
        "WHERE pubname = 'part'"
    )
    before = site.sql(query), site.sql(members)
    snapshot(site)

    def damage(site: Site) -> None:
        site.sql("DROP PUBLICATION part")
        site.sql("DROP TABLE playlist_track")

    brought_back(site, "latest", damage=damage)
    assert (site.sql(query), site.sql(members)) == before


def test_a_publication_that_the_archive_lacks_is_named_before_it_goes(site: Site) -> None:
    snapshot(site)
    site.sql("CREATE PUBLICATION newer FOR ALL TABLES")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 3, restored.stderr
    assert "publication `newer` of the live database is not in the archive" in restored.stderr
    assert site.sql("SELECT pubname FROM pg_publication") == []


def test_constraints_that_never_were_validated_come_back_as_they_were(site: Site) -> None:
    site.sql('ALTER TABLE track ADD CONSTRAINT "long one" CHECK (milliseconds > 0) NOT VALID')
    site.sql(
        "ALTER TABLE album ADD CONSTRAINT late FOREIGN KEY (album_id) "
        "REFERENCES artist (artist_id) NOT VALID"
    )
    site.sql("CREATE DOMAIN small AS int")
    site.sql("ALTER DOMAIN small ADD CONSTRAINT below CHECK (value < 9) NOT VALID")
    snapshot(site)
    brought_back(site, "latest")
    late = "SELECT conname::text FROM pg_constraint WHERE NOT convalidated ORDER BY 1"
    assert site.sql(late) == [("below",), ("late",), ("long one",)]


def test_a_replication_slot_is_named_because_it_stays_behind(site: Site) -> None:
    slot = f"slot_{secrets.token_hex(4)}"
    snapshot(site)
    site.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    try:
        restored = site.run("restore", "latest", "--yes", "--json")
        assert restored.returncode == 3, restored.stderr
        assert slot in restored.stdout + restored.stderr
        where = "SELECT database FROM pg_replication_slots WHERE slot_name = %s"
        assert site.value(where, slot) != site.database
        (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
        accepted = site.run("run", "accept", run, "--yes")
        assert accepted.returncode in {0, 3}, accepted.stderr
        # It is dropped with the database, and that must have been said.
        assert slot in accepted.stderr
    finally:
        site.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = %s",
            slot,
        )


# ── owners, rights, limits ───────────────────────────────────────────────────────────────────────


def own_admin(site: Site) -> None:
    """Let the application's role do everything itself, as on many managed servers."""
    site.sql(f'ALTER ROLE "{site.role}" CREATEDB', database="postgres")
    lines = site.config.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("admin_dsn_file")]
    site.config.write_text("".join(kept), encoding="utf-8")


def test_roles_that_are_missing_are_named_and_may_be_done_without(site: Site) -> None:
    lost = new_role(site.server)
    site.sql("CREATE TABLE theirs AS SELECT 1 AS a")
    site.sql(f'ALTER TABLE theirs OWNER TO "{lost}"')
    site.sql(f'GRANT SELECT ON track TO "{lost}"')
    archive = site.dump()
    rows = site.fingerprint()
    site.sql(f'REVOKE ALL ON track FROM "{lost}"')
    site.sql("DROP TABLE theirs")
    site.sql(f'DROP ROLE "{lost}"')
    before = Good(site=site)

    refused = site.run("restore", str(archive), "--yes")
    assert refused.returncode == 12
    assert f"`{lost}`" in refused.stderr
    assert "--no-owner" in refused.stderr
    before.assert_back()

    own_admin(site)
    restored = site.run("restore", str(archive), "--yes", "--no-owner")
    assert restored.returncode in {0, 3}, restored.stderr
    assert site.fingerprint() == rows
    owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'"
    assert site.sql(owners) == [(site.role,)]


def test_an_application_that_could_read_nothing_afterwards_stops_the_restore(site: Site) -> None:
    snapshot(site)
    wreck(site)
    before = Good(site=site)
    # The administrator would own everything, and the application's role has no privilege.
    restored = site.run("restore", "latest", "--yes", "--no-owner")
    assert restored.returncode == 40, restored.stderr
    assert "cannot read what it can read today" in restored.stderr
    before.assert_back()
    assert set(site.databases()) == {site.database}
    assert site.platform_log == []


def test_owners_that_the_role_cannot_give_to_are_found_before_anything_is_done(site: Site) -> None:
    other = new_role(site.server)
    try:
        site.sql(f'CREATE SCHEMA private AUTHORIZATION "{other}"')
        site.sql("CREATE TABLE private.notes AS SELECT i FROM generate_series(1, 9) AS i")
        site.sql(f'ALTER TABLE private.notes OWNER TO "{other}"')
        for (table,) in site.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            site.sql(f'ALTER TABLE public."{table}" OWNER TO "{site.role}"')
        archive = site.dump()
        own_admin(site)
        good = Good(site=site)

        refused = site.run("restore", str(archive), "--yes")
        assert refused.returncode == 12, refused.stderr
        assert f'grant "{other}" to "{site.role}"' in refused.stderr
        good.assert_back()

        site.sql(f'GRANT "{other}" TO "{site.role}"')
        brought_back(site, archive, good=good)
    finally:
        site.sql(f'DROP OWNED BY "{other}" CASCADE')


def test_owners_who_may_not_create_in_public_are_found_before_anything_is_done(
    new_site: Callable[..., Site], server: EmbeddedServer
) -> None:
    """A superuser gives them what they may not make; nobody else can."""
    site = new_site(server)
    other = new_role(site.server)
    try:
        site.sql("CREATE TABLE theirs AS SELECT 1 AS a")
        site.sql(f'ALTER TABLE theirs OWNER TO "{other}"')
        site.sql(f'GRANT "{other}" TO "{site.role}"')
        for (table,) in site.sql(
            "SELECT tablename FROM pg_tables WHERE tablename <> 'theirs' AND schemaname = 'public'"
        ):
            site.sql(f'ALTER TABLE public."{table}" OWNER TO "{site.role}"')
        archive = site.dump()
        administered = site.config.read_text(encoding="utf-8")
        own_admin(site)
        good = Good(site=site)

        refused = site.run("restore", str(archive), "--yes")
        assert refused.returncode == 12, refused.stderr
        assert f"`{other}` may not own anything in a schema of `{site.role}`" in refused.stderr
        good.assert_back()

        site.config.write_text(administered, encoding="utf-8")
        brought_back(site, archive, good=good)
    finally:
        site.sql(f'DROP OWNED BY "{other}"')


def test_owners_privileges_and_default_privileges_come_back(site: Site) -> None:
    other = new_role(site.server)
    try:
        site.sql(f'CREATE SCHEMA private AUTHORIZATION "{other}"')
        site.sql("CREATE TABLE private.notes AS SELECT i FROM generate_series(1, 9) AS i")
        site.sql(f'ALTER TABLE private.notes OWNER TO "{other}"')
        site.sql(f'GRANT USAGE ON SCHEMA private TO "{site.role}" WITH GRANT OPTION')
        site.sql(f'GRANT SELECT (i), UPDATE (i) ON private.notes TO "{site.role}", PUBLIC')
        site.sql("REVOKE ALL ON artist FROM PUBLIC")
        site.sql(
            f'ALTER DEFAULT PRIVILEGES FOR ROLE "{other}" IN SCHEMA private '
            f'GRANT INSERT ON TABLES TO "{site.role}"'
        )
        snapshot(site)
        brought_back(site, "latest")
    finally:
        for name in site.databases():
            site.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true', database="postgres")
            site.sql(f'DROP OWNED BY "{other}" CASCADE', database=name)
        site.sql(f'DROP ROLE "{other}"', database="postgres")


def test_limits_and_settings_of_roles_stay_with_the_name(site: Site) -> None:
    name, role = site.database, site.role
    site.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 7')
    site.sql(f'ALTER ROLE "{role}" IN DATABASE "{name}" SET work_mem = \'6MB\'')
    site.sql(f'ALTER DATABASE "{name}" SET search_path = "$user", public, "odd, one"')
    query = (
        "SELECT datconnlimit, array_agg(setrole::regrole || setconfig::text ORDER BY setrole) "
        "FROM pg_database AS d JOIN pg_db_role_setting AS s ON s.setdatabase = d.oid "
        "WHERE datname = %s GROUP BY datconnlimit"
    )
    before = site.sql(query, name)
    snapshot(site)
    brought_back(site, "latest")
    assert site.sql(query, name) == before
    assert site.run("rollback", "--yes").returncode == 0
    assert site.sql(query, name) == before


def test_a_limit_of_no_connections_at_all_does_not_stop_an_administrator(site: Site) -> None:
    good = Good(site=site)
    snapshot(site)
    wreck(site)
    site.sql(f'ALTER DATABASE "{site.database}" CONNECTION LIMIT 0')
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode in {0, 3}, restored.stderr
    good.assert_back()
    limit = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
    assert site.value(limit, site.database) == 0


def test_settings_of_roles_come_back_onto_a_server_that_lost_the_database(site: Site) -> None:
    name, role = site.database, site.role
    good = Good(site=site)
    site.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 9')
    site.sql(f'ALTER ROLE "{role}" IN DATABASE "{name}" SET lock_timeout = \'6s\'')
    snapshot(site)
    site.sql(f'DROP DATABASE "{name}" WITH (FORCE)', database="postgres")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    good.assert_back()
    limit = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
    assert site.value(limit, name) == 9
    setting = (
        "SELECT setconfig FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase "
        "WHERE datname = %s AND setrole <> 0"
    )
    assert site.value(setting, name) == ["lock_timeout=6s"]


# ── order, other places, what is given up ────────────────────────────────────────────────────────


def steps_done(site: Site) -> list[str | None]:
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    lines = site.wiring().runs.journal(run).transitions
    return [line.step for line in lines if line.phase is Phase.DONE]


@pytest.mark.parametrize("stop_first", [True, False], ids=["as on paper", "as late as possible"])
def test_the_application_stops_when_it_is_told_to(site: Site, stop_first: bool) -> None:
    snapshot(site)
    brought_back(site, "latest", *(["--stop-first"] if stop_first else []))
    assert site.platform_log == ["stop", "start"]
    done = steps_done(site)
    if stop_first:
        assert done.index("stop-application") < done.index("safety-snapshot")
    else:
        assert done.index("prove") < done.index("stop-application") < done.index("fence")
    assert done[-1] == "start-application"


def test_what_fails_after_an_early_stop_starts_the_application_again(site: Site) -> None:
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace("[application]", '[application]\nchecks = ["SELECT false"]'), encoding="utf-8"
    )
    snapshot(site)
    wreck(site)
    before = Good(site=site)
    restored = site.run("restore", "latest", "--yes", "--stop-first")
    assert restored.returncode == 40, restored.stderr
    assert site.platform_log == ["stop", "start"]
    before.assert_back()
    assert set(site.databases()) == {site.database}


def test_what_differs_is_said_before_it_is_given_up(site: Site) -> None:
    site.sql("CREATE TABLE only_then AS SELECT generate_series(1, 17)")
    archive = site.dump()
    good = Good(site=site)
    site.sql("DROP TABLE only_then")
    site.sql("CREATE TABLE only_now AS SELECT generate_series(1, 23)")
    site.sql("INSERT INTO genre VALUES (1000, 'newer')")
    restored = site.run("restore", str(archive), "--yes")
    # A table that goes is worth a warning.
    assert restored.returncode == 3, restored.stderr
    good.assert_back()
    said = [" ".join(line.split()) for line in restored.stderr.splitlines()]
    assert any("only_then: not there now, 17 rows afterwards" in line for line in said)
    assert any("only_now: 23 rows now, gone afterwards" in line for line in said)
    assert any("genre: 26 rows now, 25 rows afterwards" in line for line in said)
    assert not any("track: " in line and "changes" in line for line in said)


def test_a_copy_has_everything_that_the_live_one_has(site: Site) -> None:
    create_shapes(site, SHAPES["types"], SHAPES["functions"], SHAPES["rules"])
    site.sql("SELECT lo_from_bytea(55555, 'x')")
    site.sql(f"ALTER DATABASE \"{site.database}\" SET work_mem = '5MB'")
    snapshot(site)
    good = Good(site=site)
    drop_shapes(site)
    name = f"{site.database}_Copy ü"
    copied = site.run("restore", "latest", "--to-database", name, "--yes")
    assert copied.returncode == 0, copied.stderr
    good.assert_back(name)
    assert site.value("SELECT count(*) FROM pg_largeobject_metadata", database=name) == 1
    assert site.value("SHOW work_mem", database=name) == "5MB"
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    assert site.value(comment, name) is None
    assert site.platform_log == []


def test_an_archive_is_restored_twice_and_each_time_one_more_is_kept(site: Site) -> None:
    good = Good(site=site)
    snapshot(site)
    for count in (2, 3):
        wreck(site)
        assert site.run("restore", "latest", "--yes").returncode == 0
        good.assert_back()
        assert len(site.databases()) == count
    listed = json.loads(site.run("snapshot", "list", "--json").stdout)["result"]
    assert [line["kind"] for line in listed] == ["manual", "safety", "safety"]


def test_an_empty_database_is_snapshot_and_restored(site: Site) -> None:
    site.sql("DROP SCHEMA public CASCADE")
    good = Good(site=site)
    assert good.rows == {}
    snapshot(site)
    site.sql("CREATE SCHEMA public")
    site.sql("CREATE TABLE public.newer AS SELECT 1 AS a")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode in {0, 3}, restored.stderr
    good.assert_back()


def test_a_database_without_schema_public_comes_back(site: Site) -> None:
    site.sql("ALTER SCHEMA public RENAME TO store")
    good = Good(site=site)
    snapshot(site)
    site.sql("DELETE FROM store.playlist_track")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    good.assert_back()
    assert f"{CHINOOK_TABLES} tables compared row by row" in restored.stdout


def test_the_order_of_rows_is_no_difference(site: Site) -> None:
    """Rows that were updated lie elsewhere in the file: what counts is which there are."""
    site.sql("UPDATE track SET name = name || '' WHERE track_id < 2000")
    snapshot(site)
    restored = brought_back(site, "latest")
    assert f"{CHINOOK_TABLES} tables compared row by row" in restored.stdout
