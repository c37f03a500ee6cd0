"""Bundles as text: how making and restoring one went, and what it says of itself."""

from collections import Counter

from alexandria_backup.cli.amounts import amount, duration
from alexandria_backup.runbooks.bundle_compare import (
    BundleDescription,
    BundleDifference,
    BundleVerdict,
)
from alexandria_backup.runbooks.bundle_state import (
    BackupState,
    BundleRestoreState,
    BundleRollbackState,
)
from alexandria_backup.runbooks.procedure import RunSummary
from alexandria_backup.runbooks.step import RunState

#: How many paths that were left out are shown.
_MOST_SHOWN = 30


def backup_text(summary: RunSummary[BackupState]) -> str:
    """Return what was packed, where it lies, and how to check it."""
    state = summary.state
    how = [f"sealed to {len(state.recipients)} recipients"] if state.recipients else []
    how += ["signed"] if state.signed else []
    how += ["read back in full"] if state.read_back else []
    lines = [
        f"bundle    `{state.output}` in {duration(summary.seconds)}, {summary.outcome}",
        f"stored    {amount(state.bytes or 0, 'bytes')}"
        + "".join(f", {word}" for word in how or ["neither sealed nor signed"]),
        f"holds     {state.entries:,} paths, {amount(state.content_bytes, 'bytes')}",
        f"left out  {state.left_out:,} paths",
        f"snapshot  {state.snapshot or 'none of the database is known'}",
    ]
    if state.store is not None and not state.read_back:
        lines.append(f"hint: alexandria backup verify {state.output}")
    return "\n".join(lines)


def description_text(found: BundleDescription) -> str:
    """Return what a bundle says of itself."""
    head, tail = found.head, found.tail
    signed = "signed, and nobody is trusted here" if found.signed else "not signed"
    lines = [
        f"bundle    {head.bundle}",
        f"made      {head.created:%Y-%m-%d %H:%M:%S %Z} on {head.host}, by version {head.tool}",
        f"of        {head.application}" + "".join(f", {image}" for image in head.images),
        f"holds     {tail.entries:,} paths, {amount(tail.bytes, 'bytes')}",
        f"sha256    {found.sha256}",
        f"signed    {', '.join(found.signers) or signed}",
        f"snapshot  {head.snapshot or 'none'}",
    ]
    if head.redacted:
        lines.append("redacted  what is declared secret is not in it")
    if tail.problems:
        lines.append(f"problems  {tail.problems:,} paths")
    lines += [f"problem   {trouble}" for trouble in found.troubles[:_MOST_SHOWN]]
    for name, contents in head.sets.items():
        lines.append(f"set       {name}: {', '.join(contents.roots) or 'nothing'}")
        lines += [f"          not there: {path}" for path in contents.missing]
    lines += [f"left out  {one.path}: {one.why}" for one in tail.excluded[:_MOST_SHOWN]]
    more = len(tail.excluded) + tail.excluded_more - _MOST_SHOWN
    if more > 0:
        lines.append(f"left out  and {more:,} more")
    return "\n".join(lines)


def verdict_text(verdict: BundleVerdict) -> str:
    """Return whether a bundle is what it says, and each difference."""
    said = "as its manifest says" if not verdict.differences else "not what its manifest says"
    return "\n".join(
        (
            f"{verdict.bundle}: {said}",
            f"read    {verdict.entries:,} paths, {amount(verdict.bytes, 'bytes')}, "
            f"manifest sha256 {verdict.sha256}",
            f"signed  {', '.join(verdict.signers) or 'by nobody who is trusted here'}",
            *([f"made    with problems of {verdict.problems:,} paths"] if verdict.problems else []),
            *(f"differs {difference}" for difference in verdict.differences),
        )
    )


def difference_text(found: BundleDifference) -> str:
    """Return a line per path that changed, and how many of each kind."""
    counts = Counter(difference.what for difference in found.differences)
    said = ", ".join(f"{counts[what]:,} {what}" for what in ("added", "removed", "changed"))
    return "\n".join(
        (*(str(d) for d in found.differences), f"{found.left} → {found.right}: {said}")
    )


def restore_text(summary: RunSummary[RunState]) -> str:
    """Return what was restored, and how to go back."""
    state = summary.state
    if not isinstance(state, BundleRestoreState):
        return f"{summary.run}: {summary.outcome}"
    lines = [
        f"restored  {state.entries:,} paths of {', '.join(state.sets)} to `{state.request.to}` "
        f"in {duration(summary.seconds)}, {summary.outcome}",
    ]
    if summary.downtime_seconds is not None:
        lines.append(f"downtime  {duration(summary.downtime_seconds)}")
    lines += [f"kept      `{path}`" for path in state.kept]
    lines += [
        f"hint: alexandria rollback {summary.run}      # go back",
        f"hint: alexandria run accept {summary.run}    # remove what was replaced",
    ]
    return "\n".join(lines)


def bundle_rollback_text(summary: RunSummary[BundleRollbackState]) -> str:
    """Return what was exchanged back."""
    lines = [f"rolled back  {len(summary.state.roots)} paths in {duration(summary.seconds)}"]
    lines += [f"kept         `{path}`" for path in summary.state.kept]
    lines.append(f"hint: alexandria rollback {summary.run}    # forward again")
    return "\n".join(lines)
