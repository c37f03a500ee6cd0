"""Reading an object of the API without believing its shape: what is not as expected is empty."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

#: An object as the API has it, or a part of one.
Document: TypeAlias = Mapping[str, object]


def part(document: Document, *keys: str) -> Document:
    """Return what lies under the keys, one below the other."""
    for key in keys:
        found = document.get(key)
        document = found if isinstance(found, Mapping) else {}
    return document


def parts(document: Document, key: str) -> Iterator[Document]:
    """Yield the objects of a list."""
    found = document.get(key)
    for item in found if isinstance(found, list) else []:
        if isinstance(item, Mapping):
            yield item


def count(document: Document, key: str) -> int:
    """Return a number, 0 where there is none."""
    found = document.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def texts(document: Document, key: str) -> Mapping[str, str]:
    """Return labels or annotations."""
    return {str(name): str(value) for name, value in part(document, key).items()}
