"""What all tests share: a clean environment, real PostgreSQL servers, databases made in a moment.

Servers start when a test first asks for them, once per process of the test run, and end with it.
Everything temporary lies in one folder per process, so that what is left over can be seen.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import psycopg
import pytest
from fake_kubernetes_api_support import Served, serving
from fake_kubernetes_support import FakeCluster
from psycopg import sql
from site_support import Site, make_site, new_role
from temporary_base import temporary_base
from tls_support import self_signed

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

pytest_plugins = ["folding_disks", "repository_snapshot_support", "small_disks", "store_places"]

#: What a test run may not inherit from whoever starts it. The last one makes every process that a
#: test starts compile all that it imports.
_FOREIGN = (
    *("PG", "ALEXANDRIA_", "AWS_", "AZURE_", "GOOGLE_", "KUBE", "VAULT_", "BAO_"),
    "PYTHONDONTWRITEBYTECODE",
)

#: Fast and small; nothing that is lost with the machine matters here.
SERVER_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_prepared_transactions": "10",
}

# How long a machine takes, which others may be using, says nothing of what is tested.
hypothesis.settings.register_profile(
    "any-speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-speed")

_base = pytest.StashKey[Path]()
#: Begins the names of what tests have counted, for the end of the run.
_COUNT = "count: "


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background ignores SIGINT, and what it starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            del os.environ[name]
    base = temporary_base()
    config.stash[_base] = base
    os.environ["TMPDIR"] = tempfile.tempdir = str(base)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how often was tried what must never happen, where tests have counted it."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in getattr(report, "user_properties", ()):
            if name.startswith(_COUNT) and report.when == "call":
                counts[name.removeprefix(_COUNT)] += value
    for name, number in counts.items():
        terminalreporter.write_line(f"{number:>9,} {name}")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_base], ignore_errors=True)


@pytest.fixture(autouse=True)
def scrub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every test an empty home."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))


# ── servers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def server_folder(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A folder for servers that every user can reach; fails the run if one of them survives."""
    base = pytestconfig.stash[_base]
    folder = base / "servers"
    folder.mkdir()
    folder.chmod(0o711)
    yield folder
    left = [
        process
        for process in psutil.process_iter(["pid", "name"])
        if process.info["name"] == "postgres" and _is_below(process, base)
    ]
    # A backend may need a moment longer than its server.
    _, survivors = psutil.wait_procs(left, timeout=30)
    assert not survivors, f"servers outlive their tests: {survivors}"


@pytest.fixture(scope="session", autouse=True)
def _no_server_survives(server_folder: Path) -> None:
    """Look for survivors in every run, also where no shared server was used."""


