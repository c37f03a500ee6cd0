"""`audit anchor`, `capture`, `retire` and `recipe`, as an operator types them."""

import base64
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from site_support import Site, run_program

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.anchors import appended_since
from alexandria_backup.sealing.signing import SigningKey

_TABLE = """
CREATE TABLE public.audit_logs (
    id text PRIMARY KEY, principal text, action text, agent text, session text, metadata text,
    tenant_id text, hmac text, prev_hmac text, created_at timestamptz
)
"""
DOCS = Path(__file__).parents[2] / "docs"
_SETTINGS = """
[audit]
key_file = "audit.key"
key_encoding = "hex"
anchor_to = "elsewhere"

[signing]
key_file = "signing.key"
key_name = "evidence.example.org"
"""
KEY = bytes(range(32))


@pytest.fixture
def chained(new_site: Callable[..., Site], server_any: EmbeddedServer) -> Site:
    """A site with an audit chain of 20 rows, keys, and a place for anchors."""
    return chained_on(server_any, new_site)


def chained_on(server: EmbeddedServer, new_site: Callable[..., Site], extra: str = "") -> Site:
    site = new_site(server, extra=_SETTINGS + extra)
    site.write_secret("audit.key", KEY.hex())
    site.write_secret("signing.key", base64.b64encode(secrets.token_bytes(32)).decode())
    site.sql(_TABLE)
    grow(site, 20)
    return site


def grow(site: Site, rows: int) -> None:
    with connect(Dsn.parse(site.server.conninfo(site.database)), purpose="test") as session:
        table = discover_table(session)
        assert table is not None
        for number in range(rows):
            entry = NewEntry(principal="ada", action="login", metadata=f'{{"n": {number}}}')
            append(session, table=table, recipe=ALEXANDRIA_V1, key=KEY, entry=entry)


def row(site: Site, position: int) -> str:
    ids = [i for (i,) in site.sql('SELECT id FROM audit_logs ORDER BY id COLLATE "C"')]
    return str(ids[position])


def public_key(site: Site) -> str:
    return str(SigningKey.load(site.folder / "signing.key", name="evidence.example.org").trusted)


def test_an_anchor_is_kept_elsewhere_and_compared(chained: Site) -> None:
    assert chained.run("audit", "verify", "--require-anchor").returncode == 31
    ended = chained.run("audit", "anchor", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])["result"]
    assert told["anchors"][0]["count"] == 20
    (note,) = (chained.folder / "elsewhere").glob("*.anchor")
    assert "— evidence.example.org " in note.read_text(encoding="utf-8")
    verified = chained.run("audit", "verify", "--require-anchor")
    assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "verified: 20 rows")

    chained.sql("DELETE FROM audit_logs WHERE id = %s", row(chained, -1))
    assert "behind_anchor" in chained.run("audit", "verify").stdout
    refused = chained.run("audit", "anchor")
    assert refused.returncode == 30
    assert "no anchor was signed" in refused.stderr
    assert len(list((chained.folder / "elsewhere").glob("*.anchor"))) == 1
    # What this machine has signed is remembered, whoever removes the note elsewhere.
    note.unlink()
    assert chained.run("audit", "anchor").returncode == 30


def test_a_given_anchor_must_be_signed_by_somebody_trusted(chained: Site) -> None:
    assert chained.run("audit", "anchor", "--out", "given").returncode == 0
    (note,) = (chained.folder / "given").glob("*.anchor")
    assert chained.run("audit", "verify", "--anchor", str(note)).returncode == 0
    note.write_text(note.read_text(encoding="utf-8").replace('"count": 20', '"count": 19'))
    altered = chained.run("audit", "verify", "--anchor", str(note))
    assert altered.returncode == 20
    assert "altered" in altered.stderr


def test_without_a_signing_key_nothing_is_signed(chained: Site) -> None:
    text = chained.config.read_text(encoding="utf-8").replace('key_file = "signing.key"', "")
    chained.config.write_text(text, encoding="utf-8")
    for words in (["anchor"], ["capture", "--out", "x.zip"]):
        ended = chained.run("audit", *words)
        assert ended.returncode == 2
        assert "no signing key is set" in ended.stderr


