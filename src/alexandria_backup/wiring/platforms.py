"""What runs the application, as the settings say or as it seems."""

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.platforms.kubernetes.platform import KubernetesPlatform
from alexandria_backup.platforms.platform import Platform
from alexandria_backup.platforms.systemd.memory import Memories
from alexandria_backup.platforms.systemd.platform import (
    SystemdPlatform,
    is_installed,
    units_folder,
)
from alexandria_backup.platforms.systemd.systemctl import Systemctl
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.settings.model import Settings
from alexandria_backup.settings.types import PlatformName


def platform(settings: Settings, found: Cluster, *, from_secret: bool) -> Platform:
    """Return what runs the application; `from_secret`: its DSN came out of the cluster."""
    application, kubernetes, systemd = settings.application, settings.kubernetes, settings.systemd
    chosen = application.platform
    if chosen is PlatformName.AUTO:
        chosen = _seen(settings, from_secret=from_secret)
    if chosen is PlatformName.KUBERNETES:
        return KubernetesPlatform(
            cluster=found,
            workloads=kubernetes.workloads,
            selector=f"app.kubernetes.io/instance={application.name}",
            stop_patience_s=kubernetes.stop_timeout_s,
            start_patience_s=application.ready_timeout_s,
        )
    if chosen is PlatformName.SYSTEMD:
        return SystemdPlatform(
            systemctl=Systemctl(user=systemd.user, timeout_s=systemd.timeout_s),
            units=systemd.units,
            memories=Memories(folder=units_folder(user=systemd.user)),
            start_patience_s=application.ready_timeout_s,
        )
    return UnmanagedPlatform(
        stop_command=application.stop_command,
        start_command=application.start_command,
        timeout_s=application.command_timeout_s,
    )


def _seen(settings: Settings, *, from_secret: bool) -> PlatformName:
    """Return what seems to run the application; what is set goes before what is found."""
    application = settings.application
    if application.stop_command or application.start_command:
        return PlatformName.UNMANAGED
    if from_secret or settings.kubernetes.workloads:
        return PlatformName.KUBERNETES
    if settings.systemd.units or is_installed(user=settings.systemd.user):
        return PlatformName.SYSTEMD
    return PlatformName.UNMANAGED
