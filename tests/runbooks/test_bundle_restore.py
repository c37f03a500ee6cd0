"""Restoring bundles: beside what is there, proved, exchanged, kept, and back again."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_support import a_file, another, edited, sound, stored
from node_support import Node

from alexandria_backup.bundle.entry import Kind
from alexandria_backup.runbooks import bundle_swap
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(folder=tmp_path)
    made.settle()
    return made


def backed_up(node: Node, *options: str) -> dict[str, Any]:
    good = node.state()
    node.done("backup", "--output", str(node.output), *options)
    return good


def run_of(node: Node) -> str:
    return node.wiring().runs.all()[-1].run


def test_a_wrecked_node_is_brought_back_and_the_wreck_is_kept(node: Node) -> None:
    good = backed_up(node)
    node.wreck()
    ended = node.done("backup", "restore", str(node.output), "--to", "/", "--yes")
    assert node.state() == good
    assert not (node.etc / "stray").exists()
    assert "downtime" in ended.stdout
    assert node.platform_log == ["stop", "start"]
    suffix = run_of(node).rpartition("-")[2]
    # The unit was gone, so nothing of it could be kept.
    assert node.leftovers() == [
        f".alexandria.alexandria-kept-{suffix}",
        f".knowledge.alexandria-kept-{suffix}",
        f".tools.alexandria-kept-{suffix}",
    ]


def test_a_restore_is_rolled_back_and_forward_and_accepted(node: Node) -> None:
    good = backed_up(node)
    node.wreck()
    node.done("backup", "restore", str(node.output), "--to", "/", "--yes")
    restore = run_of(node)

    node.done("rollback", restore, "--yes")
    assert (node.etc / "app.yaml").read_text(encoding="utf-8") == "port: wrong\n"
    assert not node.unit.exists()
    rollback = run_of(node)

    node.done("rollback", rollback, "--yes")
    assert node.state() == good
    forward = run_of(node)

    assert node.run("rollback", restore, "--yes").returncode == 2
    node.done("run", "accept", forward, "--yes")
    assert node.leftovers() == []
    assert node.state() == good


def test_one_set_is_restored_alone(node: Node) -> None:
    backed_up(node)
    node.wreck()
    node.done("backup", "restore", str(node.output), "--to", "/", "--set", "config", "--yes")
    assert node.unit.exists()
    assert (node.knowledge / "store.db").read_bytes() == b""
    ended = node.run("backup", "restore", str(node.output), "--to", "/", "--set", "no", "--yes")
    assert ended.returncode == 2
    assert "no set `no`, only `config`, `knowledge`, `tools`" in ended.stderr


def test_a_plan_changes_nothing(node: Node) -> None:
    backed_up(node)
    node.wreck()
    before = sorted(node.folder.rglob("*"))
    ended = node.done("backup", "restore", str(node.output), "--to", "/", "--plan")
    assert sorted(node.folder.rglob("*")) == before
    for step in ("find", "check", "extract", "prove", "stop-application", "swap", "start"):
        assert f" {step}" in ended.stdout


def test_into_a_folder_nothing_is_stopped(node: Node) -> None:
    good = backed_up(node)
    (node.folder / "elsewhere").mkdir()
    node.done("backup", "restore", str(node.output), "--to", "elsewhere")
    assert node.platform_log == []
    there = Path(f"{node.folder}/elsewhere{node.etc}/app.yaml")
    assert there.read_text(encoding="utf-8") == "port: 8443\n"
    assert node.state() == good


def test_without_a_terminal_somebody_must_say_yes(node: Node) -> None:
    backed_up(node)
    ended = node.run("backup", "restore", str(node.output), "--to", "/")
    assert ended.returncode == 2
    assert "hint: add `--yes`" in ended.stderr
    assert node.leftovers() == []


def test_a_sealed_and_signed_bundle_is_opened_and_checked(node: Node) -> None:
    identity, key = Identity.generate(), SigningKey.generate("node")
    identity.save(node.folder / "identity")
    key.save(node.folder / "signing.pem")
    good = backed_up(node)
    node.extra = ""
    text = node.config.read_text(encoding="utf-8")
    node.config.write_text(
        f'{text}\n[encryption]\nrecipients = ["{identity.recipient}"]\n'
        f'identity_file = "identity"\n[signing]\nkey_file = "signing.pem"\nkey_name = "node"\n'
        f'trusted_keys = ["{key.trusted}"]\n',
        encoding="utf-8",
    )
    sealed = node.folder / "sealed"
    ended = node.done("backup", "--output", str(sealed), "--verify")
    assert "sealed to 1 recipients, signed, read back in full" in ended.stdout
    assert sealed.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert "signed    node" in node.done("backup", "show", str(sealed)).stdout
    node.wreck()
    node.done("backup", "restore", str(sealed), "--to", "/", "--yes")
    assert node.state() == good
    # The older one is not signed, and now that is asked for.
    assert node.run("backup", "restore", str(node.output), "--to", "/", "--yes").returncode == 21


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


def refused(node: Node, code: int, *more: str, bundle: str | None = None) -> str:
    """Restore what must be refused with this exit code; nothing may change."""
    before = node.state() if node.unit.exists() else None
    ended = node.run("backup", "restore", bundle or str(node.output), "--to", "/", "--yes", *more)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert before is None or node.state() == before
    assert node.leftovers() == []
    return ended.stderr


def test_a_bundle_that_is_not_there(node: Node) -> None:
    assert "there is no file" in refused(node, 1, bundle="/nowhere/bundle.tar.gz")


def test_a_damaged_bundle(node: Node) -> None:
    backed_up(node)
    data = bytearray(node.output.read_bytes())
    data[len(data) // 2] ^= 0xFF
    node.output.write_bytes(data)
    assert "hint" in refused(node, 20) or "damaged" in refused(node, 20)


def test_members_that_are_not_what_the_manifest_says(node: Node) -> None:
    stored(node.output, sound(lines=edited("sha256", "0" * 64)).made())
    assert "are not what its manifest says" in refused(node, 20)


def test_a_folder_that_is_not_there(node: Node) -> None:
    backed_up(node)
    ended = node.run("backup", "restore", str(node.output), "--to", "/nowhere")
    assert ended.returncode == 12
    assert "hint: mkdir -p /nowhere" in ended.stderr


def test_a_mount_point_cannot_be_exchanged(
    node: Node, small_disk: Callable[[Path, int], Any]
) -> None:
    backed_up(node)
    small_disk(node.folder / "data" / "tools", 500)
    assert "is a mount point" in refused(node, 12)


def with_twins(node: Node) -> None:
    (node.etc / "Twin.yaml").write_text("upper\n", encoding="utf-8")
    (node.etc / "twin.yaml").write_text("lower\n", encoding="utf-8")
    node.run("backup", "--output", str(node.output))


def test_names_that_are_one_on_the_target_are_refused_before_anything_is_written(
    node: Node, folding_disk: Path
) -> None:
    with_twins(node)
    ended = node.run("backup", "restore", str(node.output), "--to", str(folding_disk))
    assert ended.returncode == 12
    assert "Twin.yaml` and `" in ended.stderr
    assert "are one on the file system of" in ended.stderr
    assert list(folding_disk.iterdir()) == []


def test_names_that_would_be_one_elsewhere_are_restored(node: Node) -> None:
    with_twins(node)
    (node.folder / "target").mkdir()
    node.done("backup", "restore", str(node.output), "--to", str(node.folder / "target"))


def test_what_a_file_system_does_not_keep_is_told(node: Node, folding_disk: Path) -> None:
    """exFAT knows no permissions: what is restored there is told to be open to everybody."""
    os.chown(node.etc / "app.yaml", 12_345, 12_345)
    backed_up(node)
    ended = node.run("backup", "restore", str(node.output), "--to", str(folding_disk))
    there = Path(f"{folding_disk}{node.etc}/app.yaml")
    assert there.read_text(encoding="utf-8") == "port: 8443\n"
    if there.stat().st_uid == 12_345:
        assert ended.returncode == 0, ended.stderr
        return
    assert ended.returncode == 3, ended.stderr
    assert "permissions could not be given back: the file system keeps none" in ended.stderr
    assert "owners could not be given back: the file system keeps none" in ended.stderr


def test_room_is_asked_for_what_a_file_with_holes_holds(
    node: Node, small_disk: Callable[[Path, int], Any]
) -> None:
    with (node.knowledge / "holes.bin").open("wb") as file:
        file.truncate(1 << 40)
    node.done("backup", "--output", str(node.output))
    disk = small_disk(node.folder / "roomy", 60_000)
    node.done("backup", "restore", str(node.output), "--to", str(disk.path))
    with (node.knowledge / "holes.bin").open("r+b") as file:
        file.seek(1 << 30)
        file.write(os.urandom(1 << 20) * 50)
    node.done("backup", "--output", str(node.output), "--overwrite")
    small = small_disk(node.folder / "small", 60_000)
    ended = node.run("backup", "restore", str(node.output), "--to", str(small.path))
    assert ended.returncode == 12
    assert "and the bundle unpacks to" in ended.stderr


def test_a_full_disk_undoes_it(node: Node, small_disk: Callable[[Path, int], Any]) -> None:
    backed_up(node)
    disk = small_disk(node.folder / "small", 1_000)
    ended = node.run("backup", "restore", str(node.output), "--to", str(disk.path))
    assert ended.returncode == 12
    assert "bytes free, and the bundle unpacks to" in ended.stderr
    assert disk.files() == []


def test_a_disk_that_fills_up_meanwhile_undoes_it(
    node: Node, small_disk: Callable[[Path, int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(node)
    disk = small_disk(node.folder / "small", 1_000)
    monkeypatch.setattr("alexandria_backup.runbooks.bundle_find._check_root", lambda *_: None)
    ended = node.run("backup", "restore", str(node.output), "--to", str(disk.path))
    assert ended.returncode == 40, ended.stderr
    assert "could not be restored: no space left on device" in ended.stderr
    assert disk.files() == []


def test_an_exchange_that_fails_is_undone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    backed_up(node)
    rename, left = os.rename, [4]

    def failing(*arguments: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise PermissionError(1, "Operation not permitted", arguments[0])
        rename(*arguments, **more)

    monkeypatch.setattr(bundle_swap.os, "rename", failing)
    assert "operation not permitted" in refused(node, 40)
    assert node.platform_log == ["stop", "start"]


def test_what_is_written_by_somebody_else_is_not_taken_for_proved(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between extraction and proof somebody changes a new file: it must not be exchanged."""
    backed_up(node)
    sync = os.sync

    def meddling() -> None:
        sync()
        (new,) = (p for p in node.etc.parent.glob(".alexandria*new*"))
        (new / "app.yaml").write_text("port: 8444\n", encoding="utf-8")

    monkeypatch.setattr("os.sync", meddling)
    assert "is not what the bundle says: changed `config" in refused(node, 40)


def test_a_planted_link_leads_nowhere(node: Node, tmp_path: Path) -> None:
    """A hostile bundle whose own symlink leads to a folder outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = another(Kind.SYMLINK, "config/etc/app", link=os.fsencode(outside))
    forged = sound(members=[(link, b""), (a_file(), b"a: 1\n")]).made()
    stored(node.output, forged)
    assert "would lead out" in refused(node, 20)
    assert list(outside.iterdir()) == []


def test_two_restores_at_once(node: Node) -> None:
    backed_up(node)
    with node.wiring().bundle_restores._lock():
        assert "another restore" in refused(node, 22)


def test_set_ids_are_not_given_to_strangers(node: Node) -> None:
    if os.geteuid() == 0:
        pytest.skip("root gives them to their owners")
    root = f"{node.folder}/tool"
    tool = replace(a_file(f"config{root}"), mode=0o6755, uid=12_345)
    stored(node.output, sound(members=[(tool, b"a: 1\n")], root=root).made())
    restored = node.run("backup", "restore", str(node.output), "--to", "/", "--yes")
    assert "only root can" in restored.stderr
    assert not Path(root).stat().st_mode & 0o6000
