"""Restore: bring a snapshot back beside the live database, prove it, then swap it in by name.

The paper runbook scales the application to 0, drops the schema, loads, and hopes. Here the live
database, and the application with it, stays up until the replacement is loaded and proved; then
both are exchanged in one transaction, and the replaced one is kept.

Where no database may be created, the live one is loaded into itself: what was in it is put aside.
That costs downtime for the whole load, and all the rest is the same.
"""

from dataclasses import dataclass

from alexandria_backup.runbooks.application_checks import ApplicationChecks
from alexandria_backup.runbooks.in_place import ForbidWrites, Open
from alexandria_backup.runbooks.in_place_aside import PutAside
from alexandria_backup.runbooks.restore_check import Check
from alexandria_backup.runbooks.restore_find import Find
from alexandria_backup.runbooks.restore_finish import Finish
from alexandria_backup.runbooks.restore_ground import Beside, InPlace
from alexandria_backup.runbooks.restore_load import Load
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_prove import Prove
from alexandria_backup.runbooks.restore_roles import CreateRoles
from alexandria_backup.runbooks.restore_safety import SafetySnapshot
from alexandria_backup.runbooks.restore_shadow import CreateShadow
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Runbook, Step
from alexandria_backup.runbooks.switch_application import StartApplication, StopWriting
from alexandria_backup.runbooks.switch_databases import Fence, Swap

NAME = "restore"


def restore_runbook(
    parts: RestoreParts,
    *,
    beside: bool,
    stop_first: bool,
    create_roles: bool = False,
    in_place: bool = False,
) -> Runbook[RestoreState]:
    """Return the steps of a restore, in order.

    `beside` restores into another database and swaps nothing; `in_place` loads into the live
    database itself; `stop_first` stops the application
    before the load, as on paper, so that no row is written that the swap would leave behind;
    `create_roles` creates roles that are missing.
    """
    find = Find(parts=parts)
    check = Check(parts=parts)
    safety = SafetySnapshot(parts=parts)
    create = CreateShadow(parts=parts)
    load = Load(parts=parts, ground=Beside(create=create))
    # Only where it is asked for: a step that may create roles is one to agree to.
    roles = (CreateRoles(parts=parts),) if create_roles else ()
    prove = Prove(parts=parts)
    finish = Finish(parts=parts)
    if beside:
        return _runbook(find, check, *roles, create, load, prove, finish, commit=None)
    switch = _Switch.of(parts)
    if in_place:
        aside = PutAside(parts=parts)
        there = Load(parts=parts, ground=InPlace(put_aside=aside))
        opened: Open[RestoreState] = Open(
            servers=parts.servers, patience_s=parts.fence_patience_s, emit=parts.emit
        )
        forbid: ForbidWrites[RestoreState] = ForbidWrites(
            application=parts.application,
            servers=parts.servers,
            patience_s=parts.fence_patience_s,
        )
        first = (switch.stop, safety, *roles) if stop_first else (safety, *roles, switch.stop)
        return _runbook(
            find, check, *first, forbid, aside, there, prove, opened, finish, switch.start,
            commit=opened.name,
        )  # fmt: skip
    if stop_first:
        return _runbook(
            find, check, switch.stop, safety, *roles, create, load, prove, switch.fence,
            switch.swap, finish, switch.start, commit=switch.swap.name,
        )  # fmt: skip
    return _runbook(
        find, check, safety, *roles, create, load, prove, switch.stop, switch.fence, switch.swap,
        finish, switch.start, commit=switch.swap.name,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Switch:
    stop: StopWriting[RestoreState]
    fence: Fence[RestoreState]
    swap: Swap[RestoreState]
    start: StartApplication[RestoreState]

    @classmethod
    def of(cls, parts: RestoreParts) -> "_Switch":
        checks = ApplicationChecks(servers=parts.servers, checks=parts.checks)
        return cls(
            stop=StopWriting(application=parts.application, checks=checks, emit=parts.emit),
            fence=Fence(
                application=parts.application,
                servers=parts.servers,
                patience_s=parts.fence_patience_s,
            ),
            swap=Swap(servers=parts.servers, patience_s=parts.fence_patience_s, emit=parts.emit),
            start=StartApplication(
                application=parts.application,
                servers=parts.servers,
                checks=checks,
                emit=parts.emit,
            ),
        )


def _runbook(*steps: Step[RestoreState], commit: str | None) -> Runbook[RestoreState]:
    return Runbook(
        name=NAME, steps=steps, state_type=RestoreState, commit=commit, replaces_live=True
    )
