"""Snapshots of a real guest: what is kept comes back, and what is deleted harms nothing else.

One guest goes through all of it. What is on its disk is read past the guest's own memory, which
would remember it, too.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, Snapshot, errors

PATIENCE_S = 120
FOLDER = Path("/var/lib/libvirt/images")
TICKER = "(while :; do echo >> /run/ticks; sleep 0.1; done) >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def shot(lab: Lab) -> Iterator[Guest]:
    """A guest that runs. Whoever takes snapshots of it deletes them."""
    guest = lab.guests.create(f"{PREFIX}shot", image="tiny", direct_kernel=True)
    guest.start()
    guest.wait_ready(timeout_s=PATIENCE_S)
    guest.run(TICKER, check=True)
    yield guest
    guest.delete()
    assert files(guest) == set()


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begin each test with the guest running, and without a snapshot."""
    if "shot" in request.fixturenames:
        guest = request.getfixturevalue("shot")
        ready(guest)
    yield
    if "shot" in request.fixturenames:
        guest.resume() if guest.state == "paused" else None
        for root in guest.snapshots.tree():
            guest.snapshots[root.name].delete(children="remove")
        assert len(files(guest)) == 1, "files that belong to no snapshot any more"


def ready(guest: Guest) -> None:
    if guest.state == "shut off":
        guest.start()
    if guest.state == "paused":
        guest.resume()
    guest.wait_ready(timeout_s=PATIENCE_S)


def write(guest: Guest, what: str) -> None:
    """Leave something on the guest's disk and in its memory."""
    guest.wait_ready(timeout_s=PATIENCE_S)
    guest.run(f"echo {what} | tee /root/disk > /run/memory; sync", check=True)


def read(guest: Guest) -> tuple[str, str]:
    """Return what is on the disk, read from there, and what is in memory."""
    guest.wait_ready(timeout_s=PATIENCE_S)
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches", check=True)
    told = guest.run("cat /root/disk; cat /run/memory || echo nothing", check=True).stdout.split()
    return told[0], told[1]


def ticks(guest: Guest) -> bool:
    """Whether the program that was started before all snapshots still runs."""
    before = guest.run("wc -l < /run/ticks").stdout
    for _ in range(50):
        if guest.run("wc -l < /run/ticks").stdout != before:
            return True
        time.sleep(0.1)
    return False


def files(guest: Guest) -> set[str]:
    """The files beside the guest's disk that bear its name."""
    return {path.name for path in FOLDER.iterdir() if path.name.startswith(f"{guest.name}.")}


def chain(guest: Guest) -> list[str]:
    """The names of the files that the guest's disk consists of, as qemu-img sees them."""
    command = ["qemu-img", "info", "--force-share", "--backing-chain", "--output=json"]
    told = subprocess.run(
        [*command, guest.spec.disks[0].path or ""], capture_output=True, check=True
    ).stdout
    return [Path(each["filename"]).name for each in json.loads(told)]


def delete(guest: Guest, name: str, left: list[str]) -> None:
    """Delete a snapshot, or see why libvirt, where that does it, would rather not."""
    snapshot, refusal = guest.snapshots[name], ""
    try:
        snapshot.delete()
        left.remove(name)
    except errors.NotSupported as error:
        refusal = str(error)
    if refusal:
        assert snapshot._libvirt_manages_external()
        assert "Delete those that were taken after it first" in refusal


