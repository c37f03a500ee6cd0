"""What workers are told to do, and what they answer: picklable values."""

from dataclasses import dataclass

from alexandria_backup.postgres.page_ranges import PageRange
from alexandria_backup.repository.manifest_parts import StoredPart


@dataclass(frozen=True, kw_only=True)
class FrameOrder:
    """One frame to be copied out."""

    pages: PageRange
    #: What seems to be stored already is not relied on: an object of these rows is damaged.
    anew: bool = False


@dataclass(frozen=True, kw_only=True)
class CopyOrder:
    """Frames of one table to be copied out, one after the other."""

    schema: str
    name: str
    columns: tuple[str, ...]
    frames: tuple[FrameOrder, ...]


@dataclass(frozen=True, kw_only=True)
class CountOrder:
    """Page ranges of one table, to be counted against an earlier snapshot."""

    schema: str
    name: str
    ranges: tuple[PageRange, ...]
    since_xmin: int


@dataclass(frozen=True, kw_only=True)
class CopiedFrame:
    """What a frame held, and where it is kept."""

    rows: int
    parts: tuple[StoredPart, ...]

    @property
    def raw_bytes(self) -> int:
        """The COPY text's size."""
        return sum(part.raw_bytes for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class CopiedFrames:
    """What came of a `CopyOrder`."""

    frames: tuple[CopiedFrame, ...]
    #: Stored bytes that were not there before.
    new_bytes: int
