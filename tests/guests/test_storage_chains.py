"""Backing chains under a guest that runs, and one that is off: its data stays the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, Pool, errors
from kvmlab.storage.chains import Link, every_link

PATIENCE_S = 120


def names(chain: tuple[Link, ...]) -> list[str]:
    return [link.name.removeprefix(PREFIX) for link in chain]


def add_overlay(guest: Guest, name: str) -> None:
    """Let the guest write into a new overlay, as a snapshot would have it."""
    path = guest.disks["vda"].chain()[0].path.rpartition("/")[0]
    guest._libvirt.snapshotCreateXML(
        f"<domainsnapshot><disks><disk name='vda' snapshot='external'>"
        f"<source file='{path}/{PREFIX}{name}'/></disk></disks></domainsnapshot>",
        libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
    )


def write(guest: Guest, name: str) -> None:
    guest.run(f"dd if=/dev/urandom of=/root/{name} bs=64k count=32 conv=fsync", check=True)


def sums(guest: Guest) -> str:
    """Return the checksums of what was written, as the disk has it, not the guest's memory."""
    read = "sync; echo 3 > /proc/sys/vm/drop_caches; md5sum /root/data*"
    return guest.run(read, check=True).stdout


class Told:
    """What a job tells of its progress."""

    def __init__(self) -> None:
        self.steps: set[str] = set()
        self.parts: list[float] = []

    def __call__(self, step: str, part: float) -> None:
        self.steps.add(step.split()[0])
        self.parts.append(part)

    def check(self, verb: str) -> None:
        """It names what is done, never goes back, and ends with all of it."""
        assert self.steps == {verb}
        assert self.parts == sorted(self.parts)
        assert self.parts[-1] == 1


