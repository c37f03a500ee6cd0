"""One chain while its rows pass: runs, rows that do not verify, rows without an HMAC."""

from dataclasses import dataclass
from hashlib import sha256

from alexandria_backup.audit.finding import Code, Finding
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.recipe import Recipe, length_prefixed
from alexandria_backup.audit.rows import AuditRow
from alexandria_backup.audit.runs import Run, RunLog, new_rolling, readable
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


class OneChain:
    """Takes the rows of one chain in any order; fast where they come in the chain's."""

    def __init__(
        self, name: str, recipe: Recipe, judge: Judge | None, *, marked: int, limit: int
    ) -> None:
        self.name = name
        self.runs: list[Run] = []
        self.log = RunLog()
        self.unhashed = Unhashed(limit)
        #: Rows that carry something in the column of the HMAC; those where it is no HMAC.
        self.hashed = self.unreadable = 0
        #: HMAC and rolling digest of row number `marked`, by the run that begins a chain.
        self.marks: dict[int, tuple[bytes, str]] = {}
        #: Rows that do not verify, and the first of them.
        self.bad_rows = 0
        self._bad: list[_Bad] = []
        self._open_bad: _Bad | None = None
        self._recipe = recipe
        self._judge = judge
        self._marked = marked
        self._limit = limit
        self._run: Run | None = None
        self._tip_text = b""
        self._last: AuditRow | None = None

    def take(self, row: AuditRow) -> None:
        """Take the next row."""
        stored = row.hmac
        if stored is None:
            linked = not self._recipe.begins(row.prev_hmac)
            self.unhashed.add(_at(row), linked=linked)
            return
        self.hashed += 1
        run = self._run
        previous: bytes | None
        if run is not None and row.prev_hmac == self._tip_text:
            previous = run.tip
        else:
            run, previous = None, self._previous(row)
        content = length_prefixed(row.values)
        sealed, valid = self._sealed(content, previous, stored)
        if sealed is None:
            self._not_an_hmac(row)
            return
        if run is None:
            run = self._begin(row, previous, sealed, valid=valid)
        elif self._open_bad is not None:
            self._open_bad.after, self._open_bad = readable(row.id), None
        if not valid:
            self._mismatch(row, run)
        digest = sha256(content + length_prefixed((row.prev_hmac, stored))).digest()
        run.rows += 1
        run.tip = sealed
        rolling = run.rolling
        if rolling is None:
            self.log.add(row.id, sealed, digest, valid=valid)
        else:
            rolling.update(digest)
            self.log.add(row.id, sealed, b"", valid=valid)
            if run.rows == self._marked:
                self.marks[run.number] = (sealed, rolling.hexdigest())
        self._tip_text = stored
        self._last = row

    def end(self) -> None:
        """All rows have come."""
        run, last = self._run, self._last
        if run is not None and last is not None:
            run.tip_id, run.tip_at = readable(last.id), _at(last)
        self._run = None

    @property
    def begins(self) -> At | None:
        """Time and id of the first row that carries an HMAC; None where none does."""
        heads = [run.head_at for run in self.runs if run.begins] or [
            run.head_at for run in self.runs
        ]
        return min(heads, default=None)

    def mismatches(self, positions: dict[int, int]) -> list[Finding]:
        """Return the first rows that do not verify; `positions` are those of their runs."""
        found = []
        for bad in self._bad:
            start = None if bad.run is None else positions.get(bad.run.number)
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

    def _previous(self, row: AuditRow) -> bytes | None:
        """Return the HMAC that a row follows; None where it follows none or names none."""
        if self._recipe.begins(row.prev_hmac):
            return None
        return self._recipe.read(row.prev_hmac or b"")

    def _sealed(
        self, content: bytes, previous: bytes | None, stored: bytes
    ) -> tuple[bytes | None, bool]:
        """Return a row's raw HMAC, None where it is none, and whether it is the right one."""
        if self._judge is not None:
            entering = self._recipe.genesis if previous is None else previous
            sealed = self._judge.compute(self._recipe.domain + content + entering, stored)
            if sealed is not None:
                return sealed, True
        return self._recipe.read(stored), self._judge is None

    def _begin(self, row: AuditRow, previous: bytes | None, sealed: bytes, *, valid: bool) -> Run:
        self.end()
        self._open_bad = None
        begins = self._recipe.begins(row.prev_hmac)
        run = Run(
            number=len(self.runs),
            begins=begins,
            previous=previous,
            head=sealed,
            head_id=readable(row.id),
            head_at=_at(row),
            head_valid=valid,
            offset=self.log.size,
            rolling=new_rolling() if begins else None,
        )
        self.runs.append(run)
        self._run = run
        return run

    def _mismatch(self, row: AuditRow, run: Run) -> None:
        self.bad_rows += 1
        if len(self._bad) >= self._limit:
            return
        before = self._last.id if self._last is not None and run.rows else None
        shown = readable((row.hmac or b"")[:_SHOWN])
        bad = _Bad(
            run=run,
            index=run.rows,
            id=readable(row.id),
            before=None if before is None else readable(before),
            after=None,
            detail=f"its content is not what its HMAC {shown}… was computed over",
        )
        self._bad.append(bad)
        self._open_bad = bad

    def _not_an_hmac(self, row: AuditRow) -> None:
        self.unreadable += 1
        self.bad_rows += 1
        if len(self._bad) < self._limit:
            self._bad.append(
                _Bad(
                    run=None,
                    index=0,
                    id=readable(row.id),
                    before=None,
                    after=None,
                    detail="what its column holds is no HMAC",
                )
            )


def _at(row: AuditRow) -> At:
    """Return a row's time and id; what is no number counts as the beginning of time."""
    text = row.created_at or b"0"
    number = text.removeprefix(b"-")
    return int(text) if number.isdigit() else 0, readable(row.id)
