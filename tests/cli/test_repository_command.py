"""`alexandria repository`, and what `snapshot` does with one, as a person types it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from repository_support import Site as Machine
from repository_support import later
from site_support import Ended, Site, run_program

from alexandria_backup.repository.layout import manifest_name, object_name
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey
from alexandria_backup.storage.local import LocalStore


class Place:
    """A folder with settings and no database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "alexandria.toml"
        self.repository = folder / "repository"
        self.settings()

    def settings(self, *lines: str) -> None:
        text = 'repository = "repository"\nstate_dir = "state"\nprune.grace_s = 0\n'
        self.config.write_text(text + "\n".join(lines), encoding="utf-8")

    def run(self, *arguments: str, typed: str | None = None) -> Ended:
        return run_program(self.folder, self.config, arguments, typed=typed)

    def done(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def document(self, *arguments: str) -> Any:
        return result_of(self.run(*arguments, "--json"))

    def machine(self) -> Machine:
        """Write snapshots as the engine does, from this very machine."""
        return Machine(self.folder, store=LocalStore(self.repository), made=False)


def result_of(ended: Ended, code: int = 0) -> Any:
    assert ended.returncode == code, ended.stdout + ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return next(line["result"] for line in lines if "result" in line)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def refused(ended: Ended, code: int, words: str) -> str:
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert re.search(words, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


class TestInit:
    def test_it_makes_the_folder_too(self, place: Place) -> None:
        made = place.document("repository", "init")
        assert made["created"]
        assert (made["recipients"], made["trusted_keys"]) == ([], [])
        assert len(made["repository"]) == 32
        assert (place.repository / "repository.json").is_file()
        assert place.repository.stat().st_mode & 0o777 == 0o700

    def test_twice_is_fine(self, place: Place) -> None:
        first, second = (place.document("repository", "init") for _ in range(2))
        assert (first["created"], second["created"]) == (True, False)
        assert (second["repository"], second["heads"]) == (first["repository"], first["heads"])
        assert not second["keys_changed"]

    def test_new_keys_are_made_and_the_settings_are_told(self, place: Place) -> None:
        said = place.done("repository", "init", "--new-keys", "keys")
        identity = Identity.load_all(place.folder / "keys" / "identity.txt")[0]
        signing = SigningKey.load(place.folder / "keys" / "signing.pem")
        assert f'encryption.recipients = ["{identity.recipient}"]' in said
        assert f'signing.trusted_keys = ["{signing.trusted}"]' in said
        assert "SECRET" not in said
        place.settings(*[line for line in said.splitlines() if re.match(r"(enc|sig)\w+\.", line)])
        info = place.document("repository", "info")
        assert info["recipients"] == [str(identity.recipient)]
        assert info["read_only"] is None

    def test_keys_are_never_overwritten(self, place: Place) -> None:
        place.done("repository", "init", "--new-keys", "keys")
        before = (place.folder / "keys" / "identity.txt").read_bytes()
        refused(place.run("repository", "init", "--new-keys", "keys"), 1, "exists already")
        assert (place.folder / "keys" / "identity.txt").read_bytes() == before

    def test_a_place_with_other_things_is_refused(self, place: Place) -> None:
        place.repository.mkdir()
        (place.repository / "holiday.jpg").touch()
        refused(place.run("repository", "init"), 12, "is not empty: it holds `holiday.jpg`")
        assert {path.name for path in place.repository.iterdir()} == {"holiday.jpg"}

    def test_a_disk_that_is_not_mounted_is_not_made_anew(self, place: Place) -> None:
        place.done("repository", "init")
        place.repository.rename(place.folder / "elsewhere")
        refused(place.run("repository", "init"), 20, "this machine knows repository")
        assert not place.repository.exists()

    def test_recipients_need_a_signing_key_and_an_identity(self, place: Place) -> None:
        identity, signing = Identity.generate(), SigningKey.generate("backup.example.com")
        identity.save(place.folder / "identity.txt")
        signing.save(place.folder / "signing.pem")
        lines = [f'encryption.recipients = ["{identity.recipient}"]']
        place.settings(*lines)
        refused(place.run("repository", "init"), 21, "needs a signing key")
        lines.append('signing.key_file = "signing.pem"')
        place.settings(*lines)
        refused(place.run("repository", "init"), 21, "an identity must show")
        assert not place.repository.exists()
        lines.append('encryption.identity_file = "identity.txt"')
        place.settings(*lines)
        assert place.document("repository", "init")["created"]

    def test_a_recipient_that_the_identity_does_not_open_is_refused(self, place: Place) -> None:
        Identity.generate().save(place.folder / "identity.txt")
        SigningKey.generate("backup.example.com").save(place.folder / "signing.pem")
        place.settings(
            f'encryption.recipients = ["{Identity.generate().recipient}"]',
            'signing.key_file = "signing.pem"',
            'encryption.identity_file = "identity.txt"',
        )
        refused(place.run("repository", "init"), 21, "other recipients")
        assert not place.repository.exists()


def test_what_is_removed_is_named_by_its_id(place: Place) -> None:
    arguments = ("snapshot", "delete", "latest", "--reason", "y", "--yes")
    assert "hint: alexandria snapshot list" in refused(place.run(*arguments), 2, "not as `latest`")


class TestWithoutARepository:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("repository", "info"),
            ("repository", "check"),
            ("snapshot", "prune", "--yes"),
            ("snapshot", "delete", "x", "--reason", "y", "--yes"),
        ],
    )
    def test_it_says_how_to_make_one(self, place: Place, arguments: Sequence[str]) -> None:
        said = refused(place.run(*arguments), 20, "there is no repository in")
        assert "hint: alexandria repository init" in said
        # Where files are, one cannot be made: the hint must not lead there.
        place.repository.mkdir()
        (place.repository / "app-20261125T120000.pgdump").write_bytes(b"a backup")
        said = refused(place.run(*arguments), 20, "which is a folder of files")
        assert "hint: export ALEXANDRIA_REPOSITORY=" in said
        place.config.write_text('state_dir = "state"\n', encoding="utf-8")
        refused(place.run(*arguments), 2, "no repository is set")


