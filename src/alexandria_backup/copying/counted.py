"""Chunks on their way through, told as progress."""

from collections.abc import Iterable, Iterator

from alexandria_backup.events import Emit, Progress


def counted(
    chunks: Iterable[bytes], *, work: str, total: int | None, emit: Emit
) -> Iterator[bytes]:
    """Yield `chunks`, and tell after each how many bytes of `total` have come."""
    done = 0
    for chunk in chunks:
        done += len(chunk)
        emit(Progress(work=work, done=done, total=total, unit="bytes"))
        yield chunk
