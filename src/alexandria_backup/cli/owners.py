"""Owners as a person maps them: `OLD=NEW`."""

from collections.abc import Iterable, Mapping

from alexandria_backup.errors import UsageError


def other_owners(pairs: Iterable[str]) -> Mapping[str, str]:
    """Return new names by old ones; raises UsageError for what is no pair, or for two of one name.

    The first `=` divides: a new name may have one.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not old or not new:
            raise UsageError(f"`{pair}` is not `OLD=NEW`", hint="--map-owner old_role=new_role")
        if found.setdefault(old, new) != new:
            raise UsageError(f"`{old}` cannot become both `{found[old]}` and `{new}`")
    return found
