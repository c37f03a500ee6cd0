"""Where archives come from: stock pg_dump in all its forms, another version, an object store."""

import json
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from oracle_support import Good, brought_back, snapshot, wreck
from rclone_support import BUCKET, rclone_server
from site_support import CHINOOK_TABLES, Site, make_site, new_role

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.storage.locate import open_store

# ── plain pg_dump, without a manifest ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [("-Fc",), ("-Fc", "-Z0"), ("-Fc", "-Z1"), ("-Fc", "--rows-per-insert=100")],
    ids=["default", "uncompressed", "fast", "many-rows-per-insert"],
)
def test_an_archive_that_nobody_vouches_for_is_restored(
    site: Site, options: tuple[str, ...]
) -> None:
    archive = site.dump(options=options)
    restored = brought_back(site, archive)
    assert "no manifest vouches for it" in restored.stderr


def test_an_archive_of_the_oldest_supported_server_is_restored(
    new_site: Callable[..., Site], server16: EmbeddedServer
) -> None:
    site = new_site(server16)
    brought_back(site, site.dump())


def test_an_archive_that_came_through_a_pipe_is_restored(site: Site) -> None:
    archive = site.folder / "piped.pgdump"
    dumped = subprocess.run(
        [
            str(site.server.bin_dir / "pg_dump"),
            "-Fc",
            f"--dbname={site.server.conninfo(site.database).reveal()}",
        ],
        # A pipe cannot seek: such an archive has no offsets in its table of contents.
        stdout=subprocess.PIPE,
        check=True,
        env={"LC_ALL": "C"},
    )
    archive.write_bytes(dumped.stdout)
    brought_back(site, archive)


def test_an_archive_of_schema_public_alone_is_restored(site: Site) -> None:
    good = Good(site=site)
    archive = site.dump(options=("-Fc", "-n", "public"))
    wreck(site)
    restored = site.run("restore", str(archive), "--yes")
    assert restored.returncode == 0, restored.stderr
    assert site.fingerprint() == good.rows
    assert site.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'public'") == 1


def test_rows_that_are_inserts_are_restored_and_not_called_compared(site: Site) -> None:
    archive = site.dump(options=("-Fc", "--inserts"))
    restored = brought_back(site, archive)
    unsure = [line for line in restored.stdout.splitlines() if line.startswith("not compared")]
    assert len(unsure) == CHINOOK_TABLES
    assert "0 tables compared row by row" in restored.stdout


@pytest.mark.parametrize(
    "rendering",
    [
        {"PGTZ": "Asia/Tokyo"},
        {"PGTZ": "America/St_Johns", "PGDATESTYLE": "German"},
        {"PGOPTIONS": "-c extra_float_digits=0 -c intervalstyle=sql_standard"},
    ],
    ids=["tokyo", "german", "floats"],
)
def test_values_that_are_written_in_another_way_are_no_false_alarm(
    site: Site, rendering: dict[str, str]
) -> None:
    site.sql(
        "CREATE TABLE moments AS SELECT i, timestamptz '2026-03-29 00:30+00' + i * interval '1 h' "
        "AS at, interval '1 day' * i AS span, i / 7.0::float8 AS share, date '2026-01-31' + i AS d "
        "FROM generate_series(1, 500) AS i"
    )
    archive = site.folder / "foreign.pgdump"
    subprocess.run(
        [str(site.server.bin_dir / "pg_dump"), "-Fc", f"--file={archive}",
         f"--dbname={site.server.conninfo(site.database).reveal()}"],
        check=True,
        env={"LC_ALL": "C", **rendering},
    )  # fmt: skip
    brought_back(site, archive)


def test_a_manifest_makes_every_row_compared_whatever_the_database_says(site: Site) -> None:
    for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "intervalstyle = iso_8601"):
        site.sql(f'ALTER DATABASE "{site.database}" SET {setting}')
    site.sql("CREATE TABLE moments AS SELECT now() AS at, interval '3 d 4 h' AS span")
    snapshot(site)
    restored = brought_back(site, "latest")
    assert f"{CHINOOK_TABLES + 1} tables compared row by row" in restored.stdout


def test_an_archive_of_another_name_is_restored(site: Site) -> None:
    brought_back(site, site.dump(name="nightly backup.dump"))


