"""Telling that a store has not answered yet: a silent server looks like a program that hangs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from alexandria_backup.events import Emit, Note, discard


class Waiting:
    """A context in which a store is waited for; tells every `every` seconds of silence.

    Whoever waits says so again and again: `answered` after each sign of life, and `paused` around
    time that is spent elsewhere, such as on the source of an upload.
    """

    def __init__(self, url: str, emit: Emit, *, every: float) -> None:
        self._url = url
        self._emit = emit
        self._every = every
        self._since: float | None = None
        self._ended = threading.Event()
        # Nobody watches where nobody would hear of it: a thread is a fifth of a small put.
        self._thread = (
            threading.Thread(target=self._watch, name="waiting", daemon=True)
            if emit is not discard
            else None
        )

    def __enter__(self) -> Self:
        self.answered()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def answered(self) -> None:
        """Count the silence from now on."""
        self._since = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Wait for something else meanwhile."""
        self._since = None
        try:
            yield
        finally:
            self.answered()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            since = self._since
            silent = 0.0 if since is None else time.monotonic() - since
            if silent >= self._every / 2:
                self._emit(Note(message=f"`{self._url}` has not answered for {silent:.0f} s"))
