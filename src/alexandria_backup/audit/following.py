"""The fast way: rows that each go on from the one before, checked many at a time.

What comes out is only ever rows that are exactly the next ones of a run. Where one is anything
else, those before it are returned and it is left to whoever looks at rows one by one, and says what
is wrong with them.
"""

from binascii import Error as NoHex
from binascii import hexlify, unhexlify
from collections.abc import Sequence
from struct import Struct
from typing import Final

from alexandria_backup.audit.canonical import prefix
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import HMAC_BYTES
from alexandria_backup.audit.rows import Layout

#: Rows that are tried at once, doubled each time that all go on: where the order breaks or rows
#: were edited at many places, few are looked at in vain.
_FEWEST: Final = 8
_MOST: Final = 4096
_HMAC: Final = Struct(f"{HMAC_BYTES}s")


class Following:
    """Finds the rows that go on from a row, in the table's order."""

    def __init__(self, layout: Layout, judge: Judge | None) -> None:
        self._layout = layout
        self._recipe = layout.recipe
        self._judge = judge
        # What stands before each of the two HMACs at the end of a canonical row.
        self._lead = prefix(len(self._recipe.output.write(bytes(HMAC_BYTES))))
        self._tail = layout.tail
        self._half = layout.tail // 2
        self._tried = _FEWEST

    def next(
        self, rows: Sequence[bytes], start: int, tip: bytes, tip_text: bytes
    ) -> tuple[Sequence[bytes], list[bytes]]:
        """Return rows from `start` on that go on from the row with the HMAC `tip`, and theirs.

        `tip_text` is how the column holds it. Not always as many as there are: ask again.
        """
        if not self._layout.plain or not self._goes_on(rows[start], tip_text):
            return (), []
        tried = rows[start : start + self._tried]
        sealed = self._read(self._linked(tried, tip_text))
        good = self._genuine(tried, sealed, tip)
        if good == len(tried):
            self._tried = min(self._tried * 2, _MOST)
            return tried, sealed
        self._tried = _FEWEST
        return tried[:good], sealed[:good]

    def _goes_on(self, row: bytes, tip_text: bytes) -> bool:
        """Tell whether one row does: in a table without any order, that must be quick."""
        return row[-self._tail : -self._half] == self._lead + tip_text

    def _linked(self, rows: Sequence[bytes], tip_text: bytes) -> list[bytes]:
        """Return the last values of the rows that name each other, each with what precedes it."""
        tail, half = self._tail, self._half
        ends = [row[-half:] for row in rows]
        named = [row[-tail:-half] for row in rows]
        expected = [self._lead + tip_text, *ends[:-1]]
        if named == expected:
            return ends
        pairs = zip(named, expected, strict=True)
        return ends[: next(place for place, (one, other) in enumerate(pairs) if one != other)]

    def _read(self, ends: Sequence[bytes]) -> list[bytes]:
        """Return the HMACs at the rows' ends, up to the first that is not written as one."""
        if self._recipe.output is Output.HEX and (found := self._read_hex(ends)) is not None:
            return found
        sealed = []
        for end in ends:
            digest = self._recipe.read(end.removeprefix(self._lead))
            if digest is None or not end.startswith(self._lead):
                break
            sealed.append(digest)
        return sealed

    def _read_hex(self, ends: Sequence[bytes]) -> list[bytes] | None:
        """Read all of them at once; None where one is not written as an HMAC."""
        joined, lead, half, number = b"".join(ends), self._lead, self._half, len(ends)
        if len(joined) != number * half:
            return None
        if any(joined[k::half] != lead[k : k + 1] * number for k in range(len(lead))):
            return None
        text = joined.replace(lead, b"")
        try:
            raw = unhexlify(text)
        except NoHex:
            return None
        if len(raw) != number * HMAC_BYTES or hexlify(raw) != text:
            return None
        return [digest for (digest,) in _HMAC.iter_unpack(raw)]

    def _genuine(self, rows: Sequence[bytes], sealed: Sequence[bytes], tip: bytes) -> int:
        """Return how many of the first rows are what was signed; without a key, all linked ones."""
        if self._judge is None:
            return len(sealed)
        if self._judge.settled is None:
            return 0
        number, tail = self._in_window(rows, len(sealed)), self._tail
        copy_inner, copy_outer = self._judge.settled.inner.copy, self._judge.settled.outer.copy
        # In a loop over millions of rows each call counts.
        for place, row, stored in zip(range(number), rows, sealed, strict=False):
            inner, outer = copy_inner(), copy_outer()
            inner.update(row[:-tail] + tip)
            outer.update(inner.digest())
            if outer.digest() != stored:
                return place
            tip = stored
        return number

    def _in_window(self, rows: Sequence[bytes], number: int) -> int:
        """Return how many of the first `number` rows were made while the settled key was in use."""
        window = None if self._judge is None else self._judge.window
        if window is None:
            return number
        within = self._layout.made_within
        late = (place for place in range(number) if not within(rows[place], window))
        return next(late, number)