def test_data_without_a_schema_are_no_snapshot_of_the_database(site: Site) -> None:
    """Half an archive must not replace a whole database."""
    archive = site.dump(options=("-Fc", "--data-only"))
    before = Good(site=site)
    restored = site.run("restore", str(archive), "--yes")
    assert restored.returncode not in {0, 3}
    before.assert_back()
    assert set(site.databases()) == {site.database}


@pytest.mark.parametrize(
    ("form", "what", "command"),
    [
        ("-Fp", "a plain SQL script of `pg_dump`", "psql"),
        ("-Ft", "a dump in tar format", "pg_restore"),
        ("-Fd", "a dump in directory format", "pg_restore"),
    ],
)
def test_another_format_of_pg_dump_is_refused_by_name(
    site: Site, form: str, what: str, command: str
) -> None:
    archive = site.dump(options=(form,))
    before = Good(site=site)
    for typed in (str(archive), f"{archive}/") if form == "-Fd" else (str(archive),):
        restored = site.run("restore", typed, "--yes")
        assert restored.returncode == 20
        assert what in restored.stderr
        (hint,) = [line for line in restored.stderr.splitlines() if line.startswith("hint: ")]
        assert command in hint
        assert "pg_dump --format=custom" in hint
    before.assert_back()


def test_a_folder_of_snapshots_is_no_snapshot(site: Site) -> None:
    snapshot(site)
    folder = site.folder / "snapshots"
    for typed in (str(folder), f"{folder}/"):
        restored = site.run("restore", typed, "--yes")
        assert restored.returncode == 20
        assert f"`{folder}` is a folder" in restored.stderr
        assert f"alexandria snapshot list {folder}" in restored.stderr


# ── another version ──────────────────────────────────────────────────────────────────────────────


def use_tools_of(site: Site, server: EmbeddedServer) -> None:
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace(str(site.server.bin_dir), str(server.bin_dir)), encoding="utf-8"
    )