class TestInfoAndCheck:
    def test_an_empty_one(self, place: Place) -> None:
        place.done("repository", "init")
        assert "snapshots   0; newest: none" in place.done("repository", "info")
        assert "nothing to say" in place.done("repository", "check", "--deep")

    def test_what_is_in_it(self, place: Place) -> None:
        place.done("repository", "init")
        manifest = place.machine().snapshot([b"one", b"two"])
        info = place.document("repository", "info")
        assert (info["snapshots"], info["objects"]) == (1, 2)
        assert info["newest"] == {
            "id": manifest.snapshot,
            "created": "2026-11-23T12:00:00Z",
            "status": "stored",
        }
        assert len(info["heads"]) == 1

    def test_another_machine_takes_it_at_its_word_once_and_says_so(self, place: Place) -> None:
        place.done("repository", "init", "--new-keys", "keys")
        (place.folder / "state").rename(place.folder / "state-of-the-first")
        said = place.run("repository", "info")
        assert "used for the first time: the repository itself names" in said.stderr
        info = place.document("repository", "info")
        assert "nobody is named to seal to" in info["read_only"]
        assert "first time" not in place.run("repository", "info").stderr
        refused(place.run("snapshot", "prune", "--yes"), 21, "nobody is named to seal to")

    def test_damage_is_named_and_is_an_exit_code(self, place: Place) -> None:
        place.done("repository", "init")
        manifest = place.machine().snapshot([b"one", b"two"])
        path = place.repository / object_name(manifest.archive.parts[0].object)
        data = path.read_bytes()
        path.write_bytes(bytes(len(data)))
        assert place.run("repository", "check").returncode == 0
        report = result_of(place.run("repository", "check", "--deep", "--json"), 20)
        assert [finding["code"] for finding in report["findings"]] == ["object-damaged"]
        listed = result_of(place.run("snapshot", "list", "--json"), 3)
        assert listed[0]["status"] == "damaged"

    def test_what_others_put_there_is_a_warning(self, place: Place) -> None:
        place.done("repository", "init")
        (place.repository / "holiday.jpg").touch()
        refused(place.run("repository", "check"), 3, "`holiday.jpg`: nothing that this program")

    def test_another_repository_in_its_place_is_refused(self, place: Place) -> None:
        place.done("repository", "init")
        place.repository.rename(place.folder / "mine")
        (place.folder / "state").rename(place.folder / "mine-state")
        place.done("repository", "init")
        place.repository.rename(place.folder / "other")
        (place.folder / "state").rename(place.folder / "other-state")
        (place.folder / "mine-state").rename(place.folder / "state")
        (place.folder / "other").rename(place.repository)
        refused(place.run("repository", "info"), 20, "and this machine knows")


