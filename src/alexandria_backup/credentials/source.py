"""The port to a place that may hold a DSN, and the rule by which one of several is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alexandria_backup.errors import CredentialsNotFound, DsnInvalid
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.secret import Secret


class DsnSource(Protocol):
    """A place that may hold a DSN. Asking twice is fine; nothing is kept."""

    @property
    def name(self) -> str:
        """What to call it in a message, such as `the variable ALEXANDRIA_DSN`."""
        ...

    def configured(self) -> bool:
        """Tell whether the operator has named this place; never fails."""
        ...

    def find(self) -> Secret:
        """Return what the place holds. Raises CredentialsNotFound, naming the place."""
        ...


@dataclass(frozen=True, kw_only=True)
class FoundDsn:
    """A DSN and where it was found."""

    dsn: Dsn
    source: str


def find_dsn(sources: Sequence[DsnSource]) -> FoundDsn:
    """Return the DSN of the first source that is configured.

    One that is configured and fails stops the search: falling through could lead to another
    database. Raises CredentialsNotFound, or DsnInvalid for what is no DSN, naming the place.
    """
    for source in sources:
        if source.configured():
            try:
                return FoundDsn(dsn=Dsn.parse(source.find()), source=source.name)
            except DsnInvalid as error:
                raise DsnInvalid(f"{source.name}: {error.message}", hint=error.hint) from None
    looked = "; ".join(source.name for source in sources)
    raise CredentialsNotFound(
        f"no DSN was found; looked at: {looked}",
        hint="export ALEXANDRIA_DSN='postgresql://USER:PASSWORD@HOST/DATABASE'   # or --dsn-file",
    )