def moved(
    new_site: Callable[..., Site], here: EmbeddedServer, there: EmbeddedServer
) -> tuple[Site, Site]:
    """Make a site on each server; the first one's objects belong to roles of the second."""
    source, target = new_site(here), new_site(there)
    source.sql(f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{source.role}"')
    source.sql(f'CREATE ROLE "{target.role}" LOGIN')
    source.sql(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{target.role}"')
    return source, target


def forget(source: Site, target: Site) -> None:
    source.sql(f'DROP OWNED BY "{target.role}"')
    source.sql(f'DROP ROLE "{target.role}"')


def test_an_archive_of_16_is_restored_into_18(
    new_site: Callable[..., Site], server16: EmbeddedServer, server18: EmbeddedServer
) -> None:
    source, target = moved(new_site, server16, server18)
    try:
        good = source.fingerprint()
        archive = source.dump()
        wreck(target)
        restored = target.run("restore", str(archive), "--yes")
        assert restored.returncode == 0, restored.stderr
        assert target.fingerprint() == good
        assert "0 tables compared row by row" not in restored.stdout
    finally:
        forget(source, target)


def test_an_archive_of_18_is_restored_into_16_with_a_warning(
    new_site: Callable[..., Site], server16: EmbeddedServer, server18: EmbeddedServer
) -> None:
    source, target = moved(new_site, server18, server16)
    try:
        good = source.fingerprint()
        archive = source.dump()
        wreck(target)
        use_tools_of(target, server18)
        restored = target.run("restore", str(archive), "--yes")
        assert restored.returncode == 3, restored.stderr
        assert "this server is 16" in restored.stderr
        assert target.fingerprint() == good
    finally:
        forget(source, target)


def test_an_archive_that_the_tools_cannot_read_leaves_everything_as_it_was(
    new_site: Callable[..., Site], server16: EmbeddedServer, server18: EmbeddedServer
) -> None:
    source, target = moved(new_site, server18, server16)
    try:
        archive = source.dump()
        before = Good(site=target)
        restored = target.run("restore", str(archive), "--yes")
        assert restored.returncode in {12, 40}, restored.stderr
        assert "hint:" in restored.stderr
        before.assert_back()
        assert set(target.databases()) == {target.database}
    finally:
        forget(source, target)


def test_tools_of_18_serve_a_server_of_16(
    new_site: Callable[..., Site], server16: EmbeddedServer, server18: EmbeddedServer
) -> None:
    site = new_site(server16)
    use_tools_of(site, server18)
    snapshot(site)
    brought_back(site, "latest")


# ── encodings ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def encoded_site(server18: EmbeddedServer, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Make a site whose empty database has another encoding than UTF-8."""
    made: list[Site] = []

    def make(encoding: str) -> Site:
        role, name = new_role(server18), f"enc_{secrets.token_hex(4)}"
        folder = tmp_path / f"encoded{len(made)}"
        folder.mkdir()
        site = make_site(folder, server18, name, role)
        made.append(site)
        site.sql(
            f"CREATE DATABASE {name} OWNER {role} TEMPLATE template0 ENCODING '{encoding}' "
            "LOCALE_PROVIDER libc LOCALE 'C'",
            database="postgres",
        )
        return site

    yield make
    for site in made:
        site.clear()
        site.sql(f'DROP ROLE IF EXISTS "{site.role}"', database="postgres")


def as_utf8(site: Site, *statements: str) -> list[tuple[object, ...]]:
    """Run statements in UTF-8, also where the server does not know what its bytes mean."""
    conninfo = site.server.conninfo(site.database).reveal()
    with psycopg.connect(conninfo, autocommit=True, client_encoding="utf8") as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


UMLAUTS = (
    'CREATE TABLE "Übergröße" ("Schlüssel" int PRIMARY KEY, "Wört" text)',
    "INSERT INTO \"Übergröße\" SELECT i, 'ähnlich wie ß ' || i FROM generate_series(1, 300) AS i",
    "COMMENT ON TABLE \"Übergröße\" IS 'größer'",
)
UMLAUT_ROWS = 'SELECT sum(hashtext(t::text)), count(*) FROM "Übergröße" AS t'


@pytest.mark.parametrize(
    ("encoding", "with_manifest"),
    [("LATIN1", True), ("SQL_ASCII", True), ("EUC_JP", True), ("LATIN1", False)],
)
def test_names_and_rows_survive_in_every_encoding(
    encoded_site: Callable[[str], Site], encoding: str, with_manifest: bool
) -> None:
    site = encoded_site(encoding)
    if encoding == "EUC_JP":
        as_utf8(
            site, 'CREATE TABLE "日本" (a text)', "INSERT INTO \"日本\" VALUES ('東京'), ('大')"
        )
        query = 'SELECT sum(hashtext(t::text)), count(*) FROM "日本" AS t'
        damage = "DELETE FROM \"日本\" WHERE a = '大'"
    else:
        as_utf8(site, *UMLAUTS)
        query, damage = UMLAUT_ROWS, 'DELETE FROM "Übergröße" WHERE "Schlüssel" > 5'
    good = as_utf8(site, query)
    if with_manifest:
        snapshot(site)
    archive = "latest" if with_manifest else str(site.dump())
    as_utf8(site, damage)
    assert as_utf8(site, query) != good
    restored = site.run("restore", archive, "--yes")
    assert restored.returncode == 0, restored.stderr
    assert as_utf8(site, query) == good
    assert site.value(
        "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s", site.database,
        database="postgres",
    ) == encoding  # fmt: skip
    if with_manifest:
        assert "1 tables compared row by row" in restored.stdout


def test_bytes_that_are_no_text_survive_in_sql_ascii(
    encoded_site: Callable[[str], Site],
) -> None:
    site = encoded_site("SQL_ASCII")
    # Latin 1 and UTF-8 in one column, as in databases that have seen much.
    as_utf8(
        site,
        "CREATE TABLE mixed (a text)",
        "INSERT INTO mixed VALUES (convert_from('\\xfc62656c'::bytea, 'SQL_ASCII')), ('übel')",
    )
    digest = "SELECT sum(hashtext(a))::text, count(*) FROM mixed"
    good = as_utf8(site, digest)
    snapshot(site)
    as_utf8(site, "DELETE FROM mixed")
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert as_utf8(site, digest) == good
    assert "1 tables compared row by row" in restored.stdout


def test_names_that_are_no_text_are_named_with_what_to_do(
    encoded_site: Callable[[str], Site],
) -> None:
    site = encoded_site("SQL_ASCII")
    with psycopg.connect(
        site.server.conninfo(site.database).reveal(), client_encoding="latin1"
    ) as connection:
        connection.execute('CREATE TABLE "Gr\xfc\xdfe" (a int, "\xc4" int)')
    taken = site.run("snapshot", "create")
    assert taken.returncode == 12, taken.stderr
    assert "Gr\\xfc\\xdfe" in taken.stderr
    # What the hint says is typed as it stands, and once per name.
    for name in ("Gr\xfc\xdfe", "\xc4"):
        taken = site.run("snapshot", "create")
        (hint,) = [line for line in taken.stderr.splitlines() if line.startswith("hint: psql")]
        words = shlex.split(hint.removeprefix("hint: "))
        with site.connection() as connection:
            connection.execute(words[-1].replace("new_name", f"renamed_{len(name)}").encode())
    snapshot(site)


def test_an_archive_in_utf8_is_restored_into_a_database_of_latin1(
    encoded_site: Callable[[str], Site],
) -> None:
    site = encoded_site("LATIN1")
    as_utf8(site, *UMLAUTS)
    archive = site.dump(options=("-Fc", "--encoding=UTF8"))
    good = as_utf8(site, UMLAUT_ROWS)
    as_utf8(site, 'DELETE FROM "Übergröße"')
    restored = site.run("restore", str(archive), "--yes")
    assert restored.returncode == 0, restored.stderr
    assert as_utf8(site, UMLAUT_ROWS) == good
    assert "1 tables compared row by row" in restored.stdout


# ── an object store ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def rclone_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rclone_server(tmp_path_factory.mktemp("rclone")) as url:
        yield url


@pytest.fixture
def bucket(rclone_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix in an object store, and the environment that leads there."""
    for name, text in {
        "AWS_ENDPOINT_URL": rclone_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, text)
    return f"s3://{BUCKET}/{secrets.token_hex(4)}/deep er"


def test_the_whole_recipe_runs_against_an_object_store(site: Site, bucket: str) -> None:
    url = f"{bucket}/before upgrade.pgdump"
    created = site.run("snapshot", "create", "--file", url)
    assert created.returncode == 0, created.stderr
    assert list(site.repository.glob("*.pgdump*")) == []

    again = site.run("snapshot", "create", "--file", url)
    assert again.returncode == 1
    assert "nothing is overwritten" in again.stderr

    listed = site.run("snapshot", "list", bucket, "--json")
    (entry,) = json.loads(listed.stdout)["result"]
    assert (entry["id"], entry["problem"]) == ("before upgrade", None)
    verified = site.run("snapshot", "verify", url)
    assert verified.returncode == 0, verified.stderr
    drilled = site.run("snapshot", "drill", url)
    assert drilled.returncode == 0, drilled.stderr
    restored = brought_back(site, url)
    for ended in (drilled, restored):
        assert f"{CHINOOK_TABLES} tables compared row by row" in ended.stdout


def test_a_repository_in_an_object_store_serves_everything(site: Site, bucket: str) -> None:
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace('repository = "snapshots"', f'repository = "{bucket}"'), encoding="utf-8"
    )
    snapshot(site)
    listed = json.loads(site.run("snapshot", "list", "--json").stdout)["result"]
    assert [entry["kind"] for entry in listed] == ["manual"]
    good = Good(site=site)
    brought_back(site, "latest", good=good)
    listed = json.loads(site.run("snapshot", "list", "--json").stdout)["result"]
    assert [entry["kind"] for entry in listed] == ["manual", "safety"]
    runs = json.loads(site.run("run", "list", "--json").stdout)["result"]
    assert [(run["runbook"], run["status"]) for run in runs] == [
        ("snapshot", "done"),
        ("restore", "done"),
    ]
    # Whoever has the repository alone, as on another machine, has the journals too.
    for path in sorted((site.folder / "state").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (restore,) = [run["run"] for run in runs if run["runbook"] == "restore"]
    shown = site.run("run", "show", restore)
    assert shown.returncode == 0, shown.stderr
    assert "swap" in shown.stdout
    back = site.run("rollback", restore, "--yes")
    assert back.returncode == 0, back.stderr


def test_an_archive_of_stock_pg_dump_in_a_bucket_is_restored(site: Site, bucket: str) -> None:
    open_store(bucket).put("plain.pgdump", site.dump().read_bytes())
    brought_back(site, f"{bucket}/plain.pgdump")


def test_an_archive_that_is_not_in_the_bucket_is_named(site: Site, bucket: str) -> None:
    before = Good(site=site)
    restored = site.run("restore", f"{bucket}/nothing.pgdump", "--yes")
    assert restored.returncode == 20
    assert "nothing" in restored.stderr
    before.assert_back()
