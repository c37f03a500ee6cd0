"""Waiting in a cluster: by asking again and again, and not by a watch.

A watch would tell of a change some tenths of a second earlier. But what is waited for is no event,
it is a state ("no pod is left", "all are Ready"), and after a watch has broken only a fresh list
shows the state, so the asking would be needed all the same. Watches break in ordinary life: API
servers end them after some minutes, proxies end what is silent, and a resource version that has
grown too old is answered by 410. A watch that a proxy holds open and no longer feeds tells nothing
at all, and looks just like a cluster in which nothing happens. An answer to a question is whole or
an error, asks for no right to `watch`, and costs a few kilobytes every two seconds.

So a page of a proxy, a refused connection or one that was cut in the middle of a wait is no end of
it: the next question is asked when it is due. Only the patience of the wait ends it.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from alexandria_backup.errors import ClusterUnreachable

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0

T = TypeVar("T")


def wait(left: Callable[[], T], *, patience_s: float) -> T:
    """Ask until nothing is `left`, and return its last answer: a false one is a good end.

    Raises ClusterUnreachable where the last question had no answer, and at once whatever else
    `left` raises.
    """
    away: ClusterUnreachable | None = None
    answers: list[T] = []
    for _ in _until(patience_s):
        try:
            answers, away = [left()], None
        except ClusterUnreachable as error:
            away = error
        else:
            if not answers[0]:
                break
    if away is not None:
        raise away
    return answers[0]


def _until(patience_s: float) -> Iterator[None]:
    """Yield at once, then after ever longer pauses, and a last time when patience is over."""
    began, pause = time.monotonic(), _FIRST_PAUSE_S
    yield
    while (left := patience_s - (time.monotonic() - began)) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        yield
