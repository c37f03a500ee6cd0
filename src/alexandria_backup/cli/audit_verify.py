"""`alexandria audit verify`: recompute the audit chain of the live database, or of a snapshot."""

from typing import Annotated

import typer

from alexandria_backup.audit.report import Status
from alexandria_backup.cli.audit_text import end_as, report_text
from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.errors import AuditUnverified


def command(
    context: typer.Context,
    *,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Verify a snapshot's stored rows instead.")
    ] = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            "--anchor",
            metavar="PLACE",
            help="A signed anchor to compare with: path or URL; repeatable.",
        ),
    ] = None,
    require_anchor: Annotated[
        bool,
        typer.Option("--require-anchor", help="Fail with 31 unless every chain fits an anchor."),
    ] = False,
    dsn_file: DsnFile = None,
    json: Json = False,
) -> None:
    """Recompute every row's HMAC and follow every link; name what is wrong, by id."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    report = wiring.audits.verify(snapshot, anchor or ())
    if report is None:
        reasons = wiring.audits.why_none() if snapshot is None else ()
        raise AuditUnverified(
            "; ".join(("no audit table was found", *reasons)),
            hint="set `[audit] table` to `schema.name`",
        )
    invocation.renderer.result(report, report_text(report))
    end_as(report)
    if require_anchor and report.status is not Status.VERIFIED:
        raise AuditUnverified(
            f"the audit chain was not compared with an anchor: {report.summary()}",
            hint="alexandria audit anchor --out …   # then keep it where nobody here can write",
        )
