"""PostgreSQL's own programs: which to use for a server, and how to run them so that none lies."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from alexandria_backup.errors import ClientToolFailed, ClientToolsMissing
from alexandria_backup.postgres.binaries import embedded_binaries, embedded_majors
from alexandria_backup.postgres.child_environment import DATABASE_ARGUMENT, child_environment
from alexandria_backup.postgres.child_process import ChildProcess, running
from alexandria_backup.postgres.dsn import Dsn

#: Where packages put them: Debian and Ubuntu, PGDG on Red Hat, Homebrew, Postgres.app.
_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_NEEDED = ("pg_dump", "pg_restore")
#: Debian's /usr/bin/pg_dump: a script that chooses a version by itself.
_WRAPPER = "pg_wrapper"
_VERSION = re.compile(r"\) ((\d+)\S*)")
_CHUNK = 256 * 1024
#: The first version whose pg_restore sets a timeout that older servers do not know.
_SETS_TRANSACTION_TIMEOUT = 17
_STOP_AT_ERRORS = frozenset({"-e", "--exit-on-error"})


@dataclass(frozen=True, kw_only=True)
class ClientTools:
    """The programs of one installation."""

    bin_dir: Path
    major: int
    #: As the program says it, such as `16.14`.
    version: str
    #: Of the server that they were chosen for; None where they were only found.
    server_major: int | None = None

    @property
    def pg_dump(self) -> Path:
        """The program that writes archives."""
        return self.bin_dir / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """The program that reads them."""
        return self.bin_dir / "pg_restore"

    @property
    def pg_dumpall(self) -> Path:
        """The program that dumps roles; may be missing."""
        return self.bin_dir / "pg_dumpall"


def find_client_tools(
    server_major: int,
    *,
    configured: Path | None = None,
    places: Sequence[Path] | None = None,
) -> ClientTools:
    """Return the programs for a server of this major version.

    Looked at are the folder that is `configured`, and nothing else, or else `places`: by default
    PATH, where packages install them, and the embedded ones. The server's own version goes first,
    the next newer one second, an older one never: pg_dump refuses a newer server. Raises
    ClientToolsMissing, which says what was found.
    """
    if configured is not None:
        places = [configured]
    folders = default_places() if places is None else places
    found = [tools for tools in map(installed_in, folders) if tools is not None]
    fitting = [tools for tools in found if tools.major >= server_major]
    if fitting:
        # Of equals, min takes the first.
        best = min(fitting, key=lambda tools: tools.major)
        return replace(best, server_major=server_major)
    others = ", ".join(f"{tools.version} in `{tools.bin_dir}`" for tools in found) or "none"
    where = f" in `{configured}`" if configured is not None else ""
    raise ClientToolsMissing(
        f"no `pg_dump` and `pg_restore` of PostgreSQL {server_major} or newer are installed{where} "
        f"(found: {others})",
        hint=_how_to_install(server_major),
    )


def default_places() -> tuple[Path, ...]:
    """Return the folders that may hold the programs, in the order of preference."""
    path = (Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    packaged = (folder for place in _PLACES for folder in sorted(Path("/").glob(place[1:])))
    embedded = (embedded_binaries(major) for major in embedded_majors())
    return tuple(dict.fromkeys((*path, *packaged, *embedded)))


def installed_in(folder: Path) -> ClientTools | None:
    """Return the programs in a folder; None where they are missing, broken or a wrapper's."""
    folder = folder.absolute()
    versions = set()
    for name in _NEEDED:
        program = folder / name
        if not os.access(program, os.X_OK) or program.resolve().name == _WRAPPER:
            return None
        versions.add(_version_of(program))
    if len(versions) != 1 or None in versions:
        return None
    version = versions.pop() or ""
    return ClientTools(bin_dir=folder, major=int(re.split(r"\D", version)[0]), version=version)


