from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.platforms.license import LicenseReport, read_license


def test_a_whole_licence_is_read() -> None:
    document = {"tier": "enterprise", "seats": 250, "expires": "2027-03-31T00:00:00Z"}
    expected = LicenseReport(
        tier="enterprise", seats=250, expires=datetime(2027, 3, 31, tzinfo=UTC), missing=()
    )
    assert read_license(document) == expected
    assert read_license({"license": document}) == expected


def test_other_spellings_are_understood() -> None:
    report = read_license({"plan": "team", "max_seats": "12", "expires_at": "2027-03-31"})
    assert (report.tier, report.seats, report.missing) == ("team", 12, ())
    assert report.expires == datetime(2027, 3, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({}, ("tier", "seats", "expires")),
        ({"tier": "team", "seats": None, "expires": "soon"}, ("seats", "expires")),
        ({"tier": 3, "seats": True, "expires": 1900000000}, ("tier", "seats", "expires")),
        ({"tier": "team", "seats": -1, "expires": "2027-03-31"}, ("seats",)),
    ],
)
def test_what_is_missing_is_named(document: dict[str, object], missing: tuple[str, ...]) -> None:
    assert read_license(document).missing == missing


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["tier", "seats", "expires", "license", "expiry"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_no_document_makes_it_fail(document: dict[str, object]) -> None:
    report = read_license(document)
    assert report.expires is None or report.expires.tzinfo is not None
