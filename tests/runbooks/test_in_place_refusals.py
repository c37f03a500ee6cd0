"""What would stop a restore in place half-way is refused before anything is changed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_place_support import kept_schemas, reads_only, without_administrator
from killed_support import end, killed
from oracle_support import Good, snapshot, wreck
from site_support import Site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.restore_state import RestoreChoices


@pytest.fixture
def owned(site: Site) -> Site:
    return without_administrator(site)


@pytest.fixture
def stranger(site: Site) -> Iterator[str]:
    """Another role, with which ours has nothing to do."""
    role = new_role(site.server)
    yield role
    site.sql(f'DROP OWNED BY "{role}" CASCADE')
    site.sql(f'DROP ROLE "{role}"')


def refused(site: Site, *words: str, code: int = 12) -> None:
    """Assert that a restore in place is refused, in these words and with a hint."""
    before = site.schema_text()
    ended = site.run("restore", "latest", "--in-place", "--yes", "--yes-different")
    assert ended.returncode == code, ended.stderr
    for word in (*words, "hint:"):
        assert word in ended.stderr
    assert site.platform_log == []
    assert kept_schemas(site) == []
    assert not reads_only(site)
    assert site.schema_text() == before


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            "CREATE SUBSCRIPTION reads CONNECTION 'dbname=nowhere' PUBLICATION x "
            "WITH (connect = false, slot_name = NONE)",
            "subscription `reads` cannot be put aside",
        ),
        (
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS "
            "'BEGIN END'; CREATE EVENT TRIGGER watches ON ddl_command_end "
            "EXECUTE FUNCTION watch()",
            "event trigger `watches` cannot be put aside",
        ),
        (
            "CREATE CAST (text AS macaddr) WITH INOUT",
            "cast `text as macaddr` cannot be put aside",
        ),
        ("CREATE PUBLICATION theirs FOR TABLE customer", "publication `theirs` belongs to"),
        ("SELECT lo_create(1)", "large objects belong to `postgres`"),
        (
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
            "default privileges of `postgres` would apply",
        ),
        (
            "CREATE EXTENSION vector; CREATE TABLE theirs (a int)",
            "table `public.theirs` belongs to `postgres`, and schema `public` stays, since",
        ),
    ],
    ids=lambda value: value.split()[1] if value.startswith(("CREATE", "SELECT", "ALTER")) else "",
)
def test_what_cannot_be_put_aside(owned: Site, made: str, words: str) -> None:
    snapshot(owned)
    if "EXTENSION" in made:
        # The snapshot must need it, too: otherwise the schema is renamed with all that is in it.
        owned.sql("CREATE EXTENSION vector")
        snapshot(owned)
        made = made.partition("; ")[2]
    owned.sql(made)
    try:
        refused(owned, words)
    finally:
        owned.sql("DROP SUBSCRIPTION IF EXISTS reads")


@pytest.mark.parametrize("where", ["", ' IN DATABASE "{database}"'])
def test_a_role_that_the_fence_would_not_keep_from_writing(
    owned: Site, stranger: str, where: str
) -> None:
    snapshot(owned)
    of_role = f'ALTER ROLE "{stranger}"' + where.format(database=owned.database)
    owned.sql(f"{of_role} SET default_transaction_read_only TO off")
    refused(owned, f"role `{stranger}` has a `default_transaction_read_only`", "alter role")
    owned.sql(f"{of_role} RESET default_transaction_read_only")
    ended = owned.run("restore", "latest", "--in-place", "--yes")
    assert ended.returncode == 0, ended.stderr


def test_an_event_trigger_of_the_snapshot_that_is_there_and_disabled(site: Site) -> None:
    site.sql(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER watches ON ddl_command_end EXECUTE FUNCTION watch()"
    )
    snapshot(site)
    site.sql("ALTER EVENT TRIGGER watches DISABLE")
    site.write_secret("dsn", site.server.conninfo(site.database).reveal())
    refused(site, "event trigger `watches` of", "is there already, disabled")
    site.sql("DROP EVENT TRIGGER watches")
    ended = site.run("restore", "latest", "--in-place", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert site.value("SELECT evtenabled = 'O' FROM pg_event_trigger")


def test_an_extension_that_only_a_superuser_creates(owned: Site) -> None:
    owned.sql("CREATE EXTENSION vector")
    snapshot(owned)
    owned.sql("DROP EXTENSION vector")
    refused(owned, "extension `vector` is not there", "may not create it")


def test_an_extension_that_is_elsewhere(owned: Site) -> None:
    owned.sql("CREATE EXTENSION vector")
    snapshot(owned)
    owned.sql("CREATE SCHEMA vectors; ALTER EXTENSION vector SET SCHEMA vectors")
    owned.sql(f'ALTER SCHEMA vectors OWNER TO "{owned.role}"')
    refused(owned, "extension `vector` is in schema `vectors`, and in `public` in the snapshot")


def test_a_database_of_somebody_else(owned: Site, stranger: str) -> None:
    snapshot(owned)
    owned.sql(f'ALTER DATABASE "{owned.database}" OWNER TO "{stranger}"')
    try:
        refused(owned, f"does not own `{owned.database}`")
    finally:
        owned.sql(f'ALTER DATABASE "{owned.database}" OWNER TO "{owned.role}"')


def test_nowhere_to_keep_a_safety_snapshot(owned: Site) -> None:
    taken = owned.dump()
    text = owned.config.read_text(encoding="utf-8").replace('repository = "snapshots"\n', "")
    owned.config.write_text(text, encoding="utf-8")
    ended = owned.run("restore", str(taken), "--in-place", "--yes")
    assert ended.returncode == 12
    assert "needs a safety snapshot" in ended.stderr


def test_into_another_database_at_the_same_time(owned: Site) -> None:
    ended = owned.run("restore", "latest", "--in-place", "--to-database", "copy", "--yes")
    assert ended.returncode == 2


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stopped(owned: Site) -> Site:
    """A site whose restore in place was killed while it loaded."""
    snapshot(owned)
    wreck(owned)
    killed(owned, "restore", 14, "after", RestoreChoices(in_place=True))
    return owned


def elsewhere(site: Site, folder: Path) -> Site:
    """The same site as another machine sees it: with the repository, and no state of its own."""
    folder.mkdir()
    other = Site(folder=folder, server=site.server, database=site.database, role=site.role)
    other.settle()
    text = other.config.read_text(encoding="utf-8")
    text = text.replace('repository = "snapshots"', f'repository = "{site.repository}"')
    other.config.write_text(text, encoding="utf-8")
    return other


@pytest.mark.parametrize("administrator", [False, True])
def test_nothing_else_is_done_meanwhile_from_any_machine(
    stopped: Site, tmp_path: Path, administrator: bool
) -> None:
    other = elsewhere(stopped, tmp_path / "elsewhere")
    if not administrator:
        without_administrator(other)
    for words in (
        ("restore", "latest", "--in-place", "--yes"),
        *([("restore", "latest", "--yes", "--yes-different")] if administrator else []),
        ("snapshot", "create"),
        ("rollback", "--yes"),
    ):
        ended = other.run(*words)
        assert ended.returncode == 22, (words, ended.stderr)
        assert "alexandria run abort restore-" in ended.stderr
    (waits,) = [run.run for run in stopped.wiring().runs.all() if run.status == "waits"]
    aborted = stopped.run("run", "abort", waits)
    assert aborted.returncode == 0, aborted.stderr


@pytest.mark.parametrize("ending", ["abort", "resume"])
def test_another_machine_ends_it(stopped: Site, tmp_path: Path, ending: str) -> None:
    other = without_administrator(elsewhere(stopped, tmp_path / "elsewhere"))
    end(other, "restore", ending)
    assert len(kept_schemas(stopped)) == (1 if ending == "resume" else 0)
    assert not reads_only(stopped)
    assert other.platform_log[-1:] == ["start"]


# ── on another server ────────────────────────────────────────────────────────────────────────────


def test_a_trusted_extension_of_the_roles_own_stays_where_it_is(
    new_site: Callable[..., Site], debian_server: EmbeddedServer
) -> None:
    """PostgreSQL does not let even its owner move it: its members are the server's."""
    site = without_administrator(new_site(debian_server))
    site.sql(f'SET ROLE "{site.role}"; CREATE EXTENSION citext; CREATE EXTENSION pgcrypto')
    site.sql(f'SET ROLE "{site.role}"; CREATE TABLE names (name citext, id uuid)')
    site.sql("INSERT INTO names VALUES ('Ä', gen_random_uuid())")
    good = Good(site=site)
    snapshot(site)
    wreck(site)
    broken = site.fingerprint()
    restored = site.run("restore", "latest", "--in-place", "--yes")
    assert restored.returncode == 0, restored.stderr
    good.assert_back()
    assert site.run("rollback", "--yes").returncode == 0
    assert site.fingerprint() == broken
