"""What the settings keep out of bundles: patterns, models, secrets, and this program's own keys."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from alexandria_backup.bundle.exclusions import OWN_KEY, Exclusions, inodes_of
from alexandria_backup.settings.model import Settings

_SECRET: Final = "declared secret"  # noqa: S105 - a reason, not a secret


def exclusions(settings: Settings, *, redact: bool, models: bool, output: str) -> Exclusions:
    """Return what a bundle to `output` leaves out.

    The private keys of this program never go in, under whatever name: a bundle that holds what
    opens it is not sealed, and who has the signing key can forge it. The files of DSNs and of the
    audit key belong to the application, which needs them; they are secrets and go with `redact`.
    """
    own = tuple(_set((settings.signing.key_file, settings.encryption.identity_file)))
    inodes = inodes_of(own, OWN_KEY)
    inodes |= inodes_of([settings.state_dir], "this program's own journals")
    patterns = dict(_patterns(settings, models=models, output=output))
    if redact:
        patterns |= dict.fromkeys(settings.bundle.secrets, _SECRET)
        database = settings.database
        secrets = (database.dsn_file, database.admin_dsn_file, settings.audit.key_file)
        inodes |= inodes_of(_set(secrets), _SECRET)
    return Exclusions(patterns=patterns, inodes=inodes, contents=frozenset(_contents(own)))


def _patterns(settings: Settings, *, models: bool, output: str) -> Iterator[tuple[str, str]]:
    for pattern in settings.bundle.exclude:
        yield pattern, f"`bundle.exclude` has `{pattern}`"
    if not models:
        for pattern in settings.bundle.model_patterns:
            yield pattern, f"a model: `bundle.model_patterns` has `{pattern}`"
    if output.startswith("/"):
        folder, name = Path(output).parent, Path(output).name
        yield glob.escape(output), "the bundle itself"
        yield glob.escape(f"{folder}/{name[:48]}") + ".*.part", "the bundle itself"


def _contents(keys: Iterable[Path]) -> Iterator[bytes]:
    """Give what copies of the keys would hold."""
    for path in keys:
        if path.is_file():
            yield path.read_bytes()


def _set(paths: Iterable[Path | None]) -> Iterator[Path]:
    return (path for path in paths if path is not None)
