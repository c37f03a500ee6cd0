"""Where a typed path or URL leads to: a store, and a name in it."""

from pathlib import Path

from alexandria_backup.storage.locate import split_location


def target(file: str) -> tuple[str, str | None]:
    """Return store and name of `--file` or `--output`; no name where it is a folder or a prefix."""
    if file.endswith("/") or Path(file).is_dir():
        return absolute((file, ""))[0], None
    return absolute(split_location(file))


def absolute(location: tuple[str, str]) -> tuple[str, str]:
    """Make a path absolute: a journal must mean the same place from every folder."""
    store, name = location
    is_path = "://" not in store and not store.startswith("memory:")
    return (str(Path(store).expanduser().absolute()) if is_path else store), name
