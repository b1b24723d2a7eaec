"""Reverting to an external snapshot where libvirt itself can't (before 9.9).

The files that hold a snapshot must not be written to any more: it would be lost, and all that
stands on them. So the guest gets a new overlay on each, its definition of that day, and its
memory of that day if that was kept.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import NotSupported
from kvmlab.guests.belongings import files_of_disks, listing, own_files
from kvmlab.snapshots.files import Files, files_of
from kvmlab.snapshots.plan import file_beside
from kvmlab.snapshots.steps import Step
from kvmlab.snapshots.xml import Move, definition_in, moved, sed
from kvmlab.specs import FrozenGuest, GuestSpec, Provenance, SnapshotSpec, VolumeSpec
from kvmlab.storage.volumes import words_to_create

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

_SECURE = libvirt.VIR_DOMAIN_XML_SECURE
_DEFINED = _SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
_CURRENT = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT


def steps_to_revert(
    guest: GuestHandle,
    name: str,
    specs: Mapping[str, SnapshotSpec],
    *,
    running: bool,
    paused: bool,
) -> list[Step]:
    """Return the steps that make a guest what it was when an external snapshot was taken.

    They can be taken back until the guest is what it was; but a guest whose plug was pulled
    stays off.

    Args:
        guest: the guest.
        name: the snapshot's name.
        specs: all of the guest's snapshots.
        running: let it run then.
        paused: leave it paused then.

    Raises:
        VolumeNotFound: a file of the snapshot is gone.
        NotSupported: its files are in no storage pool.

    Example:
        >>> steps = steps_to_revert(web, "clean", specs, running=False, paused=False)
    """
    spec, domain = specs[name], guest._libvirt
    found = domain.snapshotLookupByName(name)
    xml = found.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE)
    definition = definition_in(ET.fromstring(xml))
    if definition is None or not spec.points:
        raise NotSupported(
            f"libvirt kept no definition of guest {guest.name!r} with this snapshot", seen=name
        )
    files = files_of(guest.lab, spec)
    log = guest.lab.virsh_log
    overlays = dict(_overlays(spec, files))
    before = domain.XMLDesc(_DEFINED)
    was = GuestSpec.from_xml(before)
    own = _own(was, specs, files)
    steps = [*_make(overlays, files), _define(guest, spec, definition, overlays, before)]
    if domain.isActive():
        steps.append(Step(log.virsh("destroy", guest.name), domain.destroy))
    if spec.memory_path:
        steps.append(_restore(guest, spec.memory_path, overlays, running=running, paused=paused))
    elif running or paused:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
        command = log.virsh("start", guest.name, "--paused" if paused else None)
        steps.append(Step(command, partial(domain.createWithFlags, flags)))
    current = log.virsh("snapshot-current", guest.name, name)
    set_current = partial(domain.snapshotCreateXML, xml, _CURRENT)
    steps.append(Step(current, set_current, is_last_way_back=True))
    lost = set(_left_behind(was, spec, specs, files, own))
    new = {overlay.path for overlay in overlays.values() if overlay.spec.backing_path in own}
    provenance = next(iter(Provenance.all_in(definition, "metadata")), None)
    listed = set(provenance.volumes) if provenance else set()
    is_active = bool(spec.memory_path) or running or paused
    steps += listing(guest, provenance, (listed | new) - lost, running=is_active)
    return [*steps, *(files.deletion(path) for path in sorted(lost))]


def _own(was: GuestSpec, specs: Mapping[str, SnapshotSpec], files: Files) -> set[str]:
    listed = set(was.provenance.volumes) if was.provenance else set()
    return own_files(listed, files_of_disks(was.disks, specs), files.chain)


@dataclass(frozen=True)
class _Overlay:
    """A new overlay on a file that holds a snapshot."""

    path: str
    spec: VolumeSpec


def _overlays(spec: SnapshotSpec, files: Files) -> Iterator[tuple[str, _Overlay]]:
    """Yield a new overlay for each disk in the snapshot, by its target."""
    taken = set(files.paths)
    for target, point in spec.points.items():
        below = files.spec(point)
        path = file_beside(point, spec.name, taken)
        taken.add(path)
        volume = VolumeSpec(
            name=PurePosixPath(path).name,
            capacity_bytes=below.capacity_bytes,
            backing_path=point,
            backing_format=below.format,
        )
        yield target, _Overlay(path, volume)


def _make(overlays: Mapping[str, _Overlay], files: Files) -> Iterator[Step]:
    for overlay in overlays.values():
        pool = files.volume(overlay.spec.backing_path or "").pool
        log, made = pool.lab.virsh_log, pool._libvirt
        # libvirt does not look by itself what files a snapshot has brought into a pool.
        yield Step(log.virsh("pool-refresh", pool.name), pool.refresh)
        yield Step(
            log.virsh(*words_to_create(overlay.spec, pool.name)),
            partial(made.createXML, overlay.spec.to_xml()),
            partial(_delete, made, overlay.spec.name),
        )


def _moves(domain: ET.Element, overlays: Mapping[str, _Overlay]) -> list[Move]:
    """Return where the disks of a guest of that day are now.

    What that day's file was called does not matter: it may have become a part of another.
    """
    return [
        Move(disk.path, overlays[disk.target].path, disk.format or "raw")
        for disk in FrozenGuest.from_element(domain).disks
        if disk.target in overlays and disk.path
    ]


def _delete(pool: object, name: str) -> None:
    pool.storageVolLookupByName(name).delete()  # type: ignore[attr-defined]


def _define(
    guest: GuestHandle,
    spec: SnapshotSpec,
    definition: ET.Element,
    overlays: Mapping[str, _Overlay],
    before: str,
) -> Step:
    log, define = guest.lab.virsh_log, guest.lab.connection.defineXML
    tag = "inactiveDomain" if spec.has_definition else "domain"
    dump = log.virsh(
        *("snapshot-dumpxml", guest.name, spec.name),
        *("--security-info", "--xpath", f"/domainsnapshot/{tag}"),
    )
    name = definition.find("name")
    if name is not None:  # it may have been renamed since
        name.text = guest.name
    moves = _moves(definition, overlays)
    text = ET.tostring(moved(definition, moves), encoding="unicode")
    filters = sed(moves, "s/inactiveDomain/domain/")
    return Step(
        f"{dump} \\\n  | {filters} \\\n  | {log.virsh('define', '/dev/stdin')}",
        partial(define, text),
        partial(define, before),
    )


def _restore(
    guest: GuestHandle,
    path: str,
    overlays: Mapping[str, _Overlay],
    *,
    running: bool,
    paused: bool,
) -> Step:
    """Let the guest go on from the memory in a file."""
    log, connection = guest.lab.virsh_log, guest.lab.connection
    flags = libvirt.VIR_DOMAIN_SAVE_RUNNING if running else 0
    flags |= libvirt.VIR_DOMAIN_SAVE_PAUSED if paused else 0
    option = "--running" if running else "--paused" if paused else None
    dump = log.virsh("save-image-dumpxml", path, "--security-info")
    restore = log.virsh("restore", path, "--xml", "/dev/stdin", option)
    xml = connection.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    then = ET.fromstring(xml)
    moves = _moves(then, overlays)
    text = ET.tostring(moved(then, moves), encoding="unicode")
    return Step(
        f"{dump} \\\n  | {sed(moves)} \\\n  | {restore}",
        partial(connection.restoreFlags, path, text, flags),
    )


def _left_behind(
    before: GuestSpec,
    spec: SnapshotSpec,
    specs: Mapping[str, SnapshotSpec],
    files: Files,
    own: set[str],
) -> Iterator[str]:
    """Yield the files the guest wrote to that no snapshot needs: they hold what is lost."""
    points = {point for each in specs.values() for point in each.points.values()}
    for disk in before.disks:
        path = disk.path
        if path is None or disk.target not in spec.points or path in points:
            continue
        if path in files and not files.on(path) and (own | points) & set(files.chain(path)):
            yield path
