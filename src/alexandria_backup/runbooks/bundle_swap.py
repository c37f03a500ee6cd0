"""Exchanging what lies on a machine for what came out of a bundle, root by root, and back."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from alexandria_backup.errors import ProofFailed, StorageError
from alexandria_backup.runbooks.bundle_state import Root, SwapState
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.storage.placing import sync_folder

S = TypeVar("S", bound=SwapState)
#: Names are cut before a mark is added, so that each fits into 255 bytes.
_MOST_NAME = 160


def beside(target: Path, role: str, run: str) -> Path:
    """Return the path beside `target` for what a run puts there: `.app.alexandria-kept-k3x9`.

    Hidden, and with another ending than a unit's, so that systemd takes nothing of it for one.
    """
    name = os.fsencode(target.name)[:_MOST_NAME].decode(errors="ignore")
    return target.with_name(f".{name}.alexandria-{role}-{run.rpartition('-')[2]}")


def identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode of a path, whatever it is; None where there is nothing."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"`{path}` could not be examined: {exc.strerror}") from exc
    return status.st_dev, status.st_ino


@dataclass(frozen=True, kw_only=True)
class SwapRoots(Generic[S]):
    """Rename what is there aside and what is new into its place: the commit point."""

    name: ClassVar[str] = "swap"
    changes: ClassVar[bool] = True

    def explain(self, state: S) -> Explanation:
        """Name the renames."""
        commands = []
        for root in state.roots:
            commands.append(shell("mv", root.target, root.kept))
            if root.incoming is not None:
                commands.append(shell("mv", root.incoming, root.target))
        return Explanation(
            sentence=f"exchange {len(state.roots)} paths by renames, and keep what was there",
            commands=tuple(commands),
        )

    def do(self, state: S) -> Done[S]:
        """Exchange each root that is not exchanged yet; the disk tells which those are."""
        with _translated("the exchange stopped"):
            for root in state.roots:
                _exchange(root)
            _sync(state.roots)
        kept = tuple(root.kept for root in state.roots if identity(root.kept) is not None)
        said = f"{len(state.roots)} paths exchanged, {len(kept)} kept"
        return Done(state.model_copy(update={"kept": kept}), said)

    def undo(self, state: S) -> S:
        """Put back what was there; what had come in goes where it came from."""
        with _translated("the exchange could not be undone"):
            for root in reversed(state.roots):
                _exchange_back(root)
            _sync(state.roots)
        return state


def _exchange(root: Root) -> None:
    here = identity(root.target)
    if root.incoming is None:
        if here is not None and identity(root.kept) is None:
            os.rename(root.target, root.kept)  # noqa: PTH104 - paths are text in a journal
        return
    if here is not None and here == root.identity:
        return
    if identity(root.incoming) != root.identity:
        raise ProofFailed(f"`{root.incoming}` is not what this run has put there")
    if here is not None:
        if identity(root.kept) is not None:
            raise ProofFailed(f"`{root.kept}` is there already, and nothing is overwritten")
        os.rename(root.target, root.kept)  # noqa: PTH104 - as above
    os.rename(root.incoming, root.target)  # noqa: PTH104 - as above


def _exchange_back(root: Root) -> None:
    here = identity(root.target)
    if root.incoming is not None and here is not None and here == root.identity:
        os.rename(root.target, root.incoming)  # noqa: PTH104 - as above
        here = None
    if here is None and identity(root.kept) is not None:
        os.rename(root.kept, root.target)  # noqa: PTH104 - as above


def _sync(roots: Iterable[Root]) -> None:
    for folder in {Path(root.target).parent for root in roots}:
        if folder.is_dir():
            sync_folder(folder)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = (error.strerror or "input/output error").lower()
        raise StorageError(f"{what} at `{error.filename}`: {said}") from error
