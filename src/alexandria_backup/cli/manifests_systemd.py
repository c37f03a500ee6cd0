"""`alexandria manifests systemd`: services and timers for one host."""

import typer

from alexandria_backup.cli.invocation import Json, Out, invocation_of


def command(context: typer.Context, *, out: Out, json: Json = False) -> None:
    """Write services and timers that take, prune, verify and drill snapshots on this host."""
    invocation = invocation_of(context)
    files = invocation.wiring(json=json).host_files()
    written = files.write(out)
    commands = (command.replace("OUT", str(out)) for command in files.next_commands)
    invocation.renderer.result(written, "\n".join(commands))
