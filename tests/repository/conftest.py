from collections.abc import Callable
from pathlib import Path

import pytest
from manifest_support import build_manifest
from repository_support import Site

from alexandria_backup.repository.manifest import Manifest

Build = Callable[..., Manifest]


@pytest.fixture(scope="session")
def build() -> Build:
    """Return what builds a manifest of an archive, with some of its fields changed."""
    return build_manifest


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a repository in memory, not signed and not encrypted."""
    return Site(tmp_path)
