import json
import os
from collections.abc import Iterator
from pathlib import Path
from traceback import TracebackException

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticSerializationError

from alexandria_backup.errors import ExitCode, SettingsInvalid
from alexandria_backup.settings.description import describe
from alexandria_backup.settings.loading import LoadedSettings, load
from alexandria_backup.settings.problems import _SERVICE_LINK

PASSWORD = "hunter2"

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


class Place:
    """A working folder and a home, and what `load` finds there."""

    def __init__(self, root: Path) -> None:
        self.cwd, self.home = root / "work", root / "home"
        self.cwd.mkdir()
        self.home.mkdir()

    def load(
        self, toml: str | None = None, *, config: Path | None = None, **variables: str
    ) -> LoadedSettings:
        if toml is not None:
            (self.cwd / "alexandria.toml").write_text(toml, encoding="utf-8")
        environ = {"HOME": str(self.home), **variables}
        return load(config=config, environ=environ, cwd=self.cwd)

    def refused(self, toml: str | None = None, **variables: str) -> str:
        with pytest.raises(SettingsInvalid) as caught:
            self.load(toml, **variables)
        assert caught.value.exit_code is ExitCode.USAGE
        return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_a_file_everything_has_its_default(place: Place) -> None:
    loaded = place.load()
    assert loaded.source is None
    assert loaded.settings.application.name == "alexandria-ee"
    assert loaded.settings.dsn is None
    assert loaded.settings.snapshot.pg_dump_options == ("--format=custom", "--compress=9")


def test_the_file_sets_and_a_variable_wins(place: Place) -> None:
    toml = '[database]\njobs = 3\nlock_timeout_s = 7\n[application]\nname = "shop"\n'
    loaded = place.load(toml, ALEXANDRIA_DATABASE__JOBS="5")
    assert loaded.source == place.cwd / "alexandria.toml"
    assert loaded.settings.database.jobs == 5
    assert loaded.settings.database.lock_timeout_s == 7
    assert loaded.settings.application.name == "shop"


def test_the_dsn_of_drills_is_a_variable_or_a_file_of_its_own(place: Place) -> None:
    said = place.refused(f'[drill]\ndsn = "postgresql://u:{PASSWORD}@h/d"\n')
    assert "`[drill] dsn_file`" in said
    assert PASSWORD not in said
    (place.cwd / "alexandria.toml").unlink()
    loaded = place.load(ALEXANDRIA_DRILL__DSN=f"postgresql://u:{PASSWORD}@h/d")
    assert PASSWORD not in repr(loaded.settings.drill)


def test_checks_of_drills_have_names(place: Place) -> None:
    toml = "[drill.checks]\nrecent = 'SELECT true'\n\"with blanks\" = 'SELECT 1 = 1'\n"
    checks = {"recent": "SELECT true", "with blanks": "SELECT 1 = 1"}
    assert place.load(toml).settings.drill.checks == checks
    told = {"ALEXANDRIA_DRILL__CHECKS": json.dumps(checks)}
    assert Place.load(place, "", **told).settings.drill.checks == checks
    assert "it is not JSON" in place.refused("", ALEXANDRIA_DRILL__CHECKS="SELECT true")


