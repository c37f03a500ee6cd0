"""One chain while its rows pass: runs, rows that do not verify, rows without an HMAC."""

from binascii import hexlify
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from alexandria_backup.audit.canonical import prefix
from alexandria_backup.audit.finding import Code, Finding
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.links import Shape
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import HMAC_BYTES
from alexandria_backup.audit.rows import AuditRow, Layout, time_of
from alexandria_backup.audit.runs import Run, RunLog, readable
from alexandria_backup.audit.unhashed import At, Unhashed

_SHOWN = 12


@dataclass(slots=True, kw_only=True)
class _Bad:
    """A row whose HMAC is not that of its values."""

    #: None where what it holds is no HMAC at all, so that it is in no run.
    run: Run | None
    index: int
    id: str
    before: str | None
    after: str | None
    detail: str


@dataclass(slots=True, kw_only=True)
class SeenRows:
    """What was seen of the rows of one chain: what processes that share a table tell each other."""

    name: str
    runs: list[Run] = field(default_factory=list)
    unhashed: Unhashed
    #: Rows that carry something in the column of the HMAC; those where it is no HMAC.
    hashed: int = 0
    unreadable: int = 0
    #: Rows that do not verify, and the first of them.
    bad_rows: int = 0
    bad: list[_Bad] = field(default_factory=list)
    #: Where what one process has seen ends and what the next one has begins.
    seams: int = 0

    @property
    def breaks(self) -> int:
        """Places where the next row in the table was not the next one of the chain."""
        return max(len(self.runs) - 1 - self.seams, 0)

    def add(self, other: "SeenRows") -> None:
        """Take in what another process has seen of the same chain."""
        self.seams += bool(self.runs and other.runs) + other.seams
        for run in other.runs:
            run.number = len(self.runs)
            self.runs.append(run)
        self.unhashed.add_all(other.unhashed)
        self.hashed += other.hashed
        self.unreadable += other.unreadable
        self.bad_rows += other.bad_rows
        self.bad += other.bad[: max(self.unhashed.limit - len(self.bad), 0)]

    @property
    def begins(self) -> At | None:
        """Time and id of the first row that carries an HMAC; None where none does."""
        heads = [run.head_at for run in self.runs if run.begins] or [
            run.head_at for run in self.runs
        ]
        return min(heads, default=None)

    def mismatches(self, shape: Shape) -> list[Finding]:
        """Return the first rows that do not verify, with their places in the chain."""
        found = []
        for bad in self.bad:
            run = bad.run
            start = None if run is None else shape.positions.get(run.number)
            if run is not None and bad.index == 0:
                bad.before = shape.before.get(run.number)
            if run is not None and bad.index == run.rows - 1:
                bad.after = shape.after.get(run.number)
            found.append(
                Finding(
                    code=Code.ROW_HMAC_MISMATCH,
                    chain=self.name,
                    position=None if start is None else start + bad.index,
                    id=bad.id,
                    before=bad.before,
                    after=bad.after,
                    detail=bad.detail,
                )
            )
        return found


