"""The queries that an operator wants asked of data: `[application] checks` and `[drill] checks`.

They are somebody else's words. Each is one query, is asked in a session and a read-only transaction
of its own, and has a time limit: none can change what the next one sees, or hold up a rescue.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import ConnectionLost, SettingsInvalid, StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.sqlstates import QUERY_CANCELED, SYNTAX_ERROR

#: Classes of SQLSTATEs by which no answer is told: resources, an operator's intervention, system.
_TROUBLE: Final = frozenset({"53", "57", "58"})


@dataclass(frozen=True, kw_only=True)
class CheckQueries:
    """Queries that return true if the data are good."""

    #: By name; a statement of `[application] checks` is its own name.
    queries: Mapping[str, str]
    #: Seconds that each may take; 0 means without end.
    timeout_s: float

    def refuse_mistakes(self, session: Session) -> None:
        """Raise SettingsInvalid for what is not one SQL statement; nothing is run.

        Any database will do: names are not looked up.
        """
        for name, query in self.queries.items():
            try:
                session.parse(query)
            except ConnectionLost:
                raise
            except StatementFailed as error:
                if error.sqlstate == SYNTAX_ERROR:
                    raise SettingsInvalid(
                        f"the check `{name}` is not one SQL query: {error.message}",
                        hint="see `[drill] checks` and `[application] checks` in the settings: one "
                        "query each, without `;` in between",
                    ) from error

    def problems(self, opened: Callable[[], Session]) -> Iterator[tuple[str, str]]:
        """Yield the name of each query that has failed, and what was wrong with the answer.

        One has passed where it returns exactly one row whose first column is true. Raises
        StatementFailed where the server is in trouble or gives no answer in time: nobody knows
        then.
        """
        for name, query in self.queries.items():
            with opened() as session:
                problem = self._problem(session, name, query)
            if problem is not None:
                yield name, problem

    def _problem(self, session: Session, name: str, query: str) -> str | None:
        try:
            with session.transaction(read_only=True):
                limit = f"{round(self.timeout_s * 1000)}ms"
                session.execute("SELECT set_config('statement_timeout', %s, true)", (limit,))
                rows = session.ask(query)
        except ConnectionLost:
            raise
        except StatementFailed as error:
            if error.sqlstate == QUERY_CANCELED:
                raise StatementFailed(
                    f"the check `{name}` gave no answer within {self.timeout_s:g} s: "
                    f"{error.message}",
                    sqlstate=error.sqlstate,
                    hint="raise `[application] checks_timeout_s`, or ask something quicker",
                ) from error
            if error.sqlstate is not None and error.sqlstate[:2] in _TROUBLE:
                raise
            return f"was refused: {error.message}"
        if len(rows) != 1:
            return f"returned {len(rows):,} rows, and one is expected"
        # A query may have no column at all.
        if rows[0][:1] != (True,) or not isinstance(rows[0][0], bool):
            return "did not return true"
        return None
