"""A manifest with something in each of its fields, for tests that need one."""

from datetime import UTC, datetime

from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import (
    AnchorPart,
    ArchivePart,
    AuditPart,
    DatabasePart,
    LargeObjectsPart,
    ServerPart,
    SnapshotKind,
    TablePart,
)


def build_manifest(file: str = "shop-20261123T120000.pgdump", **changes: object) -> Manifest:
    """Return a manifest of a file, with some of its fields changed."""
    database = changes.pop("database_name", "shop")
    part = {"bytes": changes.pop("bytes", 5), "sha256": changes.pop("sha256", "0" * 64)}
    fields: dict[str, object] = {
        "repository": None,
        "snapshot": file.removesuffix(".pgdump"),
        "kind": SnapshotKind.MANUAL,
        "application": "shop",
        "note": "before\nthe „upgrade“",
        "created": datetime(2026, 11, 23, 12, tzinfo=UTC),
        "read_back": datetime(2026, 11, 23, 12, 1, tzinfo=UTC),
        "tool": "0.1.0",
        "pg_dump": "18.1",
        "archive": ArchivePart(name=file, compression="gzip", encoding="UTF8", **part),
        "database": DatabasePart(
            name=database,
            oid=16384,
            owner='o"w ner',
            encoding="UTF8",
            locale_provider="c",
            collate="C.UTF-8",
            ctype="C.UTF-8",
            locale=None,
            icu_rules=None,
            connection_limit=-1,
            comment="a\x1bcomment",
            tablespace="pg_default",
            size_bytes=None,
            grants=((None, "CONNECT", False), ("reader", "CREATE", True)),
            settings=(("reader", "work_mem", "64MB"),),
        ),
        "server": ServerPart(
            version="18.1",
            version_num=180001,
            system_identifier=2**63 + 1,
            in_recovery=False,
        ),
        "extensions": {"vector": "0.8.1"},
        "roles": ('o"w ner', "reader"),
        "tables": (
            TablePart(schema_name="public", name="ü", columns=("id",), rows=3, digest="3:00"),
            TablePart(schema_name="public", name="t", columns=(), rows=None, digest=None),
        ),
        "large_objects": LargeObjectsPart(count=0, bytes=0, digest=None),
        "rendering": {"TimeZone": "UTC"},
        "audit": AuditPart(
            status="intact",
            summary="2 rows",
            rows=2,
            findings=0,
            anchors=(
                AnchorPart(
                    chain="",
                    count=2,
                    first_id="a",
                    first_hmac="00",
                    last_id="b",
                    last_hmac="01",
                    rolling="02",
                ),
            ),
        ),
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]
