import copy
import json
import logging
import os
import pickle
import stat
import traceback
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.secret import REDACTED, Secret, is_exposed

VALUE = "hunter2-Über/@:%"
SECRET = Secret(VALUE)


@dataclass(frozen=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>40}",
        f"{SECRET:>40}",
        "{:s}".format(SECRET),  # noqa: UP032 - this form is what is tested
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - this form is what is tested
        repr([SECRET]),
        repr(Holder(SECRET)),
        str(ValueError(SECRET)),
    ],
)
def test_it_is_redacted_wherever_it_is_shown(shown: str) -> None:
    assert "hunter2" not in shown
    assert REDACTED in shown


def test_only_reveal_opens_it() -> None:
    assert SECRET.reveal() == VALUE
    with pytest.raises(TypeError):
        vars(SECRET)


def test_a_log_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("connecting with %s and %r", SECRET, {"dsn": SECRET})
    assert REDACTED in caplog.text
    assert "hunter2" not in caplog.text


def test_a_traceback_with_local_variables_does_not_show_it() -> None:
    def fail(_secret: Secret) -> None:
        raise LookupError("it failed")

    with pytest.raises(LookupError) as caught:
        fail(SECRET)
    said = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "_secret = Secret(***)" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Holder(SECRET), protocol=protocol)


def test_it_has_no_other_form_that_could_be_written() -> None:
    with pytest.raises(TypeError):
        json.dumps({"dsn": SECRET})
    with pytest.raises(TypeError):
        copy.deepcopy(SECRET)
    with pytest.raises(TypeError):
        asdict(Holder(SECRET))


def test_secrets_are_compared_by_value_and_never_with_text() -> None:
    assert Secret(VALUE) == SECRET
    assert Secret("other") != SECRET
    assert SECRET != VALUE
    assert len({SECRET, Secret(VALUE), VALUE}) == 2


def test_an_empty_secret_is_false_and_redacts_nothing() -> None:
    assert SECRET
    assert not Secret("")
    assert Secret("").redact("as it was") == "as it was"


def test_every_occurrence_is_redacted() -> None:
    said = Secret("pw").redact("password=pw; tried `pw` twice: pwpw")
    assert said == "password=***; tried `***` twice: ******"


# `*` is left out: a secret made of asterisks is in its own redaction.
@given(secret=st.text(st.characters(exclude_characters="*"), min_size=1), around=st.text())
def test_redacted_text_never_holds_the_secret(secret: str, around: str) -> None:
    text = f"{around}{secret}{around}"
    assert secret not in Secret(secret).redact(text)


@pytest.mark.parametrize(
    ("owner", "us", "mode", "exposed"),
    [
        (1000, 1000, 0o600, False),
        (1000, 1000, 0o640, True),
        (0, 0, 0o640, True),
        (0, 0, 0o600, False),
        # A Secret that is mounted into a pod is root's, and the pod's group reads it.
        (0, 65532, 0o440, False),
        (0, 65532, 0o460, True),
        (0, 65532, 0o444, True),
        (1001, 65532, 0o440, True),
    ],
)
def test_a_file_is_exposed_where_others_can_read_or_change_it(
    monkeypatch: pytest.MonkeyPatch, owner: int, us: int, mode: int, exposed: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: us)
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    assert is_exposed(status) is exposed
