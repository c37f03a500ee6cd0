"""Where an embedded server lives, and as whom: trivial for an ordinary user, not for root.

PostgreSQL refuses to run as root. Its programs then run as `nobody`, who may be unable to reach the
wheel (below `/root`, say) or the folder that the caller chose (below a private temporary folder).
The modes of existing folders are never changed: what cannot be reached is linked, or kept while the
server runs, below a folder of our own.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.throwaway_folder import (
    SERVERS,
    HeldFolder,
    held_folder,
    temporary_bases,
)

#: The account that owns nothing; there on Linux and on macOS.
_NOBODY = "nobody"
#: Bytes that `sockaddr_un.sun_path` holds on macOS, the shortest; the name ends with a zero byte.
_SOCKET_PATH_LIMIT = 104
#: Stands for what follows the private folder in a socket's path, at its longest.
_SOCKET_SUFFIX = "/socket/.s.PGSQL.65535"
#: Where the wheel's own libraries lie, from the folder that holds `pginstallNN`: Linux and macOS.
_LIBRARIES = ("../{package}.libs", ".dylibs")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whom PostgreSQL's programs run as."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one server lives."""

    #: Whom the programs run as; None: as whoever we are.
    account: Account | None
    #: Our own short-lived folder, removed at the end.
    private: Path
    #: Tells others that the private folder is in use, as long as we or the guard have it open.
    lock: int
    #: The folder of the socket; only the server's user may look into it.
    socket: Path
    #: The folder of the programs that the server's user can reach.
    programs: Path
    #: The data folder while the server runs.
    data: Path
    #: The data folder when it does not; the same, where the server's user can reach it.
    home: Path


def find_place(folder: Path, programs: Path) -> Place:
    """Make `folder`, a private folder and an empty data folder (or find the one in `folder`).

    Raises `PrecheckRefused` where a folder cannot be made.
    """
    account = _account()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            # It is ours, so it may let the server's user through.
            folder.chmod(0o700 if account is None else 0o711)
        held = _make_private(account)
    except OSError as exc:
        raise PrecheckRefused(
            f"no embedded server can be kept in `{folder}`: {exc.strerror}",
            hint="choose a folder that you may write to",
        ) from exc
    try:
        return _furnish(folder, programs, held, account)
    except OSError as exc:
        _give_back(held)
        raise PrecheckRefused(
            f"no embedded server can be kept in `{folder}`: {exc.strerror} (`{exc.filename}`)",
            hint="choose a folder that you may write to",
        ) from exc


def hand_over(path: Path, account: Account | None) -> None:
    """Give a file, or a folder with all it holds, to the server's user."""
    if account is None:
        return
    # Never through a link: as root, that would give away the file that somebody points us to.
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(parent, name), account.uid, account.gid, follow_symlinks=False)


def _give_back(held: HeldFolder) -> None:
    shutil.rmtree(held.path, ignore_errors=True)
    os.close(held.lock)


def _furnish(folder: Path, programs: Path, held: HeldFolder, account: Account | None) -> Place:
    private = held.path
    socket = private / "socket"
    socket.mkdir(mode=0o700)
    hand_over(socket, account)
    home = folder / "data"
    home.mkdir(mode=0o700, exist_ok=True)
    hand_over(home, account)
    data = home
    if account is not None and not _can_enter(home, account):
        data = private / "data"
        shutil.move(home, data)
        # On another file system it was copied, and then belongs to us again.
        hand_over(data, account)
    return Place(
        account=account,
        private=private,
        lock=held.lock,
        socket=socket,
        programs=_reachable_programs(programs, private, account),
        data=data,
        home=home,
    )


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_NOBODY)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _make_private(account: Account | None) -> HeldFolder:
    for base in temporary_bases():
        held = held_folder(base.resolve(), SERVERS)
        private = held.path
        fits = len(os.fsencode(private)) + len(_SOCKET_SUFFIX) < _SOCKET_PATH_LIMIT
        if account is not None:
            private.chmod(0o711)
        if fits and (account is None or _can_enter(private, account)):
            return held
        _give_back(held)
    raise PrecheckRefused(
        "no temporary folder is short and open enough for the socket of an embedded server",
        hint="set TMPDIR to a short path such as `/tmp`",
    )


def _can_enter(folder: Path, account: Account) -> bool:
    """Try it, since only the kernel knows all of modes, lists and mounts."""
    return _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], account)


def _succeeds(command: list[str], account: Account) -> bool:
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _reachable_programs(programs: Path, private: Path, account: Account | None) -> Path:
    """Return `programs`, or a linked copy of the installation that the account can reach."""
    if account is None or _succeeds([str(programs / "postgres"), "--version"], account):
        return programs
    prefix = programs.parent.resolve()
    package = prefix.parent
    install = private / "install" / package.name
    # Programs find their libraries and `share` relative to themselves: the shape must stay.
    wanted = [(prefix / part, install / prefix.name / part) for part in ("bin", "lib", "share")]
    for pattern in _LIBRARIES:
        part = pattern.format(package=package.name)
        wanted.append((package / part, install / part))
    for source, target in wanted:
        if source.is_dir():
            shutil.copytree(
                source,
                target.resolve(),
                symlinks=True,
                copy_function=_link_or_copy,
                ignore=shutil.ignore_patterns("*.a"),
            )
    for parent, folders, _ in os.walk(private / "install"):
        for name in ("", *folders):
            Path(parent, name).chmod(0o755)
    return install / prefix.name / "bin"


def _link_or_copy(source: str, target: str) -> None:
    # A link shares the mode of a file that is not ours to change.
    if Path(source).stat().st_mode & 0o004:
        try:
            os.link(source, target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(source, target)
    Path(target).chmod(0o755)
