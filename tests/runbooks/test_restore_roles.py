"""Owners that the server lacks: created, or replaced by others, as the operator asks."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from killed_support import end, killed
from oracle_support import keep_in_frames, snapshot
from site_support import Ended, Site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.restore_state import RestoreChoices

ROLES = "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
OWNER = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'owned.thing'::regclass"
ACCESS = (
    "SELECT DISTINCT pg_get_userbyid(a.grantee) FROM pg_class, aclexplode(relacl) AS a "
    "WHERE pg_class.oid = 'owned.thing'::regclass ORDER BY 1"
)
POLICY = "SELECT unnest(roles) FROM pg_policies WHERE tablename = 'thing'"
LARGE = "SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata WHERE oid = 4711"
DEFAULTS = (
    "SELECT pg_get_userbyid(defaclrole), pg_get_userbyid(a.grantee) "
    "FROM pg_default_acl, aclexplode(defaclacl) AS a WHERE a.privilege_type = 'SELECT' "
    "AND a.grantee <> defaclrole"
)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A site whose snapshot names roles that its server does not have any more."""

    site: Site
    owner: str
    reader: str
    prefix: str

    def roles(self) -> list[tuple[str, bool]]:
        return self.site.sql(ROLES, f"{self.prefix}%", database="postgres")

    def restore(self, *options: str) -> Ended:
        return self.site.run("restore", "latest", "--yes", *options)

    def names(self) -> list[list[tuple[str, ...]]]:
        """Every role that stands somewhere in the live database."""
        return [sorted(self.site.sql(query)) for query in (OWNER, ACCESS, POLICY, LARGE, DEFAULTS)]


@pytest.fixture
def moved(site: Site, request: pytest.FixtureRequest) -> Iterator[Moved]:
    if getattr(request, "param", "files") == "repository":
        keep_in_frames(site)
    with moved_away(site) as found:
        yield found


@contextmanager
def moved_away(site: Site) -> Iterator[Moved]:
    """Roles belong to the server, so their names must not meet those of other tests."""
    prefix = f"Gone {secrets.token_hex(4)}"
    found = Moved(site=site, owner=f'{prefix} "o"', reader=f"{prefix} reader", prefix=prefix)
    owner, reader = (name.replace('"', '""') for name in (found.owner, found.reader))
    site.sql(
        f'CREATE ROLE "{owner}"; CREATE ROLE "{reader}"; CREATE SCHEMA owned;'
        "CREATE TABLE owned.thing AS SELECT generate_series(1, 30) AS id;"
        f'ALTER SCHEMA owned OWNER TO "{owner}"; ALTER TABLE owned.thing OWNER TO "{owner}";'
        f'GRANT SELECT ON owned.thing TO "{reader}";'
        f'CREATE POLICY readers ON owned.thing TO "{reader}" USING (id > 3);'
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" GRANT SELECT ON TABLES TO "{reader}";'
        f"SELECT lo_create(4711);"
        f'ALTER LARGE OBJECT 4711 OWNER TO "{owner}"'
    )
    try:
        yield found
    finally:
        _clear(found)


def _clear(found: Moved) -> None:
    site = found.site
    site.clear()
    for name, _ in found.roles():
        quoted = name.replace('"', '""')
        site.sql(f'DROP ROLE "{quoted}"', database="postgres")


everywhere = pytest.mark.parametrize("moved", ["files", "repository"], indirect=True)


def lose_the_roles(moved: Moved) -> None:
    snapshot(moved.site)
    for name in (moved.owner, moved.reader):
        quoted = name.replace('"', '""')
        moved.site.sql(f'DROP OWNED BY "{quoted}" CASCADE')
        moved.site.sql(f'DROP ROLE "{quoted}"')


def test_missing_roles_are_refused_with_the_ways_out(moved: Moved) -> None:
    lose_the_roles(moved)
    refused = moved.restore()
    assert refused.returncode == 12
    assert "`--create-roles`, `--map-owner OLD=NEW` or `--no-owner`" in refused.stderr


