"""`alexandria doctor`: a line per check, and exit code 12 if one failed."""

import json
from pathlib import Path

import pytest
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer


def findings(site: Site, code: int) -> dict[str, dict[str, str]]:
    ended = site.run("doctor", "--json")
    assert ended.returncode == code, ended.stdout + ended.stderr
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    (result,) = [d["result"] for d in documents if d["event"] == "result"]
    return {finding["name"]: finding for finding in result}


def test_everything_that_the_runbook_needs_is_checked(site: Site) -> None:
    found = findings(site, 3)
    assert list(found) == [
        "dsn", "state folder", "server", "clock", "client tools", "application login",
        "read rights", "restore rights", "server space", "repository", "extensions",
        "audit chain", "application",
    ]  # fmt: skip
    # Nobody answers `/ready` here, and that is the only thing that wants a look.
    warned = [name for name, finding in found.items() if finding["status"] != "ok"]
    assert warned == ["application"]
    assert "[database] dsn_file" in found["dsn"]["message"]
    assert f"PostgreSQL {site.server.major}" in found["server"]["message"]
    assert str(site.server.bin_dir) in found["client tools"]["message"]
    assert "a dump about" in found["repository"]["message"]


def test_extensions_of_the_newest_snapshot_are_looked_for(site: Site) -> None:
    site.sql("CREATE EXTENSION vector")
    assert site.run("snapshot", "create").returncode == 0
    site.sql("DROP EXTENSION vector")
    said = findings(site, 3)["extensions"]["message"]
    assert "`plpgsql`, `vector`" in said


def test_text_has_a_hint_below_what_is_wrong(site: Site) -> None:
    ended = site.run("doctor")
    assert ended.returncode == 3
    assert "warning  application" in ended.stdout
    assert "hint: set `[application] url`" in ended.stdout


def test_what_cannot_be_read_fails(site: Site) -> None:
    site.sql("CREATE TABLE hidden (a int)")
    site.sql("REVOKE ALL ON hidden FROM PUBLIC")
    text = site.config.read_text(encoding="utf-8").replace('admin_dsn_file = "admin-dsn"\n', "")
    site.config.write_text(text, encoding="utf-8")
    found = findings(site, 12)
    assert found["read rights"]["status"] == "failed"
    assert "`public.hidden`" in found["read rights"]["message"]
    assert found["restore rights"]["status"] == "failed"
    assert "may not create databases" in found["restore rights"]["message"]


def test_an_administrator_reads_what_the_application_cannot(site: Site) -> None:
    site.sql("CREATE TABLE hidden (a int)")
    assert findings(site, 3)["read rights"]["status"] == "ok"
    assert site.run("snapshot", "create").returncode == 0


def test_a_server_that_is_down_fails_one_line_and_not_the_others(site: Site) -> None:
    site.write_secret("dsn", f"host={site.folder} dbname=x user=y")
    found = findings(site, 12)
    assert found["server"]["status"] == "failed"
    assert found["state folder"]["status"] == "ok"
    assert found["application"]["status"] == "warning"


def test_a_repository_that_is_not_there_fails(site: Site) -> None:
    site.repository.rmdir()
    found = findings(site, 12)
    assert found["repository"]["status"] == "failed"
    assert "mkdir" in found["repository"]["hint"]


def test_another_program_of_our_name_is_seen(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "bin"
    other.mkdir()
    program = other / "alex"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    ended = site.run("doctor", environ={"PATH": f"{other}:/usr/bin"})
    assert f"`alex` on PATH is `{program}`" in ended.stdout
    assert ended.returncode == 3


def test_a_prepared_transaction_is_told_before_a_restore_is_needed(site: Site) -> None:
    with site.connection() as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE prepared_here ()")
        connection.execute(f"PREPARE TRANSACTION '{site.database}'")
    try:
        found = findings(site, 12)
        assert "prepared transactions" in found["restore rights"]["message"]
    finally:
        site.sql(f"ROLLBACK PREPARED '{site.database}'")


@pytest.mark.parametrize(
    ("user", "said"), [("no_such_role", "refuses the login"), (None, "leads to the same server")]
)
def test_the_login_of_the_application_is_tried_although_another_role_does_the_work(
    site: Site, user: str | None, said: str
) -> None:
    conninfo = site.server.conninfo(site.database, user=user or site.role)
    site.write_secret("dsn", conninfo.reveal())
    found = findings(site, 12 if user else 3)["application login"]
    assert said in found["message"]


def test_two_servers_are_told(site: Site, server16: EmbeddedServer) -> None:
    site.write_secret("dsn", server16.conninfo("template1").reveal())
    site.write_secret("admin-dsn", site.server.conninfo("postgres").reveal())
    assert "lead to two servers" in findings(site, 12)["application login"]["message"]
