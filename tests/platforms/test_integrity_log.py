import pytest

from alexandria_backup.platforms.integrity_log import integrity_warnings


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24T08:00:00Z WARNING audit integrity check failed at seq 812",
        '{"level":"error","msg":"audit chain broken","seq":812}',
        "WARN: hmac of audit row 812 mismatch",
        "audit: sequence gap between 811 and 813",
        "possible tampering with the audit_events table, prev_hash differs",
    ],
)
def test_a_doubt_is_found(line: str) -> None:
    assert integrity_warnings(f"INFO starting\n{line}\nINFO serving\n") == (line,)


@pytest.mark.parametrize(
    "line",
    [
        "INFO audit chain verified, 812 rows",
        "ERROR cannot reach the database",
        "WARNING audit log level is debug",
        "",
    ],
)
def test_what_is_no_doubt_is_left_out(line: str) -> None:
    assert integrity_warnings(line) == ()


def test_a_line_is_shown_without_control_characters_and_not_whole() -> None:
    (shown,) = integrity_warnings("audit chain broken \x1b[2J" + "x" * 1000)
    assert "\x1b" not in shown
    assert len(shown) == 200
