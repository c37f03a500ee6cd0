"""Which key, and which reading of its file, is a row's: the first that verifies decides."""

from typing import Final

from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.rows import AuditRow, time_of
from alexandria_backup.sealing.hmac_sha256 import HmacSha256

_BEGINNING_OF_TIME: Final = -(2**63)


class _Reading:
    """One way of reading one key, and in which time it was in use."""

    __slots__ = ("encoding", "hasher", "key", "since", "until")

    def __init__(self, recipe: Recipe, key: AuditKey, encoding: str, value: bytes) -> None:
        self.key = key
        self.encoding = encoding
        self.hasher = HmacSha256(value, recipe.domain)
        self.since = _BEGINNING_OF_TIME if key.since is None else key.since
        self.until = 2**63 if key.until is None else key.until

    def was_in_use(self, at: int) -> bool:
        return self.since <= at < self.until


class Judge:
    """Recomputes HMACs; as long as a key has fitted no row, with every reading of it."""

    def __init__(self, recipe: Recipe, keys: AuditKey | KeyRing) -> None:
        ring = keys.keys if isinstance(keys, KeyRing) else (keys,)
        self._recipe = recipe
        self._readings = [
            _Reading(recipe, key, name, value) for key in ring for name, value in key.reveal()
        ]
        self._proved: list[AuditKey] = []
        #: The reading that fitted last, for whoever hashes many rows in a loop.
        self.settled: HmacSha256 | None = None
        #: From when to when the settled key was in use, in microseconds since the epoch.
        self.window: tuple[int, int] | None = None

    @property
    def proved(self) -> bool:
        """Whether a row has verified: then what does not is the row's fault, not the keys'."""
        return bool(self._proved)

    @property
    def encoding(self) -> str | None:
        """How the last key that fitted is written, once a row has verified."""
        return next((r.encoding for r in self._readings if r.hasher is self.settled), None)

    def compute(self, message: bytes, stored: bytes, at: int | None = None) -> bytes | None:
        """Return the raw HMAC of a message, without its domain, if that is what is `stored`.

        `at` is when the row was made, in microseconds since the epoch: a key whose window does not
        hold it is no key for this row. None where no HMAC fits.
        """
        found = self._fitting(message, stored, at)
        if found is None or not self._in_use(found[0], at):
            return None
        self._settle(found[0])
        return found[1]

    def fits(self, row: AuditRow) -> bool:
        """Tell whether a row is what was signed; a chain's first row as well as any other."""
        recipe = self._recipe
        begins = recipe.begins(row.prev_hmac)
        previous = None if begins else recipe.read(row.prev_hmac or b"")
        try:
            body = recipe.body(row.values, previous)
        except ValueError:
            return False
        return self.compute(body, row.hmac or b"", time_of(row)) is not None

    def out_of_window(self, message: bytes, stored: bytes) -> str | None:
        """Return the name of a key that fits though its window does not hold the row."""
        found = self._fitting(message, stored, None)
        return None if found is None else found[0].key.name

    def _fitting(
        self, message: bytes, stored: bytes, at: int | None
    ) -> tuple[_Reading, bytes] | None:
        first = [r for r in self._readings if at is not None and r.was_in_use(at)]
        for reading in first or self._readings:
            digest = reading.hasher.digest(message)
            if self._recipe.output.write(digest) == stored:
                return reading, digest
        return None

    def _in_use(self, reading: _Reading, at: int | None) -> bool:
        if at is None:
            # A row that says no time can only be judged by a key without a window.
            return reading.key.since is None and reading.key.until is None
        return reading.was_in_use(at)

    def _settle(self, reading: _Reading) -> None:
        if reading.hasher is self.settled:
            return
        if reading.key not in self._proved:
            self._proved.append(reading.key)
            self._readings = [other for other in self._readings if other.key is not reading.key] + [
                reading
            ]
        self.settled = reading.hasher
        limited = reading.key.since is not None or reading.key.until is not None
        self.window = (reading.since, reading.until) if limited else None
