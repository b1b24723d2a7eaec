"""Who uses which file: the guests, snapshots and overlays that would break without it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import InUse, NotFound, translate
from kvmlab.libvirt_errors import translated
from kvmlab.specs import Disk, GuestSpec, SnapshotSpec, VolumeSpec
from kvmlab.storage.qemuimg import real_path

if TYPE_CHECKING:
    from kvmlab.lab import Lab


@dataclass(frozen=True)
class Use:
    """One thing that depends on a file.

    Attributes:
        path: the file.
        by: what depends on it: "guest 'web' (vda)", "snapshot 'clean' of guest 'web'" or
            "volume 'top.qcow2' of pool 'default'".
        guest: the guest's name, if it is one's, or one's snapshot.
        target: as which disk the guest has it.
        is_disk: whether it is what the guest has as that disk, and not a file below it.
        is_running: whether that guest runs, and has the file open.
        is_snapshot: whether it is a snapshot of the guest's that needs the file.
        overlay: the path of the volume, if it is one, that has the file as its backing image.
        is_exclusive: whether nobody else must have it: the guest writes to it, and it is not
            marked as shareable.

    Example:
        >>> lab.pools["default"].volumes["web.qcow2"].users()[0].by
        "guest 'web' (vda)"
    """

    path: str
    by: str
    guest: str | None = None
    target: str | None = None
    is_disk: bool = False
    is_running: bool = False
    is_snapshot: bool = False
    overlay: str | None = None
    is_exclusive: bool = False


def survey(lab: Lab) -> tuple[Use, ...]:
    """Return every use of every file, as far as libvirt knows of it.

    The storage pools are looked through again first. What is in a pool that is not started,
    and an overlay outside of any pool that no guest has, is not known.

    Example:
        >>> {use.guest for use in survey(lab)}
        {'web'}
    """
    with translated("look who uses what"):
        domains = lab.connection.listAllDomains()
        pools = lab.connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        for pool in pools:
            with suppress(libvirt.libvirtError):  # a volume is just being made in it
                pool.refresh()
        found = [
            *(use for domain in domains for use in _of_guest(lab, domain)),
            *(use for pool in pools for use in _of_pool(pool)),
        ]
    return tuple(dict.fromkeys(found))  # running and defined, a guest's disk is often the same


def users_of(lab: Lab, paths: Collection[str]) -> tuple[Use, ...]:
    """Return who uses one of these files.

    Example:
        >>> users_of(lab, {volume.path})
        (Use(path='/var/lib/libvirt/images/web.qcow2', by="guest 'web' (vda)", ...),)
    """
    wanted = {real_path(lab, path) for path in paths}
    return tuple(use for use in survey(lab) if real_path(lab, use.path) in wanted)


def refuse_if_used(
    lab: Lab,
    path: str,
    what: str,
    *,
    but: Callable[[Use], bool] = lambda _: False,
    next_step: str = "",
) -> None:
    """Refuse to do something to a file that is in use.

    Args:
        lab: where to look.
        path: the file.
        what: what can't be done: "volume 'web.qcow2' can't be deleted".
        but: tells which uses don't matter.
        next_step: what to do instead.

    Raises:
        InUse: it is; the message names by what.

    Example:
        >>> refuse_if_used(lab, path, "volume 'web.qcow2' can't be deleted")
        Traceback (most recent call last):
        kvmlab.errors.InUse: volume 'web.qcow2' can't be deleted: guest 'web' (vda) uses it. ...
    """
    refuse([use for use in users_of(lab, {path}) if not but(use)], what, next_step=next_step)


def refuse(uses: Iterable[Use], what: str, *, next_step: str = "") -> None:
    """Raise `InUse` that names these uses, if there are any.

    Example:
        >>> refuse([], "nothing happens")
    """
    names = list(dict.fromkeys(use.by for use in uses))
    if names:
        verb = "uses" if len(names) == 1 else "use"
        raise InUse(f"{what}: {', '.join(names)} {verb} it", next_step=next_step)


def refuse_if_it_holds_snapshots(lab: Lab, paths: Collection[str], what: str) -> None:
    """Refuse what would spoil the internal snapshots that are kept in files, or lose them.

    An internal snapshot has only what its own file held then; all else it reads from what is
    below that file now.

    Args:
        lab: where to look.
        paths: the files.
        what: what can't be done: "nothing can be pulled into 'web.qcow2'".

    Raises:
        InUse: there are some; the message names them.

    Example:
        >>> refuse_if_it_holds_snapshots(lab, {path}, "nothing can be pulled into 'web.qcow2'")
        Traceback (most recent call last):
        kvmlab.errors.InUse: nothing can be pulled into 'web.qcow2': snapshot 'clean' of guest ...
    """
    found = []
    with translated("look for snapshots"):
        for domain in lab.connection.listAllDomains():
            for snapshot in _there(lambda domain=domain: domain.listAllSnapshots()) or ():
                if xml := _there(snapshot.getXMLDesc):
                    told = SnapshotSpec.from_xml(xml)
                    if set(told.held_in) & {*paths}:
                        found.append(f"snapshot {told.name!r} of guest {domain.name()!r}")
    if found:
        raise InUse(
            f"{what}: {', '.join(found)} {'is' if len(found) == 1 else 'are'} kept in the file, "
            "and of no use without what is below it",
            next_step="Delete these snapshots first",
        )


def _of_guest(lab: Lab, domain: Any) -> Iterator[Use]:
    for xml, running in _definitions(domain):
        spec = GuestSpec.from_xml(xml)
        for disk in spec.disks:
            by = f"guest {spec.name!r} ({disk.target})"
            if path := path_of(lab, disk):
                yield Use(
                    path,
                    by,
                    spec.name,
                    disk.target,
                    is_disk=True,
                    is_running=running,
                    is_exclusive=disk.is_private,
                )
            for below in disk.backing:
                yield Use(below, by, spec.name, disk.target, is_running=running)
        for path in filter(None, (spec.kernel, spec.initrd)):
            yield Use(path, f"guest {spec.name!r}", spec.name, is_running=running)
    for snapshot in _there(lambda: domain.listAllSnapshots()) or ():
        if xml := _there(snapshot.getXMLDesc):
            told, name = SnapshotSpec.from_xml(xml), domain.name()
            by = f"snapshot {told.name!r} of guest {name!r}"
            disks = [disk for each in (told.guest, told.definition) if each for disk in each.disks]
            overlays = (disk.path for disk in told.disks)
            for path in (*overlays, *(path_of(lab, disk) for disk in disks), told.memory_path):
                if path:
                    yield Use(path, by, name, is_snapshot=True)


def _definitions(domain: Any) -> Iterator[tuple[str, bool]]:
    """Yield a guest's XML as it runs, and as it will start, with whether it runs."""
    running = bool(_there(domain.isActive))
    if running and (xml := _there(domain.XMLDesc)):
        yield xml, True
    if xml := _there(lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)):
        yield xml, False


def _of_pool(pool: Any) -> Iterator[Use]:
    for volume in _there(pool.listAllVolumes) or ():
        if xml := _there(volume.XMLDesc):
            spec = VolumeSpec.from_xml(xml)
            if spec.backing_path:
                by = f"volume {spec.name!r} of pool {pool.name()!r}"
                yield Use(spec.backing_path, by, overlay=volume.path())


def path_of(lab: Lab, disk: Disk) -> str | None:
    """Return the file or block device that a disk is kept in, if it is one.

    Example:
        >>> path_of(lab, web.spec.disks[0])
        '/var/lib/libvirt/images/web.qcow2'
    """
    if disk.pool and disk.volume:
        found: str | None = _there(lambda: _path_in_pool(lab, disk))
        return found
    return disk.path or disk.device_path


def _path_in_pool(lab: Lab, disk: Disk) -> str:
    pool = lab.connection.storagePoolLookupByName(disk.pool)
    return str(pool.storageVolLookupByName(disk.volume).path())


def _there(ask: Callable[..., Any]) -> Any:
    """Ask something that may have gone meanwhile; ``None`` then. Others delete, too."""
    try:
        return ask()
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), NotFound):
            raise
        return None
