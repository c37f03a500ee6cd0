"""Both forms of a DSN are understood, and no secret of it is ever shown."""

from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from alexandria_backup.errors import DsnInvalid
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.secret import Secret

#: What libpq can hold: anything but NUL.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
#: Long enough, and odd enough, not to be a part of any message by chance.
PASSWORDS = WORDS.map(lambda word: f"Pw§{word}§")


def parse(text: str) -> Dsn:
    return Dsn.parse(Secret(text))


def test_url_form() -> None:
    dsn = parse("postgresql://alice:s3cret@db.example:6432/shop?sslmode=require\n")
    assert (dsn.host, dsn.port, dsn.user, dsn.database) == ("db.example", "6432", "alice", "shop")
    assert dsn.password == Secret("s3cret")
    assert dsn.parameters()["sslmode"] == "require"
    assert str(dsn) == "postgresql://alice@db.example:6432/shop"


def test_keyword_form_equals_url_form() -> None:
    keyword = parse("  host=db.example user=alice password='s 3' dbname=shop ")
    assert keyword == parse("postgres://alice:s%203@db.example/shop")
    assert hash(keyword) == hash(parse("postgres://alice:s%203@db.example/shop"))
    assert keyword != parse("postgres://alice:other@db.example/shop")


def test_database_is_the_role_where_none_is_given() -> None:
    assert parse("host=h user=alice").database == "alice"
    assert parse("host=h").database == parse("host=h").user


def test_several_hosts() -> None:
    dsn = parse("postgresql://u@one:5433,two:5434/shop?target_session_attrs=read-write")
    assert (dsn.host, dsn.port) == ("one,two", "5433,5434")
    assert str(dsn) == "postgresql://u@one:5433,two:5434/shop"
    assert parse(str(dsn)).host == "one,two"


def test_unix_socket_and_ipv6() -> None:
    dsn = parse("host=/run/postgresql user=u dbname=d")
    assert str(dsn) == "postgresql://u@%2Frun%2Fpostgresql/d"
    assert parse(str(dsn)) == dsn
    assert str(parse("postgresql://u@[::1]:5432/d")) == "postgresql://u@[::1]:5432/d"


def test_with_database_keeps_everything_else() -> None:
    dsn = parse("postgresql://u:pw@h/one?keepalives_idle=7")
    other = dsn.with_database("zwei 'drei'")
    assert other.database == "zwei 'drei'"
    assert other.password == Secret("pw")
    assert other.parameters()["keepalives_idle"] == "7"
    assert other.with_database("one") == dsn


def test_what_libpq_takes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "from-environment")
    monkeypatch.setenv("PGPASSWORD", "also-from-there")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1MB")
    dsn = parse("user=u dbname=d")
    assert dsn.host == "from-environment"
    assert dsn.password == Secret("also-from-there")
    assert "options" not in dsn.parameters()
    assert parse("host=own user=u").host == "own"
    # As in libpq, what is given as empty is given.
    assert parse("host='' user=u").host is None
    assert parse(parse("host='' user=u").conninfo().reveal()).host is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "hunter2pw",
        "postgresql+asyncpg://u:hunter2pw@h/d",
        "jdbc:postgresql://h/d?password=hunter2pw",
        "postgresql://u:hunter2pw%zz@h/d",
        "postgresql://u:%ff%fehunter2pw@h/d",
        "postgresql://u:hunter2pw%00@h/d",
        "postgresql://u:p@hunter2pw@h/d",
        "postgresql://u:a/hunter2pw@h/d",
        "postgresql://u:1/hunter2pw@h/d",
        "postgresql://u:hunter2pw@[::1/d",
        "postgresql://u@h/d?hunter2pw=1",
        "password='hunter2pw",
        "password=hunter2pw port=hunter2pw",
        "password=hunter2pw unknown_thing=1",
        "host=h\0 password=hunter2pw",
        "service=production password=hunter2pw",
        "password=\ud800hunter2pw",
    ],
)
def test_malformed_and_no_word_of_it_is_told(text: str) -> None:
    with pytest.raises(DsnInvalid) as caught:
        parse(text)
    told = f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
    assert "hunter2" not in told
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.exit_code == 10


@settings(max_examples=100)
@given(user=WORDS, password=PASSWORDS, database=WORDS)
def test_round_trip_of_both_forms(user: str, password: str, database: str) -> None:
    keyword = parse(make_conninfo(host="h", user=user, password=password, dbname=database))
    url = parse(
        f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h/"
        f"{quote(database, safe='')}"
    )
    assert keyword == url
    assert (url.user, url.database, url.password) == (user, database, Secret(password))
    read = conninfo_to_dict(url.conninfo().reveal())
    assert (read["user"], read["password"], read["dbname"]) == (user, password, database)
    shown = f"{url} {url!r} {dict(url.parameters())} {vars(url)}"
    assert password not in shown


@settings(max_examples=200)
@example(" ", "Pw§0§")
@given(st.text(max_size=60), PASSWORDS)
def test_any_text_is_understood_or_refused_without_the_password(text: str, password: str) -> None:
    for candidate in (text + password, f"postgresql://{text}:{password}@{text}/{text}"):
        refusal, dsn = outcome(candidate)
        assert password not in refusal
        if dsn is not None:
            assert parse(dsn.conninfo().reveal()) == dsn


def outcome(text: str) -> tuple[str, Dsn | None]:
    try:
        return "", parse(text)
    except DsnInvalid as error:
        return f"{error} {error.hint}", None


@pytest.mark.parametrize(
    ("password", "said", "shown"),
    [
        ("a", "database `data` of role a: a failure", "database `data` of role a: a failure"),
        ("a", "in `postgresql://u:a@h/data`", "in `postgresql://u:***@h/data`"),
        ("a", "password=a user=alma", "password=*** user=alma"),
        ("main", "the domain `main` is `remained`", "the domain `***` is `remained`"),
        ("long-enough", "xlong-enoughx", "x***x"),
    ],
)
def test_a_short_password_defaces_no_names(password: str, said: str, shown: str) -> None:
    assert Dsn.parse(Secret(f"postgresql://u:{password}@h/data")).redact(said) == shown
