"""Where a restore loads: load, proof and all that follows are the same, whatever the ground.

What differs is how room is made, how a load that must begin anew is taken back, and what of the
archive is to be loaded there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alexandria_backup.archive.inventory import creates_public_schema
from alexandria_backup.archive.missing import There, missing
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.postgres.aside import extensions, members, schemas
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.restoring import lock_holder
from alexandria_backup.postgres.shadow import Marker, note_begun, read_marker
from alexandria_backup.runbooks.in_place_aside import PutAside
from alexandria_backup.runbooks.restore_bound import loaded_beside, make_room_for_bound
from alexandria_backup.runbooks.restore_shadow import CreateShadow
from alexandria_backup.runbooks.restore_state import RestoreState


class Ground(Protocol):
    """Where an archive is loaded."""

    def is_ours(self, state: RestoreState) -> bool:
        """Tell whether this very run has made room there already."""
        ...

    def prepare(self, state: RestoreState) -> RestoreState:
        """Make room; what this run has made is taken as it is."""
        ...

    def clear(self, state: RestoreState) -> RestoreState:
        """Take away what was loaded there; `prepare` then makes room for a load from the start."""
        ...

    def missing(
        self, session: Session, entries: Sequence[TocEntry], *, goes_on: bool
    ) -> tuple[TocEntry, ...]:
        """Return what of an archive is to be loaded, and make `session`'s database fit for it.

        `goes_on` tells that a part of it is loaded already.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A new database: it is dropped as a whole."""

    create: CreateShadow

    def is_ours(self, state: RestoreState) -> bool:
        """Its marker tells."""
        return self._marker(state) is not None

    def prepare(self, state: RestoreState) -> RestoreState:
        """Create it, and note that it is not empty any more."""
        state = self.create.do(state).state
        with self.create.parts.servers.maintenance() as maintenance:
            note_begun(maintenance, state.shadow, run=state.run)
        return state

    def clear(self, state: RestoreState) -> RestoreState:
        """Drop it, unless nothing has been loaded into it yet."""
        marker = self._marker(state)
        return state if marker and not marker.begun else self.create.undo(state)

    def missing(
        self, session: Session, entries: Sequence[TocEntry], *, goes_on: bool
    ) -> tuple[TocEntry, ...]:
        """Return all but what works in a database of the live name only."""
        beside = loaded_beside(entries)
        if creates_public_schema(beside) and not goes_on:
            session.execute("DROP SCHEMA IF EXISTS public")
        make_room_for_bound(session, entries)
        return beside

    def _marker(self, state: RestoreState) -> Marker | None:
        """Return the marker of a shadow that this run has made."""
        with self.create.parts.servers.maintenance() as maintenance:
            marker = read_marker(maintenance, state.shadow)
        return marker if marker is not None and marker.run == state.run else None


@dataclass(frozen=True, kw_only=True)
class InPlace:
    """The live database, whose contents are put aside."""

    put_aside: PutAside

    def is_ours(self, state: RestoreState) -> bool:
        """The lock tells."""
        with self.put_aside.parts.servers.session(state.target, "load") as session:
            holder = lock_holder(session)
        return holder is not None and holder.run == state.run

    def prepare(self, state: RestoreState) -> RestoreState:
        """Put aside what is there."""
        return self.put_aside.do(state).state

    def clear(self, state: RestoreState) -> RestoreState:
        """Drop what was loaded; what was put aside stays there."""
        self.put_aside.clear(state)
        return state

    def missing(
        self, session: Session, entries: Sequence[TocEntry], *, goes_on: bool
    ) -> tuple[TocEntry, ...]:
        """Return all but what has stayed, extensions above all."""
        found = {schema.name: schema for schema in schemas(session)}
        public = found.get("public")
        if creates_public_schema(entries) and not goes_on and public and not public.extensions:
            session.execute("DROP SCHEMA public")
            del found["public"]
        there = There(
            # What a load that goes on has created itself is not what was there.
            schemas=() if goes_on else found.keys(),
            foreign_schemas={name for name, schema in found.items() if not schema.ours},
            extensions=extensions(session).keys(),
            members=members(session),
        )
        return missing(entries, there)
