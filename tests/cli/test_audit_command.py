"""`alexandria audit verify`, and what a broken chain does to the other commands."""

import json
import secrets
from collections.abc import Callable

import pytest
from chained_site_support import CHAIN_SETTINGS, fill_chain
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer


@pytest.fixture
def chained(new_site: Callable[..., Site], server: EmbeddedServer) -> Site:
    """A site with an audit chain of 20 rows, and its key."""
    site = new_site(server, extra=CHAIN_SETTINGS)
    fill_chain(site)
    return site


def row(site: Site, position: int) -> str:
    ids = [i for (i,) in site.sql('SELECT id FROM audit_logs ORDER BY id COLLATE "C"')]
    return str(ids[position])


def test_a_good_chain_is_zero_and_says_its_limits(chained: Site) -> None:
    ended = chained.run("audit", "verify")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("intact: 20 rows")
    assert "cannot be told from a genuine one" in ended.stdout


def test_an_edited_row_is_named(chained: Site) -> None:
    edited = row(chained, 7)
    chained.sql("UPDATE audit_logs SET principal = 'eve' WHERE id = %s", edited)
    ended = chained.run("audit", "verify")
    assert ended.returncode == 30
    assert edited in ended.stdout
    assert "row_hmac_mismatch" in ended.stdout
    document = json.loads(chained.run("audit", "verify", "--json").stdout.splitlines()[0])
    assert document["result"]["counts"] == {"row_hmac_mismatch": 1}
    assert document["result"]["findings"][0]["id"] == edited


def test_a_deleted_row_is_a_broken_link(chained: Site) -> None:
    chained.sql("DELETE FROM audit_logs WHERE id = %s", row(chained, 7))
    ended = chained.run("audit", "verify")
    assert ended.returncode == 30
    assert "link_broken" in ended.stdout


def test_without_a_key_nothing_is_called_verified(chained: Site) -> None:
    chained.config.write_text(
        chained.config.read_text(encoding="utf-8").replace('key_file = "audit.key"', ""),
        encoding="utf-8",
    )
    ended = chained.run("audit", "verify")
    assert ended.returncode == 31
    assert "links_only" in ended.stdout
    # The chain was found, so a snapshot of it is not "done" either; it is stored all the same.
    assert chained.run("snapshot", "create").returncode == 31
    assert chained.run("snapshot", "verify", "latest").returncode == 31


def test_another_key_is_said_and_is_not_tampering(chained: Site) -> None:
    chained.write_secret("audit.key", secrets.token_bytes(32).hex())
    ended = chained.run("audit", "verify")
    assert ended.returncode == 31
    assert "key_or_encoding" in ended.stdout
    doctor = chained.run("doctor")
    assert doctor.returncode == 12
    assert "failed   audit chain" in doctor.stdout


def test_no_audit_table_is_no_success(site: Site) -> None:
    ended = site.run("audit", "verify")
    assert ended.returncode == 31
    assert "no audit table" in ended.stderr


def test_the_chain_of_a_snapshot_is_verified_without_a_database(chained: Site) -> None:
    assert chained.run("snapshot", "create").returncode == 0
    good = chained.run("audit", "verify", "--snapshot", "latest")
    assert good.returncode == 0, good.stderr
    (archive,) = chained.repository.glob("*.pgdump")
    chained.write_secret("dsn", "host=/nonexistent dbname=x user=y")
    assert chained.run("audit", "verify", "--snapshot", archive.stem).returncode == 0


def test_a_snapshot_of_a_broken_chain_is_stored_and_exits_30(chained: Site) -> None:
    chained.sql("UPDATE audit_logs SET principal = 'eve' WHERE id = %s", row(chained, 3))
    ended = chained.run("snapshot", "create")
    assert ended.returncode == 30
    listed = json.loads(chained.run("snapshot", "list", "--json").stdout)["result"]
    assert [(line["status"], line["audit"]) for line in listed] == [("read back", "broken")]
    refused = chained.run("restore", "latest", "--yes")
    assert refused.returncode == 30
    assert "--accept-chain" in refused.stderr
    assert chained.databases().keys() == {chained.database}
    accepted = chained.run("restore", "latest", "--yes", "--accept-chain")
    assert accepted.returncode == 0, accepted.stderr


def test_a_restore_brings_the_chain_back_and_says_so(chained: Site) -> None:
    chained.run("snapshot", "create")
    chained.sql("UPDATE audit_logs SET principal = 'eve' WHERE id = %s", row(chained, 3))
    restored = chained.run("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert "audit chain intact" in restored.stdout
    assert chained.run("audit", "verify").returncode == 0
