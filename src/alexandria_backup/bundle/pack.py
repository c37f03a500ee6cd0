"""Making a bundle: walk, read, pack, and state at the end what was really read."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alexandria_backup.bundle.capture import Capture, Pieces
from alexandria_backup.bundle.entry import Entry, shown
from alexandria_backup.bundle.exclusions import Excluder, Exclusions
from alexandria_backup.bundle.found import Files, Found, LeftOut
from alexandria_backup.bundle.headers import (
    ZERO_BLOCK,
    headers,
    manifest_header,
    padding,
)
from alexandria_backup.bundle.manifest import Excluded, Head, Tail
from alexandria_backup.bundle.manifest_writing import ManifestWriter
from alexandria_backup.bundle.readers import Readers
from alexandria_backup.bundle.selection import Selected
from alexandria_backup.bundle.small import Batch
from alexandria_backup.bundle.staging import Staging
from alexandria_backup.bundle.walk import Walk
from alexandria_backup.events import Emit, Progress
from alexandria_backup.sealing.blocks import BlockWriter, Compression
from alexandria_backup.sealing.signing import SigningKey

#: How many paths that were left out are listed; the rest is counted.
_MOST_EXCLUDED: Final = 10_000
_MOST_TROUBLES: Final = 20
_PROGRESS_EVERY: Final = 16 << 20


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How a bundle is made."""

    exclusions: Exclusions
    #: What reads small files; closed when the bundle is made.
    readers: Readers
    #: Names of files that are copied until they hold still.
    settle: tuple[str, ...]
    #: Where such copies lie; None: the system's folder for temporary files.
    staging: Path | None
    compression: Compression
    threads: int
    key: SigningKey | None
    #: Bytes to be read, for progress.
    expected: int | None = None
    emit: Emit


class Pack:
    """One bundle in the making; take `chunks` to its end, then ask for `tail`."""

    def __init__(self, head: Head, sets: Sequence[Selected], options: PackOptions) -> None:
        self._head = head
        self._sets = sets
        self._options = options
        self._manifest = ManifestWriter(head)
        self._writer = BlockWriter(options.compression, options.threads)
        self._excluded: list[Excluded] = []
        self._excluded_more = 0
        self._entries = self._bytes = self._problems = self._told = 0
        self._twins: list[str] = []
        #: What went wrong, path by path, as far as a person wants to read.
        self.troubles: list[str] = []
        self._tail: Tail | None = None

    @property
    def tail(self) -> Tail:
        """What was read, once all is."""
        if self._tail is None:
            raise RuntimeError("the bundle is not whole yet")
        return self._tail

    def chunks(self) -> Iterator[bytes]:
        """Give the bundle as it is made."""
        try:
            yield from self._members()
            yield from self._writer.cut()
            self._tail = self._finish()
            yield from self._anchor()
        finally:
            self._writer.close()
            self._options.readers.close()

    def _members(self) -> Iterator[bytes]:
        excluder = Excluder(self._options.exclusions)
        with Staging(self._options.staging) as staging:
            capture = Capture(staging, excluder, self._options.settle)
            for one in self._sets:
                for path, why in one.refused:
                    self._leave_out(LeftOut(path=path, why=why, problem=True))
                capture.begin_set()
                walk = Walk(one.name, one.contents, excluder)
                for item, reads in self._options.readers.over(walk.batches()):
                    if isinstance(item, Files):
                        yield from self._files(capture, walk, item, reads)
                    else:
                        yield from self._item(capture, item)
                self._twins += walk.twins

    def _files(
        self, capture: Capture, walk: Walk, files: Files, reads: Iterator[Batch | str]
    ) -> Iterator[bytes]:
        for read in reads:
            if isinstance(read, str):
                yield from self._item(capture, walk.file(files, read))
                continue
            yield from self._writer.write(read.members)
            self._manifest.add_lines(read.lines, read.entries)
            self._count(read.entries, read.size)

    def _item(self, capture: Capture, item: Found | LeftOut) -> Iterator[bytes]:
        if isinstance(item, LeftOut):
            self._leave_out(item)
            return
        taken, size = yield from self._written(capture.read(item))
        if isinstance(taken, LeftOut):
            self._leave_out(taken)
            return
        yield from self._writer.write(padding(size))
        self._manifest.add(taken)
        if taken.problem is not None:
            self._trouble(taken.shown, taken.problem.value)
        self._count(1, size)

    def _written(self, pieces: Pieces) -> Generator[bytes, None, tuple[Entry | LeftOut, int]]:
        """Write header and content as they come; return what came of it, and the content's size."""
        size = 0
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                return stop.value, size
            if isinstance(piece, Entry):
                yield from self._writer.write(headers(piece))
            else:
                size += len(piece)
                yield from self._writer.write(piece)

    def _count(self, entries: int, size: int) -> None:
        self._entries += entries
        self._bytes += size
        if self._bytes - self._told >= _PROGRESS_EVERY:
            self._told = self._bytes
            total = self._options.expected
            self._options.emit(Progress(work="pack", done=self._bytes, total=total, unit="bytes"))

    def _trouble(self, path: str, what: str) -> None:
        self._problems += 1
        if len(self.troubles) < _MOST_TROUBLES:
            self.troubles.append(f"`{path}` {what}")

    def _leave_out(self, item: LeftOut) -> None:
        path = shown(item.path.encode(errors="surrogateescape"))
        if item.problem:
            self._trouble(path, item.why)
        if len(self._excluded) < _MOST_EXCLUDED:
            self._excluded.append(Excluded(path=path, why=item.why))
        else:
            self._excluded_more += 1

    def _finish(self) -> Tail:
        return Tail(
            entries=self._entries,
            bytes=self._bytes,
            raw_bytes=self._writer.raw,
            excluded=tuple(self._excluded),
            excluded_more=self._excluded_more,
            twins=tuple(self._twins[:_MOST_EXCLUDED]),
            problems=self._problems,
        )

    def _anchor(self) -> Iterator[bytes]:
        """Give the manifest in a block of its own, the end of the tar, and the trailer."""
        document = self._manifest.finish(self.tail, self._options.key)
        offset = self._writer.packed
        self._writer.ease()
        header = manifest_header(document.size, int(self._head.created.timestamp()))
        yield from self._writer.write(header)
        for chunk in document.chunks():
            yield from self._writer.write(chunk)
        yield from self._writer.write(padding(document.size) + 2 * ZERO_BLOCK)
        yield from self._writer.cut()
        yield self._writer.trailer(offset)