class TestWhereTheFileIs:
    @pytest.fixture
    def files(self, place: Place, tmp_path: Path) -> dict[str, Path]:
        files = {
            "given": tmp_path / "given.toml",
            "named": tmp_path / "named.toml",
            "here": place.cwd / "alexandria.toml",
            "home": place.home / ".config" / "alexandria" / "alexandria.toml",
        }
        for name, file in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'[application]\nname = "{name}"\n')
        return files

    def test_the_first_of_the_order_is_read(self, place: Place, files: dict[str, Path]) -> None:
        named = {"ALEXANDRIA_CONFIG": str(files["named"])}
        assert place.load(config=files["given"], **named).source == files["given"]
        assert place.load(**named).settings.application.name == "named"
        assert place.load().settings.application.name == "here"
        files["here"].unlink()
        assert place.load().settings.application.name == "home"

    def test_xdg_names_the_users_folder(
        self, place: Place, files: dict[str, Path], tmp_path: Path
    ) -> None:
        files["here"].unlink()
        other = tmp_path / "xdg" / "alexandria" / "alexandria.toml"
        other.parent.mkdir(parents=True)
        other.write_text('[application]\nname = "xdg"\n')
        loaded = place.load(XDG_CONFIG_HOME=str(tmp_path / "xdg"))
        assert loaded.settings.application.name == "xdg"

    def test_a_named_file_that_is_missing_is_an_error(self, place: Place) -> None:
        with pytest.raises(SettingsInvalid, match=r"nowhere\.toml` does not exist"):
            place.load(config=Path("nowhere.toml"))
        assert "elsewhere.toml" in place.refused("", ALEXANDRIA_CONFIG="elsewhere.toml")

    def test_a_place_that_leads_nowhere_is_passed_over(self, place: Place) -> None:
        (place.cwd / "alexandria.toml").mkdir()
        (place.home / ".config").touch()
        assert place.load().source is None

    def test_a_place_that_is_a_loop_is_not_passed_over(self, place: Place) -> None:
        loop = place.cwd / "alexandria.toml"
        loop.symlink_to(loop)
        assert "cannot be looked at" in place.refused()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
    def test_a_place_that_cannot_be_looked_at_is_not_passed_over(self, place: Place) -> None:
        folder = place.home / ".config" / "alexandria"
        folder.mkdir(parents=True)
        folder.chmod(0)
        try:
            assert "cannot be looked at" in place.refused()
        finally:
            folder.chmod(0o700)


class TestAFileOfStrangers:
    """Only where it is found by chance: whoever names a file has looked at it."""

    @pytest.fixture
    def file(self, place: Place) -> Path:
        file = place.cwd / "alexandria.toml"
        file.write_text("[application]\nstop_command = ['rm', '-rf', '/']\n")
        return file

    def check(self, place: Place, file: Path, words: str) -> None:
        with pytest.raises(SettingsInvalid, match=words) as caught:
            place.load()
        assert str(file) in str(caught.value)
        assert (caught.value.hint or "").startswith("alexandria --config ./alexandria.toml")
        assert place.load(config=Path("./alexandria.toml")).source == file
        assert place.load(ALEXANDRIA_CONFIG=str(file)).source == file

    @pytest.mark.parametrize("mode", [0o646, 0o602, 0o666])
    def test_that_everybody_may_write(self, place: Place, file: Path, mode: int) -> None:
        file.chmod(mode)
        self.check(place, file, "can be written by others")

    @as_root_only
    def test_that_belongs_to_another_user(self, place: Place, file: Path) -> None:
        os.chown(file, 65534, -1)
        self.check(place, file, "belongs to another user")

    @as_root_only
    def test_that_another_group_may_write(self, place: Place, file: Path) -> None:
        os.chown(file, -1, 65534)
        assert place.load().source == file
        file.chmod(0o664)
        self.check(place, file, "can be written by others")

    def test_the_users_own_group_is_no_stranger(self, place: Place, file: Path) -> None:
        os.chown(file, -1, os.getegid())
        file.chmod(0o664)
        assert place.load().source == file

    def test_elsewhere_nobody_looks(self, place: Place, file: Path) -> None:
        home = place.home / ".config" / "alexandria" / "alexandria.toml"
        home.parent.mkdir(parents=True)
        file.rename(home)
        home.chmod(0o666)
        assert place.load().source == home


