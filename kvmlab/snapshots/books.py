"""Keeping libvirt's books right when a snapshot's files are merged by hand.

libvirt remembers for each snapshot in which files the guest's disks were, and for each guest
in which they are.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libvirt

from kvmlab.guests.belongings import files_of_disks, listing, own_files
from kvmlab.snapshots.files import Files
from kvmlab.snapshots.steps import Step
from kvmlab.snapshots.xml import Move, moved, put, sed
from kvmlab.specs import SnapshotSpec

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

_REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
_CURRENT = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
_SECURE = libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE

# Where a snapshot says in which files the disks were, and to which the guest wrote since.
_DISKS_THEN = ("domain/devices/disk", "inactiveDomain/devices/disk")
_DISKS_SINCE = ("disks/disk",)


@dataclass(frozen=True)
class Merge:
    """What becomes of one file that holds a snapshot.

    Attributes:
        target: the disk, in libvirt's word.
        point: the file.
        now: the file that the guest writes to.
        overlay: the overlay that is committed into it; ``None`` where none stands on it.
        others: further overlays, which are made independent of it.
        is_live: whether the running guest has the overlay open.
        is_shared: whether another snapshot is kept in the file, too.
    """

    target: str
    point: str
    now: str
    overlay: str | None
    others: tuple[str, ...]
    is_live: bool
    is_shared: bool


def tell_others(
    guest: GuestHandle,
    name: str,
    merges: Iterable[Merge],
    files: Files,
    specs: Mapping[str, SnapshotSpec],
) -> Iterator[Step]:
    """Tell libvirt that what was in an overlay is in the file below it now.

    Example:
        >>> steps = tell_others(web, "clean", merges, files, specs_of(web))
    """
    moves = [
        Move(merge.overlay, merge.point, "qcow2", files.spec(merge.point).format or "raw")
        for merge in merges
        if merge.overlay
    ]
    old = {move.old for move in moves}
    if not guest._libvirt.isActive() and old & {merge.now for merge in merges}:
        yield _redefine(guest, moves)
    for spec in specs.values():
        if spec.name != name and old & set(spec.points.values()):
            yield _redefine_snapshot(guest, spec.name, moves, _DISKS_THEN)
    if misled := list(_misled(name, merges, specs)):
        yield _redefine_snapshot(guest, name, misled, _DISKS_SINCE)


def _misled(
    name: str, merges: Iterable[Merge], specs: Mapping[str, SnapshotSpec]
) -> Iterator[Move]:
    """Yield what a snapshot must not say when it goes.

    It says to which file the guest went on to write, and libvirt takes it that this one has
    been merged: it tells all snapshots in there that they are in the file below. After a
    revert, it may be another overlay that is merged, and this one stays.
    """
    since = {disk.name: disk.path for disk in specs[name].disks}
    for merge in merges:
        path = since.get(merge.target)
        kept = {each.points.get(merge.target) for each in specs.values() if each.name != name}
        if path in kept and path is not None and path != merge.overlay:
            yield Move(path, merge.overlay or merge.point)


def list_own(
    guest: GuestHandle,
    merges: Sequence[Merge],
    gone: Sequence[str],
    files: Files,
    specs: Mapping[str, SnapshotSpec],
    *,
    is_active: bool,
) -> list[Step]:
    """List what belongs to the guest, so that it goes with it, whatever is merged next.

    Example:
        >>> steps = list_own(web, merges, gone, files, specs_of(web), is_active=True)
    """
    spec = guest._spec(libvirt.VIR_DOMAIN_XML_INACTIVE)
    listed = set(spec.provenance.volumes) if spec.provenance else set()
    own = own_files(listed, files_of_disks(spec.disks, specs), files.chain)
    now = {merge.point if merge.overlay == merge.now else merge.now for merge in merges}
    volumes = (listed | (now & own)) - set(gone)
    return listing(guest, spec.provenance, volumes, running=is_active)


def put_right(
    guest: GuestHandle, name: str, specs: Mapping[str, SnapshotSpec]
) -> tuple[list[Step], list[Step]]:
    """Return the steps that tell libvirt to which files the guest writes, where it is wrong.

    A libvirt that reverts to external snapshots deletes what the guest wrote to since the
    current one. Up to 11.3 at least, it is wrong about that where a snapshot that was taken
    after a revert has been deleted: it takes a file for the guest's that another snapshot is
    kept in, and would delete that.

    Args:
        guest: the guest.
        name: the snapshot that it will be reverted to.
        specs: all of its snapshots.

    Returns:
        What to do before, and what to do after.

    Example:
        >>> put_right(web, "clean", specs_of(web))
        ([], [])
    """
    domain = guest._libvirt
    if not domain.hasCurrentSnapshot():
        return [], []
    current = specs[domain.snapshotCurrent().getName()]
    if current.kind != "external" or current.revert_disks:
        return [], []
    now = {disk.target: disk.path for disk in guest._spec().disks}
    wrong = [
        Move(disk.path, path)
        for disk in current.disks
        if disk.path and (path := now.get(disk.name)) and path != disk.path
    ]
    if not wrong:
        return [], []
    before = _redefine_snapshot(guest, current.name, wrong, _DISKS_SINCE)
    if current.name == name:  # libvirt will write down anew where it goes on
        return [before], []
    back = [Move(move.new, move.old) for move in wrong]
    after = _redefine_snapshot(guest, current.name, back, _DISKS_SINCE, is_current=False)
    return [before], [after]


def _redefine(guest: GuestHandle, moves: Sequence[Move]) -> Step:
    log = guest.lab.virsh_log
    dump = log.virsh("dumpxml", guest.name, "--inactive", "--security-info")

    def redefine() -> None:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        domain = ET.fromstring(guest._libvirt.XMLDesc(flags))
        guest.lab.connection.defineXML(ET.tostring(moved(domain, moves), encoding="unicode"))

    return Step(
        f"{dump} \\\n  | {sed(moves)} \\\n  | {log.virsh('define', '/dev/stdin')}", redefine
    )


def _redefine_snapshot(
    guest: GuestHandle,
    name: str,
    moves: Sequence[Move],
    places: Sequence[str],
    *,
    is_current: bool | None = None,
) -> Step:
    log = guest.lab.virsh_log
    found = guest._libvirt.snapshotLookupByName(name)
    if is_current is None:
        is_current = bool(found.isCurrent())
    option = "--current" if is_current else None
    create = log.virsh("snapshot-create", guest.name, "/dev/stdin", "--redefine", option)
    dump = log.virsh("snapshot-dumpxml", guest.name, name, "--security-info")

    def redefine() -> None:
        told = ET.fromstring(found.getXMLDesc(_SECURE))
        for place in places:
            for disk in told.iterfind(place):
                put(disk, moves)
        text = ET.tostring(told, encoding="unicode")
        guest._libvirt.snapshotCreateXML(text, _REDEFINE | (_CURRENT if is_current else 0))

    return Step(f"{dump} \\\n  | {sed(moves)} \\\n  | {create}", redefine)
