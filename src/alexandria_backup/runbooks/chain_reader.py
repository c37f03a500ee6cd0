"""The audit chain as a runbook needs it: read from an archive, or from a database, to one form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from alexandria_backup.archive.contents import RowSink
from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.audit.anchor import WHOLE_TABLE, Anchor
from alexandria_backup.audit.appended import Appended, verify_appended
from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.incarnation import Incarnation, declare
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.parallel import Readers
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.report import AuditReport, Status, exit_code_of
from alexandria_backup.audit.stream import StreamedChain
from alexandria_backup.audit.verify import KeyFit, try_key, verify_in_transaction, verify_live
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.read_archive import ReadArchive, read_archive
from alexandria_backup.errors import AuditBroken, AuditUnverified, ExitCode, StatementFailed
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.connect import Session
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import AuditPart


class ChainSeen(BaseModel):
    """What was seen of an audit chain; equal for an archive and for the database loaded from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    #: The status of the report, such as `intact` or `broken`.
    status: str
    rows: int
    #: One line for a person.
    summary: str
    #: A digest over all rows of each chain, in the chain's order.
    rolling: tuple[str, ...]
    #: How a command ends that has found this.
    exit_code: ExitCode
    #: Rows of each chain by its name; of one whose links are broken, all rows of the table.
    chains: Mapping[str, int] = {}

    def is_of_same_rows(self, other: "ChainSeen") -> bool:
        """Tell whether both are of the same rows, with a verdict that means the same."""
        broken = ExitCode.AUDIT_BROKEN in {self.exit_code, other.exit_code}
        return (self.rows, self.rolling, self.chains) == (
            other.rows,
            other.rolling,
            other.chains,
        ) and (not broken or (self.exit_code, self.summary) == (other.exit_code, other.summary))


def require(seen: ChainSeen | None, *, required: bool | None, where: str) -> None:
    """Raise AuditBroken or AuditUnverified unless the chain is as it must be.

    `required` is the setting: None means that a chain is required where one was found.
    """
    if seen is None:
        if required:
            raise AuditUnverified(
                f"no audit chain was found in {where}, and `[audit] required` is set",
                hint="set `[audit] table` to `schema.name`",
            )
        return
    if seen.exit_code is ExitCode.AUDIT_BROKEN:
        raise AuditBroken(
            f"the audit chain in {where} is broken: {seen.summary}",
            hint="alexandria audit verify",
        )
    if seen.exit_code is ExitCode.AUDIT_UNVERIFIED and required is not False:
        raise AuditUnverified(
            f"the audit chain in {where} could not be verified: {seen.summary}",
            hint="set `[audit] key_file` to the key of the chain",
        )


def chain_seen(report: AuditReport | None) -> ChainSeen | None:
    """Return what a report says, as a value that a journal can carry."""
    if report is None:
        return None
    return ChainSeen(
        status=str(report.status),
        rows=report.rows,
        summary=report.summary(),
        rolling=tuple(anchor.rolling for anchor in report.anchors),
        exit_code=report.exit_code,
        chains={anchor.chain: anchor.count for anchor in report.anchors}
        or {WHOLE_TABLE: report.rows},
    )


def chain_recorded(audit: AuditPart) -> ChainSeen:
    """Return what a manifest says of the chain, as a value that a journal can carry."""
    return ChainSeen(
        status=audit.status,
        rows=audit.rows,
        summary=audit.summary,
        rolling=tuple(anchor.rolling for anchor in audit.anchors),
        exit_code=exit_code_of(Status(audit.status)),
        chains={anchor.chain: anchor.count for anchor in audit.anchors}
        or {WHOLE_TABLE: audit.rows},
    )


