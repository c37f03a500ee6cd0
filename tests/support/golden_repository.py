"""A small repository that is kept for good, and how it was made.

`python tests/support/golden_repository.py FOLDER` makes it anew; only a new version of the format
is a reason to. It is signed and sealed, holds two snapshots that share a part, results about both,
and what an interrupted third one has left.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from pyrage import x25519
from repository_support import KEY, Site, commit, later, manifest_of, put

from alexandria_backup.repository.examining import examine, record
from alexandria_backup.repository.results import Examination
from alexandria_backup.repository.trust import Keys
from alexandria_backup.repository.writing import writing
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore

GOLDEN = Path(__file__).parents[1] / "repository" / "golden"
#: Opens nothing but the golden repository.
SECRET = "AGE-SECRET-KEY-1CH2KL6U9TY88JNPQC7UTKDZEZALSN056AJZ52N3F8WCT35G2D6FSXWXJV7"
IDENTITY = Identity._of(x25519.Identity.from_str(SECRET))
KEYS = Keys(
    trusted=(KEY.trusted,),
    signing=KEY,
    recipients=(IDENTITY.recipient,),
    identities=(IDENTITY,),
)
RUN = "snapshot-20261125T120000Z-k3x9"
OLD, SHARED, NEW, UNFINISHED = (word * 40 for word in (b"old\n", b"both\n", b"new\n", b"half\n"))


def make(folder: Path) -> None:
    """Make the golden repository in an empty folder."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as state:
        site = Site(Path(state), KEYS, LocalStore(folder))
        first = site.snapshot([OLD, SHARED])
        repository = site.repository()
        with writing(repository, "snapshot-20261124T120000Z-k3x9") as work:
            parts = (first.archive.parts[1], *put(work, [NEW], repository))
            second = manifest_of(repository, parts, later(1))
            commit(work, second)
        for manifest in (first, second):
            entry = repository.snapshots.find(manifest.snapshot)
            examine(repository, entry)
            record(repository, entry, Examination.READ_BACK, ())
        with suppress(KeyboardInterrupt), writing(repository, RUN) as work:
            put(work, [UNFINISHED], repository)
            raise KeyboardInterrupt


def load() -> MemoryStore:
    """Return a copy of the golden repository, to be damaged."""
    store = MemoryStore()
    for path in sorted(GOLDEN.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(GOLDEN).as_posix(), path.read_bytes())
    return store


if __name__ == "__main__":
    make(Path(sys.argv[1]))
