"""Images of one's own: what they are taken for, and what is refused."""

from __future__ import annotations

import io
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from kvmlab import Images, Lab, errors
from kvmlab.images import hosttools, inside, osinfo
from kvmlab.images.added import medium_at
from kvmlab.images.hello import DISK_BYTES, boot_sector
from kvmlab.images.iso import write_iso
from kvmlab.images.mbr import Partition, first_sector

RELEASE = 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setenv("KVMLAB_HOME", str(tmp_path / "home"))
    return Images()


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    loader = {"isolinux/isolinux.bin": bytes(4096)}
    write_iso(tmp_path / "my.iso", {"README": b"x"} | loader, label="MY_CD", bootable=True)
    return tmp_path / "my.iso"


def disk_with(tmp_path: Path, release: str, *, partitioned: bool = True) -> Path:
    """Make a qcow2 with a file system with an os-release on it."""
    tree, start = tmp_path / "tree", 2048 * 512 if partitioned else 0
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "usr/lib/os-release").write_text(release)
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
    raw = tmp_path / "own.raw"
    with raw.open("wb") as file:
        if partitioned:
            file.write(first_sector(Partition(0x83, 2048, 16384)))
        file.truncate(start + (8 << 20))
    where = f"offset={start}"
    hosttools.run("mke2fs", "-q", "-F", "-t", "ext4", "-E", where, "-d", tree, raw, "8M",
                  folder=tmp_path)  # fmt: skip
    qcow2 = tmp_path / "own.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, qcow2], check=True)
    return qcow2


class TestDisk:
    @pytest.mark.parametrize("partitioned", [True, False])
    def test_is_recognised_by_its_os_release(
        self, images: Images, tmp_path: Path, partitioned: bool
    ) -> None:
        disk = disk_with(tmp_path, RELEASE, partitioned=partitioned)
        said: list[tuple[str, float]] = []
        own = images.add(disk, progress=lambda text, done: said.append((text, done)))
        assert (own.name, own.title) == ("own", "Debian GNU/Linux 11 (bullseye)")
        assert own.os_id == "http://debian.org/debian/11"
        assert own.memory_mib >= 512
        assert (own.disk_format, own.is_medium) == ("qcow2", False)
        assert own.virtual_size >= 8 << 20
        assert own.disk.read_bytes() == disk.read_bytes()
        assert images["own"] == own
        assert list(images)[-1] == "own"
        assert "Debian GNU/Linux 11" in repr(images)
        assert said[0] == ("copying own.qcow2", 0.95)
        assert all(verdict.ok for verdict in images.catalogue.verify())

    def test_newer_than_libosinfo_is_called_what_it_calls_itself(
        self, images: Images, tmp_path: Path
    ) -> None:
        release = RELEASE.replace("11", "99")
        own = images.add(disk_with(tmp_path, release))
        assert (own.title, own.os_id) == ("Debian GNU/Linux 99 (bullseye)", None)
        assert own.memory_mib >= 512

    def test_of_a_system_nobody_knows(self, images: Images, tmp_path: Path) -> None:
        raw = tmp_path / "x.img"
        raw.write_bytes(boot_sector())
        with raw.open("r+b") as file:
            file.truncate(DISK_BYTES)
        own = images.add(str(raw), name="mine")
        assert (own.name, own.title, own.disk_format) == ("mine", "unknown system", "raw")
        assert own.disk.stat().st_size == own.virtual_size == DISK_BYTES
        assert own.disk.stat().st_blocks * 512 < DISK_BYTES  # its holes are holes again

    def test_can_be_added_under_two_names_and_taken_away(
        self, images: Images, tmp_path: Path
    ) -> None:
        disk = disk_with(tmp_path, RELEASE)
        one, two = images.add(disk, name="one"), images.add(disk, name="two")
        assert one.digest != two.digest
        images.remove("one")
        assert "one" not in images
        assert images["two"] == two
        with pytest.raises(errors.ImageNotFound, match="two"):
            images.remove("one")

    def test_gpt_is_read_too(self, tmp_path: Path) -> None:
        raw = tmp_path / "gpt"
        table = bytearray(8 << 20)
        table[446 + 4] = 0xEE
        table[510:512] = b"\x55\xaa"
        table[512:520] = b"EFI PART"
        table[512 + 72 : 512 + 88] = (
            (2).to_bytes(8, "little") + (4).to_bytes(4, "little") + (128).to_bytes(4, "little")
        )
        table[1024:1040] = b"x" * 16
        table[1024 + 32 : 1024 + 40] = (2048).to_bytes(8, "little")
        raw.write_bytes(table)
        disk = disk_with(tmp_path, RELEASE, partitioned=False)
        plain = tmp_path / "own.raw"
        with raw.open("ab") as file:
            file.truncate(2048 * 512)
            file.seek(0, io.SEEK_END)
            file.write(plain.read_bytes())
        assert disk.exists()
        assert inside.os_release(raw, "raw")["ID"] == "debian"

    @pytest.mark.parametrize("text", ["", "nonsense", 'A="x', "ID=$(id)\n", "\0\xff"])
    def test_nonsense_for_an_os_release_is_harmless(self, text: str) -> None:
        assert set(inside.read_release(text)) <= {"ID"}


