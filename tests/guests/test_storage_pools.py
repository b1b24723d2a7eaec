"""Storage pools: made, stopped, deleted; and those that this host can't have, with the reason.

What needs a block device or a file server is tried for real: it works, or the reason is told.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made import PREFIX, Make

from kvmlab import Lab, Pool, errors

NAME = f"{PREFIX}made"


def all_of(lab: Lab) -> set[str]:
    """Return the pools there are, and the folders beside that of the default one."""
    beside = Path("/var/lib/libvirt/pools")
    return {*lab.pools, *(map(str, beside.iterdir()) if beside.exists() else ())}


@pytest.fixture
def nothing_left(lab: Lab) -> Iterator[None]:
    before = all_of(lab)
    yield
    assert all_of(lab) == before


class TestFolders:
    def test_one_is_made_beside_that_of_the_default_pool(
        self, lab: Lab, nothing_left: None
    ) -> None:
        pool = lab.pools.create(NAME)
        try:
            assert pool.path == f"/var/lib/libvirt/pools/{NAME}"
            assert Path(pool.path).is_dir()
            assert (pool.is_active, pool.autostart) == (True, True)
            assert pool.spec.type == "dir"
            there = os.statvfs(pool.path)
            assert pool.capacity_bytes == there.f_blocks * there.f_frsize
            free = there.f_bfree * there.f_frsize  # with what is kept for root
            assert pool.available_bytes == pytest.approx(free, rel=0.05)
            total = pool.allocation_bytes + pool.available_bytes
            assert total == pytest.approx(pool.capacity_bytes, rel=0.1)
            pool.autostart = False
            assert not pool.autostart
            assert not lab.pools[NAME].autostart
        finally:
            pool.delete(contents=True)

    def test_one_folder_is_one_pools_by_whatever_path(
        self, data: Pool, lab: Lab, tmp_path: Path
    ) -> None:
        link = tmp_path / "link"
        link.symlink_to(data.path or "")
        for path in (str(link), f"{data.path}/../{data.name}", f"/{data.path}"):
            with pytest.raises(errors.InUse, match=data.name):
                lab.pools.create(NAME, path=path)
        with pytest.raises(errors.InvalidArgument, match="Choose another path"):
            lab.pools.create(NAME, path=f"/srv/{'x' * 300}")
        assert NAME not in lab.pools

    def test_a_disk_is_in_use_by_whatever_path(
        self, data: Pool, lab: Lab, make: Make, tmp_path: Path
    ) -> None:
        guest, link = make("a", networks=[]), tmp_path / "link"
        volume = data.volumes.create("disk.img", size_gib=0.001, format="raw")
        guest.disks.attach(volume)
        link.symlink_to(data.path or "")
        with pytest.raises(errors.InUse, match=guest.name):
            make("b", networks=[]).disks.attach(f"{link}/disk.img", format="raw")
        other = lab.connection.storagePoolCreateXML(
            f"<pool type='dir'><name>{NAME}</name><target><path>{link}</path></target></pool>"
        )
        try:
            with pytest.raises(errors.InUse, match=guest.name):
                lab.pools[NAME].volumes["disk.img"].delete()
        finally:
            other.destroy()
        assert Path(volume.path).exists()

    def test_what_others_put_into_it_is_seen_after_a_refresh(self, data: Pool) -> None:
        Path(data.path or "", "found.img").write_bytes(bytes(4096))
        assert "found.img" not in data.volumes
        data.refresh()
        assert data.volumes["found.img"].capacity_bytes == 4096

    def test_a_stopped_one_is_out_of_sight_and_can_come_back(self, data: Pool) -> None:
        data.volumes.create("kept.img", size_gib=0.001, format="raw")
        data.stop()
        assert not data.is_active
        with pytest.raises(errors.PoolNotActive, match=r"start\(\)"):
            data.volumes.create("more.img", size_gib=0.001)
        with pytest.raises(errors.PoolNotActive):
            data.delete(contents=True)
        with pytest.raises(errors.WrongState):
            data.stop()
        data.start()
        assert list(data.volumes) == ["kept.img"]

    def test_without_contents_the_files_stay(self, lab: Lab, tmp_path: Path) -> None:
        pool = lab.pools.create(NAME, path=str(tmp_path))
        pool.volumes.create("kept.img", size_gib=0.001, format="raw")
        pool.delete()
        assert NAME not in lab.pools
        assert (tmp_path / "kept.img").exists()

    def test_one_with_a_guests_disk_in_it_stays(self, data: Pool, lab: Lab, make: Make) -> None:
        guest = make(networks=[], disk_gib=0.01, pool=data.name)
        for contents in (True, False):
            with pytest.raises(errors.InUse, match=rf"guest '{guest.name}' \(vda\) uses it"):
                data.delete(contents=contents)
        data.stop()
        with pytest.raises(errors.InUse, match=rf"guest '{guest.name}' \(vda\)"):
            data.delete()
        data.start()
        guest.start()
        with pytest.raises(errors.InUse, match="can't be stopped"):
            data.stop()
        assert data.is_active
        assert list(data.volumes) == [f"{guest.name}.qcow2"]
        guest.delete()


@pytest.mark.parametrize(
    ("wish", "kind", "seen"),
    [
        ({"name": f"{PREFIX}a/b"}, errors.InvalidName, "a/b"),
        ({"name": "x" * 64}, errors.InvalidName, "x" * 64),
        ({"name": "default"}, errors.PoolAlreadyExists, "default"),
        ({"path": "data"}, errors.InvalidArgument, "data"),
        ({"path": "/var/lib/libvirt/images"}, errors.InUse, "storage pool 'default'"),
        ({"path": "/proc/nowhere"}, errors.InvalidArgument, "/proc/nowhere"),
        ({"type": "floppy"}, errors.InvalidArgument, "floppy"),
        ({"type": "dir", "host": "nas"}, errors.InvalidArgument, "nas"),
        ({"make": True}, errors.InvalidArgument, "nothing to make"),
        ({"type": "disk"}, errors.InvalidArgument, "needs devices"),
        ({"type": "logical"}, errors.InvalidArgument, "needs source_name"),
        ({"type": "netfs", "host": "nas"}, errors.InvalidArgument, "needs directory"),
        ({"type": "disk", "devices": ["/dev/no"], "format": "ext4"}, errors.InvalidArgument, "gpt"),
        ({"type": "fs", "devices": ["/dev/no"], "make": True}, errors.InvalidArgument, "ext4"),
        ({"type": "fs", "devices": ["/dev/no"]}, errors.DeviceNotFound, "/dev/no"),
        ({"type": "fs", "devices": ["/etc/hostname"]}, errors.DeviceNotFound, "hostname"),
    ],
)
def test_what_can_not_be_is_refused(
    wish: dict[str, Any],
    kind: type[errors.KvmlabError],
    seen: str,
    lab: Lab,
    nothing_left: None,
) -> None:
    with pytest.raises(kind) as raised:
        lab.pools.create(**{"name": NAME, **wish})
    assert seen in str(raised.value)
    assert raised.value.next_step


class TestDevices:
    @pytest.fixture
    def device(self, tmp_path: Path) -> Iterator[str | None]:
        """A block device with ext4 on it, where this host lets us make one."""
        disk = tmp_path / "disk.img"
        with disk.open("wb") as file:
            file.truncate(32 * 2**20)
        subprocess.run(["/sbin/mkfs.ext4", "-qF", disk], check=True)
        made = subprocess.run(
            ["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False
        )
        name = made.stdout.strip()
        usable = made.returncode == 0 and Path(name).is_block_device()
        yield name if usable else None
        if name:
            subprocess.run(["losetup", "--detach", name], check=False)

    def test_a_file_system_is_mounted(
        self, lab: Lab, device: str | None, nothing_left: None
    ) -> None:
        if device is None:  # in a lab host of an ordinary user
            there = next(map(str, Path("/dev").glob("loop[0-9]*")), "/dev/loop0")
            with pytest.raises((errors.Forbidden, errors.DeviceNotFound)) as raised:
                lab.pools.create(NAME, "fs", devices=[there])
            assert raised.value.next_step
            return
        pool = lab.pools.create(NAME, "fs", devices=[device])
        try:
            assert 16 * 2**20 < pool.capacity_bytes < 32 * 2**20
            pool.volumes.create("a.img", size_gib=0.001, format="raw")
            assert Path(pool.path or "", "a.img").exists()
            pool.stop()
            assert not Path(pool.path or "", "a.img").exists()
            pool.start()
        finally:
            pool.delete(contents=True)

    def test_what_is_on_a_device_is_not_overwritten(
        self, lab: Lab, device: str | None, nothing_left: None
    ) -> None:
        if device is None:
            device = "/dev/loop0"
            with pytest.raises((errors.Forbidden, errors.DeviceNotFound)):
                lab.pools.create(NAME, "fs", devices=[device], make=True, format="ext4")
            return
        with pytest.raises(errors.AlreadyExists, match="already formatted"):
            lab.pools.create(NAME, "fs", devices=[device], make=True, format="ext4")
        pool = lab.pools.create(
            NAME, "fs", devices=[device], make=True, overwrite=True, format="ext4"
        )
        pool.delete(contents=True)

    def test_volume_groups_need_lvm(self, lab: Lab, device: str | None, nothing_left: None) -> None:
        # There is no such group, whatever this host has.
        kinds = (errors.NotSupported, errors.DeviceNotFound, errors.Forbidden)
        with pytest.raises(kinds) as raised:
            lab.pools.create(NAME, "logical", source_name=NAME)
        if shutil.which("vgs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            # Debian 13 has libvirt's driver in a package of its own, and that is missing first.
            assert re.search("lvm2|driver-storage-logical", raised.value.next_step)

    def test_a_disk_needs_a_partition_table(
        self, lab: Lab, device: str | None, nothing_left: None
    ) -> None:
        # With a file system on it, a device is no disk with partitions.
        kinds = (errors.WrongState, errors.NotSupported, errors.DeviceNotFound, errors.Forbidden)
        with pytest.raises(kinds) as raised:
            lab.pools.create(NAME, "disk", devices=[device or "/dev/loop0"])
        assert str(raised.value)

    def test_a_file_server_that_is_none(self, lab: Lab, nothing_left: None) -> None:
        kinds = (errors.NotSupported, errors.Forbidden, errors.DeviceNotFound)
        with pytest.raises(kinds) as raised:
            lab.pools.create(NAME, "netfs", host="127.0.0.1", directory="/nowhere", format="nfs")
        assert raised.value.next_step
