"""Prune a repository in a process of its own, to be killed at any moment."""

import sys
from datetime import timedelta
from pathlib import Path

from repository_support import Site

from alexandria_backup.events import discard
from alexandria_backup.repository.prune import prune
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.storage.local import LocalStore

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    site = Site(folder, store=LocalStore(folder / "repository"), made=False)
    repository = site.repository()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    prune(
        repository,
        KeepRules(last=2),
        grace=timedelta(milliseconds=20),
        confirm=lambda _: None,
        emit=discard,
    )
