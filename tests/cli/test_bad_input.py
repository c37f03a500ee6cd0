"""What bad input gets: its own exit code, a message, a hint to type, and nothing lost."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from site_support import Site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.marker import Marker

RUN = "restore-20261125T200000Z-abcd"


def refused(site: Site, code: int, *arguments: str, **environ: str) -> str:
    """Run a command that must fail with this exit code; return what it said."""
    before = site.fingerprint()
    ended = site.run(*arguments, environ=environ)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(("error: ", "hint: "))
    assert site.fingerprint() == before
    assert site.databases().keys() == {site.database}
    return ended.stderr


def without_dsn(site: Site) -> None:
    text = site.config.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "dsn_file" not in line]
    site.config.write_text("\n".join(lines), encoding="utf-8")


def test_no_dsn(site: Site) -> None:
    without_dsn(site)
    said = refused(site, 10, "snapshot", "create")
    assert "no DSN was found; looked at: --dsn-file" in said
    assert "hint: export ALEXANDRIA_DSN=" in said


@pytest.mark.parametrize("dsn", ["nonsense", "postgresql://u:pa@ss@h/d", "", "postgresql://h:x/d"])
def test_a_malformed_dsn(site: Site, dsn: str) -> None:
    without_dsn(site)
    said = refused(site, 10, "snapshot", "create", ALEXANDRIA_DSN=dsn)
    assert "ALEXANDRIA_DSN" in said
    assert "pa@ss" not in said


def test_a_server_that_is_down(site: Site, tmp_path: Path) -> None:
    site.write_secret("dsn", f"host={tmp_path} dbname=x user=y")
    assert "hint: " in refused(site, 11, "snapshot", "create")


def test_a_database_that_does_not_exist(site: Site) -> None:
    site.write_secret("dsn", site.server.conninfo("no_such_database").reveal())
    said = refused(site, 11, "snapshot", "create")
    assert "no_such_database" in said


def test_a_wrong_password_is_never_shown(tmp_path: Path) -> None:
    password = secrets.token_urlsafe(12)
    folder = tmp_path / "pg"
    from alexandria_backup.secret import Secret  # noqa: PLC0415 - next to its only use

    with EmbeddedServer.start(folder, password=Secret("right")) as server:
        config = tmp_path / "alexandria.toml"
        config.write_text(f'state_dir = "state"\nrepository = "{tmp_path}"\n', encoding="utf-8")
        dsn = f"{server.conninfo().reveal()} password={password}"
        ended = subprocess.run(
            [sys.executable, "-m", "alexandria_backup", "--config", str(config), "doctor"],
            capture_output=True,
            text=True,
            env={**os.environ, "ALEXANDRIA_DSN": dsn},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert ended.returncode == 12
        assert "password" in ended.stdout
        assert password not in ended.stdout + ended.stderr


def test_a_role_that_may_not_create_databases(site: Site) -> None:
    site.run("snapshot", "create")
    text = site.config.read_text(encoding="utf-8").replace('admin_dsn_file = "admin-dsn"\n', "")
    site.config.write_text(text, encoding="utf-8")
    said = refused(site, 12, "restore", "latest", "--yes")
    assert "may not create databases" in said
    assert "createdb" in said


@pytest.mark.parametrize("keep", [0, 1, 5, 40, 400, 20_000, -1, -300])
def test_a_truncated_archive_leaves_the_live_database_alone(site: Site, keep: int) -> None:
    archive = site.dump()
    data = archive.read_bytes()
    archive.write_bytes(data[:keep])
    said = refused(site, 20, "restore", str(archive), "--yes")
    assert "hint: " in said


def test_a_flipped_bit_is_found_before_anything_is_created(site: Site) -> None:
    site.run("snapshot", "create")
    (archive,) = site.repository.glob("*.pgdump")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0x10
    archive.chmod(0o600)
    archive.write_bytes(data)
    refused(site, 20, "restore", archive.stem, "--yes")
    refused(site, 20, "snapshot", "verify", archive.stem)


def test_a_file_that_is_something_else(site: Site) -> None:
    script = site.folder / "dump.sql"
    script.write_text("-- PostgreSQL database dump\nCREATE TABLE t ();\n", encoding="utf-8")
    assert "SQL" in refused(site, 20, "restore", str(script), "--yes")


def test_an_archive_of_another_application(
    site: Site, new_site: Callable[..., Site], server_any: EmbeddedServer
) -> None:
    other = new_site(server_any)
    other.sql("DROP SCHEMA public CASCADE")
    other.sql("CREATE SCHEMA public")
    other.sql("CREATE TABLE public.things (a int)")
    archive = other.dump()
    said = refused(site, 12, "restore", str(archive), "--yes", "--no-owner")
    assert "another application" in said
    assert "--yes-different" in said
    forced = site.run("restore", str(archive), "--yes", "--no-owner", "--yes-different")
    assert forced.returncode in {0, 3}, forced.stderr
    assert site.fingerprint().keys() == {"public.things"}


def test_a_part_of_a_database_is_not_swapped_in_for_the_whole(site: Site) -> None:
    archive = site.dump("part.pgdump", ("-Fc", "--table=genre"))
    said = refused(site, 12, "restore", str(archive), "--yes")
    assert "only 1 of the 11 tables of the live database" in said


def test_a_file_that_is_not_there_is_a_missing_snapshot(site: Site) -> None:
    said = refused(site, 20, "restore", "/nonexistent/x.pgdump", "--yes")
    assert "there is no snapshot `x.pgdump`" in said


def test_a_snapshot_that_does_not_exist_names_the_nearest(site: Site) -> None:
    site.run("snapshot", "create")
    (archive,) = site.repository.glob("*.pgdump")
    said = refused(site, 20, "restore", archive.stem[:-1] + "x", "--yes")
    assert f"the nearest is `{archive.stem}`" in said


def test_missing_roles_are_named(site: Site) -> None:
    role = new_role(site.server)
    site.sql(f'ALTER TABLE track OWNER TO "{role}"')
    archive = site.dump()
    site.sql("ALTER TABLE track OWNER TO postgres")
    site.sql(f'DROP ROLE "{role}"')
    said = refused(site, 12, "restore", str(archive), "--yes")
    assert role in said
    assert "--no-owner" in said


def test_prepared_transactions_are_refused_before_anything_is_created(site: Site) -> None:
    site.run("snapshot", "create")
    with site.connection() as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE prepared_here ()")
        connection.execute(f"PREPARE TRANSACTION '{site.database}'")
    try:
        ended = site.run("restore", "latest", "--yes")
        assert ended.returncode == 12, ended.stderr
        assert "rollback prepared" in ended.stderr
        assert site.database in ended.stderr
        assert site.databases().keys() == {site.database}
    finally:
        site.sql(f"ROLLBACK PREPARED '{site.database}'")


def test_a_second_restore_of_the_same_database_is_refused(site: Site) -> None:
    site.run("snapshot", "create")
    shadow = f"{site.database}_alexandria_shadow"
    site.sql(f'CREATE DATABASE "{shadow}"', database="postgres")
    ended = site.run("restore", "latest", "--yes")
    assert ended.returncode == 22, ended.stderr
    assert shadow in ended.stderr
    mark = Marker(run=RUN, role="shadow", of=site.database).encode()
    site.sql(f"COMMENT ON DATABASE \"{shadow}\" IS '{mark}'", database="postgres")
    ended = site.run("restore", "latest", "--yes")
    assert ended.returncode == 22, ended.stderr
    assert f"alexandria run abort {RUN}   # or: alexandria run resume {RUN}" in ended.stderr


def test_no_permission_to_write_the_snapshot(site: Site) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    site.repository.chmod(0o500)
    said = refused(site, 1, "snapshot", "create")
    assert "permission" in said.lower()


def test_an_explicit_name_is_never_overwritten(site: Site) -> None:
    target = site.folder / "mine.pgdump"
    assert site.run("snapshot", "create", "--file", str(target)).returncode == 0
    content = target.read_bytes()
    said = refused(site, 1, "snapshot", "create", "--file", str(target))
    assert "nothing is overwritten" in said
    assert target.read_bytes() == content


def test_an_unknown_setting_names_the_nearest(site: Site) -> None:
    site.config.write_text(site.config.read_text() + "\n[audit]\nkey_fil = 'x'\n")
    said = refused(site, 2, "snapshot", "list")
    assert "`audit.key_fil`" in said
    assert "`audit.key_file`" in said


def test_a_wrong_option_is_a_usage_error_also_as_json(site: Site) -> None:
    ended = site.run("snapshot", "list", "--jsn")
    assert ended.returncode == 2
    assert "hint: " in ended.stderr


def test_a_wrong_command_line_is_a_document_with_json(site: Site) -> None:
    ended = site.run("snapshot", "list", "--json", "--nonsense")
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["code"] == "usage"


def test_an_archive_without_data_is_said(site: Site) -> None:
    archive = site.dump("schema.pgdump", ("-Fc", "--schema-only"))
    ended = site.run("restore", str(archive), "--yes")
    assert ended.returncode == 3, ended.stderr
    assert "no data for 11 of its tables" in ended.stderr
    assert "public.track: 3,503 rows now, 0 rows afterwards" in ended.stderr


def test_errors_are_documents_with_json(site: Site) -> None:
    ended = site.run("restore", "nothing-like-this", "--json", "--yes")
    assert ended.returncode == 20
    (line,) = ended.stdout.splitlines()
    document = json.loads(line)
    assert (document["event"], document["code"]) == ("error", "snapshot-missing")
    assert document["exit_code"] == 20
    assert document["hint"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("snapshot", "drill", "--jobs", "5000"), "alexandria snapshot drill --help"),
        (("restore", "latest", "--jobs", "0"), "alexandria restore --help"),
        (("snapshot", "crate"), "alexandria snapshot --help"),
        (("restore",), "alexandria snapshot list"),
        (("run", "resume"), "alexandria run list"),
        (("snapshot",), "alexandria snapshot --help"),
        (("version",), "alexandria --version"),
        (("restore", "latest", "--config", "x"), "alexandria --config … restore …"),
        (("snapshot", "delete", "x"), "alexandria snapshot delete --help"),
        (("restore", "latest", "--to-databse", "x"), "alexandria restore --help"),
        (("resotre", "latest"), "alexandria --help"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_help_of_that_command(
    site: Site, arguments: tuple[str, ...], command: str
) -> None:
    said = refused(site, 2, *arguments)
    assert said.endswith(f"hint: {command}\n")
    # In our own words: lower case, no full stop, backticks around literals.
    message = said.splitlines()[-2].removeprefix("error: ")
    assert message[0].islower()
    assert not message.endswith(".")
    assert "'" not in message


def test_a_mistyped_word_is_answered_with_the_nearest(site: Site) -> None:
    assert "no such option: `--to-databse`; the nearest is `--to-database`" in refused(
        site, 2, "restore", "latest", "--to-databse", "x"
    )
    assert "no such command `snapshots`; the nearest is `snapshot`" in refused(
        site, 2, "snapshots", "list"
    )
    assert "the nearest is `latest`" in refused(site, 20, "restore", "last")


def test_a_url_that_lacks_a_slash_is_no_folder(site: Site) -> None:
    said = refused(site, 2, "snapshot", "list", ALEXANDRIA_REPOSITORY="s3:/bucket/app")
    assert "hint: s3://bucket/app" in said


def test_a_path_that_is_not_there_is_answered_with_what_is(site: Site) -> None:
    said = refused(site, 20, "restore", "snapshots/nothing.pgdump", "--yes")
    assert "hint: ls " in said


def test_help_is_there_by_its_short_name(site: Site) -> None:
    ended = site.run("restore", "-h")
    assert ended.returncode == 0
    assert "--to-database" in ended.stdout


def test_a_snapshot_is_no_bundle(site: Site) -> None:
    archive = site.dump()
    said = refused(site, 20, "backup", "verify", str(archive))
    assert "a `.pgdump` is a snapshot: alexandria snapshot verify FILE" in said


def test_a_recipient_that_is_none_is_answered_with_what_prints_one(site: Site) -> None:
    said = refused(site, 21, "backup", "--recipient", "age1nope", "--plan")
    assert "hint: age-keygen -y identity.txt" in said
