"""`alexandria backup diff`: what changed since a bundle was made, or between two."""

from typing import Annotated

import typer

from alexandria_backup.cli.bundle_text import difference_text
from alexandria_backup.cli.invocation import Json, invocation_of


def command(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="The bundle: a path or a URL.")],
    other: Annotated[
        str | None,
        typer.Argument(help="Another bundle, or `live`: this machine as it is now (the default)."),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List every path that was added, removed or changed, and what of it."""
    invocation = invocation_of(context)
    found = invocation.wiring(json=json).bundles.diff(bundle, other)
    invocation.renderer.result(found, difference_text(found))
