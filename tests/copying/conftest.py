"""Durable servers, and a desk to take snapshots at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from copying_support import DURABLE, Desk

from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.marker_rows import create_markers


@pytest.fixture(scope="session")
def durable_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(server_folder / "durable", major=18, settings=DURABLE) as server:
        yield server


@pytest.fixture
def desk(durable_server: EmbeddedServer, new_database: Any, tmp_path: Path) -> Desk:
    """A desk on an empty database that has the schema of markers."""
    dsn = Dsn.parse(new_database(durable_server))
    with connect(dsn, purpose="test") as session:
        create_markers(session)
    return Desk(dsn=dsn, major=18, folder=tmp_path)
