"""Where bundles are read from, and what opens sealed ones."""

from contextlib import AbstractContextManager
from pathlib import Path

from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.source import BundleSource, file_source, object_source
from alexandria_backup.errors import WrongKey
from alexandria_backup.runbooks.bundle_lock import only_restore
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.storage.locate import split_location
from alexandria_backup.wiring.rooms import Rooms


def open_bundle(rooms: Rooms, name: str) -> OpenedBundle:
    """Return the bundle at a path or a URL."""
    return OpenedBundle(lambda: _source(rooms, name))


def bundle_identities(rooms: Rooms) -> tuple[Identity, ...]:
    """Return what opens sealed bundles; WrongKey where nothing is set."""
    file = rooms.settings.encryption.identity_file
    if file is None:
        raise WrongKey(
            "the bundle is sealed, and no identity is set to open it with",
            hint="set `encryption.identity_file`",
        )
    return Identity.load_all(file)


def restore_lock(rooms: Rooms) -> AbstractContextManager[None]:
    """Return what keeps other restores of bundles away from this machine."""
    # Looking at what is in it makes the folder, for its owner alone.
    next(iter(rooms.state.list(recursive=False)), None)
    return only_restore(rooms.settings.state_dir)


def _source(rooms: Rooms, name: str) -> BundleSource:
    if "://" not in name or name.startswith("file:"):
        return file_source(Path(name).expanduser(), lambda: bundle_identities(rooms))
    location, member = split_location(name)
    return object_source(rooms.store(location), member, lambda: bundle_identities(rooms))