def lines(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


@everywhere
def test_missing_roles_are_created_without_login_and_named(moved: Moved) -> None:
    before = moved.names()
    lose_the_roles(moved)
    plan = moved.restore("--create-roles", "--plan")
    assert f"create roles without login and password: `{moved.owner}`, `{moved.reader}`" in (
        plan.stdout
    )
    assert moved.roles() == []

    ended = moved.restore("--create-roles", "--json")

    assert ended.returncode == 0, ended.stderr
    assert moved.names() == before
    assert moved.roles() == [(moved.owner, False), (moved.reader, False)]
    results = (line.get("result") for line in lines(ended))
    (state,) = (result["state"] for result in results if isinstance(result, dict))
    assert state["roles_to_create"] == [moved.owner, moved.reader]
    note = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    assert moved.site.value(note, moved.owner) == f"created by alexandria {state['run']}"
    password = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    assert moved.site.value(password, moved.owner) is None


def test_a_restore_that_fails_takes_away_the_roles_that_it_has_made(moved: Moved) -> None:
    site = moved.site
    lose_the_roles(moved)
    site.config.write_text(
        site.config.read_text(encoding="utf-8").replace(
            "[application]", '[application]\nchecks = ["SELECT false"]'
        ),
        encoding="utf-8",
    )
    ended = moved.restore("--create-roles")
    assert ended.returncode == 40, ended.stderr
    assert moved.roles() == []
    assert set(site.databases()) == {site.database}


#: The transitions of `create-roles`: started, then two for each of three steps before it.
_DOING, _DONE = 8, 9


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [
        (_DOING, "after", "resume"),
        (_DONE, "before", "resume"),
        (_DONE, "before", "abort"),
        pytest.param(_DOING, "after", "abort", marks=pytest.mark.campaign),
        pytest.param(_DONE, "after", "resume", marks=pytest.mark.campaign),
        pytest.param(_DONE, "after", "abort", marks=pytest.mark.campaign),
    ],
)
def test_killed_while_roles_are_created(moved: Moved, seq: int, moment: str, ending: str) -> None:
    site = moved.site
    before = moved.names()
    lose_the_roles(moved)
    choices = RestoreChoices(create_roles=True)
    killed(site, "restore", seq, moment, choices)
    there = len(moved.roles())
    assert there == (0 if seq == _DOING else 2)
    end(site, "restore", ending)
    if ending == "resume":
        assert moved.names() == before
    else:
        assert moved.roles() == []


def test_an_abort_leaves_a_role_that_something_depends_on(moved: Moved) -> None:
    site = moved.site
    lose_the_roles(moved)
    killed(site, "restore", _DONE, "after", RestoreChoices(create_roles=True))
    site.sql("CREATE TABLE taken_up (a int)")
    owner = moved.owner.replace('"', '""')
    site.sql(f'ALTER TABLE taken_up OWNER TO "{owner}"')
    (run,) = [r.run for r in site.wiring().runs.all() if r.runbook == "restore"]
    ended = site.run("run", "abort", run)
    assert f"role `{moved.owner}` stays: something depends on it" in ended.stderr
    assert moved.roles() == [(moved.owner, False)]


def test_a_role_of_the_same_name_that_somebody_else_made_is_never_dropped(moved: Moved) -> None:
    site = moved.site
    lose_the_roles(moved)
    killed(site, "restore", _DOING, "after", RestoreChoices(create_roles=True))
    site.sql(f'CREATE ROLE "{moved.reader}" LOGIN', database="postgres")
    end(site, "restore", "abort")
    assert moved.roles() == [(moved.reader, True)]


