"""Ask before what lies on a machine is exchanged for what came out of a bundle."""

from collections.abc import Callable

from alexandria_backup.cli.confirmation import confirm_word
from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.events import Note
from alexandria_backup.runbooks.bundle_state import (
    BundleAcceptState,
    BundleRestoreState,
    BundleRollbackState,
)


def confirm_bundle_restore(
    invocation: Invocation, *, yes: bool
) -> Callable[[BundleRestoreState], None]:
    """Return what shows what is replaced, then asks where it is the machine's own place."""

    def confirm(state: BundleRestoreState) -> None:
        made = f", made {state.created:%Y-%m-%d %H:%M:%S %Z}" if state.created else ""
        signed = ", ".join(state.signers) or "nobody who is trusted here"
        lines = [f"bundle    `{state.bundle}` of `{state.host}`{made}, signed by {signed}"]
        lines += [f"replaces  `{root.target}`" for root in state.roots]
        for line in lines:
            invocation.emit(Note(message=line))
        if state.live:
            confirm_word("/", "restore into this machine", yes=yes)

    return confirm


def confirm_bundle_rollback(
    invocation: Invocation, *, yes: bool
) -> Callable[[BundleRollbackState], None]:
    """Return what shows what is exchanged back, then asks."""

    def confirm(state: BundleRollbackState) -> None:
        for root in state.roots:
            what = f"`{root.incoming}`" if root.incoming else "nothing"
            invocation.emit(Note(message=f"`{root.target}` becomes {what}, and is kept"))
        if state.live:
            confirm_word("/", "roll back what is on this machine", yes=yes)

    return confirm


def confirm_bundle_accept(
    invocation: Invocation, *, yes: bool
) -> Callable[[BundleAcceptState], None]:
    """Return what shows what is removed for good, then asks."""

    def confirm(state: BundleAcceptState) -> None:
        for path in state.kept:
            invocation.emit(Note(message=f"`{path}` is removed; no rollback then"))
        confirm_word(state.of_run, f"remove what `{state.of_run}` has kept", yes=yes)

    return confirm
