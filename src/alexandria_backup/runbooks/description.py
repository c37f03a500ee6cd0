"""Describe a dumped database for its manifest."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from alexandria_backup.archive.inventory import extensions, roles_needed
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.copying.copy_request import CopiedDatabase
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.postgres.catalog import installed_extensions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import (
    DatabaseFacts,
    Grant,
    Setting,
    database_facts,
)
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.shadow import Marker
from alexandria_backup.postgres.startup import RENDERING
from alexandria_backup.repository.keyed_digests import keyed_manifest
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import (
    ArchivePart,
    AuditPart,
    DatabasePart,
    LargeObjectsPart,
    OriginPart,
    ServerPart,
    SnapshotKind,
    StoredPart,
    TablePart,
)
from alexandria_backup.runbooks.anchors import anchor_part


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What a snapshot is called, and what it was taken for."""

    snapshot: str
    kind: SnapshotKind
    application: str
    note: str | None
    #: By the database server's clock, before the dump began.
    created: datetime


def describe_file(
    session: Session,
    occasion: Occasion,
    *,
    archive: str,
    read: ReadArchive,
    report: AuditReport | None,
) -> Manifest:
    """Return the manifest of a file of the paper recipe that was read back."""
    return _described(
        session,
        occasion,
        read=read,
        report=report,
        archive=_archive(read, name=archive),
        read_back=datetime.now(UTC),
    )


def describe_copied(
    session: Session,
    occasion: Occasion,
    *,
    repository: str,
    recipients: tuple[str, ...],
    copied: CopiedDatabase,
    role_statements: tuple[StoredPart, ...],
    report: AuditReport | None,
    digest_key: bytes,
) -> Manifest:
    """Return the manifest of a database that was copied out into a repository.

    Digests in it are made under `digest_key`.
    """
    base = copied.base
    described = _described(
        session,
        occasion,
        read=base.read,
        report=report,
        repository=repository,
        recipients=recipients,
        archive=_archive(base.read, parts=base.parts),
        framed=copied.tables,
        role_statements=role_statements,
        origin=copied.origin,
    )
    return keyed_manifest(described, digest_key)


def _described(
    session: Session,
    occasion: Occasion,
    *,
    read: ReadArchive,
    report: AuditReport | None,
    archive: ArchivePart,
    framed: tuple[TablePart, ...] = (),
    repository: str | None = None,
    recipients: tuple[str, ...] = (),
    role_statements: tuple[StoredPart, ...] = (),
    origin: OriginPart | None = None,
    read_back: datetime | None = None,
) -> Manifest:
    """Put together what was read and what only the database knows.

    Rows, digests and the audit chain come from what was read; what an archive does not carry comes
    from `session`, in the database that was dumped.
    """
    objects = read.contents.large_objects
    return Manifest(
        repository=repository,
        snapshot=occasion.snapshot,
        kind=occasion.kind,
        application=occasion.application,
        note=occasion.note,
        created=occasion.created,
        read_back=read_back,
        tool=version("alexandria-backup"),
        pg_dump=read.header.dump_version,
        archive=archive,
        recipients=recipients,
        role_statements=role_statements,
        origin=origin,
        database=_database(session),
        server=_server(session),
        extensions=_versions(session, extensions(read.entries)),
        roles=roles_needed(read.entries),
        tables=(*_tables_in(read), *framed),
        large_objects=LargeObjectsPart(
            count=objects.count, bytes=objects.raw_bytes, digest=objects.digest
        ),
        rendering=dict(RENDERING),
        audit=_audit(report) if report else None,
    )


def _archive(
    read: ReadArchive, *, name: str | None = None, parts: tuple[StoredPart, ...] = ()
) -> ArchivePart:
    return ArchivePart(
        name=name,
        bytes=read.bytes,
        sha256=read.sha256,
        compression=read.header.compression.value,
        encoding=read.encoding,
        parts=parts,
    )


def _tables_in(read: ReadArchive) -> tuple[TablePart, ...]:
    return tuple(
        TablePart(
            schema_name=table.schema,
            name=table.name,
            columns=table.columns,
            rows=table.rows,
            digest=table.digest,
        )
        for table in read.expected_tables()
    )


def _server(session: Session) -> ServerPart:
    server = server_facts(session)
    return ServerPart(
        version=server.version,
        version_num=server.version_num,
        system_identifier=server.system_identifier,
        in_recovery=server.in_recovery,
    )


def _versions(session: Session, names: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these extensions; empty where it has gone meanwhile."""
    installed = installed_extensions(session)
    return {name: installed.get(name, "") for name in names}


def _database(session: Session) -> DatabasePart:
    facts = database_facts(session, session.dsn.database)
    if facts is None:
        raise DatabaseMissing(f"database `{session.dsn.database}` vanished while it was dumped")
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
        anchors=tuple(map(anchor_part, report.anchors)),
    )
