"""Volumes: real files, in both formats, with what is in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made import PREFIX, Make, await_device

from kvmlab import Guest, Lab, Pool, errors

MIB = 2**20
PASSPHRASE = "correct horse battery staple"


def qemu_img(*words: str) -> str:
    done = subprocess.run(["qemu-img", *words], capture_output=True, text=True, check=True)
    return done.stdout


class TestCreating:
    @pytest.mark.parametrize("format", ["raw", "qcow2"])
    def test_takes_no_room_until_it_is_written_to(self, data: Pool, format: Any) -> None:
        volume = data.volumes.create("thin.img", size_gib=1, format=format)
        assert volume.capacity_bytes == 2**30
        assert volume.allocation_bytes < MIB
        assert os.stat(volume.path).st_blocks * 512 == volume.allocation_bytes

    @pytest.mark.parametrize("format", ["raw", "qcow2"])
    def test_takes_it_all_at_once_where_asked(self, data: Pool, format: Any) -> None:
        size_gib = 8 / 1024
        volume = data.volumes.create("full", size_gib=size_gib, format=format, preallocation="full")
        assert volume.allocation_bytes >= volume.capacity_bytes == 8 * MIB

    def test_can_write_its_tables_ahead(self, data: Pool) -> None:
        lazy = data.volumes.create("lazy.qcow2", size_gib=1)
        ready = data.volumes.create("ready.qcow2", size_gib=1, preallocation="metadata")
        assert lazy.allocation_bytes < ready.allocation_bytes < 64 * MIB

    def test_an_overlay_is_as_large_as_what_it_is_on(self, data: Pool, lab: Lab) -> None:
        base = data.volumes.create("base.img", size_gib=0.25, format="raw")
        overlay = data.volumes.create("top.qcow2", backing=base)
        assert overlay.capacity_bytes == 2**28
        assert (overlay.spec.backing_path, overlay.spec.backing_format) == (base.path, "raw")
        with pytest.raises(errors.InUse, match=f"volume 'top.qcow2' of pool '{data.name}' uses it"):
            base.delete()
        overlay.delete()
        base.delete()
        assert list(data.volumes) == []

    @pytest.mark.parametrize(
        ("wish", "kind", "seen"),
        [
            ({"name": "../a"}, errors.InvalidName, "../a"),
            ({"name": "x" * 256}, errors.InvalidName, "x" * 256),
            ({"name": "taken"}, errors.VolumeAlreadyExists, "taken"),
            ({"size_gib": None}, errors.InvalidArgument, "needs a size"),
            ({"size_gib": 0}, errors.InvalidArgument, "0"),
            ({"size_gib": 10**4}, errors.NotEnoughDisk, "10000.0 GiB"),
            ({"format": "vmdk"}, errors.InvalidArgument, "vmdk"),
            ({"preallocation": "some"}, errors.InvalidArgument, "some"),
            ({"format": "raw", "preallocation": "metadata"}, errors.InvalidArgument, "raw"),
            ({"passphrase": "short"}, errors.InvalidArgument, "8 characters"),
            ({"passphrase": "\ud800" * 8}, errors.InvalidArgument, "typed"),
            ({"passphrase": "two\0words"}, errors.InvalidArgument, "typed"),
            ({"backing": "taken"}, errors.InvalidArgument, "taken"),
        ],
    )
    def test_what_can_not_be_is_refused(
        self, data: Pool, wish: dict[str, Any], kind: type[errors.KvmlabError], seen: str
    ) -> None:
        data.volumes.create("taken", size_gib=0.001)
        with pytest.raises(kind) as raised:
            data.volumes.create(**{"name": "new", "size_gib": 0.001, **wish})
        assert seen in str(raised.value)
        assert raised.value.next_step
        data.refresh()
        assert list(data.volumes) == ["taken"]


class TestResizing:
    def test_grows_and_shrinks_only_where_asked(self, data: Pool) -> None:
        volume = data.volumes.create("a.qcow2", size_gib=1)
        volume.resize(2)
        assert volume.capacity_bytes == 2**31
        with pytest.raises(errors.InvalidArgument, match=r"would be lost.*shrink=True"):
            volume.resize(1)
        assert volume.capacity_bytes == 2**31
        volume.resize(1, shrink=True)
        assert volume.capacity_bytes == 2**30

    def test_what_an_overlay_is_on_does_not_shrink(self, data: Pool) -> None:
        base = data.volumes.create("base.qcow2", size_gib=1)
        data.volumes.create("top.qcow2", backing=base)
        with pytest.raises(errors.InUse, match=r"volume 'top.qcow2'"):
            base.resize(0.5, shrink=True)
        base.resize(2)  # harmless: the overlay does not look beyond its own end


class TestContents:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "file"
        file.write_bytes(b"KVMLAB" * 2**17 + bytes(8 * MIB) + b"END" * 2**12)
        return file

    def test_goes_in_and_comes_out_again(self, data: Pool, file: Path, tmp_path: Path) -> None:
        size_gib = file.stat().st_size / 2**30
        volume = data.volumes.create("raw.img", size_gib=size_gib, format="raw")
        volume.upload(file)
        told: list[tuple[str, float]] = []
        copy = tmp_path / "copy"
        volume.download(copy, lambda what, done: told.append((what, done)))
        assert copy.read_bytes() == file.read_bytes()
        assert {what for what, _ in told} == {"download raw.img"}
        assert [done for _, done in told] == sorted(done for _, done in told)
        assert told[-1][1] == 1
        with pytest.raises(errors.AlreadyExists):
            volume.download(copy)
        with pytest.raises(errors.InvalidArgument, match="no such folder"):
            volume.download(tmp_path / "nowhere" / "copy")

    def test_holes_stay_holes(self, data: Pool, tmp_path: Path) -> None:
        volume = data.volumes.create("thin.img", size_gib=1, format="raw")
        with open(volume.path, "r+b") as file:
            file.seek(2**29)
            file.write(b"here")
        copy = tmp_path / "copy"
        volume.download(copy)
        assert copy.stat().st_size == 2**30
        assert copy.stat().st_blocks * 512 < MIB
        with copy.open("rb") as file:
            file.seek(2**29)
            assert file.read(5) == b"here\0"

    def test_an_interrupted_download_leaves_nothing(self, data: Pool, tmp_path: Path) -> None:
        volume = data.volumes.create("raw.img", size_gib=8 / 1024, format="raw")
        Path(volume.path).write_bytes(os.urandom(8 * MIB))

        def interrupt(_: str, done: float) -> None:
            if done > 0.3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            volume.download(tmp_path / "copy", interrupt)
        assert list(tmp_path.iterdir()) == []

    def test_a_download_touches_no_other_file(
        self, data: Pool, tmp_path: Path, small_pool: Pool
    ) -> None:
        beside = tmp_path / "disk.img.part"
        beside.write_text("mine")
        volume = data.volumes.create("full.img", size_gib=1 / 128, format="raw")
        Path(volume.path).write_bytes(os.urandom(8 * MIB))
        volume.download(str(tmp_path / "disk.img"))
        assert beside.read_text() == "mine"
        assert (tmp_path / "disk.img").read_bytes() == Path(volume.path).read_bytes()
        with pytest.raises(errors.NotEnoughDisk):
            volume.download(Path(small_pool.path or "", "disk.img"))
        assert os.listdir(small_pool.path) == []
        with pytest.raises(errors.Forbidden, match="/proc/"):
            volume.download(Path("/proc/disk.img"))
        volume.upload(str(tmp_path / "disk.img"))
        with pytest.raises(errors.InvalidArgument):
            volume.upload(None)  # type: ignore[arg-type]

    def test_wiping_leaves_nothing_to_read(self, data: Pool) -> None:
        volume = data.volumes.create("raw.img", size_gib=1 / 1024, format="raw")
        Path(volume.path).write_bytes(b"SECRET" * 2**14)
        volume.wipe()
        wiped = Path(volume.path).read_bytes()
        assert len(wiped) == 6 * 2**14
        assert set(wiped) == {0}


class TestCloning:
    def test_an_interrupted_one_is_not_left(self, data: Pool) -> None:
        def interrupt(_: str, __: float) -> None:
            raise KeyboardInterrupt

        volume = data.volumes.create("disk.qcow2", size_gib=0.001)
        with pytest.raises(KeyboardInterrupt):
            volume.clone("copy.qcow2", progress=interrupt)
        assert list(data.volumes) == ["disk.qcow2"]

    def test_copies_what_is_in_the_whole_chain(self, data: Pool, lab: Lab) -> None:
        base = data.volumes.create("base.qcow2", size_gib=0.0625)
        overlay = data.volumes.create("top.qcow2", backing=base)
        subprocess.run(
            ["qemu-io", "-c", "write -P 0x11 0 1M", base.path], check=True, capture_output=True
        )
        subprocess.run(
            ["qemu-io", "-c", "write -P 0x22 1M 1M", overlay.path], check=True, capture_output=True
        )
        told: list[float] = []
        clone = overlay.clone("clone.qcow2", progress=lambda _, done: told.append(done))
        assert told[-1] == 1
        assert [link.name for link in clone.chain()] == ["clone.qcow2"]
        compared = qemu_img("compare", clone.path, overlay.path)
        assert "Images are identical" in compared
        with pytest.raises(errors.VolumeAlreadyExists):
            overlay.clone("clone.qcow2")

    def test_into_another_pool(self, data: Pool, lab: Lab) -> None:
        volume = data.volumes.create("a.img", size_gib=0.001, format="raw")
        Path(volume.path).write_bytes(b"KVMLAB" * 100)
        data.refresh()
        clone = volume.clone(f"{PREFIX}clone.img", pool=lab.pools["default"])
        try:
            assert Path(clone.path).read_bytes()[:600] == b"KVMLAB" * 100
        finally:
            clone.delete()

    def test_a_file_below_that_is_gone_is_named(self, data: Pool) -> None:
        base = data.volumes.create("base.qcow2", size_gib=0.01)
        overlay = data.volumes.create("top.qcow2", backing=base)
        moved = Path(base.path).rename(f"{data.path}/moved.qcow2")
        for what in (
            overlay.chain,
            overlay.flatten,
            overlay.commit,
            lambda: overlay.clone("clone.qcow2"),
        ):
            with pytest.raises(errors.BackingMissing, match=r"base\.qcow2.*rebase"):
                what()
        data.refresh()
        assert "clone.qcow2" not in data.volumes
        overlay.rebase(data.volumes[moved.name], copy=False)
        assert [link.name for link in overlay.chain()] == ["top.qcow2", "moved.qcow2"]

    def test_a_chain_is_changed_while_no_guest_has_it(self, data: Pool) -> None:
        base = data.volumes.create("base.qcow2", size_gib=0.01)
        middle = data.volumes.create("middle.qcow2", backing=base)
        top = data.volumes.create("top.qcow2", backing=middle)
        for volume, command in ((base, "0x11 0 1M"), (middle, "0x22 1M 1M"), (top, "0x33 2M 1M")):
            subprocess.run(
                ["qemu-io", "-c", f"write -P {command}", volume.path],
                check=True,
                capture_output=True,
            )
        same = data.volumes["top.qcow2"].clone("same.qcow2")
        with pytest.raises(errors.InUse, match=r"volume 'top.qcow2'.*uses it"):
            middle.commit()
        with pytest.raises(errors.InvalidArgument, match="can't stand on itself"):
            middle.rebase(top)
        with pytest.raises(errors.InvalidArgument, match="is no overlay"):
            base.flatten()
        told: list[float] = []
        top.commit(progress=lambda _, done: told.append(done))
        assert told[-1] == 1
        top.delete()
        assert "identical" in qemu_img("compare", middle.path, same.path)
        middle.rebase(same)
        assert [link.name for link in middle.chain()] == ["middle.qcow2", "same.qcow2"]
        assert "identical" in qemu_img("compare", middle.path, same.path)
        middle.flatten()
        assert [link.name for link in middle.chain()] == ["middle.qcow2"]
        assert "identical" in qemu_img("compare", middle.path, same.path)


class TestInUse:
    def test_a_running_guests_disk_is_left_alone(self, web: Guest, tmp_path: Path) -> None:
        volume = web.disks["vda"].volume()
        by = rf"guest '{web.name}' \(vda\) uses it"
        for what in (
            volume.delete,
            volume.wipe,
            lambda: volume.resize(4),
            lambda: volume.upload(Path("/etc/hostname")),
            lambda: volume.download(tmp_path / "copy"),
            lambda: volume.clone(f"{PREFIX}clone.qcow2"),
            volume.flatten,
            volume.commit,
        ):
            with pytest.raises(errors.InUse, match=by):
                what()
        assert f"{PREFIX}clone.qcow2" not in volume.pool.volumes
        assert web.run("true").exit_status == 0

    def test_so_is_the_image_below_it(self, web: Guest, lab: Lab) -> None:
        image = lab.pools["default"].volumes[web.disks["vda"].chain()[-1].name]
        with pytest.raises(errors.InUse, match=rf"{web.name}"):
            image.delete()
        assert any(use.overlay for use in image.users())

    def test_a_guest_that_is_off_counts_too(self, make: Make, lab: Lab) -> None:
        guest = make(disk_gib=0.01, networks=[])
        volume = guest.disks["vda"].volume()
        assert [use.by for use in volume.users()] == [f"guest '{guest.name}' (vda)"]
        with pytest.raises(errors.InUse):
            volume.delete()
        volume.resize(0.02)
        guest.delete()
        assert volume.name not in lab.pools["default"].volumes

    def test_a_snapshot_counts_too(self, data: Pool, make: Make) -> None:
        guest = make(disk_gib=0.01, networks=[])
        other = data.volumes.create("other.qcow2", size_gib=0.01)
        disk = guest.disks.attach(other)
        guest._libvirt.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>")
        disk.detach()
        with pytest.raises(errors.InUse, match=rf"snapshot 'before' of guest '{guest.name}'"):
            other.delete()
        guest.delete()
        other.delete()


class TestEncryption:
    def test_the_file_is_of_no_use_without_the_passphrase(
        self, web: Guest, data: Pool, lab: Lab, tmp_path: Path
    ) -> None:
        secrets = len(lab.connection.listSecrets())
        volume = data.volumes.create("safe.qcow2", size_gib=0.0625, passphrase=PASSPHRASE)
        assert volume.spec.encryption
        assert len(lab.connection.listSecrets()) == secrets + 1
        assert PASSPHRASE not in str(lab.virsh_log)
        disk = web.disks.attach(volume, serial="SAFE")
        try:
            marker = "MARKER-IN-PLAIN-SIGHT"
            await_device(web, "vdb")
            web.run(f"yes {marker} | dd of=/dev/vdb bs=64k count=8 conv=fsync", check=True)
            web.run("echo 3 > /proc/sys/vm/drop_caches", check=True)
            seen = web.run(f"head -c 65536 /dev/vdb | grep -c {marker}").stdout
            assert int(seen) > 1000
            assert marker.encode() not in Path(volume.path).read_bytes()
        finally:
            disk.detach()
        with pytest.raises(errors.NotSupported, match="passphrase"):
            volume.clone("copy.qcow2")
        volume.delete()
        assert len(lab.connection.listSecrets()) == secrets

    def test_what_can_not_be_made_leaves_no_passphrase(self, data: Pool, lab: Lab) -> None:
        secrets = len(lab.connection.listSecrets())
        Path(data.path or "", "taken.qcow2").mkdir()  # as if it had come at that moment
        with pytest.raises(errors.KvmlabError):
            data.volumes.create("taken.qcow2", size_gib=0.01, passphrase=PASSPHRASE)
        assert len(lab.connection.listSecrets()) == secrets
