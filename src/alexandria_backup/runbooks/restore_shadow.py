"""The step of a restore that creates the database which is loaded beside the live one."""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.shadow import (
    Marker,
    create_shadow,
    discard_unfinished,
    drop_database,
    read_marker,
)
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.switch import DatabaseRef


@dataclass(frozen=True, kw_only=True)
class CreateShadow:
    """Create the shadow database beside the live one; its name is the lock."""

    name: ClassVar[str] = "create-shadow"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the command that makes it."""
        name = state.shadow
        return Explanation(
            sentence=f"create database `{name}` with the locale and owner of `{state.target}`",
            commands=(shell("createdb", "--template=template0", name),),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create it; one that this very run has made is taken as it is."""
        name = state.shadow
        marker = Marker(run=state.run, role="shadow", of=state.target)
        with self.parts.servers.maintenance() as maintenance:
            found = read_marker(maintenance, name)
            if found is None or found.run != state.run:
                create_shadow(maintenance, name, like=state.known_facts, marker=marker)
            shadow = DatabaseRef(name=name, oid=_oid(maintenance, name))
        return Done(state.model_copy(update={"incoming": shadow}), f"`{name}`")

    def undo(self, state: RestoreState) -> RestoreState:
        """Drop it, where it is this run's."""
        name = state.shadow
        with self.parts.servers.maintenance() as maintenance:
            discard_unfinished(maintenance, state.run)
            marker = read_marker(maintenance, name)
            if marker is not None and marker.run == state.run:
                drop_database(
                    maintenance,
                    name,
                    expected_oid=_oid(maintenance, name),
                    marker_run=state.run,
                )
        return state


def _oid(maintenance: Session, name: str) -> int:
    oid = who_is(maintenance, name)
    if oid is None:
        raise DatabaseMissing(f"database `{name}` vanished while it was looked at")
    return oid
