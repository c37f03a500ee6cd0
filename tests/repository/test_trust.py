import os
from pathlib import Path

import pytest
from repository_support import IDENTITY, KEY, SEALED, SIGNED, STRANGER, Site, later

from alexandria_backup.errors import RepositoryInvalid, StorageError, WrongKey
from alexandria_backup.repository.description import Description, new_description
from alexandria_backup.repository.making import make_repository
from alexandria_backup.repository.opened import open_repository
from alexandria_backup.repository.trust import Keys, Pin, Pins, pinned, settle
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.storage.memory import MemoryStore

URL = "s3://bucket/here"
OTHER = Identity.generate()


def described(keys: Keys) -> Description:
    return new_description(
        tuple(str(recipient) for recipient in keys.recipients),
        tuple(str(key) for key in keys.believed),
    )


def pin_of(description: Description, keys: Keys) -> Pin:
    return pinned(URL, description.id, keys.recipients, keys.believed)


class TestWhoseSignaturesCount:
    def test_the_settings_say_it(self) -> None:
        description = described(Keys(signing=STRANGER))
        settled = settle(URL, description, SIGNED, None, Path("pin"))
        assert settled.trusted == (KEY.trusted,)
        assert settled.notes == ()

    def test_where_they_say_nothing_the_pin_does(self) -> None:
        description = described(Keys(signing=STRANGER))
        settled = settle(URL, description, Keys(), pin_of(description, SIGNED), Path("pin"))
        assert settled.trusted == (KEY.trusted,)

    def test_on_first_use_the_repository_itself_is_taken_at_its_word(self) -> None:
        description = described(SIGNED)
        settled = settle(URL, description, Keys(), None, Path("pin"))
        assert settled.trusted == (KEY.trusted,)
        assert settled.pin.trusted_keys == (str(KEY.trusted),)
        assert str(KEY.trusted) in settled.notes[0]

    def test_a_machine_that_signs_trusts_itself(self) -> None:
        description = described(Keys())
        settled = settle(URL, description, Keys(signing=KEY), None, Path("pin"))
        assert settled.trusted == (KEY.trusted,)

    def test_in_a_repository_without_keys_nobody_s_do(self) -> None:
        assert settle(URL, described(Keys()), Keys(), None, Path("pin")).trusted == ()


class TestWhoCanReadIt:
    def test_never_whom_the_repository_alone_names(self) -> None:
        hostile = described(Keys(recipients=(OTHER.recipient,)))
        settled = settle(URL, hostile, Keys(signing=KEY), None, Path("pin"))
        assert settled.recipients == ()
        assert settled.refusal is not None
        assert "nobody is named to seal to" in settled.refusal.message

    def test_a_bucket_that_says_it_is_not_encrypted_is_not_believed(self) -> None:
        description = described(SEALED)
        hostile = description.model_copy(update={"recipients": ()})
        pin = pin_of(description, SEALED)
        settled = settle(URL, hostile, Keys(signing=KEY), pin, Path("pin"))
        assert settled.recipients == (IDENTITY.recipient,)

    def test_others_than_before_are_tried_first(self) -> None:
        description = described(SEALED)
        changed = Keys(recipients=(OTHER.recipient,), signing=KEY, trusted=SEALED.trusted)
        refusal = settle(URL, description, changed, pin_of(description, SEALED), Path("p")).refusal
        assert refusal is not None
        assert refusal.hint is not None
        assert refusal.hint.startswith("alexandria repository init")

    @pytest.mark.parametrize("keys", [SEALED, SIGNED], ids=["sealed", "signed"])
    def test_without_the_signing_key_it_can_only_be_read(self, keys: Keys) -> None:
        description = described(keys)
        reader = Keys(trusted=keys.trusted, recipients=keys.recipients)
        settled = settle(URL, description, reader, pin_of(description, keys), Path("pin"))
        assert settled.refusal is not None
        assert settled.refusal.hint == "set `signing.key_file`"


def test_another_repository_in_its_place_is_refused() -> None:
    pin = pin_of(described(SIGNED), SIGNED)
    with pytest.raises(RepositoryInvalid, match="and this machine knows") as caught:
        settle(URL, described(SIGNED), SIGNED, pin, Path("the-pin"))
    assert "rm the-pin" in (caught.value.hint or "")


class TestPins:
    def test_they_are_written_over_and_for_their_owner_alone(self, tmp_path: Path) -> None:
        pins = Pins(tmp_path / "state")
        assert pins.read(URL) is None
        for keys in (SIGNED, SEALED):
            pin = pin_of(described(keys), keys)
            pins.write(pin)
            assert pins.read(URL) == pin
        assert pins.path(URL).stat().st_mode & 0o777 == 0o600
        assert [path.suffix for path in pins.path(URL).parent.iterdir()] == [".json"]

    def test_each_place_has_its_own(self, tmp_path: Path) -> None:
        pins = Pins(tmp_path)
        pins.write(pin_of(described(SIGNED), SIGNED))
        assert pins.read("s3://bucket/elsewhere") is None

    def test_a_damaged_one_is_not_taken_for_none(self, tmp_path: Path) -> None:
        pins = Pins(tmp_path)
        pins.write(pin_of(described(SIGNED), SIGNED))
        pins.path(URL).write_bytes(b"{")
        with pytest.raises(RepositoryInvalid, match="which says whom to trust, is damaged"):
            pins.read(URL)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(StorageError, match="cannot be written"):
            Pins(tmp_path).write(pin_of(described(SIGNED), SIGNED))

    def test_a_file_in_place_of_the_folder_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        with pytest.raises(StorageError, match="cannot be written"):
            Pins(tmp_path / "state").write(pin_of(described(SIGNED), SIGNED))


