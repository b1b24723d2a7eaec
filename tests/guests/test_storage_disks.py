"""A guest's disks: plugged in, seen inside, grown, slowed down, shrunk, and taken out."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from made import Make, await_device

from kvmlab import Disk, Guest, Pool, Throttle, Volume, errors
from kvmlab.waiting import attempts

MIB = 2**20


def block_devices(guest: Guest) -> set[str]:
    return set(guest.run("ls /sys/block").stdout.split())


@pytest.fixture
def volume(data: Pool) -> Volume:
    return data.volumes.create("disk.qcow2", size_gib=0.125)


@pytest.fixture
def disk(web: Guest, volume: Volume) -> Iterator[Disk]:
    """A disk with ext4 on it, mounted on /mnt in the guest."""
    disk = web.disks.attach(volume, serial="DATA-1", discard="unmap")
    await_device(web, "vdb")
    web.run("mkfs.ext4 -q -O ^has_journal /dev/vdb && mount /dev/vdb /mnt", check=True)
    yield disk
    web.run("umount /mnt")
    if disk.target in web.disks:
        disk.detach()


class TestPlugging:
    def test_data_goes_from_one_guest_to_another(
        self, web: Guest, volume: Volume, make: Make
    ) -> None:
        before = block_devices(web)
        disk = web.disks.attach(volume, serial="DATA-1")
        assert repr(disk) == f"<Disk vdb of {web.name}: disk.qcow2>"
        await_device(web, "vdb")
        assert block_devices(web) - before == {"vdb"}
        assert web.run("cat /sys/block/vdb/serial").stdout == "DATA-1"
        web.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt", check=True)
        web.run("echo from one > /mnt/note; umount /mnt", check=True)
        with pytest.raises(errors.InUse, match=rf"guest '{web.name}' \(vdb\) uses it"):
            volume.delete()
        disk.detach()
        assert block_devices(web) == before
        assert list(web.disks) == ["vda"]

        other = make("other", image="tiny")
        cold = other.disks.attach(volume)
        assert [each.target for each in other.disks.values()] == ["vda", "vdb"]
        other.start()
        other.wait_ready()
        with pytest.raises(errors.InUse, match=rf"guest '{other.name}' \(vdb\) uses it"):
            web.disks.attach(volume)
        assert other.run("mount /dev/vdb /mnt && cat /mnt/note", check=True).stdout == "from one\n"
        other.run("umount /mnt", check=True)
        cold.detach()
        assert "vdb" not in block_devices(other)
        # What was plugged in is not the guest's own, and stays when the guest goes.
        other.disks.attach(volume)
        other.delete()
        assert volume.capacity_bytes == 128 * MIB

    def test_many_fit(self, web: Guest, data: Pool) -> None:
        volumes = [data.volumes.create(f"{n}.img", size_gib=0.001, format="raw") for n in range(4)]
        disks = [web.disks.attach(each) for each in volumes]
        assert [each.target for each in disks] == ["vdb", "vdc", "vdd", "vde"]
        assert len(web.disks) == 5
        for each in disks:
            each.detach()
        assert len(web.disks) == 1

    def test_only_now_or_only_at_the_next_start(self, web: Guest, volume: Volume) -> None:
        disk = web.disks.attach(volume, live=True, config=False)
        assert "vdb" in web.disks
        disk.detach()
        disk = web.disks.attach(volume, live=False)
        assert "vdb" not in web.disks
        assert repr(disk) == f"<Disk vdb of {web.name}: disk.qcow2>"
        disk.detach()

    def test_what_can_be_chosen_is_what_libvirt_has(self, data: Pool, make: Make) -> None:
        guest = make(networks=[])
        volume = data.volumes.create("a.img", size_gib=0.001, format="raw")
        limits = Throttle(total_bytes_sec=10 * MIB, write_iops_sec=100, read_iops_sec=200)
        disk = guest.disks.attach(
            volume,
            target="vdx",
            readonly=True,
            cache="none",
            discard="unmap",
            serial="A-1",
            throttle=limits,
        )
        spec = disk.spec
        assert (spec.target, spec.bus, spec.format, spec.readonly) == ("vdx", "virtio", "raw", True)
        assert (spec.cache, spec.discard, spec.serial) == ("none", "unmap", "A-1")
        assert spec.throttle == disk.throttle == limits
        assert disk.path == volume.path
        assert disk.volume().name == "a.img"
        assert disk.info().capacity_bytes == volume.capacity_bytes
        with pytest.raises(errors.GuestNotRunning):
            disk.stats()

    @pytest.mark.parametrize("cache", ["none", "writeback", "writethrough", "directsync", "unsafe"])
    def test_each_cache_mode_works(self, web: Guest, volume: Volume, cache: Any) -> None:
        disk = web.disks.attach(volume, cache=cache)
        assert disk.spec.cache == cache
        await_device(web, "vdb")
        web.run("dd if=/dev/zero of=/dev/vdb bs=4k count=16 conv=fsync", check=True)
        assert disk.stats().written_bytes >= 16 * 4096
        disk.detach()

    @pytest.mark.parametrize(
        ("wish", "kind", "seen"),
        [
            ({"bus": "ribbon"}, errors.InvalidArgument, "ribbon"),
            ({"device": "tape"}, errors.InvalidArgument, "tape"),
            ({"cache": "some"}, errors.InvalidArgument, "some"),
            ({"discard": "yes"}, errors.InvalidArgument, "yes"),
            ({"serial": "a b"}, errors.InvalidArgument, "a b"),
            ({"serial": "x" * 21}, errors.InvalidArgument, "x" * 21),
            ({"target": "vda"}, errors.InvalidArgument, "vda"),
            ({"target": "sdb"}, errors.InvalidArgument, "virtio"),
            ({"source": None}, errors.InvalidArgument, "CD-ROM"),
            ({"source": "data.img"}, errors.InvalidArgument, "data.img"),
            ({"source": "/nowhere.img"}, errors.VolumeNotFound, "/nowhere.img"),
            ({"source": "/etc/hostname"}, errors.InvalidArgument, "format='raw'"),
            ({"device": "cdrom", "bus": "virtio"}, errors.InvalidArgument, "virtio"),
            ({"shareable": True}, errors.NotSupported, "format='raw'"),
            ({"bus": "sata"}, errors.NotSupported, "sata"),
            ({"live": False, "config": False}, errors.InvalidArgument, "nor its definition"),
        ],
    )
    def test_what_can_not_be_is_refused(
        self,
        web: Guest,
        volume: Volume,
        wish: dict[str, Any],
        kind: type[errors.KvmlabError],
        seen: str,
    ) -> None:
        before = web.xml
        with pytest.raises(kind) as raised:
            web.disks.attach(**{"source": volume, **wish})
        assert seen in str(raised.value)
        assert raised.value.next_step
        assert web.xml == before

    def test_a_disk_that_is_not_there_is_named(self, web: Guest) -> None:
        with pytest.raises(errors.DeviceNotFound, match=r"vdz.*There is: vda"):
            web.disks["vdz"]

    def test_what_an_overlay_is_on_is_only_read(self, web: Guest, volume: Volume) -> None:
        overlay = volume.pool.volumes.create("top.qcow2", backing=volume)
        with pytest.raises(errors.InUse, match=r"volume 'top.qcow2'"):
            web.disks.attach(volume)
        web.disks.attach(volume, readonly=True).detach()
        web.disks.attach(overlay).detach()

    def test_qemu_locks_what_others_have_open(self, web: Guest, volume: Volume) -> None:
        command = ["qemu-nbd", "--persistent", "--socket", f"{volume.path}.sock", volume.path]
        with subprocess.Popen(command) as holder:
            try:
                for _ in attempts(10):
                    if Path(f"{volume.path}.sock").exists():
                        break
                # It greets when it has the file open, and not when it begins to listen.
                with socket.socket(socket.AF_UNIX) as asking:
                    asking.connect(f"{volume.path}.sock")
                    assert asking.recv(8) == b"NBDMAGIC"
                with pytest.raises(errors.InUse, match="another process has it open"):
                    web.disks.attach(volume)
            finally:
                holder.terminate()
        Path(f"{volume.path}.sock").unlink(missing_ok=True)


class TestGrowing:
    def test_online_with_the_file_system(self, web: Guest, disk: Disk) -> None:
        web.run("seq 100000 > /mnt/numbers; sync", check=True)
        before = web.run("md5sum /mnt/numbers").stdout
        disk.resize(0.25)
        assert web.run("cat /sys/block/vdb/size").stdout == f"{256 * MIB // 512}\n"
        assert disk.grow_file_system() == ("/mnt",)
        size_kib = int(web.run("df -k /mnt | awk 'END { print $2 }'").stdout)
        assert size_kib > 200 * 1024
        assert web.run("md5sum /mnt/numbers").stdout == before
        assert disk.info().capacity_bytes == 256 * MIB
        with pytest.raises(errors.InvalidArgument, match="would be lost"):
            disk.resize(0.125)

    @pytest.mark.parametrize(
        "kind",
        [
            {},
            {"format": "raw"},
            {"preallocation": "metadata"},
            {"passphrase": "four words or more"},
        ],
        ids=["qcow2", "raw", "preallocated", "encrypted"],
    )
    def test_the_volume_tells_its_new_size_at_once(
        self, web: Guest, data: Pool, kind: dict[str, Any]
    ) -> None:
        volume = data.volumes.create("grows", size_gib=0.03125, **kind)
        disk = web.disks.attach(volume)
        disk.resize(0.0625)
        assert volume.capacity_bytes == 64 * MIB
        disk.resize(0.125)
        assert volume.spec.capacity_bytes == 128 * MIB
        assert disk.chain()[0].capacity_bytes == 128 * MIB
        disk.detach()

    def test_offline(self, make: Make) -> None:
        guest = make(disk_gib=0.03125, networks=[])
        guest.disks["vda"].resize(0.0625)
        assert guest.disks["vda"].info().capacity_bytes == 64 * MIB
        with pytest.raises(errors.GuestNotRunning):
            guest.disks["vda"].grow_file_system()

    def test_without_a_file_system_is_told(self, web: Guest, volume: Volume) -> None:
        disk = web.disks.attach(volume)
        with pytest.raises(errors.NotSupported, match="Mount one in the guest"):
            disk.grow_file_system()
        disk.detach()


class TestShrinking:
    def test_what_the_guest_discards_is_given_back(self, web: Guest, disk: Disk) -> None:
        volume = disk.volume()
        web.run("dd if=/dev/urandom of=/mnt/junk bs=1M count=32 conv=fsync", check=True)
        full = volume.allocation_bytes
        assert full > 32 * MIB
        web.run("rm /mnt/junk; sync", check=True)
        assert volume.allocation_bytes >= full
        web.run("fstrim /mnt", check=True)
        assert volume.allocation_bytes < full - 24 * MIB
        assert volume.capacity_bytes == 128 * MIB


class TestThrottling:
    def test_is_told_and_felt(self, web: Guest, volume: Volume) -> None:
        disk = web.disks.attach(volume)
        assert disk.throttle == Throttle()
        disk.throttle = Throttle(read_bytes_sec=MIB)
        assert disk.throttle == Throttle(read_bytes_sec=MIB)
        await_device(web, "vdb")
        start_s = time.monotonic()
        web.run("dd if=/dev/vdb of=/dev/null bs=64k count=32 iflag=direct", check=True)
        # 2 MiB at 1 MiB a second, the first tenth of a second's worth for nothing.
        assert time.monotonic() - start_s > 1
        disk.throttle = Throttle()
        assert disk.throttle == Throttle()
        assert disk.stats().read_bytes >= 2 * MIB
        with pytest.raises(errors.InvalidArgument, match="exclude each other"):
            disk.throttle = Throttle(total_iops_sec=1, read_iops_sec=1)
        disk.detach()


class TestCdRoms:
    @pytest.fixture
    def discs(self, tmp_path: Path) -> list[Path]:
        discs = [tmp_path / "one.iso", tmp_path / "two.iso"]
        for disc in discs:
            folder = tmp_path / disc.stem
            folder.mkdir()
            (folder / "name").write_text(disc.stem)
            words = ["-q", "-d", folder, "-b", "2048", disc, "1M"]
            subprocess.run(["/sbin/mke2fs", *words], check=True)
        return discs

    def test_come_and_go(self, make: Make, discs: list[Path]) -> None:
        guest = make("cd", image="tiny")
        drive = guest.disks.attach(None, device="cdrom")
        assert repr(drive) == f"<Disk sda of {guest.name}: empty>"
        guest.start()
        guest.wait_ready()
        look = "mount -t ext4 -o ro /dev/sr0 /mnt && cat /mnt/name && umount /mnt"
        with pytest.raises(errors.WrongState, match="is empty"):
            drive.eject()
        for disc in discs:
            drive.insert(str(disc))
            assert guest.run(look).stdout == disc.stem
        # While it is mounted in the guest, the tray is locked.
        guest.run("mount -t ext4 -o ro /dev/sr0 /mnt", check=True)
        with pytest.raises(errors.InUse, match="force=True"):
            drive.eject()
        assert drive.path == str(discs[1])
        guest.run("umount /mnt", check=True)
        drive.eject()
        assert drive.path is None
        assert guest.run(look).stdout == ""
        with pytest.raises(errors.NotSupported, match="CD-ROM drive"):
            guest.disks["vda"].eject()
        self.plugged_in_while_it_runs(guest, discs[0])

    def plugged_in_while_it_runs(self, guest: Guest, disc: Path) -> None:
        with suppress(errors.NotSupported):  # libvirt before 10.1
            guest.disks.attach(None, device="cdrom").detach()
        drive = guest.disks.attach(str(disc), device="cdrom")
        await_device(guest, "sr1")
        with suppress(errors.NotSupported):  # libvirt 9.0 does not see that tray
            drive.eject()
        drive.detach()
        assert list(guest.disks) == ["vda", "sda"]


class TestSharing:
    def test_needs_raw_and_the_word_of_both(self, web: Guest, data: Pool, make: Make) -> None:
        other = make("other", networks=[])
        volume = data.volumes.create("shared.img", size_gib=0.01, format="raw")
        disk = web.disks.attach(volume, shareable=True)
        with pytest.raises(errors.InUse):
            other.disks.attach(volume)
        second = other.disks.attach(volume, shareable=True)
        assert {use.guest for use in volume.users()} == {web.name, other.name}
        other.start()
        other.destroy()
        second.detach()
        disk.detach()
