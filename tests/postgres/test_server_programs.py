"""Which installations can start a server of a version."""

from pathlib import Path

from alexandria_backup.postgres.binaries import embedded_binaries
from alexandria_backup.postgres.server_programs import server_programs


def test_the_embedded_ones_are_found_by_their_version() -> None:
    for major in (16, 18):
        assert embedded_binaries(major) in server_programs(major)
    assert server_programs(9) == ()


def test_client_tools_alone_are_no_server(tmp_path: Path) -> None:
    whole = embedded_binaries(18)
    for name in ("pg_dump", "pg_restore", "initdb"):
        (tmp_path / name).symlink_to(whole / name)
    places = (tmp_path, whole, tmp_path / "nowhere")
    assert server_programs(18, places=places) == (whole,)