@pytest.fixture(scope="session")
def server16(server_folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(server_folder / "16", major=16, settings=SERVER_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def server18(server_folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(server_folder / "18", major=18, settings=SERVER_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session", params=[16, 18], ids=["pg16", "pg18"])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    """Each version in turn: for what may differ between them."""
    found: EmbeddedServer = request.getfixturevalue(f"server{request.param}")
    return found


@pytest.fixture(scope="session")
def server_any(server18: EmbeddedServer) -> EmbeddedServer:
    """One version: for what does not depend on it."""
    return server18


@pytest.fixture(scope="session")
def debian_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """Debian's newest PostgreSQL, for what the wheel lacks: contrib, TLS, ICU."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_major_of)
    if not found:
        pytest.skip("no PostgreSQL of Debian's is installed below `/usr/lib/postgresql`")
    with EmbeddedServer.start(
        server_folder / "debian", binaries=found[-1].parent, settings=SERVER_SETTINGS
    ) as server:
        yield server


def _major_of(program: Path) -> int:
    return int(program.parent.parent.name)


def _is_below(process: psutil.Process, folder: Path) -> bool:
    """A postmaster and all its backends stand in their data folder."""
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False


# ── databases ────────────────────────────────────────────────────────────────────────────────────

NewDatabase = Callable[..., Secret]


@pytest.fixture
def new_database() -> Iterator[NewDatabase]:
    """Make a database: `new_database(server, template=None, name=None, owner=None)`.

    Returns the superuser's connection string. Databases are dropped after the test, also when
    something has renamed them meanwhile.
    """
    made: list[tuple[EmbeddedServer, int]] = []

    def make(
        server: EmbeddedServer,
        template: str | None = None,
        name: str | None = None,
        owner: str | None = None,
    ) -> Secret:
        name = name or f"test_{secrets.token_hex(6)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        if owner is not None:
            create += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        with _maintenance(server) as connection:
            connection.execute(create)
            made.append((server, _one(connection, _OID_OF, (name,))))
        return server.conninfo(name)

    yield make
    for server, oid in made:
        with _maintenance(server) as connection:
            left = connection.execute(_NAME_OF, (oid,)).fetchone()
            if left is not None:
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left[0]))
                connection.execute(drop)


@pytest.fixture(scope="session")
def chinook_template() -> Callable[[EmbeddedServer], str]:
    """Return the name of the database with the Chinook sample on a server, loaded when first asked.

    It is a template: connect to a clone, not to it.
    """
    loaded: dict[EmbeddedServer, str] = {}

    def template(server: EmbeddedServer) -> str:
        if server not in loaded:
            name = "chinook_template"
            with _maintenance(server) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            _load_chinook(server, name)
            loaded[server] = name
        return loaded[server]

    return template


@pytest.fixture
def chinook(
    new_database: NewDatabase, chinook_template: Callable[[EmbeddedServer], str]
) -> NewDatabase:
    """Make a database with the Chinook sample: `chinook(server, name=None, owner=None)`."""

    def make(server: EmbeddedServer, name: str | None = None, owner: str | None = None) -> Secret:
        return new_database(server, template=chinook_template(server), name=name, owner=owner)

    return make


_OID_OF = "SELECT oid FROM pg_catalog.pg_database WHERE datname = %s"
_NAME_OF = "SELECT datname FROM pg_catalog.pg_database WHERE oid = %s"


def _maintenance(server: EmbeddedServer) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True)


def _one(
    connection: psycopg.Connection[tuple[Any, ...]], query: str, parameters: tuple[str, ...]
) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])


def _load_chinook(server: EmbeddedServer, database: str) -> None:
    script = (Path(__file__).parent / "data" / "chinook.sql").read_text(encoding="utf-8")
    # The script makes a database of its own and goes there.
    kept = [
        line
        for line in script.splitlines()
        if not line.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c "))
    ]
    subprocess.run(
        [
            str(server.bin_dir / "psql"),
            *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
            f"--dbname={server.conninfo(database).reveal()}",
        ],
        input="\n".join(kept),
        encoding="utf-8",
        check=True,
        stdout=subprocess.DEVNULL,
        env={"LC_ALL": "C", "PGCLIENTENCODING": "UTF8"},
    )


# ── sites ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def new_site(chinook: NewDatabase, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make a site: `new_site(server, name=None, extra="")`; see `support/site.py`."""
    made: list[Site] = []

    def make(server: EmbeddedServer, name: str | None = None, extra: str = "") -> Site:
        role = new_role(server)
        name = name or f"site_{secrets.token_hex(4)}"
        chinook(server, name=name, owner=role)
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        site = make_site(folder, server, name, role, extra)
        made.append(site)
        site.sql(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
        return site

    yield make
    for site in made:
        site.clear()
        site.sql(f'DROP ROLE IF EXISTS "{site.role}"', database="postgres")


@pytest.fixture
def site(new_site: Callable[..., Site], server_any: EmbeddedServer) -> Site:
    """A site on one version."""
    return new_site(server_any)


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of an authority that no system trusts."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def served(tmp_path: Path, certificate: Path) -> Iterator[Served]:
    """A Kubernetes cluster in this process, and a kubeconfig that leads to it."""
    with serving(FakeCluster(), tmp_path, certificate) as found:
        yield found
