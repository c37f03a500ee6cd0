"""Values one after the other, each with its length, so that no two rows are written alike.

NULL is the byte `00`; anything else is `01`, the length in bytes as an unsigned 32-bit big-endian
number, and the bytes. What a row's digest is taken over has this form under every recipe.
"""

from collections.abc import Iterable
from typing import Final

NULL: Final = b"\x00"
PRESENT: Final = b"\x01"
_LENGTH_BYTES: Final = 4


def prefix(length: int) -> bytes:
    """Return what stands before a value of this many bytes."""
    return PRESENT + length.to_bytes(_LENGTH_BYTES, "big")


#: The prefixes of the usual lengths: looking one up is four times as fast as making it.
_PREFIXES: Final = tuple(map(prefix, range(2048)))


def length_prefixed(values: Iterable[bytes | None]) -> bytes:
    """Return the values one after the other, so that each can be told from its neighbours."""
    values = tuple(values)
    try:
        return b"".join(
            [NULL if value is None else _PREFIXES[len(value)] + value for value in values]
        )
    except IndexError:
        return b"".join([NULL if value is None else prefix(len(value)) + value for value in values])


def separated(row: bytes, count: int) -> list[bytes | None]:
    """Return the first `count` values of what `length_prefixed` has put together.

    ValueError where that is not what `row` is.
    """
    values: list[bytes | None] = []
    place = 0
    for _ in range(count):
        flag = row[place : place + 1]
        place += 1
        if flag == NULL:
            values.append(None)
            continue
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(row[place:start], "big")
        if flag != PRESENT or place > len(row):
            raise ValueError("not a row in canonical form")
        values.append(row[start:place])
    return values
