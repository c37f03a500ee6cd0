"""`alexandria backup` and its four helpers, as they are typed: outputs, refusals, JSON."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_support import Node
from rclone_support import BUCKET, rclone_server
from site_support import Site

from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(folder=tmp_path)
    made.settle()
    return made


def in_a_process(node: Node, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "alexandria_backup", "--config", str(node.config), *arguments],
        cwd=node.folder, capture_output=True, check=False, **more,
    )  # fmt: skip


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_without_an_option_a_file_of_today_is_made_here_for_its_owner_alone(node: Node) -> None:
    ended = node.done("backup")
    (made,) = node.folder.glob("alexandria-backup-????-??-??.tar.gz")
    assert made.stat().st_mode & 0o777 == 0o600
    assert f"bundle    `{made}`" in ended.stdout
    assert f"hint: alexandria backup verify {made}" in ended.stdout
    assert names(made.read_bytes())[-1] == "MANIFEST.json"
    assert "agents` of set `tools` is not there" in ended.stderr


def test_the_documents_of_all_commands(node: Node) -> None:
    made = node.result("backup", "--output", str(node.output))
    assert made["runbook"] == "backup"
    state = made["state"]
    assert (state["problems"], state["signed"], state["compress"]) == (0, False, "gzip")
    assert state["bytes"] == node.output.stat().st_size

    shown = node.result("backup", "show", str(node.output))
    assert shown["head"]["images"] == ["quay.io/alexandria:2.7.1"]
    assert shown["head"]["sets"]["tools"]["missing"] == [f"{node.folder}/data/agents"]
    assert shown["tail"]["entries"] == state["entries"]

    verdict = node.result("backup", "verify", str(node.output))
    assert (verdict["sha256"], verdict["differences"]) == (shown["sha256"], [])

    assert node.result("backup", "diff", str(node.output))["differences"] == []
    (node.etc / "new").touch()
    (node.etc / "app.yaml").write_text("port: 8444\n", encoding="utf-8")
    found = {d["path"]: d for d in node.result("backup", "diff", str(node.output))["differences"]}
    assert found[f"config{node.etc}/new"]["what"] == "added"
    assert "content" in found[f"config{node.etc}/app.yaml"]["fields"]


def test_two_bundles_are_compared(node: Node) -> None:
    node.done("backup", "--output", "one.tar.gz")
    (node.etc / "tls.key").unlink()
    node.done("backup", "--output", "two.tar.gz")
    ended = node.done("backup", "diff", "one.tar.gz", "two.tar.gz")
    assert f"removed `config{node.etc}/tls.key`" in ended.stdout
    assert "0 added, 1 removed" in ended.stdout


def test_standard_output_carries_the_bundle_and_nothing_else(node: Node) -> None:
    ended = in_a_process(node, "backup", "--output", "-")
    assert ended.returncode == 0, ended.stderr
    assert names(ended.stdout)[-1] == "MANIFEST.json"
    assert b"paths" in ended.stderr
    checked = in_a_process(node, "backup", "verify", "-", input=ended.stdout)
    assert checked.returncode == 0, checked.stderr
    assert b"as its manifest says" in checked.stdout


@pytest.mark.parametrize("option", ["--json", "--verify"])
def test_standard_output_is_not_shared(node: Node, option: str) -> None:
    ended = node.run("backup", "--output", "-", option)
    assert ended.returncode == 2


def test_a_closed_pipe_ends_it(node: Node) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "alexandria_backup", "--config", str(node.config), "backup",
             "--output", "-"],
            cwd=node.folder, stdout=writing, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert process.returncode == 1
    assert b"Traceback" not in process.stderr


def test_nothing_is_overwritten_unless_told(node: Node) -> None:
    node.output.write_text("precious", encoding="utf-8")
    ended = node.run("backup", "--output", str(node.output))
    assert ended.returncode == 1
    assert "add `--overwrite`" in ended.stderr
    assert node.output.read_text(encoding="utf-8") == "precious"
    node.done("backup", "--output", str(node.output), "--overwrite", "--verify")
    assert node.output.read_bytes()[:2] == b"\x1f\x8b"
    assert [p.name for p in node.folder.glob("bundle*")] == ["bundle.tar.gz"]


def test_an_object_store_takes_and_gives_it(node: Node, tmp_path_factory: Any) -> None:
    with rclone_server(tmp_path_factory.mktemp("s3")) as endpoint:
        environ = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip
        url = f"s3://{BUCKET}/nodes/one.tar.gz"
        made = node.run("backup", "--output", url, "--verify", environ=environ)
        assert made.returncode == 0, made.stderr
        good = node.state()
        node.wreck()
        again = node.run("backup", "--output", url, "--overwrite", environ=environ)
        assert "an object store overwrites nothing" in again.stderr
        for command in ("show", "verify"):
            assert node.run("backup", command, url, environ=environ).returncode == 0
        back = node.run("backup", "restore", url, "--to", "/", "--yes", environ=environ)
        assert back.returncode == 0, back.stderr
        assert node.state() == good


def test_zstd_and_a_plan(node: Node) -> None:
    plan = node.done("backup", "--output", str(node.output), "--plan")
    assert "tar --create --gzip" in plan.stdout
    assert not node.output.exists()
    node.done("backup", "--output", str(node.output), "--compress", "zstd")
    assert node.output.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    node.done("backup", "verify", str(node.output))


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


def test_private_keys_of_the_program_are_never_bundled(node: Node) -> None:
    Identity.generate().save(node.etc / "identity")
    SigningKey.generate("node").save(node.etc / "signing.pem")
    text = node.config.read_text(encoding="utf-8")
    node.config.write_text(
        f'{text}\n[encryption]\nidentity_file = "{node.etc}/identity"\n'
        f'[signing]\nkey_file = "{node.etc}/signing.pem"\n',
        encoding="utf-8",
    )
    (node.etc / "copy").write_bytes((node.etc / "identity").read_bytes())
    node.done("backup", "--output", str(node.output))
    shown = node.result("backup", "show", str(node.output))
    left = {e["path"]: e["why"] for e in shown["tail"]["excluded"]}
    for name in ("identity", "signing.pem", "copy"):
        assert left[f"{node.etc}/{name}"] == "a private key of this program"
    assert names(node.output.read_bytes()).count(f"config{node.etc}/tls.key".lstrip("/")) == 1


def test_redact_leaves_out_what_is_declared_secret(node: Node) -> None:
    (node.etc / "database.dsn").write_text("postgresql://u:p@h/d", encoding="utf-8")
    text = node.config.read_text(encoding="utf-8")
    node.config.write_text(
        f'{text}\n[database]\ndsn_file = "{node.etc}/database.dsn"\n', encoding="utf-8"
    )
    node.done("backup", "--output", str(node.output), "--redact")
    shown = node.result("backup", "show", str(node.output))
    left = {e["path"]: e["why"] for e in shown["tail"]["excluded"]}
    assert shown["head"]["redacted"]
    assert left[f"{node.etc}/tls.key"] == left[f"{node.etc}/database.dsn"] == "declared secret"
    (node.folder / "elsewhere").mkdir()
    ended = node.run("backup", "restore", str(node.output), "--to", "elsewhere")
    assert ended.returncode == 3
    assert "what is secret is not in it" in ended.stderr


def test_recipients_seal_it(node: Node) -> None:
    identity = Identity.generate()
    node.done("backup", "--output", str(node.output), "--recipient", str(identity.recipient))
    assert node.output.read_bytes().startswith(b"age-encryption.org/v1\n")
    ended = node.run("backup", "verify", str(node.output))
    assert ended.returncode == 21
    assert "hint: set `encryption.identity_file`" in ended.stderr


def test_the_doctor_warns_of_secrets_in_the_clear(node: Node) -> None:
    """There is no database here, which is a failure of its own."""
    ended = node.run("doctor")
    assert ended.returncode == 12
    assert "bundle" in ended.stdout
    assert "may hold secrets" in ended.stdout
    assert "give `--recipient age1…`" in ended.stdout


def test_the_newest_snapshot_stands_in_the_manifest(site: Site, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "app.yaml").touch()
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(f'{text}\n[bundle.sets]\nconfig = ["{etc}"]\n', encoding="utf-8")
    assert site.run("snapshot", "create").returncode == 0
    (newest,) = site.wiring().snapshots.all()
    ended = site.run("backup", "--output", str(tmp_path / "b"))
    assert ended.returncode == 0, ended.stderr
    assert f"snapshot  {newest.id}" in site.run("backup", "show", str(tmp_path / "b")).stdout


# ── what is asked for and cannot be ──────────────────────────────────────────────────────────────


def without_sets(node: Node, sets: str, more: str = "") -> None:
    text = node.config.read_text(encoding="utf-8")
    text = text.partition("[bundle.sets]")[0].replace("[bundle]\n", f"[bundle]\n{more}\n")
    node.config.write_text(f"{text}[bundle.sets]\n{sets}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("sets", "more", "code", "words"),
    [
        ('config = ["/nowhere/at/all"]', "", 12, "nothing of what a bundle should hold"),
        ('config = ["{etc}", "/nowhere"]', 'required = ["/nowhere"]', 12, "is required"),
        ('config = ["{etc}"]', 'required = ["/other"]', 2, "is in none of `bundle.sets`"),
        ('config = ["relative/path"]', "", 2, "is not an absolute path"),
        ('config = ["/"]', "", 2, "is not an absolute path below"),
        ('a = ["{etc}"]\nb = ["{etc}/app.yaml"]', "", 2, "belongs to two sets"),
        ('"../x" = ["{etc}"]', "", 2, "is wrong"),
    ],
    ids=["nothing", "required", "required-nowhere", "relative", "root", "two-sets", "name"],
)
def test_sets_that_cannot_be(node: Node, sets: str, more: str, code: int, words: str) -> None:
    without_sets(node, sets.replace("{etc}", str(node.etc)), more)
    ended = node.run("backup", "--output", str(node.output))
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "hint: " in ended.stderr
    assert not node.output.exists()


def test_a_link_as_a_root_is_told(node: Node) -> None:
    (node.folder / "linked").symlink_to(node.etc)
    without_sets(node, f'config = ["{node.folder}/linked"]')
    ended = node.run("backup", "--output", str(node.output))
    assert ended.returncode == 3
    assert "the link goes into the bundle, and not what it leads to" in ended.stderr


def test_a_disk_without_room_is_refused_beforehand(
    node: Node, small_disk: Callable[[Path, int], Any]
) -> None:
    disk = small_disk(node.folder / "small", 100)
    ended = node.run("backup", "--output", f"{disk.path}/b")
    assert ended.returncode == 12
    assert "bytes free for" in ended.stderr
    assert disk.files() == []


def test_a_disk_that_fills_up_leaves_nothing(
    node: Node, small_disk: Callable[[Path, int], Any]
) -> None:
    (node.knowledge / "noise").write_bytes(os.urandom(3 << 20))
    disk = small_disk(node.folder / "small", 2_000)
    ended = node.run("backup", "--output", f"{disk.path}/b")
    assert ended.returncode == 1
    assert "no space left on device" in ended.stderr
    assert disk.files() == []


def test_what_vanished_or_could_not_be_read_is_a_warning(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def denied(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("app.yaml"):
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **more)

    monkeypatch.setattr("alexandria_backup.bundle.capture.os.open", denied)
    ended = node.run("backup", "--output", str(node.output))
    assert ended.returncode == 3
    assert "app.yaml` could not be read: permission denied" in ended.stderr


def test_what_went_wrong_while_it_was_read_is_shown_by_name(node: Node) -> None:
    (node.knowledge / "broken.db").write_bytes(b"SQLite format 3\0" + b"no" * 5_000)
    (node.knowledge / 'a", "problem": "b').touch()
    assert node.run("backup", "--output", str(node.output)).returncode == 3
    told = f"`knowledge{node.knowledge}/broken.db` is no sound database and was copied as a file"
    assert node.result("backup", "show", str(node.output))["troubles"] == [told]
    assert f"problem   {told}" in node.done("backup", "show", str(node.output)).stdout


def test_a_damaged_bundle_is_not_verified(node: Node) -> None:
    node.done("backup", "--output", str(node.output))
    data = node.output.read_bytes()
    node.output.write_bytes(data[:-1])
    ended = node.run("backup", "verify", str(node.output), "--json")
    assert ended.returncode == 20
    assert json.loads(ended.stdout.splitlines()[-1])["code"] == "bundle-damaged"
