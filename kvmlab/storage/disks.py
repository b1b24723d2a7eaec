"""A guest's disks and CD-ROM drives: what is plugged in, plugging in, and taking out."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from kvmlab import specs
from kvmlab.errors import DeviceNotFound, InvalidArgument
from kvmlab.specs import Throttle
from kvmlab.storage.disk import Disk
from kvmlab.storage.plugging import (
    PREFIXES,
    affected,
    command_to_attach,
    explained,
    free_target,
    put_in,
    scsi_controller,
)
from kvmlab.storage.volume import Volume

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

Bus = Literal["virtio", "scsi", "sata", "usb"]
Cache = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
CACHES = ("none", "writeback", "writethrough", "directsync", "unsafe")
DISCARDS = ("unmap", "ignore")
_DEVICES = ("disk", "cdrom")
_SERIAL = re.compile(r"[A-Za-z0-9_-]{1,20}")  # as many as virtio can tell


class Disks(Mapping[str, Disk]):
    """The disks of one guest, by target: libvirt's name for each, such as "vda".

    Of a running guest, those it has now.

    Example:
        >>> list(web.disks)
        ['vda']
        >>> web.disks["vda"].path
        '/var/lib/libvirt/images/web.qcow2'
    """

    def __init__(self, guest: GuestHandle) -> None:
        self._guest = guest

    def attach(
        self,
        source: Volume | str | None,
        *,
        target: str | None = None,
        bus: Bus | None = None,
        device: Literal["disk", "cdrom"] = "disk",
        format: str | None = None,
        readonly: bool = False,
        shareable: bool = False,
        cache: Cache | None = None,
        discard: Literal["unmap", "ignore"] | None = None,
        serial: str | None = None,
        throttle: Throttle | None = None,
        live: bool | None = None,
        config: bool = True,
    ) -> Disk:
        """Plug a disk or a CD-ROM drive in.

        Args:
            source: what is in it: a volume, or the path of a file on libvirt's host; ``None``
                for a CD-ROM drive without a disc.
            target: libvirt's name for it; without it, the next one that is free.
            bus: how it is connected. "virtio" is made for virtual machines, and what disks
                are without a word. "scsi" is virtio too, and one slot is enough for many of
                them: for CD-ROM drives without a word. "sata" and "usb" are what any
                operating system knows; a running guest can't be given a "sata" disk.
            device: "disk" or "cdrom".
            format: what is in the file; a volume knows it, and an ISO is "raw".
            readonly: the guest can't write to it. CD-ROMs are always so.
            shareable: others may have it at the same time; for file systems that are made
                for that, and for nobody else.
            cache: whether the host keeps what is read and written in its own memory:
                "none" (it goes past it), "writeback" (QEMU's default: written to disk
                when the guest says so), "writethrough", "directsync", "unsafe" (never).
            discard: "unmap" makes the file on the host smaller where the guest discards.
            serial: the serial number that the guest sees: 20 letters, digits, "-", "_".
            throttle: how fast it may be.
            live: plug it in now; without a word, if the guest runs.
            config: put it into the definition, for the next start.

        Raises:
            InvalidArgument: a value makes no sense, or the target is taken.
            InUse: somebody else is writing to it, or needs it to stay as it is.
            GuestNotRunning: ``live`` was asked for, and the guest is off.
            NotSupported: a running guest can't be given that, or has no slot left.

        Example:
            >>> web.disks.attach(lab.pools["default"].volumes["data.qcow2"])
            <Disk vdb of web: data.qcow2>
        """
        bus = bus or ("virtio" if device == "disk" else "scsi")
        _check(bus, device, cache, discard, serial, has_source=source is not None)
        guest = self._guest
        spec = specs.Disk(
            device=device,
            target=target or "",
            bus=bus,
            format=None,
            cache=cache,
            discard=discard,
            serial=serial,
            throttle=throttle,
            readonly=readonly or device == "cdrom",
            shareable=shareable,
        )
        with guest._together("attach a disk to"):
            flags, options = affected(guest, live=live, config=config)
            if source is not None:
                spec = put_in(guest, spec, source, format)
            spec = free_target(guest, spec)
            command = command_to_attach(guest, spec, options)
            with explained(guest, spec), ExitStack() as stack:
                if bus == "scsi":
                    stack.enter_context(scsi_controller(guest, flags))
                with guest._running(command, f"attach-disk {guest.name}"):
                    guest._libvirt.attachDeviceFlags(spec.to_xml(), flags)
        return Disk(guest, spec.target)

    def _snapshot(self) -> dict[str, Disk]:
        with self._guest._doing("domblklist", self._guest.name, question=True):
            found = self._guest._spec().disks
        return {each.target: Disk(self._guest, each.target) for each in found}

    def __getitem__(self, target: str) -> Disk:
        disks = self._snapshot()
        if target not in disks:
            raise DeviceNotFound(
                f"guest {self._guest.name!r} has no such disk",
                seen=target,
                next_step=f"There is: {', '.join(disks) or 'none at all'}",
            )
        return disks[target]

    def __contains__(self, target: object) -> bool:
        return target in self._snapshot()

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshot())

    def __len__(self) -> int:
        return len(self._snapshot())

    def values(self) -> ValuesView[Disk]:
        """Return the disks, by one call to libvirt."""
        return self._snapshot().values()

    def items(self) -> ItemsView[str, Disk]:
        """Return targets and disks, by one call to libvirt."""
        return self._snapshot().items()

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.values())) or "<no disks>"


def _check(
    bus: str,
    device: str,
    cache: str | None,
    discard: str | None,
    serial: str | None,
    *,
    has_source: bool,
) -> None:
    for what, value, choice in (
        ("bus", bus, tuple(PREFIXES)),
        ("device", device, _DEVICES),
        ("cache mode", cache, (None, *CACHES)),
        ("way to discard", discard, (None, *DISCARDS)),
    ):
        if value not in choice:
            raise InvalidArgument(
                f"no such {what}",
                seen=value,
                next_step=f"There is: {', '.join(filter(None, choice))}",
            )
    if serial is not None and not _SERIAL.fullmatch(serial):
        raise InvalidArgument(
            "that can't be a serial number",
            seen=serial,
            next_step="Use 1 to 20 letters, digits, '-' and '_'",
        )
    if device == "cdrom" and bus == "virtio":
        raise InvalidArgument(
            "virtio has disks only, no CD-ROM drives",
            seen=bus,
            next_step="Use bus='sata', or 'scsi' while the guest runs",
        )
    if device == "disk" and not has_source:
        raise InvalidArgument(
            "only a CD-ROM drive can be empty", seen=None, next_step="Give a volume, or a path"
        )
