"""`alexandria doctor`: everything that can be checked before it is needed."""

import typer

from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.doctor_diagnosis import Status


def command(context: typer.Context, *, dsn_file: DsnFile = None, json: Json = False) -> None:
    """Check DSN, server, client tools, rights, space, clock and keys; change nothing."""
    invocation = invocation_of(context)
    findings = invocation.wiring(json=json, dsn_file=dsn_file).doctor()
    lines = []
    for finding in findings:
        lines.append(f"{finding.status.value:<8} {finding.name:<14} {finding.message}")
        if finding.hint:
            lines.append(f"{'':<23} hint: {finding.hint}")
    invocation.renderer.result(findings, "\n".join(lines))
    failed = [finding for finding in findings if finding.status is Status.FAILED]
    warned = [finding for finding in findings if finding.status is Status.WARNING]
    if failed:
        names = ", ".join(f"`{finding.name}`" for finding in failed)
        raise PrecheckRefused(f"{len(failed)} of {len(findings)} checks failed: {names}")
    if warned:
        invocation.emit(Warned(message=f"{len(warned)} of {len(findings)} checks want a look"))
