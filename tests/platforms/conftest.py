import os
from pathlib import Path

import pytest
from systemd_support import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host on which `alexandria-api` runs and `alexandria-worker` does not."""
    host = Host(root=tmp_path / "host")
    host.settle()
    monkeypatch.setenv("PATH", f"{host.programs}:{os.environ['PATH']}")
    host.install("alexandria-api.service")
    host.install("alexandria-worker.service", state="inactive")
    return host