def test_evidence_then_retirement(chained: Site, tmp_path: Path) -> None:
    edited = row(chained, 7)
    chained.sql("UPDATE audit_logs SET principal = 'eve' WHERE id = %s", edited)
    path = tmp_path / "evidence.zip"
    made = chained.run("audit", "capture", "--out", str(path), "--reason", "ticket 4711")
    assert made.returncode == 0, made.stderr
    assert "captured  1 rows" in made.stdout
    again = chained.run("audit", "capture", "--out", str(path))
    assert (again.returncode, "exists" in again.stderr) == (1, True)

    # Nothing but the file and the public key: no settings, no database.
    (tmp_path / "bare.toml").touch(mode=0o600)
    bare = run_program(
        tmp_path,
        tmp_path / "bare.toml",
        ("audit", "capture", "verify", str(path), "--key", public_key(chained)),
    )
    assert bare.returncode == 0, bare.stderr
    assert "ticket 4711" in path.read_bytes().decode(errors="replace")

    words = ["audit", "retire", "--capture", str(path), "--reason", "decided by ada"]
    planned = chained.run(*words, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "DELETE FROM" in planned.stdout
    assert chained.run(*words).returncode == 2
    retired = chained.run(*words, "--yes", "--json")
    assert retired.returncode == 0, retired.stderr
    told = json.loads(retired.stdout.splitlines()[-1])["result"]
    assert (told["rows"], told["retired_table"]) == (1, "public.audit_logs_retired")
    verified = chained.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout
    assert f"known: row_hmac_mismatch: row `{edited}`" in verified.stdout
    assert chained.run(*words, "--yes").returncode == 12

    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(altered)
    refused = chained.run("audit", "capture", "verify", str(path), "--key", public_key(chained))
    assert refused.returncode == 20


def test_vectors_and_messages(chained: Site, tmp_path: Path) -> None:
    ident = row(chained, 0)
    shown = chained.run("audit", "recipe", "test", "--show-message", ident)
    assert shown.returncode == 0, shown.stderr
    assert f"fits: row `{ident}`" in shown.stdout
    assert ALEXANDRIA_V1.domain.hex() in shown.stdout
    vectors = tmp_path / "v.json"
    good = {"values": {"id": "1", "action": "x"}, "hmac": None}
    message = ALEXANDRIA_V1.compute(KEY, [b"1", None, b"x", *[None] * 5], None)
    good["hmac"] = message.hex()
    vectors.write_text(json.dumps({"key": KEY.hex(), "rows": [good]}), encoding="utf-8")
    assert chained.run("audit", "recipe", "test", str(vectors)).returncode == 0
    recipe = {"fields": ["id", "action"], "encoding": "delimited:|"}
    vectors.write_text(
        json.dumps({"key": KEY.hex(), "rows": [good], "recipe": recipe}), encoding="utf-8"
    )
    wrong = chained.run("audit", "recipe", "test", str(vectors))
    assert wrong.returncode == 31
    assert f"message  {b'1|x'.hex()}{'00' * 32}" in wrong.stdout
    vectors.write_text("{}", encoding="utf-8")
    assert chained.run("audit", "recipe", "test", str(vectors)).returncode == 2
    assert "CREATE OR REPLACE FUNCTION" in chained.run("audit", "recipe", "sql").stdout


def test_a_recipe_of_the_settings(chained: Site) -> None:
    extra = """
[audit.recipes.mine]
fields = ["id", "action"]
encoding = "jcs"
output = "base64"
"""
    text = chained.config.read_text(encoding="utf-8")
    text = text.replace("[audit]", '[audit]\nrecipe = "mine"')
    chained.config.write_text(text + extra, encoding="utf-8")
    ended = chained.run("audit", "verify")
    assert ended.returncode == 31
    assert "key_or_encoding" in ended.stdout
    assert "by the recipe `mine`" in ended.stdout
    chained.config.write_text(text + extra.replace("jcs", "xml"), encoding="utf-8")
    assert "`xml`" in chained.run("audit", "verify").stderr


def test_a_table_that_looks_like_a_chain_is_named(chained: Site) -> None:
    chained.sql("ALTER TABLE public.audit_logs RENAME TO journal")
    ended = chained.run("audit", "verify")
    assert ended.returncode == 31
    assert "`public.journal`" in ended.stderr


def test_a_restore_and_a_rollback_declare_what_they_give_up(chained: Site) -> None:
    assert chained.run("snapshot", "create").returncode == 0
    grow(chained, 5)
    assert chained.run("audit", "anchor").returncode == 0
    archive = min(path.stem for path in chained.repository.glob("*.pgdump"))
    restored = chained.run("restore", archive, "--yes")
    assert restored.returncode == 0, restored.stderr
    verified = chained.run("audit", "verify")
    assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "verified: 20 rows")
    assert "went back to 20 rows" in verified.stdout
    grow(chained, 7)
    assert chained.run("audit", "anchor").returncode == 0
    back = chained.run("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    verified = chained.run("audit", "verify")
    assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "verified: 25 rows")
    assert "an anchor of 27 rows is of an earlier incarnation" in verified.stdout


def test_a_way_back_that_nobody_declared_is_a_finding(chained: Site) -> None:
    chained.sql("CREATE TABLE kept AS SELECT * FROM audit_logs")
    assert chained.run("audit", "anchor").returncode == 0
    grow(chained, 5)
    assert chained.run("audit", "anchor").returncode == 0
    chained.sql("DELETE FROM audit_logs WHERE id NOT IN (SELECT id FROM kept)")
    assert "behind_anchor" in chained.run("audit", "verify").stdout
    grow(chained, 6)
    ended = chained.run("audit", "verify")
    assert ended.returncode == 30
    assert "fork: " in ended.stdout


