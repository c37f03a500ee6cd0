"""`alexandria audit verify`: recompute the audit chain of the live database."""

from typing import Annotated

import typer

from alexandria_backup.audit.report import Status
from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.errors import AuditBroken, AuditUnverified, ExitCode


def command(
    context: typer.Context,
    *,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Verify a snapshot's stored rows instead.")
    ] = None,
    dsn_file: DsnFile = None,
    json: Json = False,
) -> None:
    """Recompute every row's HMAC and follow every link; name what is wrong, by id."""
    invocation = invocation_of(context)
    report = invocation.wiring(json=json, dsn_file=dsn_file).audits.verify(snapshot)
    if report is None:
        raise AuditUnverified(
            "no audit table was found", hint="set `[audit] table` to `schema.name`"
        )
    lines = [report.summary()]
    lines += [f"  {finding.describe()}" for finding in report.findings]
    listed, counted = len(report.findings), sum(report.counts.values())
    if listed < counted:
        lines.append(f"  and {counted - listed:,} more findings; {listed} are listed")
    lines += [f"not done: {reason}" for reason in report.skipped]
    lines += [f"note: {note}" for note in report.notes]
    invocation.renderer.result(report, "\n".join(lines))
    if report.exit_code is ExitCode.AUDIT_BROKEN:
        raise AuditBroken(
            f"the audit chain is broken: {report.summary()}",
            hint="change no row; first: alexandria snapshot create --note 'evidence'",
        )
    # Asked for by name, a verification that did not happen is never success.
    if report.exit_code is not ExitCode.DONE or report.status is Status.ABSENT:
        raise AuditUnverified(
            f"the audit chain could not be verified: {report.summary()}",
            hint="set `[audit] key_file` to the key of the chain, or `[audit] table`",
        )
