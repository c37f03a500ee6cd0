"""The end of a restore in place: what was put aside is dropped, and nothing else."""

import pytest
from in_place_support import kept_schemas, without_administrator
from oracle_support import snapshot
from site_support import Site

_AS_OWNER = 'SET ROLE "{role}"; {statements}; RESET ROLE'
#: Two schemas that need each other, and whose names are to be quoted.
_MADE = """\
CREATE SCHEMA "Old Shop"; CREATE SCHEMA "Till";
CREATE TABLE "Till".sale (a int) PARTITION BY LIST (a);
CREATE TABLE "Old Shop".sale_1 PARTITION OF "Till".sale FOR VALUES IN (1);
CREATE VIEW "Old Shop".sales AS SELECT a FROM "Till".sale;
INSERT INTO "Till".sale VALUES (1)
"""
#: Makes the second schema that is dropped fail, as a lock or a crash would.
_IN_THE_WAY = """\
CREATE FUNCTION in_the_way() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_name = 'sale') THEN
RAISE 'not yet'; END IF; END $$;
CREATE EVENT TRIGGER in_the_way ON sql_drop EXECUTE FUNCTION in_the_way()
"""


def as_owner(site: Site, statements: str) -> None:
    site.sql(_AS_OWNER.format(role=site.role, statements=statements))


@pytest.fixture
def restored(site: Site) -> Site:
    """A site that was restored in place."""
    without_administrator(site)
    as_owner(site, _MADE)
    snapshot(site)
    as_owner(site, 'DELETE FROM "Till".sale')
    ended = site.run("restore", "latest", "--in-place", "--yes")
    assert ended.returncode == 0, ended.stderr
    return site


def run_of(site: Site) -> str:
    return [r.run for r in site.wiring().runs.all() if r.runbook == "restore"][-1]


def test_what_was_put_aside_may_need_itself(restored: Site) -> None:
    before = restored.fingerprint()
    accepted = restored.run("run", "accept", run_of(restored), "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert kept_schemas(restored) == []
    assert restored.sql('SELECT a FROM "Old Shop".sales') == [(1,)]
    assert "kept" not in restored.schema_text()
    assert restored.fingerprint() == before


@pytest.mark.parametrize(
    "made",
    [
        'CREATE VIEW looks AS SELECT a FROM "{kept}".sale',
        "CREATE TABLE looks (a int); "
        'CREATE POLICY looks ON looks USING (EXISTS (SELECT FROM "{kept}".sale))',
    ],
)
def test_what_the_application_has_come_to_need_is_not_dropped(restored: Site, made: str) -> None:
    run = run_of(restored)
    as_owner(restored, made.format(kept=f"Till_alexandria_kept_{run[-4:]}"))
    refused = restored.run("run", "accept", run, "--yes")
    assert refused.returncode == 12
    assert "looks" in refused.stderr
    assert f"Till_alexandria_kept_{run[-4:]}" in kept_schemas(restored)


def test_what_is_half_dropped_is_not_rolled_back_to(restored: Site) -> None:
    before = restored.fingerprint()
    run = run_of(restored)
    restored.sql(_IN_THE_WAY)
    stopped = restored.run("run", "accept", run, "--yes")
    assert "not yet" in stopped.stderr
    restored.sql("DROP EVENT TRIGGER in_the_way; DROP FUNCTION in_the_way()")
    assert f"Old Shop_alexandria_kept_{run[-4:]}" not in kept_schemas(restored)
    assert kept_schemas(restored)

    for arguments in (["rollback", run, "--yes"], ["rollback", "--yes"]):
        refused = restored.run(*arguments)
        assert refused.returncode == 2, refused.stderr
    accepted = restored.run("run", "accept", run, "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert kept_schemas(restored) == []
    assert restored.fingerprint() == before
    assert restored.sql('SELECT a FROM "Old Shop".sales') == [(1,)]
