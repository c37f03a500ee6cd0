"""`alexandria manifests kubernetes`: container files, Kustomize base and overlays."""

from typing import Annotated

import typer

from alexandria_backup.cli.invocation import Json, Out, invocation_of


def command(
    context: typer.Context,
    *,
    out: Out,
    image: Annotated[
        str, typer.Option(help="The image that the jobs run.")
    ] = "localhost/alexandria-backup:latest",
    json: Json = False,
) -> None:
    """Write what a cluster gets, from the settings; nothing in it is secret."""
    invocation = invocation_of(context)
    files = invocation.wiring(json=json).cluster_files(image=image)
    written = files.write(out)
    commands = (command.replace("OUT", str(out)) for command in files.next_commands)
    invocation.renderer.result(written, "\n".join(commands))