class TestChangingKeys:
    def test_init_tries_them_pins_them_and_writes_them_down(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SEALED)
        site.snapshot([b"for the first"])
        both = Keys(
            trusted=SEALED.trusted,
            signing=KEY,
            recipients=(IDENTITY.recipient, OTHER.recipient),
            identities=(OTHER,),
        )
        with pytest.raises(WrongKey, match="other recipients"):
            site.repository(keys=both).require_writable()
        made = make_repository(site.store, both, site.pins)
        assert (made.created, made.keys_changed) == (False, True)
        newest = [*made.repository.ledger.read().entries.values()][-1]
        assert newest.action.value == "key change"
        assert str(OTHER.recipient) in newest.details["recipients"]
        site.keys = both
        assert set(site.snapshot().recipients) == {str(r) for r in both.recipients}

    def test_one_that_cannot_be_opened_changes_nothing(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SEALED)
        wrong = Keys(
            trusted=SEALED.trusted,
            signing=KEY,
            recipients=(OTHER.recipient,),
            identities=(IDENTITY,),
        )
        with pytest.raises(WrongKey, match="other recipients"):
            make_repository(site.store, wrong, site.pins)
        site.repository().require_writable()

    def test_a_snapshot_of_another_key_is_read_where_both_are_trusted(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        old = site.snapshot([b"old"])
        rotated = Keys(trusted=(KEY.trusted, STRANGER.trusted), signing=STRANGER)
        make_repository(site.store, rotated, site.pins)
        site.keys = rotated
        new = site.snapshot([b"new"], created=later(1))
        signers = [e.signed.signers for e in site.repository().snapshots.all() if e.signed]
        assert signers == [(KEY.name,), (STRANGER.name,)]
        assert (site.read(old), site.read(new)) == (b"old", b"new")
        assert site.repository().ledger.read().problems == ()


class TestAMachineThatComesAfterAChangeOfKeys:
    def test_believes_what_the_first_key_has_signed(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        both = Keys(trusted=(KEY.trusted, STRANGER.trusted), signing=KEY)
        make_repository(site.store, both, site.pins)
        only = Keys(trusted=(STRANGER.trusted,), signing=STRANGER)
        make_repository(site.store, only, site.pins)
        settled = open_repository(site.store, Keys(), Pins(tmp_path / "new")).settled
        assert settled.trusted == (STRANGER.trusted,)
        assert len(settled.notes) == 1

    def test_does_not_believe_a_stranger_who_can_add_an_entry(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        site.snapshot()
        taking_over = Keys(trusted=(STRANGER.trusted,), signing=STRANGER)
        make_repository(site.store, taking_over, Pins(tmp_path / "stranger"))
        settled = open_repository(site.store, Keys(), Pins(tmp_path / "new")).settled
        assert settled.trusted == (KEY.trusted,)
        assert settled.pin.trusted_keys == (str(KEY.trusted),)

    def test_is_told_of_a_change_that_nobody_vouches_for(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        make_repository(site.store, Keys(trusted=(STRANGER.trusted,), signing=STRANGER), site.pins)
        settled = open_repository(site.store, Keys(), Pins(tmp_path / "new")).settled
        assert settled.trusted == (KEY.trusted,)
        assert "do not vouch for" in settled.notes[-1]

    def test_hears_of_the_newest_recipients(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SEALED)
        other = Keys(
            trusted=SEALED.trusted,
            signing=KEY,
            recipients=(OTHER.recipient,),
            identities=(OTHER,),
        )
        make_repository(site.store, other, site.pins)
        repository = open_repository(site.store, Keys(), Pins(tmp_path / "new"))
        assert repository.settled.refusal is not None
        assert str(OTHER.recipient) in (repository.settled.refusal.hint or "")


def test_two_machines_that_make_it_at_once_end_with_one(tmp_path: Path) -> None:
    """Whoever puts the description second finds the other's, and goes on with it."""

    class Second(MemoryStore):
        faster: Site | None = None

        def put(self, name: str, data: bytes) -> None:
            if name == "repository.json" and self.faster is None:
                self.faster = Site(tmp_path / "first", store=self, made=False)
                self.faster = Site(tmp_path / "first", store=self)
            super().put(name, data)

    store = Second()
    second = make_repository(store, Keys(), Pins(tmp_path / "second"))
    assert store.faster is not None
    assert second.repository.id == store.faster.repository().id
    assert second.repository.ledger.read().problems == ()
