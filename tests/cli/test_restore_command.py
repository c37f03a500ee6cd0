"""`alexandria restore`, `rollback` and `run`, as a person types them."""

import json
from collections.abc import Callable

import pytest
from oracle_support import keep_in_frames
from site_support import CHINOOK_TABLES, Site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer


def damage(site: Site) -> None:
    site.sql("DROP TABLE playlist_track")
    site.sql("UPDATE customer SET email = 'gone'")


def test_restore_latest_brings_back_what_was_there(
    new_site: Callable[..., Site], server: EmbeddedServer
) -> None:
    site = new_site(server)
    good, schema = site.fingerprint(), site.schema_text()
    assert site.run("snapshot", "create").returncode == 0
    damage(site)
    broken = site.fingerprint()

    restored = site.run("restore", "latest", "--yes", "--reason", "a test")

    assert restored.returncode == 0, restored.stderr
    assert site.fingerprint() == good
    assert site.schema_text() == schema
    assert site.platform_log == ["stop", "start"]
    assert f"proved    {CHINOOK_TABLES} tables" in restored.stdout
    assert f"{CHINOOK_TABLES} tables compared row by row" in restored.stdout
    # The one that was replaced is kept, and nobody can use it by mistake.
    (kept,) = set(site.databases()) - {site.database}
    assert site.fingerprint_of_fenced(kept) == broken
    listed = json.loads(site.run("snapshot", "list", "--json").stdout)["result"]
    assert [line["kind"] for line in listed] == ["manual", "safety"]


def test_rollback_goes_back_and_forward_and_accept_ends_it(site: Site) -> None:
    good = site.fingerprint()
    site.run("snapshot", "create")
    damage(site)
    broken = site.fingerprint()
    assert site.run("restore", "latest", "--yes").returncode == 0

    back = site.run("rollback", "--yes", "--json")
    assert back.returncode == 0, back.stderr
    assert site.fingerprint() == broken
    assert site.run("rollback", "--yes").returncode == 0
    assert site.fingerprint() == good

    runs = json.loads(site.run("run", "list", "--json").stdout)["result"]
    newest = [run["run"] for run in runs if run["runbook"] == "rollback"][-1]
    accepted = site.run("run", "accept", newest, "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert set(site.databases()) == {site.database}
    assert site.fingerprint() == good
    gone = site.run("rollback", "--yes")
    assert gone.returncode == 2
    assert "is kept on this server" in gone.stderr


def test_the_kept_database_is_dropped_only_after_a_snapshot_of_it(site: Site) -> None:
    site.run("snapshot", "create")
    damage(site)
    broken_rows = site.value("SELECT count(*) FROM track")
    site.run("restore", "latest", "--yes", "--json")
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    accepted = json.loads(site.run("run", "accept", run, "--yes", "--json").stdout.splitlines()[-1])
    taken = accepted["result"]["state"]["snapshot"]
    verified = site.run("snapshot", "verify", taken)
    assert verified.returncode == 0, verified.stderr
    shown = json.loads(site.run("snapshot", "show", taken, "--json").stdout)["result"]
    tables = {table["name"]: table["rows"] for table in shown["tables"]}
    assert tables["track"] == broken_rows
    assert "playlist_track" not in tables


def test_a_plan_names_every_step_and_changes_nothing(site: Site) -> None:
    site.run("snapshot", "create")
    damage(site)
    before, there = site.fingerprint(), site.databases()
    files = sorted(path.name for path in site.folder.rglob("*"))

    planned = site.run("restore", "latest", "--plan")

    assert planned.returncode == 0, planned.stderr
    names = [
        "find", "check", "safety-snapshot", "create-shadow", "load", "prove", "stop-application",
        "fence", "swap", "finish", "start-application",
    ]  # fmt: skip
    lines = [line for line in planned.stdout.splitlines() if not line.startswith("      $")]
    assert [line.split(". ")[1].split(":")[0] for line in lines] == names
    assert "$ pg_restore --exit-on-error" in planned.stdout
    assert (site.fingerprint(), site.databases()) == (before, there)
    assert sorted(path.name for path in site.folder.rglob("*")) == files


def test_a_restore_asks_for_the_name_of_the_database(site: Site) -> None:
    site.run("snapshot", "create")
    damage(site)
    broken = site.fingerprint()
    unasked = site.run("restore", "latest")
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert site.fingerprint() == broken
    assert set(site.databases()) == {site.database}


def test_a_copy_beside_the_live_database_swaps_nothing(site: Site) -> None:
    good = site.fingerprint()
    site.run("snapshot", "create")
    damage(site)
    broken = site.fingerprint()
    name = f"{site.database}_copy"
    copied = site.run("restore", "latest", "--to-database", name, "--yes")
    assert copied.returncode == 0, copied.stderr
    assert site.fingerprint(name) == good
    assert site.fingerprint() == broken
    assert site.platform_log == []
    again = site.run("restore", "latest", "--to-database", name, "--yes")
    assert again.returncode == 12
    assert f"there is a database `{name}` already" in again.stderr


def test_a_copy_needs_no_right_to_the_live_database(site: Site) -> None:
    site.run("snapshot", "create")
    role = new_role(site.server, "CREATEDB")
    site.sql(f'GRANT CONNECT ON DATABASE "{site.database}" TO "{role}"')
    site.write_secret("dsn", site.server.conninfo(site.database, user=role).reveal())
    text = site.config.read_text(encoding="utf-8").replace('admin_dsn_file = "admin-dsn"\n', "")
    site.config.write_text(text, encoding="utf-8")
    name = f"{site.database}_copy"
    refused = site.run("restore", "latest", "--yes", "--no-owner")
    assert refused.returncode == 12
    assert "may not rename it" in refused.stderr
    copied = site.run("restore", "latest", "--to-database", name, "--yes", "--no-owner")
    assert copied.returncode == 0, copied.stderr
    assert f"`{name}` will belong to `{role}`" in copied.stderr
    assert site.fingerprint(name) == site.fingerprint()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "{}_alexandria_shadow",
        "other_alexandria_shadow",
        "{}_alexandria_kept_abcd",
        "alexandria_new_copy",
        "alexandria_drill_20261125t180000z_abcd",
    ],
)
def test_a_copy_never_gets_a_name_that_runs_use_themselves(site: Site, name: str) -> None:
    site.run("snapshot", "create")
    before = site.databases()
    name = name.format(site.database)
    refused = site.run("restore", "latest", "--to-database", name, "--yes")
    assert refused.returncode == 2, refused.stderr
    assert (name or "is empty") in refused.stderr
    assert "hint: choose another `--to-database`" in refused.stderr
    assert site.databases() == before


