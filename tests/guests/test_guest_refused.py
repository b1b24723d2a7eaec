"""What can't be: each is refused in our words, and nothing of it is left behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from made import PREFIX, Make

from kvmlab import Lab, Pool, errors
from kvmlab.guests.backing import ensure_volume
from kvmlab.images import Catalogue


def left_behind(lab: Lab) -> set[str]:
    """Return what there is of our own: guests, volumes, saves, NVRAM."""
    places = ("etc/libvirt/qemu/*", "var/lib/libvirt/qemu/save/*", "var/lib/libvirt/qemu/nvram/*")
    files = (file for place in places for file in Path("/").glob(place))
    return {
        *(name for name in lab.guests if PREFIX in name),
        *(name for name in lab.pools["default"].volumes if PREFIX in name),
        *(str(file) for file in files if PREFIX in file.name),
    }


@pytest.mark.parametrize(
    ("wish", "kind", "seen"),
    [
        ({"name": f"{PREFIX}a/b"}, errors.InvalidName, "a/b"),
        ({"name": f"{PREFIX}<b>"}, errors.InvalidName, "<b>"),
        ({"name": f"{PREFIX}a\nb"}, errors.InvalidName, r"a\nb"),
        ({"name": PREFIX + "x" * 300}, errors.InvalidName, "x" * 300),
        ({"name": ""}, errors.InvalidName, "''"),
        ({"memory_mib": -1}, errors.InvalidArgument, "-1"),
        ({"memory_mib": 1}, errors.NotEnoughMemory, "1"),
        ({"memory_mib": 10**12}, errors.NotEnoughMemory, "1000000000000"),
        ({"vcpus": 10**6}, errors.NotEnoughCpus, "1000000"),
        ({"image": "windows"}, errors.ImageNotFound, "windows"),
        ({"networks": ["nowhere"]}, errors.NetworkNotFound, "nowhere"),
        ({"pool": "nowhere"}, errors.PoolNotFound, "nowhere"),
        ({"disk_gib": 10**4}, errors.NotEnoughDisk, "10000.0 GiB"),
        ({"disk_gib": 0.001}, errors.InvalidArgument, "0.001"),
    ],
)
def test_is_said_before_anything_is_made(
    wish: dict[str, Any], kind: type[errors.KvmlabError], seen: str, lab: Lab
) -> None:
    before = left_behind(lab)
    with pytest.raises(kind) as raised:
        lab.guests.create(**{"name": f"{PREFIX}bad", "image": "tiny", **wish})
    assert seen in str(raised.value)
    assert raised.value.next_step
    assert left_behind(lab) == before


def test_a_network_that_is_not_started(make: Make, lab: Lab) -> None:
    network = lab.connection.networkDefineXML(f"<network><name>{PREFIX}off</name></network>")
    try:
        guest = make(image="hello", networks=f"{PREFIX}off")
        with pytest.raises(errors.NetworkNotActive, match=f"{PREFIX}off.*start"):
            guest.start()
        lab.networks[f"{PREFIX}off"].start()
        assert lab.networks[f"{PREFIX}off"].is_active
        with pytest.raises(errors.WrongState):
            lab.networks[f"{PREFIX}off"].start()
        guest.start()
        guest.destroy()
        lab.networks[f"{PREFIX}off"].stop()
        assert not lab.networks[f"{PREFIX}off"].is_active
    finally:
        network.undefine()


def test_a_pool_that_is_not_started(lab: Lab, tmp_path: Path) -> None:
    name = f"{PREFIX}idle"
    pool = lab.connection.storagePoolDefineXML(
        f"<pool type='dir'><name>{name}</name><target><path>{tmp_path}</path></target></pool>"
    )
    try:
        with pytest.raises(errors.PoolNotActive, match=f"{name}.*start"):
            lab.guests.create(f"{PREFIX}idle", image="hello", pool=name)
        assert f"{PREFIX}idle" not in lab.guests
        lab.pools[name].start()
        assert lab.pools[name].is_active
        guest = lab.guests.create(f"{PREFIX}idle", image="hello", pool=name)
        assert guest.spec.disks[0].path == str(tmp_path / f"{PREFIX}idle.qcow2")
        guest.delete()
    finally:
        if pool.isActive():
            pool.destroy()
        pool.undefine()


class TestFullDisk:
    def test_no_room_for_the_image(self, lab: Lab, small_pool: Pool) -> None:
        with pytest.raises(errors.NotEnoughDisk, match=r"has 0\.0 GiB left.*Delete"):
            lab.guests.create(f"{PREFIX}full", image="tiny", pool=small_pool.name)
        assert list(small_pool.volumes) == []
        assert f"{PREFIX}full" not in lab.guests

    def test_no_room_for_the_disk(self, lab: Lab, small_pool: Pool) -> None:
        with pytest.raises(errors.NotEnoughDisk, match=r"1\.0 GiB"):
            lab.guests.create(f"{PREFIX}full", disk_gib=1, pool=small_pool.name)
        assert list(small_pool.volumes) == []
        assert f"{PREFIX}full" not in lab.guests

    def test_nobody_can_take_the_room_while_the_image_is_sent(
        self, small_pool: Pool, tmp_path: Path
    ) -> None:
        image = tmp_path / "image"
        image.write_bytes(bytes(range(256)) * 2**13)  # 2 MiB of 4
        filler = Path(small_pool.path or "") / "filler"

        def fill(_: str, __: float) -> None:
            if not filler.exists():
                with pytest.raises(OSError, match="No space left"):
                    filler.write_bytes(bytes(3 * 2**20))

        ensure_volume(small_pool, "image.raw", image, fill)
        assert filler.exists()
        assert small_pool.volumes["image.raw"].begins_like(image)
        filler.unlink()


class TestUploads:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        image = tmp_path / "image"
        image.write_bytes(b"KVMLAB" * 2**18)  # 1.5 MiB
        return image

    def test_tell_how_far_they_are(self, small_pool: Pool, image: Path) -> None:
        told: list[float] = []
        ensure_volume(small_pool, "image.raw", image, lambda _, done: told.append(done))
        assert told == sorted(told)
        assert 0 < told[0] < 0.1
        assert told[-1] == 1
        assert Path(small_pool.volumes["image.raw"].path).read_bytes() == image.read_bytes()

    def test_are_done_once(self, small_pool: Pool, image: Path) -> None:
        ensure_volume(small_pool, "image.raw", image, None)
        ensure_volume(small_pool, "image.raw", image, lambda *_: pytest.fail("sent again"))

    def test_that_are_interrupted_leave_nothing(self, small_pool: Pool, image: Path) -> None:
        def interrupt(_: str, done: float) -> None:
            if done > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ensure_volume(small_pool, "image.raw", image, interrupt)
        assert list(small_pool.volumes) == []

    def test_that_were_cut_off_are_begun_again(self, small_pool: Pool, image: Path) -> None:
        # As when the power fails: the volume is there, its last bytes and its first are not.
        half = small_pool.volumes.create("image.raw", size_gib=1.5 / 1024, format="raw")
        assert not half.begins_like(image)
        ensure_volume(small_pool, "image.raw", image, None)
        whole = small_pool.volumes["image.raw"]
        assert whole.begins_like(image)
        assert Path(whole.path).read_bytes() == image.read_bytes()

    def test_at_the_same_time_wait_for_each_other(self, small_pool: Pool, image: Path) -> None:
        begun: list[str] = []
        together = threading.Barrier(2)

        def upload() -> None:
            together.wait()
            ensure_volume(small_pool, "image.raw", image, lambda what, _: begun.append(what))

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(upload) for _ in range(2)]:
                future.result()
        assert Path(small_pool.volumes["image.raw"].path).read_bytes() == image.read_bytes()


def test_creating_at_the_same_time(lab: Lab) -> None:
    Catalogue()["hello"]
    names = [f"{PREFIX}same{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        guests = list(pool.map(lambda name: lab.guests.create(name, image="hello"), names))
    assert set(names) <= set(lab.guests)
    for guest in guests:
        guest.delete()
