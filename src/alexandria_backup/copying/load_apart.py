"""Load an archive that is taken apart, by several sessions at once.

Schema and everything subtle is pg_restore's work, from the entries that own no data. The rows of
large tables go into parallel COPYs, several into one table; the base archive's data, which is all
the rest, goes in beside them. A table's indexes and keys are built as soon as its rows are in, and
what depends on several tables comes last.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from alexandria_backup.archive.toc import Section, TocEntry
from alexandria_backup.copying.archive_source import ArchiveApart, TableApart
from alexandria_backup.copying.load_progress import (
    LoadProgress,
    begin_progress,
    end_progress,
    note_rest_begun,
    read_progress,
)
from alexandria_backup.copying.load_rows import RowsLoad, TableLoad
from alexandria_backup.copying.loading import Loading, run_pg_restore, schema_file
from alexandria_backup.errors import SessionsRemain
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.queries import load as queries

#: Kinds of entries that need nothing but their own table.
_OF_ONE_TABLE: Final = frozenset({"INDEX", "CONSTRAINT"})
#: Seconds until sessions that were told to end must have ended.
_PATIENCE_S: Final = 30.0


def can_go_on(session: Session, identity: str) -> bool:
    """Tell whether the database of `session` holds a part of the load of this archive.

    `load_apart` then goes on with it; otherwise it needs an empty database.
    """
    return read_progress(session, identity) is not None


def load_apart(
    load: Loading, apart: ArchiveApart, keep: Callable[[TocEntry], bool]
) -> tuple[str, ...]:
    """Load the entries that `keep` lets through; return the tables that were read back.

    Raises ClientToolFailed or StatementFailed at the first error, and whatever reading raises; no
    session of this load is left then.
    """
    with (
        schema_file(load, apart) as schema,
        connect(load.dsn, purpose="load") as session,
    ):
        return _ApartLoad(load, apart, keep, schema, session).run()


class _ApartLoad:
    """One load, and which entries belong to which part of it, by their numbers."""

    def __init__(
        self,
        load: Loading,
        apart: ArchiveApart,
        keep: Callable[[TocEntry], bool],
        schema: Path,
        session: Session,
    ) -> None:
        self._load = load
        self._schema = schema
        self._session = session
        self._identity = load.archive.identity or ""
        self._wanted = {entry.dump_id for entry in load.entries if keep(entry)}
        self._without_data = self._wanted & {e.dump_id for e in load.entries if not e.had_dumper}
        framed = {e.oid for e in load.entries if e.description == "TABLE DATA" and keep(e)}
        #: Without the tables that are not asked for: none of their frames is fetched.
        self._apart = replace(
            apart, tables=tuple(table for table in apart.tables if table.oid in framed)
        )
        self._tables = {e.oid: e for e in load.entries if e.description == "TABLE"}
        self._early = self._entries_of_one_table()

    def run(self) -> tuple[str, ...]:
        """Go on with what was begun, or begin; return the tables that were read back."""
        progress = read_progress(self._session, self._identity)
        if progress is None:
            self._restore(Section.PRE_DATA)
            begin_progress(self._session, self._identity)
            progress = LoadProgress()
        else:
            # A pg_restore may have outlived its master, and would build what we build.
            end_other_sessions(self._session)
            progress = read_progress(self._session, self._identity) or progress
        RowsLoad(
            self._load,
            self._apart,
            schema=self._schema,
            tables=[self._table_load(table, progress) for table in self._apart.tables],
            base=self._is_in_base if self._needs_base and not progress.base_is_in else None,
        ).load()
        note_rest_begun(self._session)
        if not self._needs_base:
            # Such as the values of sequences, which come with the base archive's data otherwise.
            self._restore(Section.DATA)
        built = {entry.dump_id for entries in self._early.values() for entry in entries}
        jobs = f"--jobs={self._load.options.jobs}"
        self._restore(Section.POST_DATA, jobs, without=built)
        end_progress(self._session)
        return tuple(table.label for table in self._apart.tables) if self._load.pinned else ()

    def _restore(
        self, section: Section, *options: str, without: Collection[int] = frozenset()
    ) -> None:
        """Restore the entries of one section that own no data.

        Not by `--section`: pg_restore takes a comment for a part of the section of the entry listed
        before it, and that may be another one where what it describes is left out of the list.
        """
        numbers = self._without_data & self._numbers(section) - set(without)
        run_pg_restore(self._load, self._schema, lambda e: e.dump_id in numbers, *options)

    def _numbers(self, section: Section) -> set[int]:
        found = set()
        current = Section.PRE_DATA
        for entry in self._load.entries:
            current = current if entry.section is Section.NONE else entry.section
            if current is section:
                found.add(entry.dump_id)
        return found

    def _entries_of_one_table(self) -> dict[int, list[TocEntry]]:
        """Return what can be built as soon as the rows of one such table are in, by its number."""
        found: dict[int, list[TocEntry]] = {
            self._tables[table.oid].dump_id: [] for table in self._apart.tables
        }
        late = {e.dump_id for e in self._load.entries if e.section is Section.POST_DATA}
        for entry in self._load.entries:
            if entry.description not in _OF_ONE_TABLE or entry.dump_id not in self._without_data:
                continue
            # An index of a partition may need the one of its parent.
            if late.isdisjoint(entry.dependencies):
                for number in found.keys() & set(entry.dependencies):
                    found[number].append(entry)
        return found

    def _table_load(self, table: TableApart, progress: LoadProgress) -> TableLoad:
        defined = self._tables[table.oid]
        return TableLoad(
            table=table,
            early=frozenset(
                entry.dump_id
                for entry in self._early[defined.dump_id]
                if (entry.namespace, _name_of(entry, defined)) not in progress.built
            ),
            missing={
                number: rows
                for number, rows in enumerate(table.rows)
                if not progress.rows_are_in(table.oid, number)
            },
        )

    @property
    def _needs_base(self) -> bool:
        """Whether the base archive has data to load, so that all of it must be fetched."""
        return any(e.had_dumper and self._is_in_base(e) for e in self._load.entries)

    def _is_in_base(self, entry: TocEntry) -> bool:
        framed = {table.oid for table in self._apart.tables}
        return entry.dump_id in self._wanted and not (
            entry.description == "TABLE DATA" and entry.oid in framed
        )


def _name_of(entry: TocEntry, table: TocEntry) -> str:
    """Return the name of an index or constraint: the latter's entry names its table first."""
    prefix = f"{table.tag} " if entry.description == "CONSTRAINT" else ""
    return entry.tag.removeprefix(prefix)


def end_other_sessions(session: Session) -> None:
    """End all other sessions of this role in the database; raises SessionsRemain."""
    session.execute(queries("load")["end_sessions"])
    until = time.monotonic() + _PATIENCE_S
    while session.value(queries("load")["sessions_left"]):
        if time.monotonic() > until:
            raise SessionsRemain(
                f"sessions of an earlier load stay in `{session.dsn.database}`",
                hint="alexandria run resume …   # when they have ended",
            )
        time.sleep(0.1)