class DumpProcess:
    """A running pg_dump; its output can be read once."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self._at_end = False

    @property
    def chunks(self) -> Iterator[bytes]:
        """Yield the output as it comes; raises ClientToolFailed at its end if pg_dump failed."""
        output = self._child.process.stdout
        if output is None:
            raise AssertionError("a pipe was asked for")
        # Not output.read, which waits until the chunk is full.
        while chunk := os.read(output.fileno(), _CHUNK):
            yield chunk
        self._at_end = True
        self.finish()

    def finish(self) -> None:
        """Raise ClientToolFailed unless all was read and pg_dump ended well; twice is fine."""
        if not self._at_end:
            raise ClientToolFailed(f"the output of `{self._child.name}` was not read to its end")
        status = self._child.wait()
        if status != 0:
            raise self._child.failure(status)

    def cancel(self) -> None:
        """End it from another thread; whoever reads then gets ClientToolFailed."""
        self._child.stop()

    @property
    def messages(self) -> tuple[str, ...]:
        """The last lines that it wrote to its standard error: warnings, where it ended well."""
        return self._child.messages.lines()


@contextmanager
def dump(
    tools: ClientTools, dsn: Dsn, options: Sequence[str] = (), *, purpose: str = "dump"
) -> Iterator[DumpProcess]:
    """Run pg_dump on the database of `dsn`; it is ended with the block.

    A block that ends without an exception before pg_dump has ended well raises ClientToolFailed:
    a part of a dump is none.
    """
    with _writing(tools, tools.pg_dump, dsn, options, purpose=purpose) as process:
        yield process


@contextmanager
def dump_roles(tools: ClientTools, dsn: Dsn) -> Iterator[DumpProcess]:
    """Run pg_dumpall for the roles of the server, without their passwords; see `dump`.

    Managed services forbid the catalogue that holds the passwords, and they are not stored anyway.
    Raises ClientToolsMissing where the installation has no pg_dumpall.
    """
    if not tools.pg_dumpall.exists():
        raise ClientToolsMissing(f"there is no `pg_dumpall` in `{tools.bin_dir}`")
    options = ("--roles-only", "--no-role-passwords")
    with _writing(tools, tools.pg_dumpall, dsn, options, purpose="roles") as process:
        yield process


@contextmanager
def _writing(
    tools: ClientTools, program: Path, dsn: Dsn, options: Sequence[str], *, purpose: str
) -> Iterator[DumpProcess]:
    with (
        child_environment(dsn, purpose=purpose, server_major=tools.server_major) as environment,
        running(
            [str(program), *options, "--no-password", DATABASE_ARGUMENT],
            variables=environment.variables,
            redact=dsn.redact,
            writes=True,
        ) as child,
    ):
        process = DumpProcess(child)
        yield process
        process.finish()


def restore(
    tools: ClientTools,
    dsn: Dsn,
    source: Path | Iterable[bytes],
    options: Sequence[str] = (),
    *,
    server_major: int,
    purpose: str = "restore",
) -> None:
    """Run pg_restore into the database of `dsn`; parallel jobs need a `source` that is a file.

    Raises ClientToolFailed at any error but one: pg_restore 17 and later sets
    `transaction_timeout`, which servers of 16 and earlier do not know. There `--exit-on-error` is
    taken away, as it would end the restore at this first statement, and every other error fails
    the restore at its end.
    """
    tolerant = server_major < _SETS_TRANSACTION_TIMEOUT <= tools.major
    if tolerant:
        options = [option for option in options if option not in _STOP_AT_ERRORS]
    command = [str(tools.pg_restore), *options, "--no-password", DATABASE_ARGUMENT]
    if isinstance(source, Path):
        command.append(str(source.absolute()))
    with (
        child_environment(dsn, purpose=purpose, server_major=server_major) as environment,
        running(
            command,
            variables=environment.variables,
            redact=dsn.redact,
            reads=not isinstance(source, Path),
        ) as child,
    ):
        if not isinstance(source, Path):
            _feed(child, source)
        status = child.wait()
        messages = child.messages
        only_timeouts = tolerant and 0 < messages.errors == messages.unknown_timeouts
        if status != 0 and not (status == 1 and only_timeouts):
            raise child.failure(status)


def _feed(child: ChildProcess, source: Iterable[bytes]) -> None:
    pipe = child.process.stdin
    if pipe is None:
        raise AssertionError("a pipe was asked for")
    # Only our own writing: a broken pipe inside `source` is the source's failure.
    for chunk in source:
        try:
            pipe.write(chunk)
        except BrokenPipeError:
            # It has read what it needs, or has failed: its status tells.
            return
    with suppress(BrokenPipeError):
        pipe.close()


def _version_of(program: Path) -> str | None:
    try:
        said = subprocess.run(
            [str(program), "--version"],
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(said.stdout.decode(errors="replace"))
    return match[1] if match and said.returncode == 0 else None


def _how_to_install(major: int) -> str:
    if sys.platform == "darwin":
        return f"brew install postgresql@{major}"
    if Path("/etc/redhat-release").exists():
        return f"dnf install postgresql{major}"
    return f"apt install postgresql-client-{major}"
