"""How the HMAC of an audit row is computed: as data, named and versioned, never guessed.

The recipe `alexandria-v1`, byte for byte. The HMAC is HMAC-SHA256(key, message), and the message is

1. the domain tag: the 20 bytes `alexandria-audit-v1` and a line feed;
2. the values of `id`, `principal`, `action`, `agent`, `session`, `metadata`, `tenant_id` and
   `created_at`, in this order, each as `00` where it is NULL, or as `01`, its length in bytes as
   an unsigned 32-bit big-endian number, and the bytes themselves in UTF-8;
3. the 32 raw bytes of the previous row's HMAC; 32 zero bytes for the first row.

A table that has no column `tenant_id` counts as one where it is NULL. `json` and `jsonb` enter as
the text the server gives. `created_at` enters as the decimal number of microseconds since
1970-01-01 00:00 UTC (negative before, a `timestamp` without time zone read as UTC), and `infinity`
or `-infinity` as these words. The columns `hmac` and `prev_hmac` hold 64 lower-case hex digits;
`prev_hmac` of the first row is 64 zeros or NULL.

Since each value carries its length, two different rows never have the same message.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from alexandria_backup.audit.encodings import LENGTH_PREFIXED, Encode, encoder
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe_choices import GENESIS_TEXT, Genesis, Previous
from alexandria_backup.audit.timestamps import FORMS, in_form
from alexandria_backup.errors import SettingsInvalid, UsageError

#: Of an HMAC-SHA256.
HMAC_BYTES: Final = 32


class Role(StrEnum):
    """What a column of the audit table is, whatever its name there."""

    ID = "id"
    PRINCIPAL = "principal"
    ACTION = "action"
    AGENT = "agent"
    SESSION = "session"
    METADATA = "metadata"
    TENANT_ID = "tenant_id"
    CREATED_AT = "created_at"
    HMAC = "hmac"
    PREV_HMAC = "prev_hmac"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How rows of one kind of chain are made into messages, and HMACs into text."""

    #: As it stands in the settings.
    name: str
    version: int = 1
    #: The first bytes of each message: no HMAC made for another purpose can be passed off as one.
    domain: bytes = b""
    #: What is covered, by role or by the name of the column, in the order of the message.
    fields: tuple[str, ...]
    #: Covered columns that a table may lack; they count as NULL then.
    optional: frozenset[str] = frozenset()
    #: How the values are put together, see `encodings`.
    encoding: str = LENGTH_PREFIXED
    #: What stands for NULL between delimiters.
    null: str = ""
    #: Fields that hold JSON, which enters `json-sorted` and `jcs` as what it means.
    parse: frozenset[str] = frozenset()
    #: How a timestamp is written in the message, see `timestamps.FORMS`.
    timestamps: str = "epoch-microseconds"
    previous: Previous = Previous.RAW_LAST
    output: Output = Output.HEX
    #: `zeros`, `nothing`, or `text:` and the text that the first row's `prev_hmac` holds.
    start: str = Genesis.ZEROS
    #: Whether each tenant has a chain of its own; otherwise the table is one chain.
    per_tenant: bool = False
    #: The names of columns, where they are not the roles' usual ones.
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsInvalid(
                f"the audit recipe `{self.name}` {problem}",
                hint="see docs/reference/audit-recipe.md",
            )

    def with_columns(self, columns: Mapping[str, str]) -> "Recipe":
        """Return the recipe for a table whose columns have other names, by role."""
        return replace(self, columns={**self.columns, **columns}) if columns else self

    @cached_property
    def genesis(self) -> bytes:
        """What enters the message in the place of the first row's previous HMAC."""
        if self.start == Genesis.ZEROS:
            zeros = bytes(HMAC_BYTES)
            raw = self.previous in {Previous.RAW_FIRST, Previous.RAW_LAST}
            return zeros if raw else self.write(zeros).encode()
        return b"" if self.start == Genesis.NOTHING else self._own_start

    @cached_property
    def plain(self) -> bool:
        """Whether a message is domain, canonical row and previous HMAC: the fast way."""
        return (
            self.encoding == LENGTH_PREFIXED
            and self.timestamps == "epoch-microseconds"
            and self.previous is Previous.RAW_LAST
        )

    def message(self, values: Sequence[bytes | None], previous: bytes | None) -> bytes:
        """Return what is authenticated for a row: the domain, and `body`."""
        return self.domain + self.body(values, previous)

    def body(self, values: Sequence[bytes | None], previous: bytes | None) -> bytes:
        """Return what is authenticated for a row, behind the domain.

        `values` are the row's, canonical (timestamps in microseconds), in the order of `fields`;
        `previous` is the raw HMAC before it, or None for the first row. Raises ValueError where a
        value cannot be written by the recipe, as metadata that are no JSON.
        """
        entering = self._entering(previous)
        if self.plain:
            return self._encode(self.fields, values) + entering
        content = self._encode(self.fields, self._told(values, previous, entering))
        if self.previous is Previous.FIELD:
            return content
        if self.previous in {Previous.RAW_FIRST, Previous.TEXT_FIRST}:
            return entering + content
        return content + entering

    def compute(self, key: bytes, values: Sequence[bytes | None], previous: bytes | None) -> bytes:
        """Return the raw HMAC of one row; for many rows, `HmacSha256` is faster."""
        return hmac.digest(key, self.message(values, previous), sha256)

    def write(self, digest: bytes) -> str:
        """Return a raw HMAC as the columns hold it; `bytea` as the server writes it."""
        return self.output.write(digest).decode()

    def read(self, text: bytes) -> bytes | None:
        """Return the raw HMAC that a column holds, or None where it is not written as one."""
        digest = self.output.read(text)
        return digest if digest is not None and len(digest) == HMAC_BYTES else None

    def begins(self, prev_hmac: bytes | None) -> bool:
        """Tell whether a row with this `prev_hmac` is the first of its chain."""
        if self.start == Genesis.ZEROS:
            return prev_hmac is None or prev_hmac == self._written_zeros
        if self.start == Genesis.NOTHING:
            return not prev_hmac
        return prev_hmac == self._own_start

    @property
    def first_previous(self) -> str | None:
        """What the first row of a new chain holds as `prev_hmac`."""
        if self.start == Genesis.ZEROS:
            return self._written_zeros.decode()
        return None if self.start == Genesis.NOTHING else self._own_start.decode()

    def _told(
        self, values: Sequence[bytes | None], previous: bytes | None, entering: bytes
    ) -> list[bytes | None]:
        told = list(values)
        for place, name in enumerate(self.fields):
            value = told[place]
            if name == Role.CREATED_AT and value is not None:
                told[place] = in_form(self.timestamps, value)
            elif name == Role.PREV_HMAC and previous is None and self.start != Genesis.NOTHING:
                told[place] = entering
        return told

    def _entering(self, previous: bytes | None) -> bytes:
        if previous is None:
            return self.genesis
        if self.previous in {Previous.RAW_FIRST, Previous.RAW_LAST}:
            return previous
        return self.write(previous).encode()

    @cached_property
    def _written_zeros(self) -> bytes:
        return self.write(bytes(HMAC_BYTES)).encode()

    @cached_property
    def _own_start(self) -> bytes:
        return self.start.removeprefix(GENESIS_TEXT).encode()

    @cached_property
    def _encode(self) -> Encode:
        made = encoder(self.encoding, null=self.null, parse=self.parse)
        if made is None:
            raise SettingsInvalid(f"the audit recipe `{self.name}` has an unknown encoding")
        return made

    def _problem(self) -> str | None:
        """Return what is wrong with the recipe as such."""
        twice = [name for name in self.fields if self.fields.count(name) > 1]
        stray = sorted(self.parse - set(self.fields))
        own_field = self.previous is Previous.FIELD
        starts = self.start in set(Genesis) or self.start.startswith(GENESIS_TEXT)
        known = encoder(self.encoding, null=self.null, parse=self.parse)
        checks = (
            (not self.fields, "covers no fields"),
            (bool(twice), f"names `{''.join(twice[:1])}` twice"),
            (Role.HMAC in self.fields, "covers `hmac`, which is what it computes"),
            (known is None, f"has the encoding `{self.encoding}`, which is none"),
            (
                self.timestamps not in FORMS,
                f"writes timestamps as `{self.timestamps}`, which is none of {', '.join(FORMS)}",
            ),
            (
                own_field != (Role.PREV_HMAC in self.fields),
                "must name `prev_hmac` among its fields exactly where `previous` is `field`",
            ),
            (not starts, f"starts with `{self.start}`: expected `zeros`, `nothing` or `text:…`"),
            (bool(stray), f"parses `{''.join(stray[:1])}`, which it does not cover"),
        )
        return next((said for wrong, said in checks if wrong), None)


ALEXANDRIA_V1: Final = Recipe(
    name="alexandria-v1",
    domain=b"alexandria-audit-v1\n",
    fields=(
        Role.ID,
        Role.PRINCIPAL,
        Role.ACTION,
        Role.AGENT,
        Role.SESSION,
        Role.METADATA,
        Role.TENANT_ID,
        Role.CREATED_AT,
    ),
    optional=frozenset({Role.TENANT_ID}),
)

#: The recipes that need no definition, by name.
BUILT_IN: Final[Mapping[str, Recipe]] = MappingProxyType({ALEXANDRIA_V1.name: ALEXANDRIA_V1})


def recipe_named(name: str, own: Mapping[str, Recipe] = MappingProxyType({})) -> Recipe:
    """Return a recipe by its name: one of the settings' own, or a built-in one; else UsageError."""
    known = {**BUILT_IN, **own}
    try:
        return known[name]
    except KeyError:
        raise UsageError(
            f"there is no audit recipe `{name}`",
            hint=f"set `audit.recipe` to one of: {', '.join(known)}",
        ) from None
