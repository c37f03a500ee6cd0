"""The first step of a restore: find snapshot and database, read the archive to its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.selection import select_tables
from alexandria_backup.copying.read_archive import ReadArchive, read_archive
from alexandria_backup.copying.read_beside import read_beside_frames
from alexandria_backup.errors import (
    ConnectionLost,
    DatabaseMissing,
    SnapshotDamaged,
    StatementFailed,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.postgres import catalog
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts, default_grants
from alexandria_backup.postgres.server import role_facts, server_facts
from alexandria_backup.postgres.shadow import kept_name
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks.chain_reader import ChainReader, chain_recorded, chain_seen
from alexandria_backup.runbooks.description import facts_of, journalled
from alexandria_backup.runbooks.differences import Counted, count_tables, differences
from alexandria_backup.runbooks.places import SnapshotPlace
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_roles import (
    facts_with_other_owners,
    refuse_unknown_owners,
    with_other_owners,
)
from alexandria_backup.runbooks.restore_source import part_of, rows_after, source_of
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, shell
from alexandria_backup.runbooks.switch import DatabaseRef
from alexandria_backup.runbooks.switch_application import license_before
from alexandria_backup.runbooks.verify import vouch_for


@dataclass(frozen=True, kw_only=True)
class Find(ReadingStep):
    """Find snapshot and database; see that all is there; say what will be given up."""

    name: ClassVar[str] = "find"

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Name the archive and the database."""
        name = state.request.archive
        archive = self.parts.place.as_file(name)
        if archive.commands:
            return Explanation(
                sentence=f"look whether all of `{name}` is there, and compare it with "
                f"`{state.target}`",
                commands=(*archive.commands, shell("pg_restore", "--list", archive.file)),
            )
        return Explanation(
            sentence=f"read `{name}` in full and compare it with `{state.target}`",
            commands=(
                shell("sha256sum", archive.file),
                shell("pg_restore", "--file=/dev/null", archive.file),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Read what is not read while it is loaded; nothing is created before that went well."""
        entry, read, source = read_source(
            self.parts.place,
            state.request.archive,
            self.parts.chain,
            self.parts.emit,
            command="alexandria restore …",
            tables=state.request.tables,
        )
        swaps = state.request.to_database is None
        with self.parts.servers.maintenance() as maintenance:
            server = server_facts(maintenance)
            live = database_facts(maintenance, state.target)
            # Whatever fenced it before: what takes its place is to be used.
            facts = (
                replace(live, allow_connections=True)
                if live
                else facts_for_new(maintenance, state.target, entry, encoding=read.encoding)
            )
            names = state.request.map_owner
            refuse_unknown_owners(source, None if live else facts, names)
            source = with_other_owners(source, names)
            if live is None:
                facts = facts_with_other_owners(facts, names)
            if not swaps and not _may_give_to(maintenance, facts.owner):
                # Nobody is asked for rights that only the swap of the live database needs.
                facts = without_owner(maintenance, facts, keep=False)
                self.parts.emit(Note(message=f"`{state.shadow}` will belong to `{facts.owner}`"))
            elif state.request.no_owner:
                facts = without_owner(maintenance, facts, keep=live is not None)
            enabled = tuple(
                found.name for found in subscriptions(maintenance, state.target) if found.enabled
            )
        counted, published = (
            self._look_at(state.target) if swaps and live and live.allow_connections else ({}, ())
        )
        found = state.model_copy(
            update={
                "server": server.system_identifier,
                "source": source,
                "facts": journalled(facts),
                "inherits": live is not None,
                "live": DatabaseRef(name=live.name, oid=live.oid) if live else None,
                "live_tables": tuple(counted),
                "live_publications": published,
                "subscriptions": enabled,
                "kept_name": kept_name(state.target, state.run.rpartition("-")[2]),
                "given_up": differences(counted, rows_after(read, source)),
                "license": license_before(self.parts.application) if swaps else None,
            }
        )
        what = f"{len(source.tables)} tables, {read.rows:,} rows, sha256 {source.identity[:12]}…"
        return Done(found, what if live else f"{what}; there is no `{state.target}` yet")

    def _look_at(self, target: str) -> tuple[dict[str, Counted], tuple[str, ...]]:
        """Return what the live database holds and publishes."""
        with self.parts.servers.session(target, "find") as live:
            try:
                return count_tables(live), catalog.publications(live)
            except ConnectionLost:
                raise
            except StatementFailed as error:
                # A hung migration holds a lock: it must not hold up the rescue.
                self.parts.emit(
                    Warned(message=f"what will be given up is not known: {error.message}")
                )
                return {}, ()


def read_source(
    place: SnapshotPlace,
    name: str,
    chain: ChainReader,
    emit: Emit,
    *,
    command: str,
    tables: Sequence[str] = (),
    in_full: bool = False,
) -> tuple[SnapshotEntry, ReadArchive, Source]:
    """Read the archive of a snapshot, its audit chain in the same pass.

    `command` is what the operator has typed, for hints. Where only some `tables` are asked for, the
    rows of the others are left aside. Unless it is to be read `in_full`, rows that lie apart are
    not read: every object must be there, and what is loaded is checked then. Raises SnapshotDamaged
    where it is not whole, not what its manifest describes, or has no manifest where a signed one is
    asked for.
    """
    entry = place.find(name)
    if entry.manifest is None and place.trusts:
        raise SnapshotDamaged(
            f"`{entry.id}` has no manifest, and `[signing] trusted_keys` asks for a signed one",
            hint=f"ALEXANDRIA_SIGNING__TRUSTED_KEYS='[]' {command}   # believe it",
        )
    archive = place.archive(entry.archive)
    manifest = entry.manifest
    if tables:
        selected = select_tables(ArchiveReader(archive.chunks()).entries, tables).tables
        wanted = archive.only(selected)
        wanted.require_present()
        read = read_beside_frames(wanted, emit) or read_archive(
            wanted, watch=lambda _: None, emit=emit
        )
        vouch_for(entry, read)
        return entry, *part_of(entry, read, archive.identity or read.sha256, tables)
    archive.require_present()
    if manifest is not None and not in_full and chain.takes_at_its_word(manifest):
        beside = read_beside_frames(archive, emit)
        if beside is not None:
            recorded = chain_recorded(manifest.audit) if manifest.audit else None
            source = source_of(entry, beside, archive.identity or "", recorded)
            return entry, beside, source.model_copy(update={"read_in_full": False})
    read, report = chain.archive(archive, emit)
    vouch_for(entry, read)
    return entry, read, source_of(entry, read, archive.identity or read.sha256, chain_seen(report))


def facts_for_new(
    maintenance: Session, target: str, entry: SnapshotEntry, *, encoding: str
) -> DatabaseFacts:
    """Return what a database that does not exist yet is to be like."""
    if entry.manifest is not None:
        return replace(facts_of(entry.manifest.database), name=target)
    here = database_facts(maintenance, maintenance.dsn.database)
    if here is None:
        raise DatabaseMissing(f"database `{maintenance.dsn.database}` vanished")
    owner = role_facts(maintenance).name
    return replace(
        here,
        name=target,
        oid=0,
        owner=owner,
        encoding=encoding,
        connection_limit=-1,
        allow_connections=True,
        is_template=False,
        comment=None,
        grants=default_grants(owner),
        settings=(),
    )


def _may_give_to(maintenance: Session, owner: str) -> bool:
    """Tell whether our role may make a database that belongs to `owner`."""
    role = role_facts(maintenance)
    return role.superuser or owner in {role.name, *role.may_become}


def without_owner(maintenance: Session, facts: DatabaseFacts, *, keep: bool) -> DatabaseFacts:
    """Return facts that need no role of the snapshot's; those of a live database stay."""
    if keep:
        return facts
    common = tuple(item for item in facts.settings if item.role is None)
    owner = role_facts(maintenance).name
    return replace(facts, owner=owner, grants=default_grants(owner), settings=common)
