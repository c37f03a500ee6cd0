"""A DSN: where the database is and who asks, with the password kept apart from all that is shown.

Both forms of libpq are understood, by libpq's own parser: the URL form and the keyword form
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from alexandria_backup.errors import DsnInvalid
from alexandria_backup.secret import REDACTED, Secret

#: Parameters that are secrets; the rest may be shown.
SECRET_PARAMETERS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
#: What the environment says of these is not taken: the service is resolved, the others are ours.
_NOT_INHERITED = frozenset({"service", "options", "application_name", "client_encoding"})

#: From how many characters on a secret is replaced wherever it stands, and where it is a word.
_REDACTED_ANYWHERE = 8
_REDACTED_AS_WORD = 4
_HINT = "write `postgresql://USER@HOST:PORT/DATABASE`, with special characters percent-encoded"
#: libpq quotes the text in its messages, so none of them is passed on: only what they mean.
_REASONS = (
    ("unterminated quoted string", "a quote is not closed"),
    ("percent-encoded", "a `%` is not followed by two hexadecimal digits"),
    ("forbidden value %00", "`%00` is not allowed"),
    ("IPv6", "an IPv6 address is not closed by `]`"),
    ("invalid URI query parameter", "it has a parameter after `?` that libpq does not know"),
    ("invalid connection option", "it has a parameter that libpq does not know"),
    ('missing "="', "it is neither a URL nor made of `keyword=value`"),
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Dsn:
    """A DSN that was understood; `str` and `repr` never show its secrets.

    Made by `parse` only. What libpq would take from `PG*` variables, or from the service that
    `PGSERVICE` names, is taken when it is parsed, so that our own sessions and the client tools,
    which run in a clean environment, reach the same server as the same role.
    """

    _shown: tuple[tuple[str, str], ...]
    _secrets: tuple[tuple[str, Secret], ...]

    @classmethod
    def parse(cls, text: Secret) -> "Dsn":
        """Understand `text`; white space around it does not count.

        Raises DsnInvalid, which says what is wrong in words that hold nothing of the text.
        """
        given = text.reveal().strip()
        if not given:
            raise DsnInvalid("the DSN is empty", hint=_HINT)
        values = _parsed(given)
        _refuse_misread(given, values)
        if not values.get("user"):
            # Empty counts as absent here; elsewhere it keeps a variable from being taken.
            values.pop("user", None)
        return cls._of({**_inherited(), **values})

    @classmethod
    def _of(cls, values: Mapping[str, str]) -> "Dsn":
        items = sorted(values.items())
        return cls(
            _shown=tuple(item for item in items if item[0] not in SECRET_PARAMETERS),
            _secrets=tuple(
                (key, Secret(value)) for key, value in items if value and key in SECRET_PARAMETERS
            ),
        )

    @property
    def host(self) -> str | None:
        """The host, a folder of Unix sockets, or several with commas; None means libpq's own."""
        return self.parameters().get("host") or None

    @property
    def port(self) -> str | None:
        """The port, or several with commas; None means libpq's own, 5432."""
        return self.parameters().get("port") or None

    @property
    def user(self) -> str | None:
        """The role; None only where the operating system has no name for the user either."""
        return self.parameters().get("user") or None

    @property
    def database(self) -> str:
        """The database; as in libpq, the role's name where none is given."""
        return self.parameters().get("dbname") or self.user or ""

    @property
    def password(self) -> Secret | None:
        """The password, or None where the DSN has none."""
        return dict(self._secrets).get("password")

    @property
    def secrets(self) -> Mapping[str, Secret]:
        """Every secret parameter, by libpq's name."""
        return MappingProxyType(dict(self._secrets))

    def parameters(self) -> Mapping[str, str]:
        """Return libpq's parameters without the secret ones."""
        return MappingProxyType(dict(self._shown))

    def with_database(self, name: str) -> "Dsn":
        """Return the same DSN for another database of the server."""
        return Dsn._of({**self._revealed(), "dbname": name})

    def with_settings(self, settings: Mapping[str, str]) -> "Dsn":
        """Return the same DSN for sessions that begin with these parameters of the server."""
        given = self.parameters().get("options", "")
        words = (f"-c {name}={option_value(text)}" for name, text in settings.items())
        options = " ".join(filter(None, (given, *words)))
        return Dsn._of({**self._revealed(), "options": options}) if options else self

    def conninfo(self) -> Secret:
        """Return the keyword form with all secrets: for psycopg."""
        return Secret(make_conninfo(**self._revealed()))

    def redact(self, text: str) -> str:
        """Return `text` with every secret of this DSN replaced by `***`.

        A short one is replaced where it is a word of its own, and a very short one only where a
        DSN has it: it would deface every name and sentence that holds those letters.
        """
        for _, secret in self._secrets:
            text = _redacted(text, secret)
        return text

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"postgresql://{user}{_authority(self)}/{quote(self.database, safe='')}"

    def __repr__(self) -> str:
        return f"Dsn({self})"

    def _revealed(self) -> dict[str, str]:
        return {**dict(self._shown), **{key: secret.reveal() for key, secret in self._secrets}}


