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
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal

from alexandria_backup.errors import UsageError

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


_NULL: Final = b"\x00"
_PRESENT: Final = b"\x01"
_LENGTH_BYTES: Final = 4


def _prefix(length: int) -> bytes:
    return _PRESENT + length.to_bytes(_LENGTH_BYTES, "big")


#: The prefixes of the usual lengths: looking one up is four times as fast as making it.
_PREFIXES: Final = tuple(map(_prefix, range(2048)))


def length_prefixed(values: Sequence[bytes | None]) -> bytes:
    """Return the values one after the other, so that each can be told from its neighbours."""
    try:
        return b"".join(
            [_NULL if value is None else _PREFIXES[len(value)] + value for value in values]
        )
    except IndexError:
        return b"".join(
            [_NULL if value is None else _prefix(len(value)) + value for value in values]
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How rows of one kind of chain are made into messages, and HMACs into text."""

    #: As it stands in the settings.
    name: str
    version: int
    #: The first bytes of each message: no HMAC made for another purpose can be passed off as one.
    domain: bytes
    #: Which columns are covered, in the order in which they enter the message.
    fields: tuple[Role, ...]
    #: Covered columns that a table may lack; they count as NULL then.
    optional: frozenset[Role]
    #: How the values are put together.
    encoding: Literal["length-prefixed"]
    #: How a timestamp is written in the message.
    timestamps: Literal["epoch-microseconds"]
    #: How the previous row's HMAC enters the message.
    previous: Literal["raw-last"]
    #: How the columns `hmac` and `prev_hmac` are written.
    output: Literal["hex"]
    #: What stands for the previous HMAC in the first row's message.
    genesis: bytes
    #: Whether each tenant has a chain of its own; otherwise the table is one chain.
    per_tenant: bool

    def message(self, values: Sequence[bytes | None], previous: bytes) -> bytes:
        """Return what is authenticated for a row.

        `values` are the row's, canonical (see `rows.canonical`), in the order of `fields`;
        `previous` is the raw HMAC before it, or `genesis`.
        """
        return self.domain + length_prefixed(values) + previous

    def compute(self, key: bytes, values: Sequence[bytes | None], previous: bytes) -> bytes:
        """Return the raw HMAC of one row; for many rows, `Hasher` is faster."""
        return hmac.digest(key, self.message(values, previous), sha256)

    def write(self, digest: bytes) -> str:
        """Return a raw HMAC as the columns hold it."""
        return digest.hex()

    def read(self, text: bytes) -> bytes | None:
        """Return the raw HMAC that a column holds, or None where it is not written as one."""
        try:
            digest = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            return None
        # Only one way of writing is right: otherwise a row could be changed and still verify.
        return digest if len(digest) == HMAC_BYTES and digest.hex().encode() == text else None

    def begins(self, prev_hmac: bytes | None) -> bool:
        """Tell whether a row with this `prev_hmac` is the first of its chain."""
        return prev_hmac is None or prev_hmac == self.write(self.genesis).encode()


ALEXANDRIA_V1: Final = Recipe(
    name="alexandria-v1",
    version=1,
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
    encoding="length-prefixed",
    timestamps="epoch-microseconds",
    previous="raw-last",
    output="hex",
    genesis=bytes(HMAC_BYTES),
    per_tenant=False,
)

#: The recipes that need no definition, by name.
BUILT_IN: Final[Mapping[str, Recipe]] = MappingProxyType({ALEXANDRIA_V1.name: ALEXANDRIA_V1})


def recipe_named(name: str) -> Recipe:
    """Return a recipe by the name in the settings; UsageError where there is none."""
    try:
        return BUILT_IN[name]
    except KeyError:
        raise UsageError(
            f"there is no audit recipe `{name}`",
            hint=f"set `audit.recipe` to one of: {', '.join(BUILT_IN)}",
        ) from None


class Hasher:
    """HMAC-SHA256 under one key, for many messages.

    The key is hashed into two states once, and each message copies them: more than twice as fast
    as `hmac.digest`. RFC 2104 defines the blocks.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block_bytes = sha256().block_size
        block = (sha256(key).digest() if len(key) > block_bytes else key).ljust(block_bytes, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, message: bytes) -> bytes:
        """Return the raw HMAC of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
