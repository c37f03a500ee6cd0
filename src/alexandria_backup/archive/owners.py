"""Other owners and grantees for an archive: pg_restore has no option for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from alexandria_backup.archive.encodings import decode, encode
from alexandria_backup.archive.grants import with_roles
from alexandria_backup.archive.inventory import WITH_ROLES
from alexandria_backup.archive.raw_toc import RawEntry
from alexandria_backup.errors import PrecheckRefused

_NAMED_IN_SQL: Final = frozenset(kind.encode("ascii") for kind in WITH_ROLES)


def with_owners(
    entries: Sequence[RawEntry], names: Mapping[str, str], *, encoding: str
) -> list[RawEntry]:
    """Return entries that name other roles in the place of those that `names` has.

    Raises PrecheckRefused where a name or a statement cannot be written in the archive's encoding.
    """
    if not names:
        return list(entries)
    return [_renamed(entry, names, encoding) for entry in entries]


def _renamed(entry: RawEntry, names: Mapping[str, str], encoding: str) -> RawEntry:
    owner, definition = entry.owner, entry.definition
    if owner:
        old = decode(owner, encoding)
        owner = encode(names[old], encoding) if old in names else owner
    if definition and entry.description in _NAMED_IN_SQL:
        old = decode(definition, encoding)
        new = with_roles(old, names)
        if new != old:
            if encode(old, encoding) != definition:
                raise PrecheckRefused(
                    f"no role can be replaced in what is no text in {encoding}: "
                    f"`{old.strip()[:100]}`"
                )
            definition = encode(new, encoding)
    return replace(entry, owner=owner, definition=definition)
