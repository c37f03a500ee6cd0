"""`alexandria snapshot delete`: remove one snapshot, and keep the reason."""

from typing import Annotated

import typer

from alexandria_backup.cli.confirmation import confirm_word
from alexandria_backup.cli.invocation import Json, Yes, invocation_of
from alexandria_backup.errors import UsageError


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="The snapshot's id.")],
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; the ledger keeps it for good.", prompt=False)
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove one snapshot of the repository; the next prune frees the space that only it takes.

    The last good snapshot of a database is never removed. One that somebody else has taken away is
    written down as removed, so that a prune works again.
    """
    invocation = invocation_of(context)
    if snapshot == "latest":
        # Another one may have been taken since somebody looked.
        raise UsageError(
            "what is removed for good is named by its id, and not as `latest`",
            hint="alexandria snapshot list",
        )
    repositories = invocation.wiring(json=json).repositories
    confirm_word(snapshot, f"remove `{snapshot}` for good", yes=yes)
    removed = repositories.delete(snapshot, reason)
    gone = "removed" if removed.was_there else "it was gone; written down as removed"
    invocation.renderer.result(removed, f"{removed.snapshot}: {gone}\nhead  {removed.head}")
