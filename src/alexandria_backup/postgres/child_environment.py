"""The environment of PostgreSQL's programs: where to connect, and nothing of ours besides.

Nothing of a DSN enters a command line, and no secret enters a variable. What libpq needs stands in
a service file, the password in a password file, both readable by this user only and gone with the
program.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.errors import DsnInvalid
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import (
    KEEPALIVES,
    RENDERING,
    application_name,
    later_limits,
    options,
)

#: The argument that makes libpq read the service file.
DATABASE_ARGUMENT = "--dbname=service=alexandria"
_SERVICE = "alexandria"
#: How the folder of one program begins; the number of the process that made it follows.
_FOLDER = "alexandria-child-"
#: What a program may need from us: to find libraries and certificates, and to use Kerberos.
_KEPT = frozenset(
    {"HOME", "KRB5CCNAME", "KRB5_CONFIG", "LD_LIBRARY_PATH", "LOGNAME", "OPENSSL_CONF", "PATH",
     "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "USER"}
)  # fmt: skip
#: These go into variables, where white space at the ends is kept, or are decided by us.
_NOT_IN_SERVICE = frozenset(
    {"dbname", "user", "options", "application_name", "fallback_application_name",
     "client_encoding", "password", "replication"}
)  # fmt: skip
_PINNED: Mapping[str, str] = {
    **RENDERING,
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
#: libpq reads a line of a service file into 1024 bytes.
_LINE_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class ChildEnvironment:
    """What a program of PostgreSQL's is started with."""

    #: All variables: nothing is inherited besides.
    variables: Mapping[str, str]


@contextmanager
def child_environment(
    dsn: Dsn, *, purpose: str, server_major: int | None = None
) -> Iterator[ChildEnvironment]:
    """Make the files for one program; they are removed when the block ends.

    Where the server's version is known, more of the limits that an administrator sets are lifted.
    Raises DsnInvalid for values that such a file cannot hold, such as a password with a line break.
    """
    sweep_leftovers()
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-") as name:
        folder = Path(name)
        variables = {key: os.environ[key] for key in _KEPT if key in os.environ}
        variables |= {
            # The programs' own messages are read, so they must be in English.
            "LC_ALL": "C",
            "PGSERVICEFILE": str(_private(folder / "service", _service_file(dsn))),
            "PGDATABASE": dsn.database,
            "PGAPPNAME": application_name(purpose),
            "PGOPTIONS": options(
                dsn.parameters().get("options", ""), {**_PINNED, **later_limits(server_major)}
            ),
            "PGTZ": "UTC",
        }
        if dsn.user is not None:
            variables["PGUSER"] = dsn.user
        if dsn.password is not None:
            password_file = _private(folder / "password", _password_file(dsn.password.reveal()))
            variables["PGPASSFILE"] = str(password_file)
        yield ChildEnvironment(variables=variables)


def sweep_leftovers() -> None:
    """Remove the folders of processes of this user that were killed: they hold a password."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        try:
            if not pid.isdigit() or folder.lstat().st_uid != os.geteuid():
                continue
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _service_file(dsn: Dsn) -> str:
    values = {**KEEPALIVES, "connect_timeout": "10", **dsn.parameters()}
    values |= {name: secret.reveal() for name, secret in dsn.secrets.items()}
    if dsn.password is not None:
        # The password file of the DSN would go before ours.
        values.pop("passfile", None)
    lines = [f"[{_SERVICE}]"]
    for name, value in values.items():
        if name in _NOT_IN_SERVICE:
            continue
        line = f"{name}={value}"
        if line != line.strip() or not _is_one_line(line) or len(line.encode()) > _LINE_LIMIT:
            raise DsnInvalid(f"the DSN's `{name}` cannot be handed to PostgreSQL's programs")
        lines.append(line)
    return "\n".join((*lines, ""))


def _password_file(password: str) -> str:
    if not _is_one_line(password):
        raise DsnInvalid(
            "a password with a line break cannot be handed to PostgreSQL's programs",
            hint="give the role another password",
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _is_one_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text


def _private(path: Path, content: str) -> Path:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(content)
    return path
