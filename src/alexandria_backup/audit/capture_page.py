"""The page of a capture: for a person who decides, and for paper."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

from alexandria_backup.audit.capture_rows import CapturedRow
from alexandria_backup.audit.finding import Finding
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.sealing.signing import TrustedKey

if TYPE_CHECKING:
    from alexandria_backup.audit.capture import CaptureFacts

#: More rows than this nobody reads on paper; all of them are in `rows.ndjson`.
_MOST_ROWS: Final = 200
_MOST_LETTERS: Final = 2000
#: A verdict in words that need no glossary.
_MEANING: Final = {
    Status.VERIFIED: "The chain was verified, and agrees with an earlier anchor.",
    Status.INTACT: "The chain is intact; there was no earlier anchor to compare it with.",
    Status.LINKS_ONLY: "The links are whole. No seal was recomputed, since there was no key.",
    Status.BROKEN: "The chain is broken.",
    Status.UNVERIFIED: "The chain could not be verified.",
    Status.EMPTY: "The table has no rows.",
    Status.ABSENT: "There is no audit table.",
}
_EXPLAINED: Final = {
    "row_hmac_mismatch": "The row is not what was sealed: changed, or sealed by another key.",
    "link_broken": "The row that this row follows is gone.",
    "head_missing": "The first row follows one that is gone.",
    "branch": "Two rows follow the same row, and not both can be shown to be genuine.",
    "branch_valid_hmac": "Two genuine rows follow the same row: two writers, not tampering.",
    "duplicate_link": "A row is there twice.",
    "hmac_stripped": "The row has no seal, though it is not older than the chain.",
    "key_or_encoding": "No row verifies: most likely the wrong key or recipe, not tampering.",
    "behind_anchor": "The chain ends before a row that an earlier anchor vouches for.",
    "anchor_mismatch": "The chain is not the one that an earlier anchor vouches for.",
    "fork": "The chain goes another way than an earlier anchor vouches for.",
    "head_retired": "The first rows were retired, and a record says so.",
}


def page(
    facts: "CaptureFacts",
    rows: Sequence[CapturedRow],
    report: AuditReport,
    *,
    signer: TrustedKey,
) -> str:
    """Return the page as HTML that needs nothing else: no script, no font, no network."""
    text = (files("alexandria_backup.audit") / "capture_page.html").read_text("utf-8")
    status = Status(facts.status)
    good = status in {Status.VERIFIED, Status.INTACT}
    return Template(text).substitute(
        title=escape(f"Audit evidence: {facts.application}, {facts.at:%Y-%m-%d %H:%M} UTC"),
        application=escape(facts.application),
        verdict=escape(str(status).replace("_", " ")),
        tone="good" if good else "bad" if status is Status.BROKEN else "open",
        meaning=escape(_MEANING[status]),
        summary=escape(facts.summary),
        facts=_facts(facts, signer),
        findings=_findings(report),
        rows=_rows(rows),
        limits=_list((*facts.limits, *report.skipped)),
        fingerprint=escape(f"{signer.name}+{signer.key_id.hex()}"),
        digest=escape(facts.rows_digest),
    )


def _facts(facts: "CaptureFacts", signer: TrustedKey) -> str:
    told = (
        ("Reason", facts.reason),
        ("Captured", f"{facts.at:%Y-%m-%d %H:%M:%S} UTC, by the clock of the database server"),
        ("By", f"{facts.operator} on {facts.host}, with {facts.tool}"),
        ("Database", f"{facts.database} (server {facts.system_identifier or 'not known'})"),
        ("Server", facts.server_version),
        ("Table", facts.table),
        ("Recipe", facts.recipe),
        ("Scope", facts.scope),
        ("Rows captured", f"{facts.rows:,}"),
        ("Signed by", signer.name),
    )
    return "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in told
    )


def _findings(report: AuditReport) -> str:
    if not report.counts:
        return "<p>None.</p>"
    kinds = "".join(
        f"<tr><td><code>{escape(code)}</code></td><td class=number>{number:,}</td>"
        f"<td>{escape(_EXPLAINED.get(code, ''))}</td></tr>"
        for code, number in sorted(report.counts.items())
    )
    shown = report.findings[:_MOST_ROWS]
    each = "".join(map(_finding, shown))
    counted = sum(report.counts.values())
    cut = (
        f"<p>{len(shown):,} of {counted:,} findings are listed here; <code>report.json</code> has "
        f"{len(report.findings):,}.</p>"
        if len(shown) < counted
        else ""
    )
    return (
        f"<table><thead><tr><th>Finding</th><th class=number>Number</th><th>Meaning</th></tr>"
        f"</thead><tbody>{kinds}</tbody></table>"
        "<table><thead><tr><th>Row</th><th class=number>Place</th><th>Neighbours</th>"
        f"<th>What was seen</th></tr></thead><tbody>{each}</tbody></table>{cut}"
    )


def _finding(finding: Finding) -> str:
    near = [
        f"{word} <code>{escape(ident)}</code>"
        for word, ident in (("after", finding.before), ("before", finding.after))
        if ident is not None
    ]
    place = f"{finding.position:,}" if finding.position else "not known"
    chain = f"<br>chain <code>{escape(finding.chain)}</code>" if finding.chain else ""
    return (
        f"<tr><td><code>{escape(finding.id)}</code>{chain}</td><td class=number>{place}</td>"
        f"<td>{'<br>'.join(near)}</td><td><code>{escape(finding.code)}</code><br>"
        f"{escape(finding.detail)}</td></tr>"
    )


def _rows(rows: Sequence[CapturedRow]) -> str:
    cut = (
        f"<p>The first {_MOST_ROWS:,} of {len(rows):,} rows; <code>rows.ndjson</code> has all.</p>"
        if len(rows) > _MOST_ROWS
        else ""
    )
    return "".join(map(_row, rows[:_MOST_ROWS])) + cut or "<p>None.</p>"


def _row(row: CapturedRow) -> str:
    values = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{_value(value)}</td></tr>"
        for name, value in row.values.items()
    )
    verdicts = ", ".join(row.findings)
    return (
        f"<section class=row><h3><code>{escape(row.id)}</code>"
        f"{f' <span>{escape(verdicts)}</span>' if verdicts else ''}</h3>"
        f"<table class=values>{values}</table>"
        f"<p class=digest>SHA-256 <code>{row.sha256}</code></p></section>"
    )


def _value(value: str | None) -> str:
    if value is None:
        return "<i>NULL</i>"
    if len(value) <= _MOST_LETTERS:
        return f"<code>{escape(value)}</code>"
    return (
        f"<code>{escape(value[:_MOST_LETTERS])}</code> … "
        f"<i>{len(value):,} characters; all of them are in rows.ndjson</i>"
    )


def _list(items: Iterable[str]) -> str:
    return "".join(f"<li>{escape(item[:1].upper() + item[1:])}.</li>" for item in items)