class TestInternal:
    def test_disk_and_memory_come_back(self, shot: Guest) -> None:
        write(shot, "one")
        before = datetime.now(UTC)
        clean = shot.snapshots.create("clean", "before the damage")
        assert shot.state == "running"
        assert (clean.kind, clean.state, clean.has_memory) == ("internal", "running", True)
        assert (clean.description, clean.parent, clean.children) == ("before the damage", None, ())
        assert abs(clean.created - before) < timedelta(seconds=30)
        assert clean.is_current
        assert shot.snapshots.current is not None
        write(shot, "two")
        shot.run("rm -rf /etc /root/.ssh; dd if=/dev/zero of=/root/fill bs=1M; sync")
        assert shot.run("df -P / | awk 'END { print $4 }'").stdout == "0\n"
        assert shot.run("cat /etc/fstab").exit_status == 1
        clean.revert()
        assert shot.state == "running"
        assert read(shot) == ("one", "one")
        assert shot.run("test -e /etc/fstab && test ! -e /root/fill").exit_status == 0
        assert ticks(shot)
        assert files(shot) == {f"{shot.name}.qcow2"}

    def test_a_tree_of_them(self, shot: Guest) -> None:
        """Delete the middle, the root and the leaf; all others stay what they are."""
        for name in ("a", "b", "c"):
            write(shot, name)
            shot.snapshots.create(name)
        shot.snapshots["b"].revert()
        write(shot, "d")
        shot.snapshots.create("d")
        assert repr(shot.snapshots).splitlines() == [
            "a (internal, with memory)",
            "└─ b (internal, with memory)",
            "   ├─ c (internal, with memory)",
            "   └─ d (internal, with memory) <- you are here",
        ]
        shot.snapshots["b"].delete()
        assert [each.name for each in shot.snapshots["a"].children] == ["c", "d"]
        for name in ("c", "a", "d"):
            shot.snapshots[name].revert()
            assert read(shot) == (name, name)
        shot.snapshots["a"].delete()
        assert shot.snapshots["c"].parent is None
        shot.snapshots["d"].delete()
        shot.snapshots["c"].revert()
        assert read(shot) == ("c", "c")

    def test_paused_and_off(self, shot: Guest) -> None:
        write(shot, "one")
        shot.suspend()
        paused = shot.snapshots.create("paused")
        assert (paused.state, shot.state) == ("paused", "paused")
        shot.resume()
        write(shot, "two")
        paused.revert()
        assert shot.state == "paused"
        paused.revert(running=True)
        assert shot.state == "running"
        assert read(shot) == ("one", "one")
        paused.revert(paused=True)
        assert shot.state == "paused"
        shot.destroy()
        off = shot.snapshots.create("off")
        assert (off.state, off.has_memory) == ("shutoff", False)
        shot.start()
        ready(shot)
        write(shot, "three")
        off.revert()
        assert shot.state == "shut off"
        paused.revert(running=True)  # whatever the guest is now
        assert read(shot) == ("one", "one")
        assert ticks(shot)

    def test_children_go_too_if_asked(self, shot: Guest) -> None:
        for name in ("a", "b", "c"):
            shot.snapshots.create(name)
        shot.snapshots["b"].delete(children="only")
        assert list(shot.snapshots) == ["a", "b"]
        shot.snapshots["a"].delete(children="remove")
        assert list(shot.snapshots) == []


