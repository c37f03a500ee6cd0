"""The files that an operator deploys, from the settings."""

import json
import os
import pwd
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, TypeGuard

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.platforms.deployables.deployables import (
    KEYS_FOLDER,
    ClusterSite,
    Files,
    HostSite,
)
from alexandria_backup.secret import Secret
from alexandria_backup.settings.audit import AuditKeySettings
from alexandria_backup.settings.description import fields, variable_of
from alexandria_backup.settings.model import Settings
from alexandria_backup.settings.section import Section

_CONFIG = Path("/etc/alexandria/backup.toml")
#: As in `https://user:password@host` and `password=…`.
_WITH_PASSWORD: Final = re.compile(r"://[^/@\s:]*:[^/@\s]+@|\bpassword\s*=", re.IGNORECASE)
#: Set by the manifests and the image themselves.
_OWN = (
    *("dsn", "state_dir", "database.dsn_file", "database.client_tools"),
    *("kubernetes.kubeconfig", "kubernetes.context", "drill.folder"),
)


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
        keys=_keys(settings),
        workloads=kubernetes.workloads,
        version=metadata.version("alexandria-backup"),
    ).files()


def host_files(settings: Settings, *, config: Path | None) -> Files:
    """Return what a host gets; the units name the settings file that was read."""
    repository, drills = settings.repository, settings.drill.folder
    local = repository is not None and "://" not in repository
    return HostSite(
        program=Path(sys.argv[0]).absolute(),
        config=(config or _CONFIG).absolute(),
        user=pwd.getpwuid(os.geteuid()).pw_name,
        writable=(
            *((repository,) if local and repository else ()),
            # Not there yet, it must not keep the other units from being started.
            *((f"-{drills.absolute()}",) if drills else ()),
        ),
    ).files()


def _set(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield what is not as it usually is, by its key."""
    for key, field in fields():
        value: object = settings
        for part in key.split("."):
            value = getattr(value, part)
        if value not in (None, field.get_default(call_default_factory=True)) and key not in _OWN:
            yield key, value


def _variables(settings: Settings) -> dict[str, str]:
    """Return what goes into a pod as a variable: no secret; a file is where it is mounted."""
    found = {}
    for key, value in _set(settings):
        if isinstance(value, Secret):
            continue
        text = _text(key, value)
        if _WITH_PASSWORD.search(text):
            raise SettingsInvalid(
                f"`{key}` holds a password, and would stand in the manifests for all to read",
                hint="take it out of the setting: a Secret is for that",
            )
        found[variable_of(key)] = text
    return found


def _keys(settings: Settings) -> dict[str, Path]:
    """Return the files that a pod needs, by the names under which they are mounted."""
    found = {}
    for key, value in _set(settings):
        if isinstance(value, Path):
            found[key] = value
        elif isinstance(value, tuple):
            found |= {_mounted(key, one): one.file for one in value if _is_key(one)}
    return found


def _is_key(value: object) -> TypeGuard[AuditKeySettings]:
    return isinstance(value, AuditKeySettings)


def _mounted(key: str, one: AuditKeySettings) -> str:
    return f"{key}.{one.name}"


def _text(key: str, value: object) -> str:
    if isinstance(value, Path):
        return f"{KEYS_FOLDER}/{key}"
    if isinstance(value, tuple):
        return _json([_told(key, one) for one in value])
    if isinstance(value, Mapping):
        return _json({name: _told(key, one) for name, one in value.items()})
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(key: str, value: object) -> object:
    """Return a value of a list or a table: a text, or what is a section of its own."""
    if not isinstance(value, Section):
        return value
    told = value.model_dump(mode="json", exclude_none=True)
    return told | ({"file": f"{KEYS_FOLDER}/{_mounted(key, value)}"} if _is_key(value) else {})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
