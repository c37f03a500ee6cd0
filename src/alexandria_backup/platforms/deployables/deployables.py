"""Fill the files that an operator deploys with the settings of the site, and write them.

Kubernetes gets a Kustomize base that no site changes and overlays that hold what does; a host gets
services and timers. No secret is in any of them: the DSN is mounted, or read from its file.
"""

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from alexandria_backup.errors import UsageError
from alexandria_backup.platforms.kubernetes.workload import parse_name

_PACKAGE = "alexandria_backup.platforms.deployables"
#: The Secret with keys and certificates, and where a pod finds them.
KEYS_SECRET = "alexandria-backup-keys"  # noqa: S105 - the name of one
KEYS_FOLDER = "/run/secrets/alexandria-backup"
_NO_TEMPLATES = (".py", ".pyc")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files by their path below the folder that they are written into."""

    texts: Mapping[str, str]
    #: What the operator types next; `OUT` stands for the folder.
    next_commands: tuple[str, ...]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write all of them; raises UsageError where the folder holds anything already."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(
                    f"`{folder}` is not empty, and nothing is overwritten",
                    hint="choose another `--out`, and compare both with `diff -r`",
                )
            return tuple(_write(folder / name, text) for name, text in self.texts.items())
        except OSError as error:
            raise UsageError(f"`{folder}` cannot be written: {error.strerror}") from None


@dataclass(frozen=True, kw_only=True)
class ClusterSite:
    """What differs from one cluster to another."""

    namespace: str
    image: str
    #: The Secret that holds the DSN, and the key in it.
    secret: str
    key: str
    #: The settings that are set, as variables; none of them is secret, none names a local file.
    variables: Mapping[str, str]
    #: Files of keys and certificates that the settings name, by the name that a pod sees.
    keys: Mapping[str, Path]
    #: What a restore scales, as `[kubernetes] workloads`; empty: found by a label.
    workloads: Sequence[str]
    version: str

    def files(self) -> Files:
        """Return container files, base, overlays, and the example of a hook."""
        values = {
            "namespace": self.namespace,
            "image": self.image,
            "secret": self.secret,
            "key": self.key,
            "version": self.version,
            "literals": "\n".join(_literals(self.variables)),
            "rules": "\n".join(_rules(self.workloads)),
        }
        return Files(texts=_filled("kubernetes", values), next_commands=tuple(self._next()))

    def _next(self) -> Iterator[str]:
        if self.keys:
            files = (f"--from-file={name}={path}" for name, path in self.keys.items())
            yield shlex.join(
                (
                    *("kubectl", "create", "secret", "generic", KEYS_SECRET),
                    *("--namespace", self.namespace, *files),
                )
            )
        yield "kubectl apply --kustomize OUT/overlays/site"


@dataclass(frozen=True, kw_only=True)
class HostSite:
    """What differs from one host to another."""

    #: This program, and the settings that the units name.
    program: Path
    config: Path
    user: str
    #: Folders that the units write besides the state folder, such as the repository's; with `-`
    #: in front where one may be absent.
    writable: Sequence[str]

    def files(self) -> Files:
        """Return services and timers."""
        values = {
            "program": str(self.program),
            "config": str(self.config),
            "user": self.user,
            "writable": "ReadWritePaths=" + " ".join(self.writable),
        }
        commands = (
            "install -m 0644 OUT/* /etc/systemd/system/",
            "systemctl daemon-reload",
            "systemctl enable --now alexandria-snapshot.timer alexandria-prune.timer "
            "alexandria-verify.timer",
            "systemctl enable --now alexandria-drill.timer   # with a PostgreSQL server, or "
            "`[drill] dsn_file`",
        )
        return Files(texts=_filled("systemd", values), next_commands=commands)


def _filled(folder: str, values: Mapping[str, str]) -> dict[str, str]:
    root = resources.files(_PACKAGE) / folder
    return {
        name: Template(found.read_text(encoding="utf-8")).substitute(values)
        for name, found in sorted(_below(root))
    }


def _below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for found in folder.iterdir():
        if found.is_dir():
            yield from _below(found, f"{prefix}{found.name}/")
        elif not found.name.endswith(_NO_TEMPLATES):
            yield prefix + found.name, found


def _literals(variables: Mapping[str, str]) -> Iterable[str]:
    for name, value in variables.items():
        # JSON's strings are YAML's.
        yield f"      - {json.dumps(f'{name}={value}', ensure_ascii=False)}"


def _rules(workloads: Sequence[str]) -> Iterator[str]:
    if not workloads:
        # They are found by their label, and a rule for a list cannot name them.
        yield "  - apiGroups: [apps]"
        yield "    resources: [deployments, statefulsets]"
        yield "    verbs: [get, list, patch]"
    for kind, name in map(parse_name, workloads):
        yield f"  - apiGroups: [{kind.group}]"
        yield f"    resources: [{kind.plural}]"
        yield f"    resourceNames: [{json.dumps(name)}]"
        yield "    verbs: [get, patch]"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path
