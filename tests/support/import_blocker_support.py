"""A Python in which a library is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def without(library: str) -> Iterator[None]:
    """Let `import library` fail, as it does where the extra is not installed."""
    gone = {name: None for name in sys.modules if name.partition(".")[0] == library}
    with patch.dict(sys.modules, {**gone, library: None}):
        yield