def test_a_snapshot_in_a_repository_anchors_what_was_appended(chained: Site) -> None:
    chained.make_repository()
    words = ("snapshot", "create", "--yes")
    assert chained.run(*words).returncode == 0
    grow(chained, 5)
    ended = chained.run(*words)
    assert ended.returncode == 0, ended.stderr
    assert "intact: 25 rows" in ended.stdout + ended.stderr
    verified = chained.run("audit", "verify", "--require-anchor")
    assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "verified: 25 rows")
    stored = chained.run("audit", "verify", "--snapshot", "latest")
    assert stored.returncode == 0, stored.stderr
    chained.sql("DELETE FROM audit_logs WHERE id = %s", row(chained, -1))
    assert "behind_anchor" in chained.run("audit", "verify").stdout


@pytest.fixture(scope="module")
def durable(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that keeps what it has committed: else nothing is taken over."""
    settings = {"shared_buffers": "32MB", "autovacuum": "off"}
    with EmbeddedServer.start(
        server_folder / "durable-audit", major=18, settings=settings
    ) as server:
        yield server


def test_what_was_taken_over_is_not_verified_again(
    durable: EmbeddedServer, new_site: Callable[..., Site]
) -> None:
    frames = "\n[snapshot]\nframed_above = 0\nframe_pages = 16\n"
    chained = chained_on(durable, new_site, frames)
    chained.sql("TRUNCATE audit_logs")
    chained.make_repository()
    lines = list(audit_rows(6300, seed=1, key=KEY))
    for part in (lines[:6000], lines[6000:]):
        with connect(Dsn.parse(chained.server.conninfo(chained.database)), purpose="test") as own:
            own.copy_in(COPY_AUDIT_ROWS, part)
        ended = chained.run("snapshot", "create", "--yes")
        assert ended.returncode == 0, ended.stderr
    first, second = (entry.manifest for entry in chained.wiring().snapshots.all())
    assert first is not None
    assert first.audit is not None
    assert second is not None
    found = appended_since(first, second.tables, "public.audit_logs")
    assert found is not None
    assert (found.anchor.count, found.new_rows, found.since) == (6000, 300, first.snapshot)
    assert 300 <= found.changed_rows < 3000
    # Nothing less than a proved chain spares the second look.
    doubted = first.model_copy(
        update={"audit": first.audit.model_copy(update={"status": "broken"})}
    )
    assert appended_since(doubted, second.tables, "public.audit_logs") is None
    assert appended_since(None, second.tables, "public.audit_logs") is None
    assert appended_since(first, first.tables, "public.audit_logs") is None
    verified = chained.run("audit", "verify", "--require-anchor")
    assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "verified: 6,300 rows")


def test_a_snapshot_that_must_be_anchored_is_not_done_without(chained: Site) -> None:
    words = ("snapshot", "create", "--require-anchor")
    ended = chained.run(*words)
    assert ended.returncode == 0, ended.stderr
    (note,) = (chained.folder / "elsewhere").glob("*.anchor")
    assert chained.run("audit", "verify", "--anchor", str(note)).returncode == 0
    shutil.rmtree(chained.folder / "elsewhere")
    (chained.folder / "elsewhere").touch()
    grow(chained, 1)
    ended = chained.run(*words)
    assert ended.returncode == 31
    assert "is stored, and its anchor is not" in ended.stderr
    (chained.folder / "elsewhere").unlink()
    chained.sql("DELETE FROM audit_logs WHERE id > %s", row(chained, 14))
    ended = chained.run(*words)
    assert ended.returncode == 30
    assert "15 rows, and 20 with another end were signed before" in ended.stderr
    text = chained.config.read_text(encoding="utf-8").replace('anchor_to = "elsewhere"', "")
    chained.config.write_text(text, encoding="utf-8")
    before = len(list(chained.repository.glob("*.pgdump")))
    assert chained.run(*words).returncode == 2
    assert len(list(chained.repository.glob("*.pgdump"))) == before


def test_what_machines_read_is_as_it_is_written_down(chained: Site, tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "verify-the-audit-chain.md").read_text(encoding="utf-8")
    chained.sql("UPDATE audit_logs SET principal = 'eve' WHERE id = %s", row(chained, 7))
    out = str(tmp_path / "e.zip")
    for name, words in (
        ("audit verify", ("audit", "verify")),
        ("audit capture", ("audit", "capture", "--out", out)),
        ("audit retire", ("audit", "retire", "--capture", out, "--reason", "x", "--yes")),
        ("audit anchor", ("audit", "anchor")),
        ("audit recipe test", ("audit", "recipe", "test", "--show-message", row(chained, 0))),
        ("audit recipe sql", ("audit", "recipe", "sql")),
    ):
        lines = [json.loads(line) for line in chained.run(*words, "--json").stdout.splitlines()]
        (result,) = [line["result"] for line in lines if line["event"] == "result"]
        told = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        for field in re.findall(r"`(\w+)`", told.split("|")[2]):
            inner = result.get("findings") or result.get("rows")
            rows = inner if isinstance(inner, list) else []
            assert field in result or field in rows[0], f"{name}: {field}"
