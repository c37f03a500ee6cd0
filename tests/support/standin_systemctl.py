"""What stands in for `systemctl` where no systemd runs: only starting and stopping are its own.

    python standin_systemctl.py ROOT WORD…

Masks, enablement and the list of installed units are the real `systemctl --root=ROOT`. Starting and
stopping a unit runs the commands in `ROOT/hooks/UNIT.start` and `UNIT.stop`, where they are there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

REAL = "/usr/bin/systemctl"
OFFLINE = {"mask", "unmask", "enable", "disable", "is-enabled", "list-unit-files"}
CONFIGURED, INSTALLED = "etc/systemd/system", "usr/lib/systemd/system"


class Manager:
    def __init__(self, root: Path) -> None:
        self.root = root

    def states(self) -> dict[str, str]:
        path = self.root / "states.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def remember(self, unit: str, state: str) -> None:
        (self.root / "states.json").write_text(json.dumps({**self.states(), unit: state}))

    def path(self, unit: str) -> Path | None:
        found = (self.root / folder / unit for folder in (CONFIGURED, INSTALLED))
        return next((path for path in found if path.exists() or path.is_symlink()), None)

    def is_masked(self, unit: str) -> bool:
        path = self.path(unit)
        return path is not None and path.is_symlink() and str(path.readlink()) == os.devnull

    def may_start(self, unit: str) -> bool:
        """Heed the one condition that this program writes."""
        drop_ins = (self.root / CONFIGURED / f"{unit}.d").glob("*.conf")
        return not any("ConditionPathExists=!/\n" in path.read_text() for path in drop_ins)

    def show(self, unit: str) -> None:
        path = self.path(unit)
        masked = self.is_masked(unit)
        state = self.states().get(unit, "inactive")
        load = "masked" if masked else "loaded" if path else "not-found"
        sys.stdout.write(
            f"LoadState={load}\nActiveState={state}\n"
            f"UnitFileState={'masked' if masked else 'static'}\nFragmentPath={path or ''}\n"
        )

    def start(self, unit: str) -> None:
        if self.is_masked(unit):
            sys.exit(f"Failed to start {unit}: Unit {unit} is masked.")
        if self.may_start(unit) and self.states().get(unit) != "active":
            self.remember(unit, "active" if self.hook(unit, "start") else "failed")

    def stop(self, unit: str) -> None:
        if self.states().get(unit, "inactive") == "active":
            self.hook(unit, "stop")
            self.remember(unit, "inactive")

    def hook(self, unit: str, verb: str) -> bool:
        path = self.root / "hooks" / f"{unit}.{verb}"
        if not path.exists():
            return True
        with (self.root / "hooks" / "log").open("ab") as log:
            return subprocess.run([str(path)], stdout=log, stderr=log, check=False).returncode == 0


def main() -> None:
    root, *words = sys.argv[1:]
    manager = Manager(Path(root))
    words = [word for word in words if word != "--user"]
    verb, *rest = words
    units = [word for word in rest if not word.startswith("--")]
    with (manager.root / "calls").open("a") as calls:
        calls.write(" ".join(sys.argv[2:]) + "\n")
    if verb in OFFLINE:
        os.execv(REAL, [REAL, f"--root={root}", *words])  # noqa: S606 - it is to be that program
    for unit in units:
        getattr(manager, verb)(unit)


if __name__ == "__main__":
    main()
