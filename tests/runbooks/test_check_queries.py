"""What an operator wants asked of restored data is asked one by one, before the swap and after."""

import pytest
from oracle_support import Good, snapshot, wreck
from site_support import Site

SEVERAL = "SELECT true; SELECT false"


@pytest.fixture
def wrecked(site: Site) -> Site:
    snapshot(site)
    wreck(site)
    return site


@pytest.mark.parametrize(
    ("query", "limit", "code", "said"),
    [
        (SEVERAL, 300, 2, f"the check `{SEVERAL}` is not one SQL query"),
        ("SELECT pg_sleep(60) IS NULL", 1, 40, "gave no answer within 1 s"),
        ("COPY (SELECT true) TO STDOUT", 300, 40, "was refused"),
        ("COMMIT", 300, 40, "was refused"),
    ],
)
def test_a_restore_refuses_a_check_that_is_no_query_or_gives_no_answer(
    wrecked: Site, query: str, limit: int, code: int, said: str
) -> None:
    before = Good(site=wrecked)
    asked = {
        "ALEXANDRIA_APPLICATION__CHECKS": query,
        "ALEXANDRIA_APPLICATION__CHECKS_TIMEOUT_S": str(limit),
    }
    ended = wrecked.run("restore", "latest", "--yes", environ=asked)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    before.assert_back()
    assert set(wrecked.databases()) == {wrecked.database}
