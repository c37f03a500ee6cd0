"""One chain while its rows pass: runs, rows that do not verify, rows without an HMAC."""

from collections.abc import Sequence
from hashlib import sha256

from alexandria_backup.audit.following import Following
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.rows import AuditRow, Layout, time_of
from alexandria_backup.audit.runs import Run, RunLog, readable
from alexandria_backup.audit.seen_rows import BadRow, SeenRows
from alexandria_backup.audit.unhashed import At, Unhashed

_SHOWN = 12


class OneChain:
    """Takes the rows of one chain in any order; fast where they come in the chain's."""

    def __init__(
        self, name: str, layout: Layout, judge: Judge | None, log: RunLog, *, limit: int
    ) -> None:
        self.seen = SeenRows(name=name, unhashed=Unhashed(limit))
        self._open_bad: BadRow | None = None
        self._layout = layout
        self._recipe = layout.recipe
        self._judge = judge
        self._log = log
        self._limit = limit
        self._following = Following(layout, judge)
        self._run: Run | None = None
        #: The last row of the open run: its HMAC as the column holds it, and itself.
        self._tip_text = b""
        self._last = b""

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
        run, self._run = self._run, None
        if run is None:
            return
        if run.rows == 1:
            run.tip_time, run.tip_id = run.head_at
        else:
            run.tip_time, run.tip_id = _at(self._layout.parse(self._last))

    def _follow(self, rows: Sequence[bytes], start: int) -> int:
        """Take rows from `start` on as long as each goes on from the one before; return how many.

        Whatever is not exactly the next row of the open run is left to `_take`.
        """
        run = self._run
        if run is None or self._open_bad is not None:
            return 0
        taken, sealed = self._following.next(rows, start, run.tip, self._tip_text)
        if taken:
            self._remember(run, taken, sealed)
        return len(taken)

    def _remember(self, run: Run, rows: Sequence[bytes], sealed: list[bytes]) -> None:
        digests = [sha256(row).digest() for row in rows]
        ids = self._layout.ids_of(rows)
        run.add(self._log.add(ids, sealed, digests, valid=True), len(rows), sealed[-1])
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
        run.add(self._log.add([row.id], [sealed], [digest], valid=fault is None), 1, sealed)
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
        time, ident = _at(row)
        run = Run(
            number=len(self.seen.runs),
            log=self._log,
            begins=self._recipe.begins(row.prev_hmac),
            previous=previous,
            head=sealed,
            head_id=ident,
            head_time=time,
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
        bad = BadRow(
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
                BadRow(
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
