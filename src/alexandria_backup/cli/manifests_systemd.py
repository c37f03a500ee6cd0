"""`alexandria manifests systemd`: services and timers for one host."""

import typer

from alexandria_backup.cli.invocation import Json, Out, invocation_of


def command(context: typer.Context, *, out: Out, json: Json = False) -> None:
    """Write services and timers that take, prune and verify snapshots on this host."""
    invocation = invocation_of(context)
    written = invocation.wiring(json=json).host_files().write(out)
    invocation.renderer.result(
        written, f"install -m 0644 {out}/* /etc/systemd/system/ && systemctl daemon-reload"
    )
