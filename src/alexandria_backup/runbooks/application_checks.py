"""The queries of `[application] checks`, asked whenever the application was started again."""

from collections.abc import Iterator
from dataclasses import dataclass

from alexandria_backup.errors import AlexandriaError
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.servers import Servers


@dataclass(frozen=True, kw_only=True)
class ApplicationChecks:
    """Statements that return true if the data that the application has now are good."""

    servers: Servers
    checks: CheckQueries

    def failed(self, database: str) -> Iterator[str]:
        """Yield one sentence per query that is not true in the database of this name.

        Raises nothing: the application runs by then, and what cannot be asked is only to be told.
        """
        try:
            for name, problem in self.checks.problems(
                lambda: self.servers.session(database, "checks")
            ):
                yield f"with the application running, `{name}` {problem}"
        except AlexandriaError as error:
            yield f"with the application running, a check failed: {error.message}"