class TestPaths:
    def test_relative_paths_in_the_file_are_relative_to_it(self, place: Place) -> None:
        (place.home / "conf.toml").write_text(
            'repository = "snapshots"\nstate_dir = "state"\n[database]\ndsn_file = "dsn"\n'
        )
        found = place.load(config=place.home / "conf.toml").settings
        assert found.repository == str(place.home / "snapshots")
        assert found.state_dir == place.home / "state"
        assert found.database.dsn_file == place.home / "dsn"

    @pytest.mark.parametrize("url", ["s3://bucket/dir", "gs://b", "memory:", "file:///srv/b"])
    def test_a_url_is_no_path(self, place: Place, url: str) -> None:
        assert place.load(f'repository = "{url}"').settings.repository == url

    def test_a_tilde_is_the_home_folder(self, place: Place) -> None:
        found = place.load("[audit]\nkey_file = '~/key'").settings.audit.key_file
        assert found == Path("~/key").expanduser()

    @pytest.mark.parametrize("text", ["~nosuchuser/x", "", "a\\u0000b"])
    def test_what_is_no_path_is_refused(self, place: Place, text: str) -> None:
        assert "`audit.key_file`" in place.refused(f'[audit]\nkey_file = "{text}"')

    def test_the_state_folder_follows_xdg(self, place: Place, tmp_path: Path) -> None:
        found = place.load(XDG_STATE_HOME=str(tmp_path)).settings.state_dir
        assert found == tmp_path / "alexandria-backup"
        assert place.load(ALEXANDRIA_STATE_DIR="/x").settings.state_dir == Path("/x")


class TestUnknownNames:
    def test_in_the_file_the_nearest_is_named(self, place: Place) -> None:
        said = place.refused("[audit]\nkeyfile = 'x'")
        assert "`audit.keyfile`" in said
        assert "`audit.key_file`" in said
        assert "alexandria.toml" in said

    def test_as_a_variable_the_nearest_is_named(self, place: Place) -> None:
        said = place.refused(ALEXANDRIA_AUDIT__KEYFILE="x")
        assert "`ALEXANDRIA_AUDIT__KEYFILE`" in said
        assert "`ALEXANDRIA_AUDIT__KEY_FILE`" in said

    def test_every_problem_is_told(self, place: Place) -> None:
        said = place.refused("aaa = 1\nbbb = 2", ALEXANDRIA_CCC="3")
        assert all(name in said for name in ("`aaa`", "`bbb`", "`ALEXANDRIA_CCC`"))

    @pytest.mark.parametrize("key", ["_env_file", "__pydantic_self__", "_build_sources"])
    def test_names_of_the_library_are_no_settings(self, place: Place, key: str) -> None:
        assert f"`{key}`" in place.refused(f"{key} = 1")

    def test_a_whole_section_is_no_variable(self, place: Place) -> None:
        place.refused(ALEXANDRIA_DATABASE='{"jobs": 3}')

    def test_a_section_that_is_none_is_not_hidden_by_a_variable(self, place: Place) -> None:
        assert "`[database]`" in place.refused("database = 3", ALEXANDRIA_DATABASE__JOBS="3")

    @pytest.mark.parametrize("service", ["ALEXANDRIA", "ALEXANDRIA_EE", "ALEXANDRIA_PORT_2"])
    def test_what_kubernetes_sets_for_services_does_not_matter(
        self, place: Place, service: str
    ) -> None:
        names = (
            *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "PORT", "PORT_8443_TCP"),
            *("PORT_8443_TCP_PROTO", "PORT_8443_TCP_PORT", "PORT_8443_TCP_ADDR"),
        )
        links = {f"{service}_{name}": "tcp://10.0.0.1:8443" for name in names}
        assert place.load(**links).settings.repository is None

    @pytest.mark.parametrize("name", ["ALEXANDRIA_REPORT", "ALEXANDRIA_SERVICE", "ALEXANDRIA_"])
    def test_what_only_looks_like_it_is_refused(self, place: Place, name: str) -> None:
        assert f"`{name}`" in place.refused(**{name: "x"})

    def test_no_setting_can_be_mistaken_for_a_service(self) -> None:
        assert not [item for item in describe() if _SERVICE_LINK.fullmatch(item.variable)]

    def test_variables_of_others_do_not_matter(self, place: Place) -> None:
        assert place.load(ALEXANDER_THE="great", alexandria_x="y").settings.dsn is None


