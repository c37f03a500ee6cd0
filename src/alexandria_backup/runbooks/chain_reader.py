"""The audit chain as a runbook needs it: read from an archive, or from a database, to one form."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from alexandria_backup.archive.contents import RowSink
from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable, discover_in_columns, discover_table
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.verify import KeyFit, try_key, verify_live
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.read_archive import ReadArchive, read_archive
from alexandria_backup.errors import AuditBroken, AuditUnverified, ExitCode
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.connect import Session


class ChainSeen(BaseModel):
    """What was seen of an audit chain; equal for an archive and for the database loaded from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The status of the report, such as `intact` or `broken`.
    status: str
    rows: int
    #: One line for a person.
    summary: str
    #: A digest over all rows of each chain, in the chain's order.
    rolling: tuple[str, ...]
    #: How a command ends that has found this.
    exit_code: ExitCode


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
    )


@dataclass(frozen=True, kw_only=True)
class ChainReader:
    """Reads audit chains with the recipe and the key of the settings."""

    recipe: Recipe
    #: None where no key is set: links are checked then, and nothing is called verified.
    key: AuditKey | None
    #: `(schema, name)` where the settings name the table.
    table: tuple[str, str] | None

    def archive(self, source: ArchiveSource, emit: Emit) -> tuple[ReadArchive, AuditReport | None]:
        """Read an archive in full, its audit chain in the same pass.

        Where several tables could hold the chain, none is taken, and that is a warning.
        """
        walkers: dict[str, ChainWalker] = {}

        def watch(entry: TocEntry) -> RowSink | None:
            table = self._table(entry)
            if table is None:
                return None
            walker = walkers[str(table)] = ChainWalker(table, self.recipe, self.key)
            return walker.feed

        read = read_archive(source, watch=watch, emit=emit)
        if len(walkers) > 1:
            named = ", ".join(f"`{table}`" for table in sorted(walkers))
            emit(
                Warned(
                    message=f"several tables of `{source.name}` could hold an audit chain: {named}",
                    hint="set `[audit] table`",
                )
            )
            for walker in walkers.values():
                walker.close()
            return read, None
        return read, next((walker.finish() for walker in walkers.values()), None)

    def live(self, session: Session) -> AuditReport | None:
        """Read the chain in the database of `session`; None where there is none."""
        table = self._live_table(session)
        if table is None:
            return None
        return verify_live(session, table=table, recipe=self.recipe, key=self.key)

    def fit(self, session: Session) -> KeyFit | None:
        """Tell whether the key fits the chain in a database; None where there is no chain."""
        table = self._live_table(session)
        if table is None:
            return None
        return try_key(session, recipe=self.recipe, key=self.key, table=table)

    def _live_table(self, session: Session) -> AuditTable | None:
        return discover_table(session, named=self.table)

    def _table(self, entry: TocEntry) -> AuditTable | None:
        if entry.copy_statement is None:
            return None
        schema, name, columns = columns_of(entry.copy_statement)
        schema = schema or entry.namespace or ""
        if self.table is not None and self.table != (schema, name):
            return None
        return discover_in_columns(schema, name, columns, named=self.table is not None)
