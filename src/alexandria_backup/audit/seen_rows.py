"""What was seen of the rows of one chain: what processes that share a table tell each other."""

from dataclasses import dataclass, field

from alexandria_backup.audit.finding import Code, Finding
from alexandria_backup.audit.links import Shape
from alexandria_backup.audit.runs import Run
from alexandria_backup.audit.unhashed import At, Unhashed


@dataclass(slots=True, kw_only=True)
class BadRow:
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
    """What was seen of the rows of one chain."""

    name: str
    runs: list[Run] = field(default_factory=list)
    unhashed: Unhashed
    #: Rows that carry something in the column of the HMAC; those where it is no HMAC.
    hashed: int = 0
    unreadable: int = 0
    #: Rows that do not verify, and the first of them.
    bad_rows: int = 0
    bad: list[BadRow] = field(default_factory=list)
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
        first = min((run.head_at for run in self.runs if run.begins), default=None)
        return first or min((run.head_at for run in self.runs), default=None)

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