class TestMedium:
    def test_is_recognised_as_one(self, images: Images, iso: Path) -> None:
        own = images.add(iso)
        assert (own.name, own.disk_format, own.boot) == ("my", "iso", "cdrom")
        assert own.title == "unknown system, labelled 'MY_CD', to install from"
        assert images.catalogue.is_medium("my")
        assert medium_at(iso).title == own.title

    def test_of_a_system_libosinfo_knows(self, images: Images, tmp_path: Path) -> None:
        # Debian's installation CDs are known by this label, and their being Debian's.
        disc = tmp_path / "netinst.iso"
        write_iso(disc, {"x": b""}, label="DEBIAN")
        with disc.open("r+b") as file:  # the label in the volume descriptor, without Joliet's limit
            file.seek(16 * 2048 + 40)
            file.write(b"Debian 11.5.0 amd64 n".ljust(32))
        own = images.add(disc, name="netinst")
        assert own.title == "Debian 11 (a CD that can't be booted)"
        assert own.os_id == "http://debian.org/debian/11"
        assert own.disk_gib
        assert own.disk_gib >= 10
        assert own.memory_mib >= 512

    def test_becomes_a_guests_cd(
        self, test_lab: Lab, iso: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kvmlab.storage.volumes.Volume.upload", lambda self, *_: None)
        monkeypatch.setattr("kvmlab.storage.volumes.Volume.begins_like", lambda self, *_: True)
        test_lab.images.add(iso, name="mine")
        for number, medium in enumerate(("mine", iso, str(iso), test_lab.images["mine"])):
            guest = test_lab.guests.create(f"g{number}", iso=medium, disk_gib=1)
            disk, cd = guest.spec.disks
            assert (disk.target, cd.target, cd.device) == ("vda", "sda", "cdrom")
            assert cd.path
            assert cd.path.startswith("/pool/kvmlab-m")
            assert guest.spec.boot == ("hd", "cdrom")
            assert guest.spec.provenance
            assert guest.spec.provenance.volumes == (disk.path,)
        guest = test_lab.guests.create("first", iso="mine", boot=("cdrom", "hd"))
        assert guest.spec.boot == ("cdrom", "hd")
        assert [each.device for each in guest.spec.disks] == ["cdrom"]
        with pytest.raises(errors.NotSupported, match="kernel is known"):
            guest.install("hostname=box")


Usage = namedtuple("Usage", "total used free")


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "no image"),
            (b"just a text\n" * 99, "no image"),
            (b"\x1f\x8b" + bytes(600), "unpacked"),
            (b"QFI\xfb" + b"\xff" * 600, "qemu-img"),
        ],
        ids=["empty", "text", "gzip", "broken qcow2"],
    )
    def test_no_image(self, content: bytes, match: str, images: Images, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(errors.KvmlabError, match=match) as raised:
            images.add(tmp_path / "file")
        assert raised.value.next_step
        self.nothing_is_left(images)

    def nothing_is_left(self, images: Images) -> None:
        folder = images.catalogue.folder
        assert not [each for each in folder.glob("*") if each.name != ".lock"]

    def test_no_file(self, images: Images, tmp_path: Path) -> None:
        for missing in (tmp_path / "nowhere.qcow2", tmp_path):
            with pytest.raises(errors.InvalidArgument, match="no such file"):
                images.add(missing, name="x")

    @pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 64, "a/b", 7])
    def test_a_name_that_is_none(self, name: Any, images: Images, iso: Path) -> None:
        with pytest.raises(errors.InvalidName):
            images.add(iso, name=name)

    def test_a_name_that_is_taken(self, images: Images, iso: Path) -> None:
        images.add(iso, name="mine")
        for taken in ("tiny", "mine"):
            with pytest.raises(errors.ImageAlreadyExists):
                images.add(iso, name=taken)

    def test_an_overlay_and_other_formats(self, images: Images, tmp_path: Path) -> None:
        disk = disk_with(tmp_path, RELEASE)
        overlay, vmdk = tmp_path / "over.qcow2", tmp_path / "x.vmdk"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", overlay]
        subprocess.run(command, check=True)
        with pytest.raises(errors.ImageError, match="overlay on"):
            images.add(overlay)
        subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", vmdk, "1M"], check=True)
        with pytest.raises(errors.ImageError, match="format vmdk"):
            images.add(vmdk)

    def test_more_than_there_is_room_for(
        self, images: Images, iso: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "kvmlab.images.added.shutil.disk_usage", lambda _: Usage(2**40, 2**40, 0)
        )
        with pytest.raises(errors.NotEnoughDisk, match="KVMLAB_HOME"):
            images.add(iso)
        self.nothing_is_left(images)

    def test_to_remove_or_rebuild_what_is_another_kind(self, images: Images, iso: Path) -> None:
        images.add(iso, name="mine")
        with pytest.raises(errors.ImageError, match="only an image that was added"):
            images.remove("tiny")
        with pytest.raises(errors.ImageError, match="no recipe"):
            images.build("mine")

    def test_a_disk_for_a_cd_and_a_cd_for_a_disk(
        self, test_lab: Lab, iso: Path, tmp_path: Path
    ) -> None:
        test_lab.images.add(iso, name="cd")
        test_lab.images.add(disk_with(tmp_path, RELEASE), name="disk")
        with pytest.raises(errors.InvalidArgument, match="iso='cd'"):
            test_lab.guests.create("web", image="cd")
        with pytest.raises(errors.InvalidArgument, match="image='disk'"):
            test_lab.guests.create("web", iso="disk")
        for wrong in (tmp_path / "own.raw", "/nowhere/x.iso", "nowhere.iso"):
            with pytest.raises(errors.InvalidArgument):
                test_lab.guests.create("web", iso=wrong)
        with pytest.raises(errors.ImageNotFound):
            test_lab.guests.create("web", iso="nowhere")
        assert list(test_lab.pools["default"].volumes) == []

    def test_to_go_on_without_libosinfo(
        self, images: Images, iso: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(osinfo, "_PYTHON", "/nowhere/python3")
        with pytest.raises(errors.ImageError, match="virtinst"):
            images.add(iso)
