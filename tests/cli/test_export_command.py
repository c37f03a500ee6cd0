"""`alexandria snapshot export`: what is written restores without this program."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.layout import object_name
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey

#: Large enough to be kept in frames, some of them twice.
BIG = """
    CREATE TABLE big AS
        SELECT n, repeat(md5(mod(n, 20000)::text), 4) AS text FROM generate_series(1, 60000) AS n
"""


@pytest.fixture
def kept(new_site: Callable[..., Site], server: EmbeddedServer) -> Site:
    """A site with one snapshot in a repository."""
    return with_snapshot(new_site(server))


@pytest.fixture
def kept_any(site: Site) -> Site:
    return with_snapshot(site)


def with_snapshot(site: Site) -> Site:
    site.make_repository()
    site.sql(BIG)
    site.sql(f'ALTER TABLE big OWNER TO "{site.role}"')
    created = site.run("snapshot", "create")
    assert created.returncode == 0, created.stderr
    return site


def restored(site: Site, archive: Path, *options: str) -> dict[str, str]:
    """Load an archive with the stock pg_restore, and tell what is in the database then."""
    name = f"{site.database}_again"
    site.sql(f'DROP DATABASE IF EXISTS "{name}"', database="postgres")
    site.sql(f'CREATE DATABASE "{name}"', database="postgres")
    program = str(site.server.bin_dir / "pg_restore")
    conninfo = site.server.conninfo(name).reveal()
    command = [program, *options, f"--dbname={conninfo}", str(archive)]
    subprocess.run(command, check=True, capture_output=True)
    return site.fingerprint(name)


@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_the_stock_pg_restore_loads_it(kept: Site, compress: str) -> None:
    target = kept.folder / "out" / "some.pgdump"
    exported = kept.run("snapshot", "export", "latest", str(target), "--compress", compress)
    assert exported.returncode == 0, exported.stderr
    assert f"written to {target}" in exported.stdout
    assert f"pg_restore {kept.server.major}" in exported.stdout.replace("17 or", "18 or")
    assert restored(kept, target, "--jobs=2") == kept.fingerprint()


def test_the_result_is_one_document(kept_any: Site) -> None:
    target = kept_any.folder / "some.pgdump"
    ended = kept_any.run("snapshot", "export", "latest", str(target), "--json")
    (listed,) = json.loads(kept_any.run("snapshot", "list", "--json").stdout)["result"]
    result = json.loads(ended.stdout.splitlines()[-1])["result"]
    digest = subprocess.run(["sha256sum", target], check=True, capture_output=True, text=True)
    assert result == {
        "snapshot": listed["id"],
        "location": str(target),
        "bytes": target.stat().st_size,
        "sha256": digest.stdout.split()[0],
        "compression": "gzip",
        "format_version": "1.16",
        "pg_restore": 17,
        "tables": 12,
        "rows": 75_607,
        "not_verified": [],
    }


def test_zstd_takes_what_is_stored(kept_any: Site) -> None:
    target = kept_any.folder / "some.pgdump"
    assert kept_any.run("snapshot", "export", "latest", str(target), "--compress=zstd").stdout
    verified = kept_any.run("snapshot", "verify", str(target))
    assert "75,607 in 12 tables" in verified.stdout
    data = target.read_bytes()
    stored = [(kept_any.repository / object_name(part)) for part in frames_of(kept_any, "big")]
    assert len(stored) > 1
    # A chunk has at most 1 MiB.
    assert all(data.count(path.read_bytes()[: 1 << 20]) == 1 for path in stored)


def test_a_folder_gets_a_file_of_the_snapshots_name(kept_any: Site) -> None:
    folder = kept_any.folder / "out"
    folder.mkdir()
    assert kept_any.run("snapshot", "export", "latest", str(folder)).returncode == 0
    (made,) = folder.iterdir()
    (listed,) = json.loads(kept_any.run("snapshot", "list", "--json").stdout)["result"]
    assert made.name == f"{listed['id']}.pgdump"
    assert made.stat().st_mode & 0o777 == 0o600
    # What was exported is a snapshot like any other file, and restores like one.
    kept_any.sql("DROP TABLE big")
    ended = kept_any.run("restore", str(made), "--yes")
    assert ended.returncode == 0, ended.stderr
    assert kept_any.value("SELECT count(*) FROM big") == 60_000


def test_nothing_is_overwritten(kept_any: Site) -> None:
    target = kept_any.folder / "some.pgdump"
    target.write_text("mine")
    ended = kept_any.run("snapshot", "export", "latest", str(target))
    assert ended.returncode == 1
    assert "exists already" in ended.stderr
    assert target.read_text() == "mine"


def test_an_older_format_is_written_where_it_can_be(kept_any: Site) -> None:
    target = kept_any.folder / "some.pgdump"
    ended = kept_any.run("snapshot", "export", "latest", str(target), "--format-version", "1.14")
    assert "format     1.14, gzip: pg_restore 12 or newer" in ended.stdout
    assert restored(kept_any, target) == kept_any.fingerprint()
    again = kept_any.run(
        *("snapshot", "export", str(target), str(kept_any.folder / "newer.pgdump")),
        *("--format-version", "1.15", "--compress", "none"),
    )
    assert "format     1.15, none: pg_restore 16 or newer" in again.stdout


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--format-version", "1.14", "--compress", "zstd"), 12, "no place for compression"),
        (("--format-version", "1.17"), 2, "`1.14`, `1.15`, `1.16`"),
        (("--format-version", "16"), 2, "is not a version of the format"),
        (("--compress", "lz4"), 2, "lz4"),
    ],
)
def test_what_cannot_be_written_is_refused(
    kept_any: Site, options: tuple[str, ...], code: int, words: str
) -> None:
    target = kept_any.folder / "some.pgdump"
    ended = kept_any.run("snapshot", "export", "latest", str(target), *options)
    assert ended.returncode == code
    assert words in ended.stderr
    assert not target.exists()


def test_large_objects_of_a_new_pg_dump_need_the_new_format(site: Site) -> None:
    site.sql("SELECT lo_from_bytea(0, 'large')")
    site = with_snapshot(site)
    target = str(site.folder / "some.pgdump")
    refused = site.run("snapshot", "export", "latest", target, "--format-version", "1.15")
    assert refused.returncode == 12
    assert "large objects" in refused.stderr
    assert site.run("snapshot", "export", "latest", target).returncode == 0


def test_a_damaged_object_leaves_no_file(kept_any: Site) -> None:
    parts = frames_of(kept_any, "big")
    path = kept_any.repository / object_name(parts[-1])
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    target = kept_any.folder / "out" / "some.pgdump"
    ended = kept_any.run("snapshot", "export", "latest", str(target))
    assert ended.returncode == 20
    assert parts[-1] in ended.stderr
    assert list(target.parent.iterdir()) == []


def frames_of(site: Site, table: str) -> list[str]:
    manifest = json.loads(site.run("snapshot", "show", "latest", "--json").stdout)["result"]
    (framed,) = (t["framed"] for t in manifest["tables"] if t["name"] == table)
    return [part["object"] for frame in framed["frames"] for part in frame["parts"]]


def test_an_encrypted_repository_needs_the_identity(
    new_site: Callable[..., Site], server_any: EmbeddedServer
) -> None:
    identity = Identity.generate()
    identity_file = 'identity_file = "identity"\n'
    site = new_site(
        server_any,
        extra=f'[encryption]\nrecipients = ["{identity.recipient}"]\n{identity_file}'
        '[signing]\nkey_file = "signing.key"\n',
    )
    identity.save(site.folder / "identity")
    SigningKey.generate("site").save(site.folder / "signing.key")
    with_snapshot(site)
    target = site.folder / "some.pgdump"
    settings = site.config.read_text()

    site.config.write_text(settings.replace(identity_file, ""))
    # A process of its own: this one can read back what it has stored.
    locked = site.process("snapshot", "export", "latest", str(target))
    assert locked.returncode == 21
    assert not target.exists()

    site.config.write_text(settings)
    assert site.run("snapshot", "export", "latest", str(target)).returncode == 0
    assert restored(site, target) == site.fingerprint()