def _redacted(text: str, secret: Secret) -> str:
    value = re.escape(secret.reveal())
    if len(secret.reveal()) >= _REDACTED_ANYWHERE:
        return secret.redact(text)
    # As in `postgresql://user:secret@host`, `password=secret` and `password='secret'`.
    in_a_dsn = rf"(?<=:){value}(?=@)|(?<==){value}(?=[\s&;`,]|$)|(?<==\'){value}(?=\')"
    text = re.sub(in_a_dsn, REDACTED, text)
    if len(secret.reveal()) >= _REDACTED_AS_WORD:
        text = re.sub(rf"(?<!\w){value}(?!\w)", REDACTED, text)
    return text


def option_value(value: str) -> str:
    """Return a value as libpq's `options` have it."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _parsed(given: str) -> dict[str, str]:
    if "\0" in given:
        raise DsnInvalid("the DSN holds a NUL byte", hint=_HINT)
    if given.startswith(("postgresql+", "postgres+", "jdbc:")):
        scheme = "jdbc:" if given.startswith("jdbc:") else "a driver's name after `postgresql+`"
        raise DsnInvalid(f"the DSN begins with {scheme}, which libpq does not know", hint=_HINT)
    try:
        found = conninfo_to_dict(given)
    except (ProgrammingError, UnicodeError) as error:
        # Not `from error`: libpq's message quotes the text.
        raise DsnInvalid(f"the DSN is malformed: {_reason(str(error))}", hint=_HINT) from None
    return {key: str(value) for key, value in found.items() if value is not None}


def _reason(message: str) -> str:
    return next((reason for sign, reason in _REASONS if sign in message), "libpq refuses it")


def _refuse_misread(given: str, values: Mapping[str, str]) -> None:
    """Refuse what libpq accepts but misreads, so that half a password would become a host name."""
    if values.get("service"):
        raise DsnInvalid(
            "the DSN names a `service`", hint="write its parameters out, or set PGSERVICE"
        )
    if given.startswith(("postgresql://", "postgres://")):
        before_query = given.partition("://")[2].partition("?")[0]
        after_slash = before_query.partition("/")[2]
        if "@" in values.get("host", "") or "@" in after_slash:
            raise DsnInvalid(
                "the DSN has an `@` where none can be; "
                "is there an `@` or a `/` in the password that is not percent-encoded",
                hint="write `@` in a password as `%40` and `/` as `%2F`",
            )
    ports = values.get("port", "").split(",")
    if not all(port.isascii() and port.isdigit() for port in ports if port):
        raise DsnInvalid(
            "the DSN has a port that is not a number; "
            "is there a `:` or a `/` in the password that is not percent-encoded",
            hint="write `:` in a password as `%3A` and `/` as `%2F`",
        )


def _inherited() -> dict[str, str]:
    """Return what libpq takes from the environment, and the role that it takes by default."""
    from_service = bool(os.environ.get("PGSERVICE"))
    found: dict[str, str] = {}
    for option in Conninfo.get_defaults():
        keyword = option.keyword.decode()
        if option.val is None or keyword in _NOT_INHERITED:
            continue
        is_set = option.envvar is not None and bool(os.environ.get(option.envvar.decode()))
        if is_set or from_service or keyword == "user":
            found[keyword] = option.val.decode()
    return found


def _authority(dsn: Dsn) -> str:
    """Return hosts and ports as a URL has them: `h1:p1,h2:p2`."""
    parameters = dsn.parameters()
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    ports = (dsn.port or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    pairs = zip(hosts, ports, strict=False)
    return ",".join(_host(host) + (f":{port}" if port else "") for host, port in pairs)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and "/" not in host else quote(host, safe="")