class TestWrongValues:
    @pytest.mark.parametrize(
        ("toml", "key"),
        [
            ("[database]\njobs = 0", "database.jobs"),
            ("[database]\njobs = 'many'", "database.jobs"),
            ("[database]\njobs = true", "database.jobs"),
            ("[database]\njobs = 65", "database.jobs"),
            ("[database]\njobs = 1.5", "database.jobs"),
            ("[database]\nserver_free_space = false", "database.server_free_space"),
            ("[database]\nlock_timeout_s = true", "database.lock_timeout_s"),
            ("[database]\nlock_timeout_s = -1", "database.lock_timeout_s"),
            ("[database]\nlock_timeout_s = nan", "database.lock_timeout_s"),
            ("[database]\ndsn_file = 5", "database.dsn_file"),
            ("[database]\ndsn_file = ['a']", "database.dsn_file"),
            ("[audit]\nrequired = 'perhaps'", "audit.required"),
            ("[application]\nchecks = 5", "application.checks"),
            ("[application]\nstop_command = ['a', 5]", "application.stop_command"),
            ('[application]\nname = "x\\n"', "application.name"),
            ("[database]\nconnect_timeout_s = inf", "database.connect_timeout_s"),
            ("[application]\nname = '../x'", "application.name"),
            ("[audit]\nkey_encoding = 'rot13'", "audit.key_encoding"),
            ("repository = ''", "repository"),
            ("repository = 5", "repository"),
            ("repository = 2026-11-23", "repository"),
            ('repository = "a\\u0000b"', "repository"),
        ],
    )
    def test_file_and_key_are_named(self, place: Place, toml: str, key: str) -> None:
        said = place.refused(toml)
        assert f"`{key}`" in said
        assert "alexandria.toml" in said

    def test_the_variable_is_named_and_its_value_is_not(self, place: Place) -> None:
        said = place.refused(ALEXANDRIA_DATABASE__JOBS=PASSWORD)
        assert "`ALEXANDRIA_DATABASE__JOBS`" in said
        assert PASSWORD not in said

    @pytest.mark.parametrize("toml", ["a = ", "a = 1\na = 2", "[[[", "x = " + "9" * 5000])
    def test_what_is_no_toml_is_refused(self, place: Place, toml: str) -> None:
        assert "alexandria.toml" in place.refused(toml)

    def test_the_line_of_a_mistake_is_named(self, place: Place) -> None:
        assert "line 2" in place.refused("repository = 'x'\nstate_dir = \n")

    def test_deep_nesting_is_refused(self, place: Place) -> None:
        place.refused("x = " + "[" * 100_000)
        place.refused("", ALEXANDRIA_APPLICATION__STOP_COMMAND="[" * 100_000)


class TestDsn:
    def test_the_variable_is_hidden(self, place: Place) -> None:
        dsn = f"postgresql://u:{PASSWORD}@h/d"
        found = place.load(ALEXANDRIA_DSN=dsn).settings
        assert found.dsn is not None
        assert found.dsn.reveal() == dsn
        assert PASSWORD not in repr(found) + str(found)

    def test_settings_with_a_dsn_cannot_be_written_down(self, place: Place) -> None:
        found = place.load(ALEXANDRIA_DSN=f"postgresql://u:{PASSWORD}@h/d").settings
        with pytest.raises(PydanticSerializationError) as caught:
            found.model_dump_json()
        assert PASSWORD not in str(caught.value)

    def test_it_is_not_shown_by_the_refusal_of_something_else(self, place: Place) -> None:
        dsn = f"postgresql://u:{PASSWORD}@h/d"
        with pytest.raises(SettingsInvalid) as caught:
            place.load("[database]\njobs = 0", ALEXANDRIA_DSN=dsn, ALEXANDRIA_AUDIT__REQUIRED=dsn)
        said = "".join(
            TracebackException.from_exception(caught.value, capture_locals=False).format()
        )
        assert "`database.jobs`" in said
        assert PASSWORD not in said

    def test_an_empty_variable_is_not_an_absent_one(self, place: Place) -> None:
        found = place.load(ALEXANDRIA_DSN="").settings
        assert found.dsn is not None
        assert not found.dsn

    @pytest.mark.parametrize("section", ["", "[database]\n"])
    def test_it_does_not_belong_into_the_file(self, place: Place, section: str) -> None:
        said = place.refused(f'{section}dsn = "postgresql://u:{PASSWORD}@h/d"')
        assert "dsn_file" in said
        assert PASSWORD not in said


