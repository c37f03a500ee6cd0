"""A host with systemd, as far as a restore has to do with it; see `standin_systemctl.py`."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from standin_systemctl import CONFIGURED, INSTALLED, REAL

_PROGRAM = Path(__file__).parent / "standin_systemctl.py"


@dataclass(frozen=True, kw_only=True)
class Host:
    """The root of its files; `programs` goes to the front of PATH."""

    root: Path

    @property
    def programs(self) -> Path:
        return self.root / "programs"

    @property
    def configured(self) -> Path:
        return self.root / CONFIGURED

    def settle(self) -> None:
        for folder in (CONFIGURED, INSTALLED, "hooks", "programs"):
            (self.root / folder).mkdir(parents=True)
        words = shlex.join((sys.executable, "-I", "-S", str(_PROGRAM), str(self.root)))
        self._script(self.programs / "systemctl", f'exec {words} "$@"')
        self._script(self.programs / "journalctl", f"cat {shlex.quote(str(self.root))}/hooks/log")
        (self.root / "hooks" / "log").write_text("INFO serving\n")

    def install(self, unit: str, *, where: str = INSTALLED, state: str = "active") -> None:
        text = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
        (self.root / where / unit).write_text(text)
        self.be(unit, state)

    def hook(self, unit: str, verb: str, *words: str) -> None:
        self._script(self.root / "hooks" / f"{unit}.{verb}", f"exec {shlex.join(words)}")

    def be(self, unit: str, state: str) -> None:
        path = self.root / "states.json"
        states = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**states, unit: state}))

    def state(self, unit: str) -> str:
        found: str = json.loads((self.root / "states.json").read_text()).get(unit, "inactive")
        return found

    def is_masked(self, unit: str) -> bool:
        return (self.configured / unit).is_symlink()

    @property
    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()

    def _script(self, path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


def has_systemctl() -> bool:
    return Path(REAL).exists()
