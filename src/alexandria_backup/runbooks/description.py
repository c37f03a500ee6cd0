"""Describe a dumped database for its manifest."""

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from alexandria_backup.archive.inventory import extensions, roles_needed
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.postgres.catalog import installed_extensions
from alexandria_backup.postgres.connect import RENDERING, Session
from alexandria_backup.postgres.database import (
    DatabaseFacts,
    Grant,
    Setting,
    database_facts,
)
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.shadow import Marker
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


def describe(
    session: Session,
    *,
    snapshot: str,
    kind: SnapshotKind,
    application: str,
    note: str | None,
    created: datetime,
    archive: str,
    read: ReadArchive,
    report: AuditReport | None,
) -> Manifest:
    """Return the manifest of an archive that was read back.

    Rows, digests and the audit chain come from the archive; what an archive does not carry comes
    from `session`, in the database that was dumped.
    """
    facts = database_facts(session, session.dsn.database)
    if facts is None:
        raise DatabaseMissing(f"database `{session.dsn.database}` vanished while it was dumped")
    server = server_facts(session)
    installed = installed_extensions(session)
    contents = read.contents
    return Manifest(
        repository=None,
        snapshot=snapshot,
        kind=kind,
        application=application,
        note=note,
        created=created,
        read_back=datetime.now(UTC),
        tool=version("alexandria-backup"),
        pg_dump=read.header.dump_version,
        archive=ArchivePart(
            name=archive,
            bytes=read.bytes,
            sha256=read.sha256,
            compression=read.header.compression.value,
            encoding=read.encoding,
        ),
        database=_database(facts),
        server=ServerPart(
            version=server.version,
            version_num=server.version_num,
            system_identifier=server.system_identifier,
            in_recovery=server.in_recovery,
        ),
        extensions={name: installed.get(name, "") for name in extensions(read.entries)},
        roles=roles_needed(read.entries),
        tables=tuple(
            TablePart(
                schema_name=table.schema,
                name=table.name,
                columns=table.columns,
                rows=table.rows,
                digest=table.digest,
            )
            for table in read.expected_tables()
        ),
        large_objects=LargeObjectsPart(
            count=contents.large_objects.count,
            bytes=contents.large_objects.raw_bytes,
            digest=contents.large_objects.digest,
        ),
        rendering=dict(RENDERING),
        audit=_audit(report) if report else None,
    )


def _database(facts: DatabaseFacts) -> DatabasePart:
    # The comment of a kept database is our marker: what it took the place of is the database's own.
    marker = Marker.decode(facts.comment)
    return DatabasePart(
        name=facts.name,
        oid=facts.oid,
        owner=facts.owner,
        encoding=facts.encoding,
        locale_provider=facts.locale_provider,
        collate=facts.collate,
        ctype=facts.ctype,
        locale=facts.locale,
        icu_rules=facts.icu_rules,
        connection_limit=facts.connection_limit,
        comment=marker.comment if marker else facts.comment,
        tablespace=facts.tablespace,
        size_bytes=facts.size_bytes,
        grants=tuple((grant.grantee, grant.privilege, grant.grantable) for grant in facts.grants),
        settings=tuple(
            (item.role, item.name, None if is_custom(item) else item.value)
            for item in facts.settings
        ),
    )


def is_custom(setting: Setting) -> bool:
    """Tell whether a parameter is an extension's or the application's: it may hold a secret."""
    return "." in setting.name


def journalled(facts: DatabaseFacts) -> DatabaseFacts:
    """Return facts without the values that may be secrets, for a journal."""
    kept = tuple(setting for setting in facts.settings if not is_custom(setting))
    return replace(facts, settings=kept)


def facts_of(part: DatabasePart) -> DatabaseFacts:
    """Return the facts that a manifest holds, to create the database anew; the OID is none."""
    return DatabaseFacts(
        name=part.name,
        oid=0,
        owner=part.owner,
        encoding=part.encoding,
        locale_provider=part.locale_provider,
        collate=part.collate,
        ctype=part.ctype,
        locale=part.locale,
        icu_rules=part.icu_rules,
        collation_version=None,
        connection_limit=part.connection_limit,
        allow_connections=True,
        is_template=False,
        comment=part.comment,
        tablespace=part.tablespace,
        size_bytes=part.size_bytes,
        grants=tuple(
            Grant(grantee=grantee, privilege=privilege, grantable=grantable)
            for grantee, privilege, grantable in part.grants
        ),
        settings=tuple(
            Setting(role=role, name=name, value=value)
            for role, name, value in part.settings
            if value is not None
        ),
    )


def _audit(report: AuditReport) -> AuditPart:
    return AuditPart(
        status=str(report.status),
        summary=report.summary(),
        rows=report.rows,
        findings=sum(report.counts.values()),
        anchors=tuple(
            AnchorPart(
                chain=anchor.chain,
                count=anchor.count,
                first_id=anchor.first_id,
                first_hmac=anchor.first_hmac,
                last_id=anchor.last_id,
                last_hmac=anchor.last_hmac,
                rolling=anchor.rolling,
            )
            for anchor in report.anchors
        ),
    )