class TestRemoving:
    def test_prune_shows_then_removes(self, place: Place) -> None:
        place.done("repository", "init")
        machine = place.machine()
        old, new = machine.snapshot([b"old"]), machine.snapshot([b"new"], created=later(1))
        planned = place.document("snapshot", "prune", "--dry-run", "--keep-last", "1")
        assert [line["kept_by"] for line in planned["snapshots"]] == [
            [],
            ["last 1 of 1", "last good one"],
        ]
        assert planned["removed"] == planned["objects"] == 1
        assert len(machine.ids()) == 2
        done = place.document("snapshot", "prune", "--keep-last", "1", "--yes")
        assert done["snapshots"] == {old.snapshot: "kept by none of: last 1"}
        assert machine.ids() == [new.snapshot]
        said = refused(place.run("snapshot", "show", old.snapshot), 20, "removed by prune")
        assert "kept by none of: last 1" in said

    def test_the_rules_of_the_settings_are_the_default(self, place: Place) -> None:
        place.done("repository", "init")
        planned = (
            place.document("snapshot", "prune", "--dry-run") if place.machine().snapshot() else {}
        )
        assert planned["rules"] == "last 3, daily 14, weekly 8, monthly 12"

    def test_without_a_terminal_it_wants_to_be_told(self, place: Place) -> None:
        place.done("repository", "init")
        machine = place.machine()
        machine.snapshot(), machine.snapshot(created=later(1))
        refused(place.run("snapshot", "prune", "--keep-last", "1"), 2, "add `--yes`")
        assert len(machine.ids()) == 2

    def test_delete_keeps_the_reason(self, place: Place) -> None:
        place.done("repository", "init")
        machine = place.machine()
        old, _ = machine.snapshot([b"old"]), machine.snapshot([b"new"], created=later(1))
        reason = "holds what a customer asked us to forget"
        place.done("snapshot", "delete", old.snapshot, "--reason", reason, "--yes")
        refused(place.run("snapshot", "show", old.snapshot), 20, f"removed by delete .*{reason}")
        assert (
            place.run("snapshot", "delete", old.snapshot, "--reason", "x", "--yes").returncode == 20
        )
        assert place.document("snapshot", "prune", "--yes")["objects"] == 1

    def test_the_last_good_one_is_not_deleted(self, place: Place) -> None:
        place.done("repository", "init")
        manifest = place.machine().snapshot()
        arguments = ("snapshot", "delete", manifest.snapshot, "--reason", "x", "--yes")
        refused(place.run(*arguments), 12, "is the last good snapshot")
        assert place.machine().ids() == [manifest.snapshot]

    def test_one_that_somebody_took_away_is_told_apart(self, place: Place) -> None:
        place.done("repository", "init")
        machine = place.machine()
        old, _ = machine.snapshot([b"old"]), machine.snapshot([b"new"], created=later(1))
        (place.repository / manifest_name(old.snapshot)).unlink()
        refused(place.run("snapshot", "show", old.snapshot), 20, "somebody else did")
        refused(place.run("snapshot", "prune", "--yes"), 20, "never removed, and is not listed")
        refused(place.run("repository", "check"), 20, "somebody else did")


def test_a_real_snapshot_from_first_to_last(site: Site) -> None:
    """Sealed and signed: taken, verified, read in full, listed, and pruned."""
    said = site.run("repository", "init", "--new-keys", "keys")
    assert said.returncode == 0, said.stderr
    keys = [line for line in said.stdout.splitlines() if re.match(r"(enc|sig)\w+\.", line)]
    keys.append('encryption.identity_file = "keys/identity.txt"')
    keys.append("prune.grace_s = 0")
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text("\n".join([*keys, text]), encoding="utf-8")

    def result(*arguments: str) -> Any:
        return result_of(site.run(*arguments, "--json"))

    def statuses() -> list[str]:
        return [line["status"] for line in result("snapshot", "list")]

    findings = result_of(site.run("doctor", "--json"), 3)
    doctor = {finding["name"]: finding for finding in findings}
    assert doctor["repository keys"]["status"] == "ok"
    assert (
        "sealed to 1 recipients, signed by `alexandria-backup`"
        in (doctor["repository keys"]["message"])
    )
    result("snapshot", "create")
    assert statuses() == ["stored"]
    assert result("snapshot", "verify", "latest")["bad"] == []
    assert statuses() == ["stored"]
    assert result("snapshot", "verify", "latest", "--deep")["verdict"] == "as recorded"
    assert statuses() == ["read back"]
    result("snapshot", "create")
    assert len(result("snapshot", "prune", "--keep-last", "1", "--yes")["snapshots"]) == 1
    assert result("snapshot", "verify", "latest", "--deep")["verdict"] == "as recorded"
    assert result("repository", "check", "--deep")["findings"] == []


def test_what_a_verify_found_damaged_is_not_relied_on_by_the_next_snapshot(site: Site) -> None:
    assert site.run("repository", "init").returncode == 0
    assert site.run("snapshot", "create").returncode == 0
    objects = [path for path in (site.repository / "objects").rglob("*") if path.is_file()]
    largest = max(objects, key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert site.run("snapshot", "verify", "latest").returncode == 0
    said = refused(site.run("snapshot", "verify", "latest", "--deep"), 20, largest.name)
    assert "was altered" in said
    assert [line["status"] for line in result_of(site.run("snapshot", "list", "--json"), 3)] == [
        "damaged"
    ]
    assert site.run("snapshot", "create").returncode == 0
    assert site.run("snapshot", "verify", "latest", "--deep").returncode == 0
    statuses = [line["status"] for line in result_of(site.run("snapshot", "list", "--json"), 3)]
    assert statuses == ["damaged", "read back"]
