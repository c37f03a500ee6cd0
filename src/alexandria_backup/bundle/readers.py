"""Many small files looked at and read by other processes, while this one packs what they have read.

What a small file costs is this program's own work on it, and one process does that on one core. So
the walk goes a few steps ahead, and files of one folder are handed to whichever process has the
least to do. They come back in the order of the walk: the bundle has the same bytes either way.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from alexandria_backup.bundle.exclusions import Excluder, Exclusions
from alexandria_backup.bundle.found import Files, Found, LeftOut, room_taken
from alexandria_backup.bundle.reader_process import Answer, ReaderProcess
from alexandria_backup.bundle.small import Batch, SmallFiles

#: Fewer files are read faster than a process starts.
_WORTH_A_PROCESS: Final = 5_000
_MOST: Final = 4
#: Steps of the walk ahead for each process: enough that none waits.
_AHEAD: Final = 4

Item: TypeAlias = Found | LeftOut | Files


class Readers:
    """Processes that are started where they are worth it, and kept until `close`.

    One that ends before its time is no loss: what it has not read is read here.
    """

    def __init__(self, exclusions: Exclusions, processes: int) -> None:
        self._exclusions = exclusions
        self._here = SmallFiles(Excluder(exclusions))
        self._most = min(processes, _MOST) if processes > 1 else 0
        self._started: list[ReaderProcess] = []
        self._seen = 0

    def room(self, items: Iterable[Item]) -> int:
        """Return the bytes that all paths take, without holes; what cannot be read takes none."""
        total = 0
        for item, answers in self._over(items, measure=True):
            if isinstance(item, Found):
                total += room_taken(item.status)
            total += sum(answer for answer in answers if isinstance(answer, int))
        return total

    def over(self, items: Iterable[Item]) -> Iterator[tuple[Item, Iterator[Batch | str]]]:
        """Give each item, and for several files what was read of them: see `SmallFiles.read`.

        What was read must be taken before the next item is.
        """
        for item, answers in self._over(items, measure=False):
            yield item, (answer for answer in answers if not isinstance(answer, int))

    def close(self) -> None:
        """End the processes; they would start again."""
        for process in self._started:
            process.close()
        self._started, self._seen = [], 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leave the processes to whoever comes next, unless something goes wrong."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _over(
        self, items: Iterable[Item], *, measure: bool
    ) -> Iterator[tuple[Item, Iterator[Answer]]]:
        waiting: deque[tuple[Item, Iterator[Answer]]] = deque()
        for item in items:
            answers = self._begun(item, measure=measure) if isinstance(item, Files) else iter(())
            waiting.append((item, answers))
            if len(waiting) > _AHEAD * len(self._started):
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def _begun(self, files: Files, *, measure: bool) -> Iterator[Answer]:
        self._seen += len(files.names)
        if self._seen > _WORTH_A_PROCESS and not self._started:
            self._started = [ReaderProcess(self._exclusions, self._here) for _ in range(self._most)]
        if not self._started:
            return self._here.measured(files) if measure else self._here.read(files)
        return min(self._started, key=lambda one: one.files).begin(files, measure=measure)
