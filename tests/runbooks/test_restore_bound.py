"""`pg_cron` works in one database of a server, known by its name: it comes back after the swap."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killed_support import killed
from oracle_support import keep_in_frames, snapshot
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.restore_state import RestoreChoices

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
DATABASE = "site_with_cron"
JOBS = "SELECT jobid, schedule, command, database, jobname::text FROM cron.job ORDER BY 1"
GRANTED = "SELECT has_table_privilege(%s, 'cron.job_run_details', 'SELECT')"


@pytest.fixture(scope="module")
def cron_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server whose `pg_cron` works in the database of this module's sites."""
    if not Path("/usr/share/postgresql/15/extension/pg_cron.control").exists():
        pytest.skip("Debian's `postgresql-15-cron` is not installed")
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": DATABASE,
        "fsync": "off",
        "autovacuum": "off",
        "shared_buffers": "32MB",
    }
    folder = server_folder / f"cron-{secrets.token_hex(2)}"
    with EmbeddedServer.start(folder, binaries=PROGRAMS, settings=settings) as server:
        yield server


@pytest.fixture(params=["files", "repository"])
def scheduled(
    cron_server: EmbeddedServer, new_site: Callable[..., Site], request: pytest.FixtureRequest
) -> Site:
    """A site with three jobs, one of them inactive, and a grant on what the extension keeps."""
    site = new_site(cron_server, name=DATABASE)
    if request.param == "repository":
        keep_in_frames(site)
    site.sql(
        "CREATE EXTENSION pg_cron;"
        "SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM');"
        "SELECT cron.schedule('it''s \"late\"', '30 4 1 1 *', E'SELECT 1;\n\tSELECT ''x''');"
        "SELECT cron.schedule('off', '0 5 * * *', 'SELECT 2');"
        "UPDATE cron.job SET active = false WHERE jobname = 'off';"
        "INSERT INTO cron.job_run_details (jobid, runid, status) VALUES (1, 77, 'succeeded');"
        "SELECT setval('cron.runid_seq', 77);"
        f'GRANT SELECT ON cron.job_run_details TO "{site.role}"'
    )
    return site


def assert_back(site: Site, jobs: list[tuple[object, ...]]) -> None:
    assert site.sql(JOBS) == jobs
    assert site.value("SELECT count(*) FROM cron.job WHERE active") == 0
    assert site.value("SELECT count(*) FROM cron.job_run_details WHERE runid = 77") == 1
    assert site.value("SELECT last_value FROM cron.runid_seq") == 77
    assert site.value(GRANTED, site.role) is True
    assert site.value("SELECT count(*) FROM pg_extension WHERE extname = 'pg_cron'") == 1
    assert site.value("SELECT to_regnamespace('alexandria_backup_cron') IS NULL") is True
    # The extension itself is at work: a new job gets the next number.
    assert site.value("SELECT cron.schedule('new', '1 1 1 1 *', 'SELECT 3')") == 4


def test_jobs_come_back_inactive_after_the_swap(scheduled: Site) -> None:
    site = scheduled
    jobs, rows = site.sql(JOBS), site.value("SELECT count(*) FROM playlist_track")
    snapshot(site)
    site.sql("DELETE FROM playlist_track; SELECT cron.unschedule('nightly')")
    ended = site.run("restore", "latest", "--yes")
    assert ended.returncode == 3, ended.stderr
    assert "2 jobs of `pg_cron` were restored inactive" in ended.stderr
    assert "UPDATE cron.job SET active = true WHERE jobid IN (1, 2)" in ended.stderr
    assert site.value("SELECT count(*) FROM playlist_track") == rows
    assert_back(site, jobs)
    back = site.run("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert site.sql(JOBS) == [job for job in jobs if job[-1] != "nightly"]


@dataclass(frozen=True)
class Refusal:
    prepare: str
    options: tuple[str, ...]
    said: str


@pytest.mark.parametrize("scheduled", ["files"], indirect=True)
@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("SELECT 1", ("--to-database", f"{DATABASE}_c"), f"which is `{DATABASE}` here"),
        Refusal("CREATE VIEW seen AS SELECT jobid FROM cron.job", (), "view `public.seen` depends"),
        Refusal("CREATE TABLE cron.own (a int)", (), "table `cron.own` stands in its schema"),
    ],
    ids=lambda refusal: refusal.said.split()[0],
)
def test_where_it_cannot_be_the_restore_is_refused_with_the_reason(
    scheduled: Site, refusal: Refusal
) -> None:
    site = scheduled
    site.sql(refusal.prepare)
    snapshot(site)
    refused = site.run("restore", "latest", "--yes", *refusal.options)
    assert refused.returncode == 12, refused.stderr
    assert refusal.said in refused.stderr
    assert set(site.databases()) == {site.database}


#: The transitions of `finish`, which creates the extension: `started`, two for each step before.
_DOING, _DONE = 20, 21


@pytest.mark.parametrize("scheduled", ["repository"], indirect=True)
@pytest.mark.parametrize(("seq", "moment"), [(_DOING, "after"), (_DONE, "before")])
def test_killed_while_it_is_created(scheduled: Site, seq: int, moment: str) -> None:
    site = scheduled
    jobs = site.sql(JOBS)
    snapshot(site)
    killed(site, "restore", seq, moment, RestoreChoices())
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    ended = site.run("run", "resume", run, "--yes")
    assert ended.returncode == 3, ended.stderr
    # Also where the kill came between their return and the journal's next line.
    assert "UPDATE cron.job SET active = true WHERE jobid IN (1, 2)" in ended.stderr
    assert_back(site, jobs)


#: Ends the session that takes the rows out of the table that has kept them.
_CUT = """
    CREATE FUNCTION public.cut() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
    CREATE TRIGGER cut BEFORE UPDATE ON cron.job
        FOR EACH STATEMENT EXECUTE FUNCTION public.cut()
"""
#: Ends the session of `pg_restore` that grants what was granted.
_CUT_GRANTS = """
    CREATE FUNCTION public.cut() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid())
            WHERE current_setting('application_name') = 'alexandria-backup restore'; END $$;
    CREATE EVENT TRIGGER cut ON ddl_command_start WHEN tag IN ('GRANT')
        EXECUTE FUNCTION public.cut()
"""


@pytest.mark.parametrize("cut", [_CUT, _CUT_GRANTS], ids=["rows", "grants"])
@pytest.mark.parametrize("scheduled", ["files"], indirect=True)
def test_a_connection_that_is_lost_meanwhile_stops_the_run_and_a_resume_goes_on(
    scheduled: Site, cut: str
) -> None:
    site = scheduled
    jobs = site.sql(JOBS)
    snapshot(site)
    killed(site, "restore", _DOING, "after", RestoreChoices())
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    site.sql(cut)
    stopped = site.run("run", "resume", run, "--yes")
    assert stopped.returncode == 41, stopped.stderr
    assert ("was lost" if cut == _CUT else "terminating connection") in stopped.stderr
    site.sql("DROP FUNCTION public.cut CASCADE")
    ended = site.run("run", "resume", run, "--yes")
    assert ended.returncode == 3, ended.stderr
    assert_back(site, jobs)