class TestRunning:
    @pytest.fixture(scope="class")
    @staticmethod
    def db(lab: Lab) -> Iterator[Guest]:
        """A guest with three overlays: each has a file of its own in it."""
        db = lab.guests.create(f"{PREFIX}db", image="tiny")
        db.start()
        db.wait_ready(timeout_s=PATIENCE_S)
        write(db, "data0")
        for number in (1, 2, 3):
            add_overlay(db, f"over{number}")
            write(db, f"data{number}")
        yield db
        with contextlib.suppress(errors.GuestNotFound):
            db.delete()

    def test_the_chain_is_read_from_the_top_down(self, db: Guest, lab: Lab) -> None:
        chain = db.disks["vda"].chain()
        image = chain[-1].name
        assert names(chain) == ["over3", "over2", "over1", "db.qcow2", image]
        assert chain[0].users == (f"{db.name} (vda)",)
        assert [link.backing for link in chain[:-1]] == [link.path for link in chain[1:]]
        assert all(0 < link.allocation_bytes < link.capacity_bytes for link in chain)
        assert set(chain) <= set(every_link(lab))

    def test_an_overlay_in_the_middle_is_committed(self, db: Guest) -> None:
        before, disk = sums(db), db.disks["vda"]
        told = Told()
        chain = disk.commit(top=f"{PREFIX}over2", base=f"{PREFIX}over1", delete=True, progress=told)
        assert names(chain)[:3] == ["over3", "over1", "db.qcow2"]
        told.check("commit")
        assert f"{PREFIX}over2" not in disk.volume().pool.volumes
        assert sums(db) == before

    def test_the_one_that_is_written_to_is_committed_too(self, db: Guest) -> None:
        before, disk = sums(db), db.disks["vda"]
        told = Told()
        assert names(disk.commit(progress=told))[:2] == ["over1", "db.qcow2"]
        told.check("commit")
        assert sums(db) == before
        write(db, "data4")
        # The file that was committed is of no more use, and in the way.
        pool = disk.volume().pool
        with pytest.raises(errors.InUse, match=rf"volume '{PREFIX}over3'"):
            disk.commit(delete=True)
        pool.volumes[f"{PREFIX}over3"].delete()
        before = sums(db)
        assert names(disk.commit(delete=True))[:1] == ["db.qcow2"]
        assert sums(db) == before

    def test_an_image_is_never_written_to(self, db: Guest) -> None:
        with pytest.raises(errors.InUse, match="it is an image, from which further guests"):
            db.disks["vda"].commit()
        for wrong in ({"top": "nowhere"}, {"top": db.disks["vda"].chain()[-1].name}):
            with pytest.raises(errors.InvalidArgument):
                db.disks["vda"].commit(**wrong)

    def test_a_copy_is_what_the_disk_was_then(self, db: Guest, data: Pool) -> None:
        before, disk = sums(db), db.disks["vda"]
        with pytest.raises(errors.TimedOut):
            disk.copy("late.qcow2", pool=data, timeout_s=0.001)
        assert "late.qcow2" not in data.volumes
        told = Told()
        copy = disk.copy("copy.qcow2", pool=data, progress=told)
        told.check("copy")
        assert names(copy.chain()) == ["copy.qcow2"]
        assert disk.path != copy.path
        with pytest.raises(errors.VolumeAlreadyExists):
            disk.copy("copy.qcow2", pool=data)
        assert sums(db) == before

    def test_it_is_pulled_until_it_stands_alone(self, db: Guest) -> None:
        before, disk = sums(db), db.disks["vda"]
        add_overlay(db, "over5")
        image = disk.chain()[-1].name
        assert names(disk.pull(base=image)) == ["over5", image]
        told = Told()
        assert names(disk.flatten(progress=told)) == ["over5"]
        told.check("pull")
        with pytest.raises(errors.InvalidArgument, match="nothing to pull"):
            disk.flatten()
        assert sums(db) == before

    def test_the_guest_moves_to_a_copy(self, db: Guest, data: Pool, lab: Lab) -> None:
        before, disk = sums(db), db.disks["vda"]
        disk.copy(f"{PREFIX}moved.qcow2", pivot=True)
        assert names(disk.chain()) == ["moved.qcow2"]
        assert sums(db) == before
        inactive = db._spec(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert inactive.disks[0].path == disk.path

    def test_a_copy_that_the_guest_has_moved_to_outlives_an_error(self, db: Guest) -> None:
        def stumble(_: str, part: float) -> None:
            if part == 1:
                raise KeyboardInterrupt

        before, disk = sums(db), db.disks["vda"]
        with pytest.raises(KeyboardInterrupt):
            disk.copy(f"{PREFIX}moved2.qcow2", pivot=True, progress=stumble)
        assert names(disk.chain()) == ["moved2.qcow2"]
        assert sums(db) == before

    def test_what_became_of_its_disk_goes_with_the_guest(self, db: Guest, lab: Lab) -> None:
        db.delete()
        lab.pools["default"].refresh()
        mine = [name for name in lab.pools["default"].volumes if name.startswith(PREFIX)]
        assert not [name for name in mine if "over" in name or "moved" in name or "db" in name]


class TestOff:
    def test_the_same_is_done_without_a_guest_that_runs(
        self, lab: Lab, data: Pool, make: Make
    ) -> None:
        guest = make("off", disk_gib=0.0625, networks=[], pool=data.name)
        disk = guest.disks["vda"]
        base = disk.volume()
        overlay = data.volumes.create(f"{PREFIX}over.qcow2", backing=base)
        disk._write_to(overlay.path, "qcow2")
        assert names(disk.chain()) == ["over.qcow2", "off.qcow2"]
        with pytest.raises(errors.InUse, match=rf"volume '{PREFIX}over.qcow2'"):
            base.delete()
        assert names(disk.commit(delete=True)) == ["off.qcow2"]
        assert disk.path == base.path
        overlay = data.volumes.create(f"{PREFIX}over.qcow2", backing=base)
        disk._write_to(overlay.path, "qcow2")
        told = Told()
        assert names(disk.pull(progress=told)) == ["over.qcow2"]
        told.check("pull")
        told = Told()
        disk.copy(f"{PREFIX}moved.qcow2", pivot=True, progress=told)
        told.check("clone")
        assert names(disk.chain()) == ["moved.qcow2"]
        guest.delete()
        assert not [name for name in data.volumes if "moved" in name or "off" in name]

    def test_a_file_that_is_gone_from_below_is_named_and_nothing_is_changed(
        self, data: Pool, make: Make
    ) -> None:
        guest = make("gap", disk_gib=0.0625, networks=[], pool=data.name)
        disk, base = guest.disks["vda"], guest.disks["vda"].volume()
        overlay = data.volumes.create(f"{PREFIX}over.qcow2", backing=base)
        disk._write_to(overlay.path, "qcow2")
        before = Path(overlay.path).read_bytes()
        file = Path(base.path)
        away = file.rename(f"{file}.away")
        for work in (
            disk.chain,
            disk.commit,
            disk.pull,
            disk.flatten,
            lambda: disk.copy(f"{PREFIX}copy.qcow2", pivot=True),
        ):
            with pytest.raises(errors.BackingMissing, match=rf"overlay on .*{PREFIX}gap\.qcow2"):
                work()
        assert disk.path == overlay.path
        assert Path(overlay.path).read_bytes() == before
        data.refresh()
        assert f"{PREFIX}copy.qcow2" not in data.volumes
        away.rename(file)
        assert names(disk.commit(delete=True)) == ["gap.qcow2"]

    def test_what_an_internal_snapshot_stands_on_is_not_taken_away(
        self, data: Pool, make: Make
    ) -> None:
        guest = make("snap", image="tiny", networks=[], pool=data.name)
        disk = guest.disks["vda"]
        guest.snapshots.create("clean")
        before = names(disk.chain())
        for work in (
            disk.pull,
            disk.flatten,
            lambda: disk.copy(f"{PREFIX}copy.qcow2", pivot=True),
            disk.volume().flatten,
        ):
            with pytest.raises(errors.InUse, match=f"snapshot 'clean' of guest '{guest.name}'"):
                work()
        assert names(disk.chain()) == before
        disk.copy(f"{PREFIX}copy.qcow2").delete()  # which changes nothing for the snapshot
        guest.snapshots["clean"].delete()
        assert len(disk.flatten()) == 1

    def test_a_file_with_internal_snapshots_is_not_committed(self, data: Pool, make: Make) -> None:
        guest = make("snap", disk_gib=0.0625, networks=[], pool=data.name)
        disk, base = guest.disks["vda"], guest.disks["vda"].volume()
        overlay = data.volumes.create(f"{PREFIX}over.qcow2", backing=base)
        disk._write_to(overlay.path, "qcow2")
        guest.snapshots.create("clean")
        with pytest.raises(errors.InUse, match="snapshot 'clean'"):
            disk.commit()
        guest.snapshots["clean"].delete()
        assert names(disk.commit(delete=True)) == ["snap.qcow2"]