class TestExternal:
    def test_with_memory(self, shot: Guest) -> None:
        write(shot, "one")
        told: list[tuple[str, float]] = []
        clean = shot.snapshots.create(
            "clean", kind="external", progress=lambda *each: told.append(each)
        )
        assert all(0 <= share <= 1 for _, share in told)
        assert (clean.kind, clean.state, clean.has_memory) == ("external", "running", True)
        assert files(shot) == {f"{shot.name}.{end}" for end in ("qcow2", "clean", "clean.mem")}
        assert chain(shot)[:2] == [f"{shot.name}.clean", f"{shot.name}.qcow2"]
        write(shot, "two")
        clean.revert()
        assert shot.state == "running"
        assert read(shot) == ("one", "one")
        assert ticks(shot)
        write(shot, "three")
        clean.revert(paused=True)  # and again: it has not been written to
        assert shot.state == "paused"
        shot.resume()
        assert read(shot) == ("one", "one")
        assert chain(shot)[1] == f"{shot.name}.qcow2"
        shot.run("dd if=/dev/urandom of=/root/much bs=1M count=40; sync")
        told.clear()
        clean.delete(progress=lambda *each: told.append(each))
        assert all(0 <= share <= 1 for _, share in told)
        assert chain(shot)[0] == f"{shot.name}.qcow2"
        assert read(shot) == ("one", "one")

    def test_disks_alone_are_as_if_the_plug_was_pulled(self, shot: Guest) -> None:
        write(shot, "one")
        clean = shot.snapshots.create("clean", kind="external", memory=False)
        assert (clean.state, clean.has_memory) == ("disk-snapshot", False)
        write(shot, "two")
        clean.revert()
        assert shot.state == "shut off"
        clean.revert(running=True)
        assert read(shot) == ("one", "nothing")
        shot.run(TICKER, check=True)

    def test_quiesced_by_the_agent(self, shot: Guest) -> None:
        """Held still, a file system is whole; else its journal has to mend it."""
        mends = "dmesg | grep -c 'EXT4-fs.*recovery complete' || true"
        for quiesce in (True, False):
            write(shot, "one")
            late = f"/root/late-{quiesce}"
            shot.run(f"echo late > {late}")
            shot.snapshots.create("q", kind="external", memory=False, quiesce=quiesce)
            shot.snapshots["q"].revert(running=True)
            shot.wait_ready(timeout_s=PATIENCE_S)
            kept = shot.run(f"cat {late}").stdout
            assert (kept, shot.run(mends).stdout) == (
                ("late\n", "0\n") if quiesce else ("", "1\n")
            ), f"quiesce={quiesce}"
            shot.snapshots["q"].delete()
        shot.run(TICKER, check=True)

    def test_a_tree_of_them(self, shot: Guest) -> None:
        """Delete the root, a middle and leaves, live and off; all others stay what they are."""
        write(shot, "a")
        shot.snapshots.create("a", kind="external")
        for name in ("b", "c"):
            write(shot, name)
            shot.snapshots.create(name)
        shot.snapshots["a"].revert()
        for name in ("d", "e"):
            write(shot, name)
            shot.snapshots.create(name)
        shot.snapshots["b"].revert()
        write(shot, "f")
        shot.snapshots.create("f")
        write(shot, "now")
        left = ["a", "b", "c", "d", "e", "f"]
        assert repr(shot.snapshots).replace(" (external, with memory)", "").splitlines() == [
            "a",
            "├─ b",
            "│  ├─ c",
            "│  └─ f <- you are here",
            "└─ d",
            "   └─ e",
        ]
        delete(shot, "a", left)  # the root, on which two ways stand; one of them is open
        self.check(shot, "now", left)
        delete(shot, "b", left)  # a middle one with two ways on, none of them open now
        self.check(shot, None, left)
        shot.snapshots["e"].revert()
        shot.destroy()
        delete(shot, "d", left)  # a middle one, of a guest that is off
        delete(shot, "c", left)  # a leaf of another way
        self.check(shot, None, left)
        shot.snapshots["e"].revert()
        delete(shot, "f", left)  # a leaf of another way, of a guest that runs
        delete(shot, "e", left)  # that of the guest
        write(shot, "later")
        self.check(shot, "later", left)

    def check(self, guest: Guest, now: str | None, names: list[str]) -> None:
        """Go back to each snapshot, and find there what was there."""
        assert list(guest.snapshots) == names
        if now:
            assert read(guest)[0] == now
        for name in names:
            guest.snapshots[name].revert()
            assert read(guest) == (name, name)
        assert ticks(guest)

    def test_paused_and_off(self, shot: Guest) -> None:
        write(shot, "one")
        shot.suspend()
        paused = shot.snapshots.create("paused", kind="external")
        assert (paused.state, shot.state) == ("paused", "paused")
        refusal = ""
        try:
            shot.snapshots.create("again")
        except errors.WrongState as error:  # some QEMU must run on first
            refusal = str(error)
        if refusal:
            assert "let go of its disks" in refusal
            with pytest.raises(errors.WrongState, match=r"let go of its disks.*resume"):
                paused.delete()
        shot.resume()
        if not refusal:
            shot.snapshots["again"].delete()
        write(shot, "two")
        paused.revert()
        assert shot.state == "paused"
        shot.resume()
        assert read(shot) == ("one", "one")
        shot.destroy()
        off = shot.snapshots.create("off")
        assert (off.kind, off.state) == ("external", "shutoff")
        ready(shot)
        write(shot, "three")
        off.revert()
        assert shot.state == "shut off"
        off.delete()
        paused.revert(running=True)
        assert read(shot) == ("one", "one")
        assert ticks(shot)

    def test_children_go_too_if_asked(self, shot: Guest) -> None:
        before = chain(shot)
        shot.snapshots.create("a", kind="external")
        for name in ("b", "c"):
            write(shot, name)
            shot.snapshots.create(name)
        shot.snapshots["b"].delete(children="only")
        assert list(shot.snapshots) == ["a", "b"]
        assert read(shot) == ("c", "c")
        shot.snapshots["a"].delete(children="remove")
        assert list(shot.snapshots) == []
        assert read(shot) == ("c", "c")
        assert chain(shot) == before


