"""`alexandria backup show`: what a bundle says of itself."""

from typing import Annotated

import typer

from alexandria_backup.cli.bundle_text import description_text
from alexandria_backup.cli.invocation import Json, invocation_of

Bundle = Annotated[str, typer.Argument(help="The bundle: a path or a URL.")]


def command(context: typer.Context, bundle: Bundle, *, json: Json = False) -> None:
    """Show a bundle's manifest; nothing else is read where it is not sealed."""
    invocation = invocation_of(context)
    found = invocation.wiring(json=json).bundles.show(bundle)
    invocation.renderer.result(found, description_text(found))