@everywhere
def test_others_own_and_may_use_what_belonged_to_the_missing(moved: Moved) -> None:
    before = moved.names()
    lose_the_roles(moved)
    site = moved.site
    stranger = new_role(site.server)
    names = {moved.owner: site.role, moved.reader: stranger}
    try:
        options = [w for old, new in names.items() for w in ("--map-owner", f"{old}={new}")]
        ended = moved.restore(*options)
        assert ended.returncode == 0, ended.stderr
        assert moved.roles() == []
        assert moved.names() == [
            sorted(tuple(names.get(name, name) for name in row) for row in rows) for rows in before
        ]
        assert site.value("SELECT count(*) FROM owned.thing") == 30
    finally:
        site.clear()
        site.sql(f'DROP ROLE "{stranger}"', database="postgres")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--map-owner", "only_one"), 2, "`only_one` is not `OLD=NEW`"),
        (("--map-owner", "a=b", "--map-owner", "a=c"), 2, "cannot become both"),
        (("--map-owner", "postgrs=postgres"), 2, "the nearest is `postgres`"),
        (("--map-owner", "postgres=postgrs"), 12, "the nearest is `postgres`"),
        (("--create-roles", "--no-owner"), 2, "leave out `--no-owner`"),
        (("--map-owner", "a=b", "--no-owner"), 2, "leave out `--no-owner`"),
    ],
)
def test_owners_that_cannot_be_are_refused(
    site: Site, options: tuple[str, ...], code: int, said: str
) -> None:
    snapshot(site)
    refused = site.run("restore", "latest", "--yes", *options)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert set(site.databases()) == {site.database}


def test_who_may_not_create_roles_is_told_beforehand(moved: Moved) -> None:
    site = moved.site
    lose_the_roles(moved)
    creator = new_role(site.server, "CREATEDB")
    site.write_secret("admin-dsn", site.server.conninfo("postgres", user=creator).reveal())
    site.sql(f'ALTER DATABASE "{site.database}" OWNER TO "{creator}"')
    site.sql(f'GRANT "{site.role}" TO "{creator}"; GRANT pg_signal_backend TO "{creator}"')
    refused = moved.restore("--create-roles")
    site.clear()
    site.sql(f'DROP ROLE "{creator}"', database="postgres")
    assert refused.returncode == 12, refused.stderr
    assert f"role `{creator}` may not create roles" in refused.stderr


# ── a creator of roles who is no superuser ───────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server15(server_folder: Path) -> Iterator[EmbeddedServer]:
    """The last version in which CREATEROLE is over all roles; 16 gives it over one's own alone."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not (programs / "postgres").exists():
        pytest.skip("no PostgreSQL 15 of Debian's is installed")
    with EmbeddedServer.start(
        server_folder / "15", binaries=programs, settings={"fsync": "off"}
    ) as server:
        yield server


@pytest.mark.parametrize("major", [15, 16, 18])
@pytest.mark.parametrize("fails", [False, True])
def test_who_may_create_roles_and_is_no_superuser_does_it(
    new_site: Callable[..., Site], request: pytest.FixtureRequest, major: int, fails: bool
) -> None:
    server: EmbeddedServer = request.getfixturevalue(f"server{major}")
    site = new_site(server)
    creator = new_role(server, "CREATEDB CREATEROLE")
    # What a superuser owns only a superuser can give back.
    site.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    with moved_away(site) as moved:
        before = moved.names()
        lose_the_roles(moved)
        site.write_secret("admin-dsn", server.conninfo("postgres", user=creator).reveal())
        site.sql(f'ALTER DATABASE "{site.database}" OWNER TO "{creator}"')
        site.sql(f'GRANT "{site.role}" TO "{creator}"; GRANT pg_signal_backend TO "{creator}"')
        if fails:
            with site.config.open("a", encoding="utf-8") as config:
                config.write('checks = ["SELECT false"]\n')
        ended = moved.restore("--create-roles")
        if fails:
            assert ended.returncode == 40, ended.stderr
            assert moved.roles() == []
        else:
            assert ended.returncode in {0, 3}, ended.stderr
            assert moved.names() == before
            assert moved.roles() == [(moved.owner, False), (moved.reader, False)]
    site.sql(f'DROP OWNED BY "{creator}"', database="postgres")
    site.sql(f'DROP ROLE "{creator}"', database="postgres")