class TestRefusals:
    def test_what_is_there_or_can_not_be(self, shot: Guest) -> None:
        shot.snapshots.create("clean")
        with pytest.raises(errors.SnapshotAlreadyExists, match="'clean'"):
            shot.snapshots.create("clean")
        with pytest.raises(errors.WrongState, match="don't mix"):
            shot.snapshots.create("other", kind="external")
        with pytest.raises(errors.NotSupported, match="kind='external'"):
            shot.snapshots.create("other", memory=False)
        assert list(shot.snapshots) == ["clean"]

    def test_a_managed_save_is_in_the_way(self, shot: Guest) -> None:
        clean = shot.snapshots.create("clean")
        shot.managed_save()
        for refused in (lambda: shot.snapshots.create("saved"), clean.revert):
            with pytest.raises(errors.WrongState, match="managed save"):
                refused()
        assert shot.has_managed_save
        clean.revert(force=True)
        assert not shot.has_managed_save
        assert shot.state == "running"

    def test_without_an_agent_nothing_is_quiesced(self, make: Make) -> None:
        guest = make(image="hello")
        guest.start()
        with pytest.raises(errors.AgentUnavailable, match="no agent"):
            guest.snapshots.create("clean", kind="external", quiesce=True)
        assert list(guest.snapshots) == []
        assert files(guest) == {f"{guest.name}.qcow2"}

    def test_others_that_stand_on_its_files_keep_a_snapshot(self, make: Make, lab: Lab) -> None:
        guest = make(disk_gib=0.01, networks=[])
        guest.snapshots.create("clean", kind="external")
        volumes = lab.pools["default"].volumes
        name = f"{guest.name}.clone"
        clone = volumes.create(name, size_gib=0.01, backing=volumes[f"{guest.name}.qcow2"])
        try:
            with pytest.raises(errors.InUse, match=name):
                guest.snapshots["clean"].delete()
            assert list(guest.snapshots) == ["clean"]
        finally:
            clone.delete()
        guest.snapshots["clean"].delete()

    def test_internal_ones_in_a_file_that_would_go_keep_it(self, make: Make) -> None:
        guest = make(disk_gib=0.01, networks=[])
        guest.snapshots.create("out", kind="external")
        inner = guest.snapshots.create("in", kind="internal", mixed=True)
        with pytest.raises(errors.InUse, match="'in'"):
            guest.snapshots["out"].delete()
        inner.revert()
        inner.delete()
        guest.snapshots["out"].delete()
        assert files(guest) == {f"{guest.name}.qcow2"}

    def test_a_lost_file_is_named_and_nothing_happens(self, make: Make) -> None:
        guest = make(disk_gib=0.01, networks=[])
        guest.snapshots.create("clean", kind="external")
        path = FOLDER / f"{guest.name}.qcow2"
        path.rename(f"{path}.away")
        try:
            with pytest.raises(errors.VolumeNotFound, match=path.name):
                guest.snapshots["clean"].revert()
        finally:
            Path(f"{path}.away").rename(path)
        assert chain(guest)[0] == f"{guest.name}.clean"
        assert files(guest) == {f"{guest.name}.qcow2", f"{guest.name}.clean"}

    def test_what_fails_half_way_is_taken_back(self, make: Make) -> None:
        guest = make(image="hello")
        guest.start()
        clean = guest.snapshots.create("clean", kind="external")
        before, own = guest._libvirt.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), files(guest)
        memory = Path(clean.spec.memory_path or "")
        content = memory.read_bytes()
        memory.write_bytes(content[: len(content) // 4])  # the header is whole, the rest is not
        with pytest.raises(errors.KvmlabError):
            clean.revert()
        assert guest.state == "shut off"
        assert guest._libvirt.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == before
        assert files(guest) == own
        memory.write_bytes(content)
        clean.revert()
        assert guest.state == "running"


class TestGuests:
    def test_all_files_go_with_it(self, make: Make) -> None:
        guest = make(image="hello")
        guest.start()
        for name in ("a", "b"):
            guest.snapshots.create(name, kind="external")
        guest.snapshots["a"].revert()
        guest.snapshots.create("c")
        delete(guest, "a", ["a"])
        assert len(files(guest)) > 3
        guest.delete()
        assert files(guest) == set()

    def test_undefined_it_forgets_them_and_they_stay(self, make: Make, lab: Lab) -> None:
        guest = make(disk_gib=0.01, networks=[])
        guest.snapshots.create("clean")
        path = FOLDER / f"{guest.name}.qcow2"
        guest.undefine()
        assert "--snapshots-metadata" in guest.virsh
        told = subprocess.run(
            ["qemu-img", "snapshot", "-l", path], capture_output=True, text=True, check=True
        ).stdout
        assert "clean" in told
        lab.pools["default"].volumes[path.name].delete()

    def test_raw_disks_and_several_of_them(self, make: Make, lab: Lab) -> None:
        guest = make(disk_gib=0.01, networks=[])
        name = f"{guest.name}.data.raw"
        volume = lab.pools["default"].volumes.create(name, size_gib=0.01, format="raw")
        Path(volume.path).write_bytes(b"one" + bytes(2**20))
        disk = (
            f"<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{volume.path}'/><target dev='vdb' bus='virtio'/></disk>"
        )
        guest._libvirt.attachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        try:
            with pytest.raises(errors.NotSupported, match="'raw'"):
                guest.snapshots.create("clean", kind="internal")
            clean = guest.snapshots.create("clean")
            assert clean.kind == "external"
            assert [each.format for each in guest.spec.disks] == ["qcow2", "qcow2"]
            overlay = guest.spec.disks[1].path
            subprocess.run(
                ["qemu-io", "-c", "write -P 0x41 0 3", overlay], check=True, capture_output=True
            )
            clean.revert()
            assert Path(volume.path).read_bytes()[:3] == b"one"
            overlay = guest.spec.disks[1].path
            subprocess.run(
                ["qemu-io", "-c", "write -P 0x42 0 3", overlay], check=True, capture_output=True
            )
            clean.delete()
            assert [each.format for each in guest.spec.disks] == ["qcow2", "raw"]
            assert Path(volume.path).read_bytes()[:3] == b"BBB"
        finally:
            guest.delete()
            if name in lab.pools["default"].volumes:  # it was not made with the guest
                volume.delete()

    def test_uefi_has_external_ones(self, make: Make) -> None:
        guest = make(disk_gib=0.01, networks=[], firmware="uefi")
        with pytest.raises(errors.NotSupported, match="UEFI"):
            guest.snapshots.create("clean", kind="internal")
        assert guest.snapshots.create("clean").kind == "external"

    def test_a_renamed_guest_keeps_them(self, make: Make) -> None:
        guest = make(disk_gib=0.01, networks=[])
        guest.snapshots.create("clean", kind="external")
        guest.rename(f"{guest.name}-b")
        assert list(guest.snapshots) == ["clean"]
        guest.snapshots["clean"].revert()
        assert guest.name == f"{PREFIX}guest-b"


def test_a_handle_on_what_is_gone_says_so(make: Make) -> None:
    guest = make(disk_gib=0.01, networks=[])
    clean: Snapshot = guest.snapshots.create("clean")
    guest.snapshots["clean"].delete()
    with pytest.raises(errors.SnapshotNotFound, match="no longer there"):
        clean.revert()
