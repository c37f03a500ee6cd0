"""What the doctor says of bundles: who could read the secrets in one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.bundle.selection import Selected
from alexandria_backup.bundle.volumes import is_encrypted


@dataclass(frozen=True, kw_only=True)
class BundleCheck:
    """What the doctor looks at."""

    #: Returns what the sets lead to; raises where something that is required is not there.
    selected: Callable[[], tuple[Selected, ...]]
    #: Where bundles go: a path or a URL.
    output: str
    #: How many recipients they are sealed to.
    recipients: int


def bundle_doubt(check: BundleCheck) -> Iterator[tuple[str, str | None]]:
    """Give one sentence, and a hint where it is a doubt; nothing on a machine without any set.

    Raises what `selected` raises.
    """
    sets = [one.name for one in check.selected() if one.contents.roots]
    what = f"sets {', '.join(f'`{name}`' for name in sets)}"
    if check.recipients:
        yield f"{what}, sealed to {check.recipients} recipients", None
        return
    hint = "set `encryption.recipients`, or give `--recipient age1…`"
    if "://" in check.output:
        yield f"{what} go to `{check.output}` and are not sealed: they may hold secrets", hint
        return
    encrypted = is_encrypted(Path(check.output).expanduser().absolute())
    if encrypted:
        yield f"{what}, not sealed, on an encrypted volume", None
        return
    known = "is not known to be" if encrypted is None else "is not"
    yield (
        f"{what} may hold secrets: a bundle in `{check.output}` is not sealed, and its volume "
        f"{known} encrypted",
        hint,
    )
