"""A restore into the live database itself, by a role that may create no other."""

from collections.abc import Callable

import pytest
from in_place_support import everything, kept_schemas, own_all, reads_only, without_administrator
from oracle_support import Good, keep_in_frames, snapshot, wreck
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer


@pytest.fixture
def owned(site: Site) -> Site:
    """A site whose role owns its database, and may create no other."""
    return without_administrator(site)


def in_place(site: Site, *options: str, code: int = 0) -> str:
    ended = site.run("restore", "latest", "--in-place", "--yes", *options)
    assert ended.returncode == code, ended.stderr + ended.stdout
    return ended.stdout + ended.stderr


def restored_run(site: Site) -> str:
    return [r.run for r in site.wiring().runs.all() if r.runbook == "restore"][-1]


@pytest.mark.parametrize("framed", [False, True])
def test_the_whole_story(
    new_site: Callable[..., Site], server: EmbeddedServer, framed: bool
) -> None:
    site = without_administrator(new_site(server))
    if framed:
        keep_in_frames(site)
    good = Good(site=site)
    snapshot(site)
    wreck(site)
    broken = site.fingerprint()

    said = in_place(site)
    good.assert_back()
    assert "downtime" in said
    assert site.platform_log == ["stop", "start"]
    run = restored_run(site)
    (kept,) = kept_schemas(site)
    assert kept == f"public_alexandria_kept_{run[-4:]}"
    assert not reads_only(site)

    # What was put aside is nothing of the application's: the next snapshot is as the first, and
    # says what it left out.
    taken = site.run("snapshot", "create")
    assert taken.returncode == 0, taken.stderr
    assert f"left out: `{kept}`" in taken.stderr
    assert site.run("rollback", "--yes").returncode == 0
    assert site.fingerprint() == broken
    (back,) = [r.run for r in site.wiring().runs.all() if r.runbook == "rollback"]
    assert site.run("rollback", back, "--yes").returncode == 0
    good.assert_back()

    (forward,) = [r.run for r in site.wiring().runs.all() if r.runbook == "rollback"][1:]
    accepted = site.run("run", "accept", forward, "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert kept_schemas(site) == []
    good.assert_back()
    restored = site.run("restore", "latest", "--in-place", "--yes")
    assert restored.returncode == 0, restored.stderr
    good.assert_back()


@pytest.mark.parametrize("framed", [False, True])
def test_all_that_a_schema_may_hold(owned: Site, framed: bool) -> None:
    if framed:
        keep_in_frames(owned)
    role = f'SET ROLE "{owned.role}"'
    with owned.connection() as connection:
        connection.execute(f"{role}; CREATE SCHEMA shop".encode())
        connection.execute(everything("shop").encode())
        # Nobody but a superuser could take a snapshot of it.
        connection.execute(b"ALTER TABLE shop.secret NO FORCE ROW LEVEL SECURITY")
        connection.execute(b"GRANT CREATE ON SCHEMA public TO pg_monitor")
    moving = tuple(f"shop.by_mood_{number}" for number in range(3))
    good = Good(site=owned, moving=moving)
    snapshot(owned)
    owned.sql("DROP SCHEMA shop CASCADE; REVOKE ALL ON SCHEMA public FROM pg_monitor")
    wreck(owned)
    broken = Good(site=owned)
    in_place(owned, "--yes-different")
    good.assert_back()
    # A cast of types that are put aside has no schema by which it could be left out.
    snapshot(owned)
    assert owned.run("rollback", "--yes").returncode == 0
    back = [run.run for run in owned.wiring().runs.all() if run.runbook == "rollback"][-1]
    assert owned.run("run", "accept", back, "--discard", "--yes").returncode == 0
    broken.assert_back()
    in_place(owned, "--yes-different")
    good.assert_back()


def test_the_application_may_be_stopped_first(owned: Site) -> None:
    good = Good(site=owned)
    snapshot(owned)
    wreck(owned)
    in_place(owned, "--stop-first")
    good.assert_back()
    assert owned.platform_log == ["stop", "start"]


def test_the_plan_says_what_it_costs(owned: Site) -> None:
    snapshot(owned)
    plan = owned.run("restore", "latest", "--in-place", "--plan")
    assert plan.returncode == 0, plan.stderr
    assert "down for the whole load" in plan.stdout


def test_without_the_right_to_create_databases_the_hint_names_it(owned: Site) -> None:
    snapshot(owned)
    refused = owned.run("restore", "latest", "--yes")
    assert refused.returncode == 12
    assert "--in-place" in refused.stderr


def test_the_doctor_says_whether_it_is_possible(owned: Site) -> None:
    possible = owned.run("doctor")
    assert "`restore --in-place` is possible" in possible.stdout
    owned.sql("CREATE TABLE another (a int); ALTER TABLE another OWNER TO postgres")
    owned.sql("CREATE EXTENSION vector")
    refused = owned.run("doctor")
    assert "is not possible: table `public.another` belongs to" in refused.stdout


def test_an_extension_in_public_stays_where_it_is(owned: Site) -> None:
    owned.sql("CREATE EXTENSION vector")
    with_vector(owned)
    good = Good(site=owned)
    snapshot(owned)
    owned.sql("DROP TABLE places; UPDATE customer SET email = 'gone'")
    broken = owned.fingerprint()
    in_place(owned)
    good.assert_back()
    assert (
        owned.value(
            "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
        )
        == "public"
    )
    assert owned.run("rollback", "--yes").returncode == 0
    assert owned.fingerprint() == broken


def with_vector(site: Site) -> None:
    site.sql("CREATE TABLE places (id int PRIMARY KEY, at vector(2))")
    site.sql("INSERT INTO places VALUES (1, '[1,2]'), (2, '[3,4]')")
    site.sql(f'ALTER TABLE places OWNER TO "{site.role}"')


def test_a_safety_snapshot_that_fails_stops_it(owned: Site) -> None:
    snapshot(owned)
    before = owned.fingerprint()
    owned.sql("CREATE TABLE hidden (a int)")
    refused = owned.run("restore", "latest", "--in-place", "--yes", "--yes-different")
    assert refused.returncode in {12, 40}, refused.stderr
    assert owned.platform_log == []
    assert kept_schemas(owned) == []
    owned.sql("DROP TABLE hidden")
    assert owned.fingerprint() == before


def test_a_failed_load_is_undone(owned: Site) -> None:
    good = Good(site=owned)
    owned.sql("CREATE TABLE odd (a int CHECK (a > 0)); INSERT INTO odd VALUES (1)")
    owned.sql(f'ALTER TABLE odd OWNER TO "{owned.role}"')
    snapshot(owned)
    owned.sql("DROP TABLE odd")
    with owned.config.open("a", encoding="utf-8") as config:
        config.write("")
    text = owned.config.read_text(encoding="utf-8")
    owned.config.write_text(
        text.replace("[application]\n", '[application]\nchecks = ["SELECT false"]\n'),
        encoding="utf-8",
    )
    undone = owned.run("restore", "latest", "--in-place", "--yes")
    assert undone.returncode == 40, undone.stderr
    good.assert_back()
    assert kept_schemas(owned) == []
    assert not reads_only(owned)
    assert owned.platform_log == ["stop", "start"]


@pytest.mark.parametrize("framed", [False, True])
def test_a_snapshot_after_an_extension_was_put_aside_can_be_restored_anywhere(
    site: Site, framed: bool
) -> None:
    site.sql(own_all(site.role))
    if framed:
        keep_in_frames(site)
    snapshot(site)
    site.sql("CREATE EXTENSION vector")
    in_place(site)
    snapshot(site)
    beside = f"{site.database}_beside"
    try:
        ended = site.run("restore", "latest", "--to-database", beside, "--yes")
        assert ended.returncode == 0, ended.stderr
    finally:
        site.sql(f'DROP DATABASE IF EXISTS "{beside}"')
