"""What goes into a disk and where it goes: preparing what is plugged into a guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePosixPath
from string import ascii_lowercase
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import (
    GuestNotRunning,
    InUse,
    InvalidArgument,
    KvmlabError,
    NotSupported,
    VolumeNotFound,
    translate,
)
from kvmlab.specs import Disk, GuestSpec, ScsiController, VolumeSpec
from kvmlab.storage import qemuimg
from kvmlab.storage.usage import Use, refuse, users_of
from kvmlab.storage.volume import Volume
from kvmlab.virsh import feed

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

# How targets begin, by bus: libvirt reads the bus from it where none is told.
PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd"}
_TARGET = re.compile(r"[a-z]{2}[a-z]{1,2}")


def affected(guest: GuestHandle, *, live: bool | None, config: bool) -> tuple[int, list[str]]:
    """Return libvirt's flags, and virsh's options, for what a change shall reach.

    Args:
        guest: whose device is changed.
        live: the guest as it runs; without a word, if it runs.
        config: its definition; a guest without one has none to change.

    Raises:
        GuestNotRunning: ``live`` was asked for, and the guest is off.
        InvalidArgument: neither is asked for.

    Example:
        >>> affected(web, live=None, config=True)
        (3, ['--live', '--config'])
    """
    running = bool(guest._libvirt.isActive())
    if live and not running:
        raise GuestNotRunning(f"guest {guest.name!r} does not run", seen=guest._state())
    live = running if live is None else live
    config = config and bool(guest._libvirt.isPersistent())
    if not (live or config):
        raise InvalidArgument(
            "neither the running guest nor its definition would be changed",
            seen=(live, config),
            next_step="Leave live and config away",
        )
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if config else 0
    return flags, [*(["--live"] if live else []), *(["--config"] if config else [])]


def put_in(guest: GuestHandle, spec: Disk, source: Volume | str, format: str | None) -> Disk:
    """Return the disk with a volume, or a file, in it.

    Raises:
        InvalidArgument: a path that is none, or nobody says what format the file has.
        VolumeNotFound: there is no such file.
        InUse: somebody else is writing to it, or needs it to stay as it is.
        NotSupported: a qcow2 shall be shared, which it can't.

    Example:
        >>> put_in(web, Disk(target="vdb"), volume, None).path
        '/var/lib/libvirt/images/data.qcow2'
    """
    path, volume = _look_up(guest, source)
    format = format or _format_of(path, volume, spec.device)
    if spec.shareable and format != "raw":
        raise NotSupported(
            f"a {format} can't be shared: each QEMU keeps its tables in its own memory",
            seen=path,
            next_step="Make the volume with format='raw'",
        )
    encryption = volume.encryption if volume else None
    spec = replace(spec, path=path, format=format, encryption=encryption)
    refuse(
        [use for use in users_of(guest.lab, {path}) if not _is_harmless(use, guest.name, spec)],
        f"{PurePosixPath(path).name!r} can't be a disk of guest {guest.name!r}",
        next_step="Detach it there, or give the guest a clone of it, or an overlay on it. What is "
        "made for it can be shared: attach it to each guest with shareable=True",
    )
    return spec


def _look_up(guest: GuestHandle, source: Volume | str) -> tuple[str, VolumeSpec | None]:
    if isinstance(source, Volume):
        return source.path, source.spec
    if not isinstance(source, str) or not PurePosixPath(source).is_absolute():
        raise InvalidArgument(
            "a disk needs a volume, or the whole path of a file on libvirt's host",
            seen=source,
            next_step="Such as lab.pools['default'].volumes['data.qcow2']",
        )
    try:
        found = guest.lab.connection.storageVolLookupByPath(source)
        return source, VolumeSpec.from_xml(found.XMLDesc())
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), VolumeNotFound):
            raise
    if qemuimg.is_local(guest.lab) and not Path(source).exists():
        raise VolumeNotFound("there is no such file on libvirt's host", seen=source)
    return source, None


def _format_of(path: str, volume: VolumeSpec | None, device: str | None) -> str:
    if (
        device == "cdrom"
        or PurePosixPath(path).suffix == ".iso"
        or (volume and volume.format == "iso")
    ):
        return "raw"
    if volume is None or volume.format is None:
        # Guessing would let a guest, which can write to the file, choose what it is.
        raise InvalidArgument(
            "a file that is in no storage pool does not tell what format it has",
            seen=path,
            next_step="Say it: format='qcow2' or format='raw'",
        )
    return volume.format


def _is_harmless(use: Use, guest: str, spec: Disk) -> bool:
    if use.is_snapshot or (use.is_disk and (use.guest, use.target) == (guest, spec.target)):
        return True
    if use.is_exclusive:
        return False
    return spec.readonly or (spec.shareable and use.is_disk)


def free_target(guest: GuestHandle, spec: Disk) -> Disk:
    """Return the disk with a target that is free, now and at the next start.

    Raises:
        InvalidArgument: it has one that is taken, or none for its bus.

    Example:
        >>> free_target(web, Disk(target="")).target
        'vdb'
    """
    definitions = [guest._spec()]
    if guest._libvirt.isPersistent():
        definitions.append(guest._spec(libvirt.VIR_DOMAIN_XML_INACTIVE))
    taken = {disk.target: disk for each in definitions for disk in each.disks}
    prefix = PREFIXES[spec.bus or "virtio"]
    if not spec.target:
        letters = (*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2)))
        return replace(
            spec, target=next(t for each in letters if (t := prefix + each) not in taken)
        )
    if not _TARGET.fullmatch(spec.target) or not spec.target.startswith(prefix):
        raise InvalidArgument(
            f"that is no target for the bus {spec.bus!r}",
            seen=spec.target,
            next_step=f"Use {prefix}a, {prefix}b, ..., or leave it away",
        )
    if spec.target in taken and taken[spec.target].source != spec.path:
        raise InvalidArgument(
            f"guest {guest.name!r} has such a disk",
            seen=spec.target,
            next_step="Leave the target away, and the next free one is taken",
        )
    return spec


def command_to_attach(guest: GuestHandle, spec: Disk, options: list[str]) -> str:
    """Return the virsh command that plugs a disk in.

    Example:
        >>> command_to_attach(web, Disk(path="/pool/a.img", target="vdb", format="raw"), [])
        'virsh attach-disk web /pool/a.img vdb --targetbus virtio --subdriver raw ...'
    """
    log = guest.lab.virsh_log
    if spec.discard or spec.throttle or spec.encryption or (spec.readonly and spec.shareable):
        words = ("attach-device", guest.name, "/dev/stdin", *options)
        return feed(log.virsh(*words), spec.to_xml())
    words = ("attach-disk", guest.name, spec.path or "", spec.target, "--targetbus", spec.bus or "")
    more: list[str] = [] if spec.path is None else ["--sourcetype", "file"]
    more += ["--driver", "qemu", "--subdriver", spec.format or "raw"]
    for option, value in (("--cache", spec.cache), ("--serial", spec.serial)):
        more += [option, value] if value else []
    more += ["--type", "cdrom"] if spec.device == "cdrom" else []
    if spec.shareable or (spec.readonly and spec.device == "disk"):
        more += ["--mode", "shareable" if spec.shareable else "readonly"]
    return log.virsh(*words, *more, *options)


@contextmanager
def scsi_controller(guest: GuestHandle, flags: int) -> Iterator[None]:
    """Give a guest the virtio controller that SCSI disks hang on, where it has none.

    Left to itself, libvirt would add an LSI controller, which few guests have a driver for.
    Where what is done within fails, it is taken out again.

    Example:
        >>> with scsi_controller(web, libvirt.VIR_DOMAIN_AFFECT_CONFIG):
        ...     web._libvirt.attachDeviceFlags(...)
    """
    log, xml = guest.lab.virsh_log, ScsiController().to_xml()
    added = 0
    for flag, option, of_definition in (
        (libvirt.VIR_DOMAIN_AFFECT_LIVE, "--live", 0),
        (libvirt.VIR_DOMAIN_AFFECT_CONFIG, "--config", libvirt.VIR_DOMAIN_XML_INACTIVE),
    ):
        if flags & flag and not GuestSpec.from_xml(guest._libvirt.XMLDesc(of_definition)).scsi:
            words = ("attach-device", guest.name, "/dev/stdin", option)
            with guest._running(feed(log.virsh(*words), xml), f"attach-device {guest.name}"):
                guest._libvirt.attachDeviceFlags(xml, flag)
            added |= flag
    try:
        yield
    except BaseException:
        if added:
            with suppress(libvirt.libvirtError):
                guest._libvirt.detachDeviceFlags(xml, added)
        raise


@contextmanager
def explained(guest: GuestHandle, spec: Disk) -> Iterator[None]:
    """Say what QEMU means when it can't take a disk.

    Example:
        >>> with explained(web, spec):
        ...     web._libvirt.attachDeviceFlags(spec.to_xml(), flags)
    """
    try:
        yield
    except KvmlabError as error:
        said, cause = error.happened, error.__cause__
        name = PurePosixPath(spec.path or "").name
        if re.search(r"No more available PCI|no free.* slot", said):
            raise NotSupported(
                f"guest {guest.name!r} has no slot left that a disk could be plugged into",
                seen=spec.bus,
                next_step="Use bus='scsi', where many share one slot; or shut it down first",
            ) from cause
        if re.search(r"cannot be hotplugged|hotplug.*not supported|not support hotplug", said):
            raise NotSupported(
                f"a running guest can't be given a {spec.bus!r} {spec.device}",
                seen=spec.bus,
                next_step="Use bus='scsi', or shut the guest down first",
            ) from cause
        if spec.source is None and "must not have null value" in said:
            raise NotSupported(
                "this libvirt can't plug an empty drive into a running guest (before 10.1)",
                seen=spec.target,
                next_step="Give it a disc, and eject that; or shut the guest down first",
            ) from cause
        if re.search(r"Failed to get .* lock", said):
            raise InUse(
                f"QEMU can't lock {name!r}: another process has it open",
                next_step="Find out which one, on libvirt's host: fuser " + (spec.path or ""),
            ) from cause
        raise
