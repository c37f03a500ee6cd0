"""Two ordered series of entries side by side: what is only in one, and what differs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alexandria_backup.bundle.entry import Entry, Kind, sort_key

#: What is compared, and how it is called.
_FIELDS = (
    ("kind", "type"), ("size", "size"), ("sha256", "content"), ("link", "link"), ("mode", "mode"),
    ("uid", "owner"), ("gid", "group"), ("user", "owner's name"), ("group", "group's name"),
    ("mtime", "time"), ("xattrs", "extended attributes"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One path that is not the same on both sides."""

    path: str
    #: `removed`: only on the left; `added`: only on the right; `changed`.
    what: str
    #: For `changed`: what differs, such as `content` or `mode`.
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.what} `{self.path}`"
        return f"{said}: {', '.join(self.fields)}" if self.fields else said


def differences(
    left: Iterable[Entry], right: Iterable[Entry], *, fine: bool = False
) -> Iterator[Difference]:
    """Give every difference, in order; both series are ordered as members are.

    With `fine` also what no tar header carries: nanoseconds, and how holes are stored.
    """
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and sort_key(one.path) < sort_key(other.path)):
            assert one is not None  # noqa: S101 - the loop's condition
            yield Difference(path=one.shown, what="removed")
            one = next(lefts, None)
        elif one is None or sort_key(other.path) < sort_key(one.path):
            yield Difference(path=other.shown, what="added")
            other = next(rights, None)
        else:
            changed = _changed(one, other, fine=fine)
            if changed:
                yield Difference(path=one.shown, what="changed", fields=changed)
            one, other = next(lefts, None), next(rights, None)


def _changed(one: Entry, other: Entry, *, fine: bool) -> tuple[str, ...]:
    changed = [name for key, name in _FIELDS if getattr(one, key) != getattr(other, key)]
    both_plain = one.extents is None and other.extents is None
    if "size" not in changed and (one.extents is None) != (other.extents is None):
        # The digests of a file with holes and of one without cannot be compared.
        changed = [name for name in changed if name != "content"] + ["holes"]
    elif fine and not both_plain and one.extents != other.extents:
        changed.append("holes")
    if fine and one.ns != other.ns and "time" not in changed:
        changed.append("time")
    if one.kind is Kind.SYMLINK is other.kind:
        changed = [name for name in changed if name != "mode"]
    return tuple(changed)
