"""The commands that snapshots tell of are true: run for a twin, they do the same.

The way of doing it is that of test_guest_virsh.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from made import Make
from test_guest_virsh import ONE, TWIN, alike, for_twin, shell

from kvmlab import Guest, Lab, errors
from kvmlab.snapshots.tree import specs_of
from kvmlab.specs import SnapshotSpec, VolumeSpec

# Does something to a guest; returns the commands that do the same.
Deed = Callable[[Guest], str]


def take(name: str, **choices: Any) -> Deed:
    return lambda guest: guest.snapshots.create(name, **choices).virsh


def revert(name: str, **choices: Any) -> Deed:
    def deed(guest: Guest) -> str:
        snapshot = guest.snapshots[name]
        snapshot.revert(**choices)
        return snapshot.virsh

    return deed


def delete(name: str, **choices: Any) -> Deed:
    def deed(guest: Guest) -> str:
        snapshot = guest.snapshots[name]
        try:
            snapshot.delete(**choices)
        except errors.NotSupported:
            assert snapshot._libvirt_manages_external()  # and deletes fewer than we do by hand
            return "true"
        return snapshot.virsh

    return deed


def do(verb: str) -> Deed:
    def deed(guest: Guest) -> str:
        getattr(guest, verb)()
        return guest.virsh

    return deed


INTERNAL: dict[str, Deed] = {
    "take one of a guest that is off": take("off", description="it's off"),
    "start": do("start"),
    "take one of a guest that runs": take("on"),
    "take another": take("more"),
    "go back": revert("on"),
    "go back, paused": revert("on", paused=True),
    "take one of a guest that is paused": take("paused"),
    "go back to one that is off": revert("off"),
    "go back to one that is off, running": revert("off", running=True, force=True),
    "save": do("managed_save"),
    "go back in spite of that": revert("on", force=True),
    "delete one": delete("on"),
    "delete what came of it": delete("off", children="only"),
    "delete the last": delete("off", children="remove"),
}
EXTERNAL: dict[str, Deed] = {
    "take one of a guest that is off": take("off", kind="external"),
    "start": do("start"),
    "take one of disks alone": take("disks", memory=False),
    "take one of a guest that runs": take("on", description="a <b> & 'c'"),
    "go back to disks alone": revert("disks"),
    "go back to disks alone, running": revert("disks", running=True),
    "go on from there": take("way"),
    "go back to a guest that runs": revert("on"),
    "go back to a guest that runs, paused": revert("on", paused=True),
    "resume": do("resume"),
    "take one more": take("end"),
    "delete one with two ways on": delete("disks"),
    "delete a leaf of another way": delete("way"),
    "stop": do("destroy"),
    "delete one of a guest that is off": delete("off"),
    "delete all": delete("on", children="remove"),
}


def plain(text: str) -> str:
    """Leave out what must differ: the guest's name, and the moment in a file's name."""
    return re.sub(r"(?<=\.)\d{10}\b", "MOMENT", for_twin(text))


def told(guest: Guest) -> dict[str, SnapshotSpec]:
    """What libvirt knows of a guest's snapshots."""
    return {
        name: SnapshotSpec.from_xml(plain(replace(spec, created_s=None).to_xml()))
        for name, spec in specs_of(guest).items()
    }


def files(lab: Lab, guest: str) -> dict[str, VolumeSpec]:
    """A guest's files, and what each stands on."""
    pool = lab.pools["default"]
    pool.refresh()
    return {
        plain(name): VolumeSpec.from_xml(plain(replace(volume.spec, allocation_bytes=0).to_xml()))
        for name, volume in pool.volumes.items()
        if name.startswith(f"{guest}.") and not name.endswith(".mem")
    }


def go_through(deeds: dict[str, Deed], one: Guest, twin: Guest, lab: Lab) -> None:
    for what, deed in deeds.items():
        shell(for_twin(deed(one)))
        assert one.state == twin.state, what
        assert one.has_managed_save == twin.has_managed_save, what
        mine, theirs = (plain(spec.to_xml()) for spec in alike(one, twin))
        assert mine == theirs, what
        assert told(one) == told(twin), what
        assert repr(one.snapshots) == repr(twin.snapshots), what  # and which one is current
        assert files(lab, ONE) == files(lab, TWIN), what


def test_internal(make: Make, lab: Lab) -> None:
    go_through(INTERNAL, make("one", image="hello"), make("twin", image="hello"), lab)


def test_external(make: Make, lab: Lab) -> None:
    one, twin = make("one", image="hello"), make("twin", image="hello")
    go_through(EXTERNAL, one, twin, lab)
    if left := list(one.snapshots):
        assert one.snapshots[left[0]]._libvirt_manages_external()
    else:
        assert set(files(lab, ONE)) == {f"{TWIN}.qcow2"}


def test_deleting_the_guest(make: Make, lab: Lab) -> None:
    one, twin = make("one", image="hello"), make("twin", image="hello")
    for guest in (one, twin):
        guest.start()
        guest.snapshots.create("a", kind="external")
        guest.snapshots.create("b")
        if not guest.snapshots["a"]._libvirt_manages_external():  # which names a file by the second
            guest.snapshots["a"].revert()
    one.delete()
    shell(for_twin(one.virsh))
    assert TWIN not in lab.guests
    left = [path.name for path in Path("/var/lib/libvirt/images").iterdir()]
    assert not [name for name in left if name.startswith((ONE, TWIN))]


def test_quiescing(web: Guest) -> None:
    command = web.snapshots.preview("quiet", kind="external", quiesce=True)
    shell(command)
    quiet = web.snapshots["quiet"]
    assert (quiet.state, quiet.kind) == ("disk-snapshot", "external")
    quiet.delete()


def test_a_preview_is_what_is_done(make: Make, lab: Lab) -> None:
    guest = make("one", image="hello")
    guest.start()
    before = guest.snapshots.preview("a", kind="external")
    first = guest.snapshots.create("a", kind="external")
    assert first.virsh == before
    guest.snapshots.create("b")
    before = first.preview_revert(running=True)
    first.revert(running=True)
    assert first.virsh == before
    second = guest.snapshots["b"]
    before = second.preview_delete()
    second.delete()
    assert second.virsh == before


def test_questions(make: Make, lab: Lab) -> None:
    guest = make("one", disk_gib=0.01, networks=[])
    clean = guest.snapshots.create("clean")
    guest.snapshots.create("later")
    assert SnapshotSpec.from_xml(shell(lab.virsh_log.virsh("snapshot-dumpxml", ONE, "clean"))) == (
        clean.spec
    )
    assert "<name>clean</name>" in shell(clean.virsh)
    assert [each.name for each in clean.children] == ["later"]
    assert "later" in shell(clean.virsh)
    assert not clean.is_current
    assert shell(clean.virsh).strip() == "later"
    guest.snapshots.tree()
    assert shell(guest.virsh).split() == ["clean", "|", "+-", "later"]
