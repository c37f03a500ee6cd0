"""Roles in the SQL that pg_dump writes for privileges, policies, user mappings: read, renamed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from alexandria_backup.errors import ArchiveDamaged

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<string>[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')
  | (?P<dollar>\$(?P<label>(?:[^\W\d]\w*)?)\$.*?\$(?P=label)\$)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<other>\d+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NOT_ROLES: Final = frozenset({"PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"})


class _Token(NamedTuple):
    #: The keyword or character, in upper case; None for a quoted name.
    keyword: str | None
    #: The name that it is, if it is one.
    name: str | None
    #: Where it begins and ends.
    span: tuple[int, int]


def roles_in(sql: str) -> set[str]:
    """Return the roles that the statements of one entry name; PUBLIC is none.

    Understood are GRANT and REVOKE, ALTER DEFAULT PRIVILEGES, SET SESSION AUTHORIZATION,
    CREATE POLICY and CREATE USER MAPPING. Keywords that pg_dump uses as names are quoted there, so
    an unquoted TO or FROM is the keyword.
    """
    return {token.name for token in _role_tokens(sql) if token.name is not None}


def with_roles(sql: str, names: Mapping[str, str]) -> str:
    """Return the same statements with other roles in the place of those that `names` has."""
    pieces: list[str] = []
    at = 0
    for token in sorted(_role_tokens(sql), key=lambda token: token.span):
        if token.name is not None and token.name in names:
            begin, end = token.span
            pieces += [sql[at:begin], _quoted(names[token.name])]
            at = end
    return "".join((*pieces, sql[at:]))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _role_tokens(sql: str) -> Iterator[_Token]:
    for statement in _statements(sql):
        yield from _roles_of(statement)


def _roles_of(tokens: Sequence[_Token]) -> Iterator[_Token]:
    keywords = [token.keyword for token in tokens]
    if keywords[:3] == ["SET", "SESSION", "AUTHORIZATION"]:
        yield from _list(tokens[3:])
    elif keywords[:3] == ["CREATE", "USER", "MAPPING"]:
        yield from _after(tokens, "FOR")
    elif keywords[:2] == ["CREATE", "POLICY"]:
        yield from _after(tokens, "TO")
    elif keywords[:3] == ["ALTER", "DEFAULT", "PRIVILEGES"]:
        yield from _after_role(tokens)
        yield from _after(tokens, "TO")
        yield from _after(tokens, "FROM")
    elif keywords[:1] == ["GRANT"]:
        yield from _after(tokens, "TO")
    elif keywords[:1] == ["REVOKE"]:
        yield from _after(tokens, "FROM")


def _after(tokens: Sequence[_Token], keyword: str) -> Iterator[_Token]:
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.keyword == "(") - (token.keyword == ")")
        if depth == 0 and token.keyword == keyword:
            yield from _list(tokens[index + 1 :])
            return


def _after_role(tokens: Sequence[_Token]) -> Iterator[_Token]:
    for index, token in enumerate(tokens[:-1]):
        if token.keyword == "FOR" and tokens[index + 1].keyword in ("ROLE", "USER"):
            yield from _list(tokens[index + 2 :])
            return


def _list(tokens: Sequence[_Token]) -> Iterator[_Token]:
    # The list ends where no comma follows. What follows cannot be told by its word: a role may be
    # called `server` or `granted`, and pg_dump does not quote these.
    waiting = iter(token for token in tokens if token.keyword != "GROUP")
    for token in waiting:
        if token.name is not None and token.keyword not in _NOT_ROLES:
            yield token
        comma = next(waiting, None)
        if comma is None or comma.keyword != ",":
            return


def _statements(sql: str) -> Iterator[list[_Token]]:
    statement: list[_Token] = []
    for match in _TOKEN.finditer(sql):
        if match["space"] is not None:
            continue
        if match["other"] == ";":
            yield statement
            statement = []
        else:
            statement.append(_token(match))
    yield statement


def _token(match: re.Match[str]) -> _Token:
    if (quoted := match["quoted"]) is not None:
        name = quoted[1:-1].replace('""', '"')
        if not name:
            raise ArchiveDamaged("a name in the privileges of the archive is empty")
        return _Token(None, name, match.span())
    if (word := match["word"]) is not None:
        # An unquoted name is in lower case already; only a keyword is not.
        return _Token(word.upper(), word.lower(), match.span())
    return _Token(match["other"], None, match.span())
