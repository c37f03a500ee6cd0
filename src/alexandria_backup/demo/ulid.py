"""ULIDs: 48 bits of milliseconds and 80 bits of chance as 26 letters that sort like the time."""

from datetime import datetime

#: Crockford's base 32, as the specification at github.com/ulid/spec has it.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_LETTERS = 26


def ulid(at: datetime, chance: int) -> str:
    """Return the ULID of an aware instant and 80 bits of chance."""
    milliseconds = int(at.timestamp() * 1000)
    return encode((milliseconds << 80) | (chance & ((1 << 80) - 1)))


def encode(value: int) -> str:
    """Write 128 bits as 26 letters; two at a time, since the demo makes many."""
    pairs = []
    for _ in range(_LETTERS // 2):
        pairs.append(_PAIRS[value & 1023])
        value >>= 10
    return "".join(reversed(pairs))
