"""What a Helm values file says of Vault: the file that the application itself was deployed with."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from alexandria_backup.errors import SettingsInvalid


@dataclass(frozen=True, kw_only=True)
class HelmVault:
    """The section `vault`; None where it says nothing."""

    enabled: bool | None = None
    prefix: str | None = None
    address: str | None = None
    mount: str | None = None
    key: str | None = None


def read_helm_values(path: Path) -> HelmVault:
    """Read the file; raises SettingsInvalid for one that is not there or means nothing."""
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise SettingsInvalid(
            "to read Helm values, this program needs PyYAML, which its extra `vault` brings",
            hint="pip install 'alexandria-backup[vault]'",
        ) from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"`{path}` cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        # Not the library's text: it quotes the line.
        raise SettingsInvalid(f"`{path}` is not YAML") from None
    vault = content.get("vault") if isinstance(content, Mapping) else None
    if not isinstance(vault, Mapping):
        return HelmVault()
    enabled = vault.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise SettingsInvalid(f"`vault.enabled` in `{path}` is neither `true` nor `false`")
    return HelmVault(
        enabled=enabled,
        prefix=_text(vault, "prefix", path),
        address=_text(vault, "address", path),
        mount=_text(vault, "mount", path),
        key=_text(vault, "key", path),
    )


def _text(section: Mapping[object, object], name: str, path: Path) -> str | None:
    value = section.get(name)
    if value is not None and not isinstance(value, str):
        raise SettingsInvalid(f"`vault.{name}` in `{path}` is not a text")
    return value or None
