"""Links alone decide: the same rows are the same chain in any order, live or in an archive."""

import json
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import chain as chained
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria_backup.archive.contents import RowSink, survey
from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable, discover_in_columns, discover_table
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.verify import verify_live, verify_rows
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.errors import ArchiveDamaged
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.sealing.digests import RowDigest
from alexandria_backup.secret import Secret

KEY: Final = AuditKey.of(bytes(range(32)))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


def verified(rows: Sequence[bytes], table: AuditTable, key: AuditKey | None = KEY) -> AuditReport:
    return verify_rows(rows, table, recipe=ALEXANDRIA_V1, key=key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.randoms(use_true_random=False), st.sets(st.integers(0, 39), max_size=4))
def test_the_order_of_arrival_changes_nothing(
    lines: list[bytes], table: AuditTable, chance: random.Random, missing: set[int]
) -> None:
    rows = [line for number, line in enumerate(lines) if number not in missing]
    expected = verified(rows, table)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    found = verified(shuffled, table)
    assert (found.status, found.summary()) == (expected.status, expected.summary())
    assert found.anchors == expected.anchors
    assert {f.id for f in found.findings} == {f.id for f in expected.findings}
    # A gap is seen wherever it is, but for those that reach to the end.
    gaps = {number for number in missing if set(range(number, 40)) - missing}
    assert (expected.status is Status.BROKEN) == bool(gaps)


def test_an_edited_row_is_found_in_any_order(lines: list[bytes], table: AuditTable) -> None:
    ident = lines[8].split(b"\t")[0].decode()
    lines[8] = lines[8].replace(b"user", b"eve_")
    random.Random(5).shuffle(lines)
    report = verified(lines, table)
    assert [(f.code, f.id, f.position) for f in report.findings] == [
        (Code.ROW_HMAC_MISMATCH, ident, 9)
    ]


def test_rows_may_come_in_any_portions(lines: list[bytes], table: AuditTable) -> None:
    walker = ChainWalker(table, ALEXANDRIA_V1, KEY)
    walker.feed([])
    walker.feed(lines[:1])
    walker.feed(lines[1:17])
    walker.feed(lines[17:])
    assert walker.finish() == verified(lines, table)


def test_a_row_of_another_width_is_damage(lines: list[bytes], table: AuditTable) -> None:
    with pytest.raises(ArchiveDamaged, match="values"):
        verified([lines[0] + b"\tmore"], table)


def test_no_rows_are_no_proof(table: AuditTable) -> None:
    assert verified([], table).status is Status.EMPTY


def test_a_column_that_the_recipe_needs_is_missing(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs DROP COLUMN agent")
    report = chain.verify()
    assert report.status is Status.LINKS_ONLY
    assert any("`agent`" in reason for reason in report.skipped)


def test_uncovered_columns_are_told(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs ADD COLUMN remark text DEFAULT 'x'")
    report = chain.verify()
    assert report.status is Status.INTACT
    assert report.uncovered == ("remark",)
    assert any("`remark`" in note for note in report.notes)


def test_each_tenant_can_have_a_chain(lines: list[bytes], table: AuditTable) -> None:
    recipe = replace(ALEXANDRIA_V1, per_tenant=True)
    place = table.order.index("tenant_id")
    sealed = [table.order.index(name) for name in ("hmac", "prev_hmac")]

    def of(tenant: bytes, row: bytes) -> bytes:
        # The links need not verify here: without the key only they are looked at.
        values = row.split(b"\t")
        values[place] = tenant
        for index in sealed if tenant == b"b" else ():
            digits = values[index]
            values[index] = digits if digits == b"0" * 64 else digits[::-1]
        return b"\t".join(values)

    mixed = list(chained.from_iterable((of(b"a", row), of(b"b", row)) for row in lines))
    report = verify_rows(mixed, table, recipe=recipe, key=None)
    assert (report.status, report.chains) == (Status.LINKS_ONLY, 2)
    assert [(a.chain, a.count) for a in report.anchors] == [("a", 40), ("b", 40)]
    del mixed[20]
    (finding,) = verify_rows(mixed, table, recipe=recipe, key=None).findings
    assert (finding.code, finding.chain) == (Code.LINK_BROKEN, "a")


def test_a_report_can_be_written_as_json(lines: list[bytes], table: AuditTable) -> None:
    del lines[3]
    document = json.loads(json.dumps(asdict(verified(lines, table))))
    assert document["findings"][0]["code"] == "link_broken"
    assert document["counts"] == {"link_broken": 1}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("kind", ["text", "json", "jsonb"])
def test_an_archive_and_its_database_say_the_same(
    server: EmbeddedServer, new_database: Callable[..., Secret], kind: str, zone: str
) -> None:
    conninfo = new_database(server)
    with connect(Dsn.parse(conninfo), purpose="test") as session:
        name = session.value("SELECT current_database()")
        session.execute(f"ALTER DATABASE \"{name}\" SET TimeZone = '{zone}'")
        session.execute(
            "CREATE SCHEMA other; CREATE TABLE other.audit_log (remark text, id text, "
            f"principal text, action text, agent text, session text, metadata {kind}, "
            "tenant_id text, hmac text, prev_hmac text, created_at timestamptz)"
        )
        target = COPY_AUDIT_ROWS.replace("public.audit_logs", "other.audit_log")
        session.copy_in(target, audit_rows(50, seed=2, key=bytes(range(32))))
        session.execute("UPDATE other.audit_log SET remark = E'tab\\there' WHERE id > 'A'")
        live = verify_live(session, recipe=ALEXANDRIA_V1, key=KEY)
    archived = walk_archive(server, conninfo)
    # jsonb orders keys in its own way, so its text is not what was sealed: never called good.
    assert live.status is (Status.UNVERIFIED if kind == "jsonb" else Status.INTACT)
    assert archived == live


def walk_archive(server: EmbeddedServer, conninfo: Secret) -> AuditReport:
    walkers: list[ChainWalker] = []

    def watch(entry: TocEntry) -> RowSink | None:
        schema, name, columns = columns_of(entry.copy_statement or "")
        table = discover_in_columns(schema or "", name, columns)
        if table is None:
            return None
        walkers.append(ChainWalker(table, ALEXANDRIA_V1, KEY))
        return walkers[-1].feed

    command = [
        str(server.bin_dir / "pg_dump"),
        *("--format=custom", "--compress=0", f"--dbname={conninfo.reveal()}"),
    ]
    dump = subprocess.run(command, check=True, capture_output=True).stdout
    survey(ArchiveReader([dump]), digest=RowDigest, watch=watch)
    (walker,) = walkers
    return walker.finish()


def test_rows_of_a_partitioned_table(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs RENAME TO old_rows")
    chain.sql(
        "CREATE TABLE public.audit_logs (LIKE public.old_rows) PARTITION BY HASH (id);"
        "CREATE TABLE public.p0 PARTITION OF public.audit_logs "
        "FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE public.p1 PARTITION OF public.audit_logs "
        "FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO public.audit_logs SELECT * FROM public.old_rows"
    )
    found = discover_table(chain.session)
    assert found is not None
    assert found.kind == "p"
    report = chain.verify()
    assert (report.status, report.rows) == (Status.INTACT, 40)