class TestLists:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("docker compose stop 'my api'", ("docker", "compose", "stop", "my api")),
            ('["a", "b c"]', ("a", "b c")),
            ("true", ("true",)),
        ],
    )
    def test_a_command_is_words_or_json(
        self, place: Place, text: str, words: tuple[str, ...]
    ) -> None:
        found = place.load(ALEXANDRIA_APPLICATION__STOP_COMMAND=text).settings.application
        assert found.stop_command == words

    def test_a_statement_is_not_divided(self, place: Place) -> None:
        one = "select count(*) > 0 from public.users"
        variable = "ALEXANDRIA_APPLICATION__CHECKS"
        assert place.load(**{variable: one}).settings.application.checks == (one,)
        two = json.dumps([one, "select true"])
        assert place.load(**{variable: two}).settings.application.checks == (one, "select true")
        assert place.load(**{variable: ""}).settings.application.checks == ()

    def test_keys_are_divided_by_blanks_and_commas(self, place: Place) -> None:
        found = place.load(ALEXANDRIA_SIGNING__TRUSTED_KEYS="a+1+x, b+2+y").settings
        assert found.signing.trusted_keys == ("a+1+x", "b+2+y")

    @pytest.mark.parametrize("text", ["'open", "[1", "[1, 2]"])
    def test_a_malformed_list_is_refused(self, place: Place, text: str) -> None:
        said = place.refused(ALEXANDRIA_APPLICATION__STOP_COMMAND=text)
        assert "`ALEXANDRIA_APPLICATION__STOP_COMMAND`" in said


def test_every_setting_is_described_and_its_variable_works(place: Place) -> None:
    described = describe()
    assert len({item.variable for item in described}) == len(described)
    assert all(item.description for item in described)
    by_key = {item.key: item for item in described}
    assert by_key["audit.key_file"].variable == "ALEXANDRIA_AUDIT__KEY_FILE"
    # Each variable reaches its field: none of them is refused as unknown.
    for item in described:
        try:
            place.load(**{item.variable: "1"})
        except SettingsInvalid as error:
            assert "is no setting" not in str(error)  # noqa: PT017 - other refusals are fine


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8"), max_size=60)


def tomls() -> Iterator[st.SearchStrategy[str]]:
    names = st.sampled_from([*(item.key for item in describe()), "audit", "_x", "a.b", "x"])
    values = st.sampled_from(
        ["1", "-1", "true", "nan", "'x'", "''", "[]", "['a']", "{}", "{ jobs = 1 }", "1979-05-27"]
    )
    yield texts()
    yield st.lists(st.tuples(names, values), max_size=4).map(
        lambda pairs: "\n".join(f"{name} = {value}" for name, value in pairs)
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(toml=st.one_of(*tomls()))
def test_any_file_loads_or_is_refused(tmp_path: Path, toml: str) -> None:
    file = tmp_path / "any.toml"
    file.write_bytes(toml.encode())
    try:
        loaded = load(config=file, environ={"HOME": "/nowhere"}, cwd=tmp_path)
    except SettingsInvalid:
        return
    assert loaded.source == file


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    environ=st.dictionaries(
        st.sampled_from([item.variable for item in describe()] + ["ALEXANDRIA_CONFIG"]),
        st.one_of(texts(), st.text(max_size=9), st.sampled_from(["[", "[]", "{}", "~x", "null"])),
        max_size=3,
    )
)
def test_any_variables_load_or_are_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    try:
        loaded = load(config=None, environ={"HOME": "/nowhere", **environ}, cwd=tmp_path)
    except SettingsInvalid:
        return
    assert loaded.settings.state_dir
