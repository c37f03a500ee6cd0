"""The fast way: rows that each go on from the one before, checked many at a time.

What comes out is only ever rows that are exactly the next ones of a run. Where one is anything
else, those before it are returned and it is left to whoever looks at rows one by one, and says what
is wrong with them.
"""

from binascii import hexlify
from collections.abc import Sequence
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
        sealed = self._sealed(tried, tip, tip_text)
        good = self._as_held(tried, sealed, tip_text)
        if good == len(tried):
            self._tried = min(self._tried * 2, _MOST)
            return tried, sealed
        self._tried = _FEWEST
        return tried[:good], sealed[:good]

    def _goes_on(self, row: bytes, tip_text: bytes) -> bool:
        """Tell whether one row does: in a table without any order, that must be quick."""
        return row[-self._tail : -self._half] == self._lead + tip_text

    def _sealed(self, rows: Sequence[bytes], tip: bytes, tip_text: bytes) -> list[bytes]:
        """Return the HMACs that rows have, or must have if each goes on from the one before."""
        if self._judge is None:
            return self._read([row[-self._half :] for row in rows])
        if self._judge.settled is None:
            return []
        if len(rows) <= _FEWEST:
            # Where the order breaks all the time, HMACs are not computed in vain.
            rows = rows[: self._linked(rows, tip_text)]
        tail = self._tail
        within = self._in_window(rows)
        return self._judge.settled.chained([row[:-tail] for row in rows[:within]], tip)

    def _as_held(self, rows: Sequence[bytes], sealed: Sequence[bytes], tip_text: bytes) -> int:
        """Return how many of the first rows end with the HMAC before theirs and with theirs."""
        texts = self._written(sealed)
        both = [tip_text] * (2 * len(texts))
        both[2::2] = texts[:-1]
        both[1::2] = texts
        expected = self._lead.join([b"", *both])
        tail = self._tail
        held = [row[-tail:] for row in rows[: len(texts)]]
        if b"".join(held) == expected:
            return len(texts)
        return next(
            place
            for place, end in enumerate(held)
            if end != expected[place * tail : (place + 1) * tail]
        )

    def _written(self, sealed: Sequence[bytes]) -> Sequence[bytes]:
        """Return HMACs as the column holds them."""
        if self._recipe.output is not Output.HEX:
            return list(map(self._recipe.output.write, sealed))
        text, width = hexlify(b"".join(sealed)), 2 * HMAC_BYTES
        return [text[place : place + width] for place in range(0, len(text), width)]

    def _linked(self, rows: Sequence[bytes], tip_text: bytes) -> int:
        """Return how many of the first rows each name the one before."""
        tail, half = self._tail, self._half
        expected = [self._lead + tip_text, *(row[-half:] for row in rows)]
        wrong = (place for place, row in enumerate(rows) if row[-tail:-half] != expected[place])
        return next(wrong, len(rows))

    def _read(self, ends: Sequence[bytes]) -> list[bytes]:
        """Return the HMACs at the rows' ends, up to the first that is not written as one."""
        sealed = []
        for end in ends:
            digest = self._recipe.read(end.removeprefix(self._lead))
            if digest is None or not end.startswith(self._lead):
                break
            sealed.append(digest)
        return sealed

    def _in_window(self, rows: Sequence[bytes]) -> int:
        """Return how many of the first rows were made while the settled key was in use."""
        window = None if self._judge is None else self._judge.window
        if window is None:
            return len(rows)
        within = self._layout.made_within
        return next((place for place, row in enumerate(rows) if not within(row, window)), len(rows))
