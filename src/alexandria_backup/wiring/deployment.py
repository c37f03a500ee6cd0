"""The files that an operator deploys, from the settings."""

import json
import os
import pwd
import sys
from importlib import metadata
from pathlib import Path

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.platforms.deployables.deployables import ClusterSite, Files, HostSite
from alexandria_backup.secret import Secret
from alexandria_backup.settings.description import fields, variable_of
from alexandria_backup.settings.model import Settings

_CONFIG = Path("/etc/alexandria/backup.toml")
#: Set by the manifests themselves, or of no use in a pod that has no account.
_OWN = ("dsn", "state_dir", "kubernetes.kubeconfig", "kubernetes.context")


def cluster_files(settings: Settings, *, image: str, namespace: str | None) -> Files:
    """Return what a cluster gets; raises SettingsInvalid without a repository that pods reach."""
    repository = settings.repository
    if repository is None or "://" not in repository or repository.startswith("file://"):
        raise SettingsInvalid(
            "a pod has no folder of this machine: the repository must be a URL",
            hint="export ALEXANDRIA_REPOSITORY=s3://bucket/alexandria",
        )
    kubernetes = settings.kubernetes
    return ClusterSite(
        namespace=namespace or kubernetes.namespace or "default",
        image=image,
        secret=kubernetes.secret,
        key=kubernetes.key,
        variables=_variables(settings),
        workloads=kubernetes.workloads,
        version=metadata.version("alexandria-backup"),
    ).files()


def host_files(settings: Settings, *, config: Path | None) -> Files:
    """Return what a host gets; the units name the settings file that was read."""
    repository = settings.repository
    local = repository is not None and "://" not in repository
    return HostSite(
        program=Path(sys.argv[0]).absolute(),
        config=(config or _CONFIG).absolute(),
        user=pwd.getpwuid(os.geteuid()).pw_name,
        writable=(repository,) if local and repository else (),
    ).files()


def _variables(settings: Settings) -> dict[str, str]:
    """Return what is set and can go into a pod as it is: no secret, no file of this machine."""
    found = {}
    for key, field in fields():
        value: object = settings
        for part in key.split("."):
            value = getattr(value, part)
        usual = field.get_default(call_default_factory=True)
        if value is None or value == usual or key in _OWN or isinstance(value, Secret | Path):
            continue
        found[variable_of(key)] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)