def declare_incarnation(
    session: Session,
    *,
    run: str,
    source: str,
    seen: ChainSeen | None,
    others: Sequence[Incarnation] = (),
) -> str | None:
    """Declare in a database that its chain begins a new incarnation; doing it twice is once.

    `seen` is what was seen of the chain as it came back; None means that nothing was given up.
    Returns a warning where the role may not do that: the data matter more.
    """
    rows = None if seen is None else dict(seen.chains)
    try:
        declare(session, run=run, source=source, rows=rows, others=others)
    except StatementFailed as error:
        return (
            f"the new incarnation of the audit chain could not be declared: {error.message}; "
            "`audit verify` will call it a fork"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class ChainReader:
    """Reads audit chains with the recipe and the key of the settings."""

    recipe: Recipe
    #: None where no key is set: links are checked then, and nothing is called verified.
    key: AuditKey | KeyRing | None
    #: `(schema, name)` where the settings name the table.
    table: tuple[str, str] | None

    def archive(
        self, source: ArchiveSource, emit: Emit, anchors: Sequence[Anchor] = ()
    ) -> tuple[ReadArchive, AuditReport | None]:
        """Read an archive in full, its audit chain in the same pass.

        Where several tables could hold the chain, none is taken, and that is a warning.
        """
        chain = StreamedChain(recipe=self.recipe, key=self.key, table=self.table, anchors=anchors)

        def watch(entry: TocEntry) -> RowSink | None:
            if entry.copy_statement is None:
                return None
            schema, table, columns = columns_of(entry.copy_statement)
            return chain.sink(schema or entry.namespace or "", table, columns)

        try:
            read = read_archive(source, watch=watch, emit=emit)
            if len(chain.tables) > 1:
                listed = ", ".join(f"`{table}`" for table in chain.tables)
                emit(
                    Warned(
                        message=f"several tables of `{source.name}` could hold an audit chain: "
                        f"{listed}",
                        hint="set `[audit] table`",
                    )
                )
                return read, None
            return read, chain.finish()
        finally:
            chain.close()

    def takes_at_its_word(self, manifest: Manifest) -> bool:
        """Tell whether what a manifest says of the chain is as much as reading it here would tell.

        A chain that is broken, or that nobody had a key for, is looked at again.
        """
        if manifest.audit is None:
            return self.table is None
        if manifest.audit.status not in set(Status):
            return False
        code = exit_code_of(Status(manifest.audit.status))
        return code is ExitCode.DONE or (code is ExitCode.AUDIT_UNVERIFIED and self.key is None)

    def live(
        self, session: Session, anchors: Sequence[Anchor] = (), emit: Emit | None = None
    ) -> AuditReport | None:
        """Read the chain in the database of `session`; None where there is none.

        Where anchors say that there was one, its absence is a report, and a finding.
        """
        table = self.find(session)
        if table is None and not anchors:
            return None
        return verify_live(
            session, table=table, recipe=self.recipe, key=self.key, anchors=anchors, emit=emit
        )

    def within(
        self,
        session: Session,
        emit: Emit,
        appended: Appended | None = None,
        readers: Readers | None = None,
    ) -> AuditReport | None:
        """Read the chain as the session's open transaction sees it; None where there is none.

        Where `appended` says that rows were only added since an anchor, the rows before are not
        read again, unless something in what was added raises a doubt. `readers` help with a large
        table.
        """
        table = self.find(session)
        if table is None:
            return None
        if appended is not None:
            report = verify_appended(
                session, table=table, recipe=self.recipe, key=self.key, appended=appended
            )
            if report is not None:
                return report
        return verify_in_transaction(
            session, table=table, recipe=self.recipe, key=self.key, emit=emit, readers=readers
        )

    def fit(self, session: Session) -> KeyFit | None:
        """Tell whether the key fits the chain in a database; None where there is no chain."""
        table = self.find(session)
        if table is None:
            return None
        return try_key(session, recipe=self.recipe, key=self.key, table=table)

    def required(self, session: Session) -> AuditTable:
        """Return the audit table of a database; raises AuditUnverified where there is none."""
        table = self.find(session)
        if table is None:
            raise AuditUnverified(
                "no audit table was found", hint="set `[audit] table` to `schema.name`"
            )
        return table

    def find(self, session: Session) -> AuditTable | None:
        """Return the audit table of a database; None where there is none."""
        return discover_table(session, named=self.table, own=self.recipe.columns)
