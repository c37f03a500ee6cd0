"""DSNs on this machine: in a file, or in the environment."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Emit, Warned
from alexandria_backup.secret import Secret, is_exposed

#: A DSN is never longer; a file that is, was named by mistake.
_LONGEST_BYTES = 64 * 1024
#: A DSN that was given as a path; `Path` has made one slash of two.
_LOOKS_LIKE_A_DSN = re.compile(r"postgres(ql)?(\+\w+)?:/|\b(password|host|user|dbname)\s*=")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSource:
    """A variable that holds the DSN."""

    variable: str
    #: None where it is not set.
    value: Secret | None

    @property
    def name(self) -> str:
        """Name the variable."""
        return f"the variable {self.variable}"

    def configured(self) -> bool:
        """Tell whether it is set; set and empty is a mistake, not an absence."""
        return self.value is not None

    def find(self) -> Secret:
        """Return its value."""
        if not self.value:
            raise CredentialsNotFound(
                f"{self.name} is set and empty", hint=f"unset {self.variable}   # or set it"
            )
        return self.value


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A file that holds the DSN, alone."""

    #: Where the path was given, such as `--dsn-file`.
    given_as: str
    path: Path | None
    #: Told when others can read the file.
    emit: Emit

    @property
    def name(self) -> str:
        """Name the option and the file."""
        if self.path is None or self._holds_a_dsn():
            return self.given_as
        return f"{self.given_as} `{self.path}`"

    def configured(self) -> bool:
        """Tell whether a file was named."""
        return self.path is not None

    def find(self) -> Secret:
        """Return the file's text without the white space around it."""
        if self.path is None:
            raise CredentialsNotFound(f"{self.given_as} names no file")
        try:
            with self.path.open("rb") as file:
                data = file.read(_LONGEST_BYTES + 1)
                found = os.fstat(file.fileno())
        except OSError as error:
            if self._holds_a_dsn():
                # Not `from error`: its text holds the path, and that a password.
                raise CredentialsNotFound(
                    f"{self.given_as} names no file; it seems to hold a DSN itself",
                    hint="write the DSN into a file of mode 0600 and name that file",
                ) from None
            raise CredentialsNotFound(
                f"{self.name} cannot be read: {error.strerror}",
                hint=f"ls -l {shlex.quote(str(self.path))}",
            ) from None
        if len(data) > _LONGEST_BYTES:
            raise CredentialsNotFound(f"{self.name} is too long to hold a DSN")
        try:
            # Some editors begin UTF-8 with a byte order mark.
            text = data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise CredentialsNotFound(f"{self.name} is not UTF-8 text") from None
        if not text:
            raise CredentialsNotFound(
                f"{self.name} is empty", hint=f"ls -l {shlex.quote(str(self.path))}"
            )
        if is_exposed(found):
            self.emit(
                Warned(
                    message=f"{self.name} can be read by other users of this machine",
                    hint=f"chmod 600 {shlex.quote(str(self.path))}",
                )
            )
        return Secret(text)

    def _holds_a_dsn(self) -> bool:
        """Tell whether the DSN itself was given as its file's name: it must not be shown then."""
        return self.path is not None and bool(_LOOKS_LIKE_A_DSN.search(str(self.path)))
