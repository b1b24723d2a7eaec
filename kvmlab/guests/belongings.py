"""Which files belong to a guest, and go with it: its disks, and what its snapshots made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import PoolNotFound, translate
from kvmlab.guests.virtinstall import unprefixed
from kvmlab.handle import xml_of
from kvmlab.snapshots.steps import Step
from kvmlab.snapshots.tree import specs_of
from kvmlab.specs import Disk, GuestSpec, Provenance, SnapshotSpec, VolumeSpec
from kvmlab.specs.xml import NAMESPACES
from kvmlab.storage.pools import Pool
from kvmlab.storage.volumes import Volume

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle


def own_volumes(guest: GuestHandle) -> list[Volume]:
    """Return the volumes that go when a guest is deleted.

    Of a guest that kvmlab made, those made with it; of another, its writable disks. With
    them go the overlays that snapshots have put on them, and files with the memory of
    snapshots. What another guest uses, or a volume that stays has as its backing file, stays.

    Example:
        >>> own_volumes(web)
        [<Volume web.clean in default>, <Volume web.qcow2 in default>]
    """
    spec, specs = guest._spec(), specs_of(guest)
    disks = files_of_disks(spec.disks, specs)
    private = {disk.path for disk in spec.disks if disk.is_private and disk.path}
    listed = set(spec.provenance.volumes) if spec.provenance else private
    memory = {each.memory_path for each in specs.values() if each.memory_path}
    if new := memory.union(*disks.values()) - listed:
        _refresh(guest, new)  # libvirt itself has not told its storage pools
    volumes = dict(_volumes(guest.lab.connection))
    below = {path: volume.backing_path for path, (_, volume) in volumes.items()}
    own = own_files(listed, disks, lambda path: _chain(path, below)) | memory
    # A revert that failed half way may leave an overlay that no disk is in.
    made = {disk.path for each in specs.values() for disk in (*each.disks, *each.revert_disks)}
    own |= {path for path in made if path and own.intersection(_chain(path, below))}
    others = set(_disks_of_others(guest))
    while kept := own & (others | {below[path] for path in below.keys() - own}):
        own -= kept
    found = [volumes[path][0] for path in sorted(own) if path in volumes]
    return [Volume(Pool(guest.lab, volume.storagePoolLookupByVolume()), volume) for volume in found]


def files_of_disks(disks: Iterable[Disk], specs: Mapping[str, SnapshotSpec]) -> dict[str, set[str]]:
    """Return, for each disk, the file that is written to and those that hold snapshots.

    Example:
        >>> files_of_disks(web.spec.disks, specs_of(web))["vda"]
        {'/var/lib/libvirt/images/web.clean', '/var/lib/libvirt/images/web.qcow2'}
    """
    files: dict[str, set[str]] = {}
    for disk in disks:
        if disk.is_private and disk.path:
            files.setdefault(disk.target, set()).add(disk.path)
    for spec in specs.values():
        for target, point in spec.points.items():
            files.setdefault(target, set()).add(point)
    return files


def own_files(
    listed: Set[str], disks: Mapping[str, Set[str]], chain: Callable[[str], list[str]]
) -> set[str]:
    """Return all files that belong to a guest.

    A disk belongs to it if something in its chains is listed as the guest's. Then everything
    does that is above a listed file or a snapshot; what is below is an image of many.

    Args:
        listed: what the guest's definition lists.
        disks: as `files_of_disks` tells.
        chain: tells a file's chain, from the file itself down.

    Example:
        >>> own_files({"a"}, {"vda": {"b"}}, lambda path: ["b", "a", "image"])
        {'a', 'b'}
    """
    own = set(listed)
    for files in disks.values():
        chains = [chain(path) for path in files]
        anchors = files | listed
        if any(path in listed for each in chains for path in each):
            for each in chains:
                lowest = max(place for place, path in enumerate(each) if path in anchors)
                own.update(each[: lowest + 1])
    return own


def listing(
    guest: GuestHandle, provenance: Provenance | None, volumes: Set[str], *, running: bool
) -> list[Step]:
    """Return the step that lists volumes in a guest's definition as its own, if it is due.

    Args:
        guest: the guest.
        provenance: what the definition says at that time.
        volumes: the paths that it shall list.
        running: whether the guest runs at that time.

    Example:
        >>> listing(web, provenance, {"/var/lib/libvirt/images/web.clean-2"}, running=False)
        [Step(command='virsh metadata web ...', ...)]
    """
    if provenance is None or set(provenance.volumes) == volumes:
        return []
    uri = NAMESPACES["kvmlab"]
    xml = unprefixed(replace(provenance, volumes=tuple(sorted(volumes))))
    flags, options = libvirt.VIR_DOMAIN_AFFECT_CONFIG, ["--config"]
    if running:
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        options.append("--live")
    kind, words = libvirt.VIR_DOMAIN_METADATA_ELEMENT, ("--uri", uri, "--key", "kvmlab", "--set")
    return [
        Step(
            guest.lab.virsh_log.virsh("metadata", guest.name, *words, xml, *options),
            partial(guest._libvirt.setMetadata, kind, xml, "kvmlab", uri, flags),
        )
    ]


def _refresh(guest: GuestHandle, paths: Iterable[str]) -> None:
    connection = guest.lab.connection
    for folder in sorted({str(PurePosixPath(path).parent) for path in paths}):
        try:
            pool = Pool(guest.lab, connection.storagePoolLookupByTargetPath(folder))
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), PoolNotFound):
                raise
            continue
        with pool._doing("pool-refresh", pool.name):
            pool.refresh()


def _volumes(connection: Any) -> Iterator[tuple[str, tuple[Any, VolumeSpec]]]:
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        for volume in pool.listAllVolumes():
            for xml in xml_of([volume]):
                yield volume.path(), (volume, VolumeSpec.from_xml(xml))


def _disks_of_others(guest: GuestHandle) -> Iterator[str | None]:
    domains = guest.lab.connection.listAllDomains()
    for xml in xml_of(each for each in domains if each.name() != guest.name):
        for disk in GuestSpec.from_xml(xml).disks:
            yield disk.path


def _chain(path: str, below: dict[str, str | None]) -> list[str]:
    chain = [path]
    while (following := below.get(chain[-1])) and following not in chain:
        chain.append(following)
    return chain
