"""Members come in order, each in a folder that came before: nothing can climb out or come twice."""

from alexandria_backup.bundle.entry import Entry, Kind, sort_key
from alexandria_backup.errors import BundleDamaged


class Nesting:
    """Looks at the members of a bundle one after the other.

    They are sorted, so all that lies in a folder follows it at once, a name that comes twice is out
    of order, and what lies below a link follows the link.
    """

    def __init__(self) -> None:
        self._before = b""
        self._last: Entry | None = None
        #: The folders that the next member may be in, outermost first.
        self._folders: list[bytes] = []
        #: What a hard link may lead to: a hash of each file's path, which no author can foresee.
        self._files: set[int] = set()
        #: The paths that lie in no other: each belongs to a root of its set.
        self.roots: list[bytes] = []

    def check(self, entry: Entry) -> None:
        """Raise BundleDamaged where an entry must not come here."""
        key = sort_key(entry.path)
        if key == self._before:
            raise BundleDamaged(f"`{entry.shown}` is in the bundle twice")
        if key < self._before:
            raise BundleDamaged(f"`{entry.shown}` is out of order, or in the bundle twice")
        last = self._last
        if last and last.kind is not Kind.FOLDER and entry.path.startswith(last.path + b"/"):
            raise BundleDamaged(
                f"`{entry.shown}` lies below the {last.kind} `{last.shown}`, and would lead out"
            )
        self._enter(entry)
        if entry.kind is Kind.FILE:
            self._files.add(hash(entry.path))
        elif entry.kind is Kind.HARDLINK:
            self._check_hardlink(entry)
        self._before, self._last = key, entry

    def _enter(self, entry: Entry) -> None:
        folders = self._folders
        while folders and not entry.path.startswith(folders[-1] + b"/"):
            folders.pop()
        parent = entry.path.rpartition(b"/")[0]
        if not folders:
            self.roots.append(entry.path)
        elif folders[-1] != parent:
            raise BundleDamaged(f"`{entry.shown}` lies in a folder that is not in the bundle")
        if entry.kind is Kind.FOLDER:
            folders.append(entry.path)

    def _check_hardlink(self, entry: Entry) -> None:
        same_set = entry.link.partition(b"/")[0] == entry.path.partition(b"/")[0]
        if not same_set or hash(entry.link) not in self._files:
            raise BundleDamaged(
                f"the hard link `{entry.shown}` leads to no file that came before it in its set"
            )
