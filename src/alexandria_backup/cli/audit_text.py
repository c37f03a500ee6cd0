"""What a verification found, as text for people."""

from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.errors import AuditBroken, AuditUnverified, ExitCode


def report_text(report: AuditReport) -> str:
    """Return the report: verdict, findings, what was not done, what to know."""
    lines = [report.summary()]
    lines += [f"  {finding.describe()}" for finding in report.findings]
    listed, counted = len(report.findings), sum(report.counts.values())
    if listed < counted:
        lines.append(f"  and {counted - listed:,} more findings; {listed} are listed")
    lines += [f"known: {finding.describe()}" for finding in report.known]
    lines += [f"not done: {reason}" for reason in report.skipped]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines)


def end_as(report: AuditReport) -> None:
    """Raise what ends the program with the report's exit code, where that is not 0."""
    if report.exit_code is ExitCode.AUDIT_BROKEN:
        raise AuditBroken(
            f"the audit chain is broken: {report.summary()}",
            hint="change no row; first: alexandria audit capture --out evidence.zip",
        )
    # Asked for by name, a verification that did not happen is never success.
    if report.exit_code is not ExitCode.DONE or report.status is Status.ABSENT:
        raise AuditUnverified(
            f"the audit chain could not be verified: {report.summary()}",
            hint="set `[audit] key_file` to the key of the chain, or `[audit] table`",
        )
