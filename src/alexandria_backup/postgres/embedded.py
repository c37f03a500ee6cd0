"""A PostgreSQL server of our own, for the demo and the tests.

`EmbeddedServer` runs `initdb` and `postgres` in a folder of the caller's choice. The server listens
on a Unix socket in a private folder, and nowhere else unless a port is asked for. It dies with the
process that started it, also when that is killed: see `embedded_guard`. Started by root, it runs as
`nobody`: see `embedded_place`.
"""

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from alexandria_backup.postgres.binaries import embedded_binaries
from alexandria_backup.postgres.embedded_link import GuardLink
from alexandria_backup.postgres.embedded_place import Place, find_place, hand_over
from alexandria_backup.secret import Secret

#: The first version with a locale provider that is the same everywhere.
_BUILTIN_LOCALE = 17
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
#: Names the socket where no port is asked for.
_DEFAULT_PORT = 5432
#: Seconds that each of these may take: `initdb`, a start with recovery, a shutdown.
_PATIENCE = 120.0


class EmbeddedServer:
    """A running PostgreSQL server; a context manager that stops it.

    The folder given to `start` holds `data` and `postgres.log` afterwards, and a later `start` in
    the same folder goes on with that data. Not to be shared between threads.
    """

    def __init__(
        self,
        *,
        place: Place,
        bin_dir: Path,
        log_file: Path,
        command: list[str],
        port: int,
        superuser: str,
        password: Secret | None,
        discard: Path | None,
    ) -> None:
        #: The programs' folder: `psql`, `pg_dump` and the like of the server's own version.
        self.bin_dir = bin_dir
        #: What server and `initdb` said.
        self.log_file = log_file
        #: The port of the socket's name, and of 127.0.0.1 where one was asked for.
        self.port = port
        self._place = place
        self._command = command
        self._superuser = superuser
        self._password = password
        self._discard = discard
        self._guard = GuardLink(place, log_file, discard=discard)
        self._stopped = False

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        major: int = 18,
        settings: Mapping[str, str] = _NO_SETTINGS,
        listen_port: int | None = None,
        binaries: Path | None = None,
        superuser: str = "postgres",
        password: Secret | None = None,
        throwaway: bool = False,
    ) -> Self:
        """Start a server and return when it accepts connections.

        `settings` go to the server's command line. Without `password` the socket trusts whoever can
        reach it, which is the caller's user only; with one, and on `listen_port` always, the server
        asks for it (SCRAM). A password set when the data was made stays. `binaries` is another
        installation's program folder, and then decides the version. A `throwaway` server takes
        `folder` along when it ends, also where this process is killed.

        Raises `ClientToolsMissing` where there are no programs, `PrecheckRefused` where the folder
        cannot be used, and `ClientToolFailed`, with the end of the log, where the server ends.
        """
        bin_dir = binaries or embedded_binaries(major)
        place = find_place(folder.absolute(), bin_dir)
        port = _DEFAULT_PORT if listen_port is None else listen_port
        options = {
            **settings,
            "listen_addresses": "" if listen_port is None else "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(place.socket),
        }
        server = cls(
            place=place,
            bin_dir=bin_dir,
            log_file=folder.absolute() / "postgres.log",
            command=[
                str(place.programs / "postgres"),
                *("-D", str(place.data)),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            port=port,
            superuser=superuser,
            password=password,
            discard=folder.absolute() if throwaway else None,
        )
        try:
            if not (place.data / "PG_VERSION").exists():
                server._initialise()
            server._launch()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def data_dir(self) -> Path:
        """The data folder; while a server of root's runs, it may lie outside the given folder."""
        return self._place.home if self._stopped else self._place.data

    @property
    def major(self) -> int:
        """The major version."""
        return int((self.data_dir / "PG_VERSION").read_text())

    @property
    def pid(self) -> int | None:
        """The postmaster's process, or None while it does not run."""
        return self._guard.running()

    def conninfo(self, database: str = "postgres", *, user: str | None = None) -> Secret:
        """Return a keyword connection string for the socket.

        It carries the superuser's password where there is one, unless another user is named.
        """
        words = {
            "host": str(self._place.socket),
            "port": str(self.port),
            "dbname": database,
            "user": user or self._superuser,
        }
        if self._password is not None and user in {None, self._superuser}:
            words["password"] = self._password.reveal()
        return Secret(" ".join(f"{key}={_quoted(value)}" for key, value in words.items()))

    def stop(self) -> None:
        """End all sessions, shut down cleanly, remove the private folder; the data stays.

        A throwaway server is ended at once, and nothing of it stays.

        Doing it twice equals doing it once.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            # What is thrown away needs no checkpoint: the guard ends it at once.
            if self._discard is None and self._guard.running() is not None:
                self._shut_down(signal.SIGINT)
        finally:
            self._guard.end()

    def crash(self) -> None:
        """End everything at once without a checkpoint; `restart` then recovers from the WAL."""
        if self._guard.running() is not None:
            self._shut_down(signal.SIGQUIT)

    def restart(self) -> None:
        """Shut down cleanly, if it runs, and start again; connection strings stay good."""
        if self._guard.running() is not None:
            self._shut_down(signal.SIGINT)
        self._launch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _shut_down(self, how: signal.Signals) -> None:
        self._guard.signal(how)
        if self._guard.poll(_PATIENCE) is None:
            raise self._guard.failure(f"the embedded server did not stop in {_PATIENCE:.0f} s")

    def _initialise(self) -> None:
        place = self._place
        command = [
            str(place.programs / "initdb"),
            *("--pgdata", str(place.data), "--username", self._superuser),
            *("--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync"),
            "--auth-local=" + ("trust" if self._password is None else "scram-sha-256"),
            "--auth-host=scram-sha-256",
        ]
        if _major_of(self.bin_dir) >= _BUILTIN_LOCALE:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._password is not None:
            password_file = place.private / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(self._password.reveal())
            hand_over(password_file, place.account)
            command += ["--pwfile", str(password_file)]
        self._guard.run(command)
        status = self._guard.poll(_PATIENCE)
        if status != 0:
            raise self._guard.failure(f"`initdb` ended with status {status}")
        if self._password is not None:
            (place.private / "password").unlink()

    def _launch(self) -> None:
        pid = self._guard.run(self._command)
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready(pid):
            if self._guard.poll(0.02) is not None:
                raise self._guard.failure("the embedded server ended while it started")
            if time.monotonic() > deadline:
                raise self._guard.failure(f"the embedded server was not ready in {_PATIENCE:.0f} s")

    def _is_ready(self, pid: int) -> bool:
        """Read `postmaster.pid`: line 1 is the process, line 8 its state since PostgreSQL 10."""
        try:
            lines = (self._place.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _major_of(programs: Path) -> int:
    """Read the version from the program itself: `postgres (PostgreSQL) 18.4`."""
    told = subprocess.run(
        [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return int(told.stdout.split()[2].split(".")[0])


def _quoted(value: str) -> str:
    """Quote a value for a keyword connection string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