def test_disaster_recovery_onto_a_server_without_the_database(site: Site) -> None:
    site.sql(f"ALTER DATABASE \"{site.database}\" SET statement_timeout = '7s'")
    site.sql(f"COMMENT ON DATABASE \"{site.database}\" IS 'the shop''s own'")
    good = site.fingerprint()
    site.run("snapshot", "create")
    site.sql(f'DROP DATABASE "{site.database}" WITH (FORCE)', database="postgres")

    restored = site.run("restore", "latest", "--yes")

    assert restored.returncode == 0, restored.stderr
    assert site.fingerprint() == good
    assert set(site.databases()) == {site.database}
    assert site.value("SHOW statement_timeout") == "7s"
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    assert site.value(comment, site.database) == "the shop's own"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
    assert site.value(owner, site.database) == site.role


@pytest.mark.parametrize("options", [(), ("--no-owner",)])
def test_what_has_no_privileges_of_its_own_gets_those_of_a_new_database(
    site: Site, options: tuple[str, ...]
) -> None:
    archive = site.dump()
    site.sql(f'DROP DATABASE "{site.database}" WITH (FORCE)', database="postgres")

    restored = site.run("restore", str(archive), "--yes", *options)

    assert restored.returncode in {0, 3}, restored.stderr
    may_enter = "SELECT has_database_privilege(%s, %s, 'CONNECT')"
    assert site.value(may_enter, site.role, site.database)


