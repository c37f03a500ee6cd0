"""The whole paper runbook where the application's role may create no database, under load."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from deployed_support import WRITES_PER_SECOND, Deployed, eventually, stubborn_writer
from in_place_support import own_all
from psycopg import sql
from site_support import new_role

from alexandria_backup.demo import control
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret


@pytest.fixture
def role(server18: EmbeddedServer) -> Iterator[str]:
    role = new_role(server18)
    yield role
    with psycopg.connect(server18.conninfo("postgres").reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def deployed(
    role: str, folder: ApplicationFolder, tmp_path: Path, server18: EmbeddedServer
) -> Iterator[Deployed]:
    """The application writes as the owner of its database, and a table was emptied."""
    database = Dsn.parse(Secret(folder.dsn_file.read_text())).database
    folder.dsn_file.write_text(server18.conninfo(database, user=role).reveal())
    deployed = Deployed(
        folder=tmp_path, server=server18, database=database, application=folder, environ={}
    )
    deployed.execute("CREATE EXTENSION vector")
    deployed.execute(f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    deployed.execute(own_all(role).replace("%%", "%"))
    for (number,) in deployed.execute("SELECT oid FROM pg_largeobject_metadata"):
        deployed.execute(f'ALTER LARGE OBJECT {number} OWNER TO "{role}"')
    control.start(folder, writes_per_second=WRITES_PER_SECOND)
    stop = control.stop_command(folder.root)
    start = control.start_command(folder.root, writes_per_second=WRITES_PER_SECOND)
    deployed.settle(
        f'application.url = "{folder.url()}"\napplication.ready_timeout_s = 60\n'
        f"application.stop_command = {json.dumps(stop)}\n"
        f"application.start_command = {json.dumps(start)}\n",
        database=f'dsn_file = "{folder.dsn_file}"',
    )
    settings = tmp_path / "alexandria.toml"
    settings.write_text(settings.read_text().replace('admin_dsn_file = "admin-dsn"\n', ""))
    deployed.execute(f'ALTER TABLE public.attempts OWNER TO "{role}"')
    eventually(deployed.is_up)
    deployed.snapshot_and_damage()
    yield deployed
    deployed.clear()


def messages(deployed: Deployed) -> int:
    return int(deployed.execute("SELECT count(*) FROM public.messages")[0][0])


def test_the_whole_story_under_load(deployed: Deployed, role: str) -> None:
    refused = deployed.run("restore", deployed.snapshot, "--yes")
    assert refused.returncode == 12
    assert "--in-place" in refused.stderr

    with stubborn_writer(deployed, role) as acknowledged:
        eventually(lambda: len(acknowledged) > 10)
        restored = deployed.run("restore", deployed.snapshot, "--in-place", "--yes")
        assert restored.returncode in {0, 3}, restored.stderr
        assert "downtime" in restored.stdout
        assert deployed.is_up()
        assert deployed.tools() > 0
        written = messages(deployed)
        eventually(lambda: messages(deployed) > written)
        assert deployed.run("audit", "verify").returncode == 0

        back = deployed.run("rollback", "--yes")
        assert back.returncode in {0, 3}, back.stderr
        assert deployed.is_up()
        assert deployed.tools() == 0
        assert deployed.run("audit", "verify").returncode == 0

        forward = deployed.run("rollback", "--yes")
        assert forward.returncode in {0, 3}, forward.stderr
        assert deployed.tools() > 0
    assert acknowledged <= deployed.attempts()

    run = deployed.run("run", "list").stdout.splitlines()[-1].split()[0]
    accepted = deployed.run("run", "accept", run, "--yes")
    assert accepted.returncode in {0, 3}, accepted.stderr
    assert deployed.is_up()
    assert deployed.tools() > 0
    assert deployed.run("audit", "verify").returncode == 0