class OneChain:
    """Takes the rows of one chain in any order; fast where they come in the chain's."""

    def __init__(
        self, name: str, layout: Layout, judge: Judge | None, log: RunLog, *, limit: int
    ) -> None:
        self.seen = SeenRows(name=name, unhashed=Unhashed(limit))
        self._open_bad: _Bad | None = None
        self._layout = layout
        self._recipe = layout.recipe
        self._judge = judge
        self._log = log
        self._limit = limit
        self._run: Run | None = None
        #: The last row of the open run: its HMAC as the column holds it, and itself.
        self._tip_text = b""
        self._last = b""
        # What stands before each of the two HMACs at the end of a canonical row.
        self._lead = prefix(len(self._recipe.output.write(bytes(HMAC_BYTES))))

    def take(self, rows: Sequence[bytes]) -> None:
        """Take the next rows, canonical."""
        place = 0
        while place < len(rows):
            place += self._follow(rows, place)
            if place < len(rows):
                self._take(rows[place])
                place += 1

    def end(self) -> None:
        """All rows have come."""
        if self._run is not None:
            last = self._layout.parse(self._last)
            self._run.tip_id, self._run.tip_at = readable(last.id), _at(last)
        self._run = None

    def _follow(self, rows: Sequence[bytes], start: int) -> int:
        """Take rows from `start` on as long as each goes on from the one before; return how many.

        Whatever is not exactly the next row of the open run is left to `_take`.
        """
        run, judge = self._run, self._judge
        if run is None or not self._layout.plain or self._open_bad is not None:
            return 0
        tail = self._layout.tail
        if rows[start][-tail : -tail // 2] != self._lead + self._tip_text:
            # So it is in a table without any order, where each row must be found out quickly.
            return 0
        if judge is None:
            sealed = self._linked(rows, start)
        elif judge.settled is not None:
            sealed = self._sealed(rows, start, run.tip)
        else:
            sealed = []
        if not sealed:
            return 0
        taken = rows[start : start + len(sealed)]
        self._remember(run, taken, sealed)
        return len(sealed)

    def _sealed(self, rows: Sequence[bytes], start: int, tip: bytes) -> list[bytes]:
        """Return the HMACs of the rows that are what was signed, each behind the other."""
        if self._judge is None or self._judge.settled is None:
            return []
        copy_inner, copy_outer = self._judge.settled.inner.copy, self._judge.settled.outer.copy
        # In a loop over millions of rows each call counts.
        write = hexlify if self._recipe.output is Output.HEX else self._recipe.output.write
        lead, tail = self._lead, self._layout.tail
        text, sealed, window = self._tip_text, list[bytes](), self._judge.window
        for row in islice(rows, start, None):
            if window is not None and not self._layout.made_within(row, window):
                break
            inner = copy_inner()
            inner.update(row[:-tail] + tip)
            outer = copy_outer()
            outer.update(inner.digest())
            digest = outer.digest()
            before, text = text, write(digest)
            if row[-tail:] != lead + before + lead + text:
                break
            sealed.append(digest)
            tip = digest
        return sealed

    def _linked(self, rows: Sequence[bytes], start: int) -> list[bytes]:
        """Return the HMACs of the rows that name each other, which nobody can recompute."""
        lead, tail, read = self._lead, self._layout.tail, self._recipe.read
        half = tail // 2
        text, linked = self._tip_text, []
        for row in islice(rows, start, None):
            if row[-tail:-half] != lead + text or row[-half : len(lead) - half] != lead:
                break
            text = row[len(lead) - half :]
            sealed = read(text)
            if sealed is None:
                break
            linked.append(sealed)
        return linked

    def _remember(self, run: Run, rows: Sequence[bytes], sealed: list[bytes]) -> None:
        digests = [sha256(row).digest() for row in rows]
        if self._layout.id_first:
            ids = [
                row[5 : 5 + row[4]] if row[:4] == b"\1\0\0\0" else self._layout.id_of(row)
                for row in rows
            ]
        else:
            ids = list(map(self._layout.id_of, rows))
        run.blocks.append(self._log.add(ids, sealed, digests, valid=True))
        run.rows += len(rows)
        run.tip = sealed[-1]
        self._tip_text = self._recipe.output.write(run.tip)
        self._last = rows[-1]
        self.seen.hashed += len(rows)

    def _take(self, canonical: bytes) -> None:
        """Take the next row, whatever it is."""
        row, seen = self._layout.parse(canonical), self.seen
        stored = row.hmac
        if stored is None:
            linked = not self._recipe.begins(row.prev_hmac)
            seen.unhashed.add(_at(row), linked=linked)
            return
        seen.hashed += 1
        run = self._run
        previous: bytes | None
        if run is not None and row.prev_hmac == self._tip_text:
            previous = run.tip
        else:
            run, previous = None, self._previous(row)
        sealed, fault = self._judged(row, previous, stored)
        if sealed is None:
            self._not_an_hmac(row)
            return
        if run is None:
            run = self._begin(row, previous, sealed, valid=fault is None)
        elif self._open_bad is not None:
            self._open_bad.after, self._open_bad = readable(row.id), None
        if fault is not None:
            self._mismatch(row, run, fault)
        digest = sha256(canonical).digest()
        run.blocks.append(self._log.add([row.id], [sealed], [digest], valid=fault is None))
        run.rows += 1
        run.tip = sealed
        self._tip_text = stored
        self._last = canonical

    def _previous(self, row: AuditRow) -> bytes | None:
        """Return the HMAC that a row follows; None where it follows none or names none."""
        if self._recipe.begins(row.prev_hmac):
            return None
        return self._recipe.read(row.prev_hmac or b"")

    def _judged(
        self, row: AuditRow, previous: bytes | None, stored: bytes
    ) -> tuple[bytes | None, str | None]:
        """Return a row's raw HMAC, None where it is none, and what is wrong with the row."""
        if self._judge is None:
            return self._recipe.read(stored), None
        try:
            body = self._recipe.body(row.values, previous)
        except ValueError as error:
            return self._recipe.read(stored), f"the recipe cannot write its content: {error}"
        sealed = self._judge.compute(body, stored, time_of(row))
        if sealed is not None:
            return sealed, None
        other = self._judge.out_of_window(body, stored)
        shown = readable(stored[:_SHOWN])
        fault = (
            f"its content is not what its HMAC {shown}… was computed over"
            if other is None
            else f"it verifies only under key `{other}`, which was not in use when it was made"
        )
        return self._recipe.read(stored), fault

    def _begin(self, row: AuditRow, previous: bytes | None, sealed: bytes, *, valid: bool) -> Run:
        self.end()
        self._open_bad = None
        run = Run(
            number=len(self.seen.runs),
            log=self._log,
            begins=self._recipe.begins(row.prev_hmac),
            previous=previous,
            head=sealed,
            head_id=readable(row.id),
            head_at=_at(row),
            head_valid=valid,
        )
        self.seen.runs.append(run)
        self._run = run
        return run

    def _mismatch(self, row: AuditRow, run: Run, fault: str) -> None:
        self.seen.bad_rows += 1
        if len(self.seen.bad) >= self._limit:
            return
        before = self._layout.id_of(self._last) if run.rows else None
        bad = _Bad(
            run=run,
            index=run.rows,
            id=readable(row.id),
            before=None if before is None else readable(before),
            after=None,
            detail=fault,
        )
        self.seen.bad.append(bad)
        self._open_bad = bad

    def _not_an_hmac(self, row: AuditRow) -> None:
        self.seen.unreadable += 1
        self.seen.bad_rows += 1
        if len(self.seen.bad) < self._limit:
            shown = readable((row.hmac or b"")[: 2 * _SHOWN])
            self.seen.bad.append(
                _Bad(
                    run=None,
                    index=0,
                    id=readable(row.id),
                    before=None,
                    after=None,
                    detail=f"what its column holds is no HMAC in {self._recipe.output}: `{shown}`",
                )
            )


def _at(row: AuditRow) -> At:
    """Return a row's time and id; what is no number counts as the beginning of time."""
    return time_of(row) or 0, readable(row.id)