def test_settings_grants_and_comment_of_the_live_database_stay(site: Site) -> None:
    name = site.database
    site.run("snapshot", "create")
    site.sql(f"ALTER DATABASE \"{name}\" SET work_mem = '5MB'")
    site.sql(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    site.sql(f"COMMENT ON DATABASE \"{name}\" IS 'added later'")
    facts = (
        "SELECT datacl::text, datconnlimit, datallowconn, shobj_description(oid, 'pg_database') "
        "FROM pg_database WHERE datname = %s"
    )
    before = site.sql(facts, name)
    assert site.run("restore", "latest", "--yes").returncode == 0
    assert site.sql(facts, name) == before
    assert site.value("SHOW work_mem") == "5MB"
    assert site.run("rollback", "--yes").returncode == 0
    assert site.sql(facts, name) == before
    assert site.value("SHOW work_mem") == "5MB"


@pytest.mark.parametrize(
    "name",
    ['with "quotes"', "with 'apostrophe", "ümläut ß 中", "x" * 63, "ü" * 31, "-dash", "A b;c--d"],
)
def test_names_that_need_care(
    new_site: Callable[..., Site], server_any: EmbeddedServer, name: str
) -> None:
    site = new_site(server_any, name=name)
    good = site.fingerprint()
    created = site.run("snapshot", "create")
    assert created.returncode == 0, created.stderr
    site.sql("DELETE FROM playlist_track")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert site.fingerprint() == good
    back = site.run("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert site.value("SELECT count(*) FROM playlist_track") == 0


def test_latest_at_a_time_is_what_was_latest_then(site: Site) -> None:
    site.run("snapshot", "create", "--file", "snapshots/old.pgdump")
    good = site.fingerprint()
    (old,) = json.loads(site.run("snapshot", "list", "--json").stdout)["result"]
    damage(site)
    site.run("snapshot", "create", "--file", "snapshots/new.pgdump")

    restored = site.run("restore", "latest", "--at", old["created"], "--yes")
    assert restored.returncode == 0, restored.stderr
    assert site.fingerprint() == good
    shown = site.run("snapshot", "show", "latest", "--at", old["created"], "--json")
    assert json.loads(shown.stdout)["result"]["snapshot"] == old["id"]
    verified = site.run("snapshot", "verify", "latest", "--at", old["created"])
    assert verified.stdout.startswith(f"{old['id']}: ")
    exported = site.run("snapshot", "export", "latest", "out.pgdump", "--at", old["created"])
    assert exported.stdout.startswith(f"{old['id']}: ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("latest", "--at", "2026-11-23T12:00:00"), 2, "hint: --at 2026-11-23T12:00:00Z"),
        (("latest", "--at", "2026-11-23"), 2, "hint: --at 2026-11-23T00:00:00Z"),
        (("latest", "--at", "yesterday"), 2, "`yesterday` is no time in ISO 8601"),
        (("latest", "--at", "0001-01-01T00:00:00+02:00"), 2, "out of the calendar"),
        (("one", "--at", "2026-11-23T12:00:00Z"), 2, "`--at` needs `latest`"),
        (("latest", "--at", "2001-01-01T13:00:00+01:00"), 20, "2001-01-01 12:00:00 UTC"),
    ],
)
def test_a_time_that_means_no_snapshot_is_refused(
    site: Site, arguments: tuple[str, ...], code: int, said: str
) -> None:
    site.run("snapshot", "create")
    refused = site.run("restore", *arguments, "--yes")
    assert refused.returncode == code
    assert said in refused.stderr
    assert set(site.databases()) == {site.database}


@pytest.mark.parametrize("in_frames", [False, True])
def test_sessions_of_the_load_are_set_to_what_the_server_has(site: Site, in_frames: bool) -> None:
    if in_frames:
        keep_in_frames(site)
    config = site.config.read_text(encoding="utf-8")
    config = config.replace("[database]", "[database]\nserver_memory = 4_294_967_296")
    site.config.write_text(config, encoding="utf-8")
    # It is filled by the session that builds it.
    site.sql(
        "CREATE MATERIALIZED VIEW seen AS SELECT current_setting('maintenance_work_mem') AS memory"
    )
    assert site.run("snapshot", "create").returncode == 0
    restored = site.run("restore", "latest", "--yes", "--json")
    assert restored.returncode == 0, restored.stderr
    assert site.value("SELECT memory FROM seen") == "256MB"
    results = [json.loads(line).get("result") for line in restored.stdout.splitlines()]
    (state,) = (result["state"] for result in results if isinstance(result, dict))
    (memory,) = (s for s in state["load_settings"] if s["name"] == "maintenance_work_mem")
    assert (memory["value"], memory["otherwise"], memory["applied"]) == ("256MB", "64MB", True)


def test_a_run_that_keeps_nothing_any_more_is_answered_with_the_one_that_does(site: Site) -> None:
    site.run("snapshot", "create")
    site.run("restore", "latest", "--yes")
    (restored,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    site.run("rollback", "--yes")
    (back,) = [r.run for r in site.wiring().runs.all() if r.runbook == "rollback"]
    refused = site.run("run", "accept", restored, "--yes")
    assert refused.returncode == 2
    assert f"by run `{back}`" in refused.stderr
    mistyped = site.run("run", "show", restored[:-1])
    assert mistyped.returncode == 1
    assert f"the nearest is `{restored}`" in mistyped.stderr


def test_a_database_that_was_dropped_comes_back(site: Site) -> None:
    """Whoever asks anything else is told that it can."""
    good = site.fingerprint()
    site.run("snapshot", "create")
    assert site.run("restore", "latest", "--yes").returncode == 0
    site.sql(f'DROP DATABASE "{site.database}" WITH (FORCE)', database="postgres")
    for arguments in (("doctor",), ("snapshot", "create"), ("rollback", "--yes")):
        told = site.run(*arguments)
        assert told.returncode in {11, 12}
        assert "alexandria restore latest" in told.stdout + told.stderr
    assert site.run("restore", "latest", "--yes").returncode == 0
    assert site.fingerprint() == good
