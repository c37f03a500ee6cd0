"""Where the stand-in application keeps what it needs between a stop and a start."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ApplicationFolder:
    """One folder per application; whoever holds `keeper_file` locked keeps it alive."""

    root: Path

    @property
    def dsn_file(self) -> Path:
        """The DSN of its database, mode 0600; written by whoever sets the folder up."""
        return self.root / "dsn"

    @property
    def key_file(self) -> Path:
        """The key of its audit chain, raw, mode 0600; written by whoever sets the folder up."""
        return self.root / "audit.key"

    @property
    def keeper_file(self) -> Path:
        """Locked by the process whose end must be the application's end: see `keeper.py`."""
        return self.root / "keeper.lock"

    @property
    def pid_file(self) -> Path:
        """Holds the application's process id; locked (`flock`) as long as it lives."""
        return self.root / "application.pid"

    @property
    def port_file(self) -> Path:
        """Holds the port that the application chose at its first start, and keeps."""
        return self.root / "application.port"

    @property
    def log_file(self) -> Path:
        """What the application said."""
        return self.root / "application.log"

    def url(self) -> str:
        """Return the application's URL; raises `FileNotFoundError` before its first start."""
        return f"http://127.0.0.1:{int(self.port_file.read_text())}"
