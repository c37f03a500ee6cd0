"""A plan as text."""

from collections.abc import Sequence

from alexandria_backup.runbooks.procedure import PlannedStep


def plan_text(steps: Sequence[PlannedStep]) -> str:
    """Return a plan: a numbered sentence per step, its equivalent commands below."""
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number:>2}. {step.step}: {step.sentence}")
        lines += [f"      $ {command}" for command in step.commands]
    return "\n".join(lines)
