"""The disks in the storage form: those there are, and the next one with its commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kvmlab import specs
from kvmlab.errors import VolumeNotFound
from kvmlab.limits import bytes_of_gib
from kvmlab.specs import VolumeSpec
from kvmlab.storage.plugging import affected, command_to_attach, free_target
from kvmlab.storage.volumes import command_to_create
from kvmlab.widgets.snapshots_wish import spelt

if TYPE_CHECKING:
    from kvmlab.guests.guest import Guest
    from kvmlab.storage.disk import Disk
    from kvmlab.storage.pool import Pool


@dataclass(frozen=True)
class DiskOrder:
    """A new disk, as filled in.

    Attributes:
        name: the volume's file name.
        size_gib: how large a disk the guest sees.
        format: "qcow2" or "raw".

    Example:
        >>> DiskOrder("disk1.qcow2").size_gib
        0.25
    """

    name: str
    size_gib: float = 0.25
    format: str = "qcow2"

    def spec(self) -> VolumeSpec:
        """Return the volume that is made.

        Raises:
            InvalidArgument: the size is no number above zero.
        """
        size = bytes_of_gib("size_gib", self.size_gib)
        return VolumeSpec(
            name=self.name, capacity_bytes=size, allocation_bytes=0, format=self.format
        )

    def python(self, guest: str, pool: str) -> str:
        """Return the Python calls that make the disk and plug it in.

        Example:
            >>> print(DiskOrder("a.qcow2").python("web", "default"))
            volume = lab.pools["default"].volumes.create("a.qcow2", size_gib=0.25)
            lab.guests["web"].disks.attach(volume)
        """
        more = "" if self.format == "qcow2" else f", format={spelt(self.format)}"
        arguments = f"{spelt(self.name)}, size_gib={self.size_gib:g}{more}"
        return (
            f"volume = lab.pools[{spelt(pool)}].volumes.create({arguments})\n"
            f"lab.guests[{spelt(guest)}].disks.attach(volume)"
        )

    def virsh(self, guest: Guest, pool: Pool) -> str:
        """Return the commands that do the same.

        Raises:
            KvmlabError: the size makes no sense, or libvirt can't be asked.
        """
        spec = self.spec()
        disk = specs.Disk(
            path=f"{pool.path}/{self.name}",
            device="disk",
            target="",
            bus="virtio",
            format=self.format,
        )
        _, options = affected(guest, live=None, config=True)
        attach = command_to_attach(guest, free_target(guest, disk), options)
        return f"{command_to_create(pool, spec, 0)}\n{attach}"


@dataclass(frozen=True)
class DiskRow:
    """One disk of the guest, as the form lists it.

    Attributes:
        target: libvirt's name for it.
        source: the file that is in it, without its folder.
        capacity_bytes: how large a disk the guest sees.
        allocation_bytes: how much room it takes on the host.
    """

    target: str
    source: str
    capacity_bytes: int
    allocation_bytes: int


def row_of(disk: Disk) -> DiskRow:
    """Look at a disk.

    Example:
        >>> row_of(web.disks["vda"]).target
        'vda'
    """
    info = disk.info()
    name = PurePosixPath(disk.path or "").name
    try:
        # Of a raw disk, QEMU knows only how far it was written to, not where the holes are.
        taken = disk.volume().allocation_bytes
    except VolumeNotFound:
        taken = info.allocation_bytes
    return DiskRow(disk.target, name, info.capacity_bytes, taken)


def in_gib(size_bytes: int) -> str:
    """Spell a size that may have been rounded up to whole sectors.

    Example:
        >>> in_gib(107376640)
        '0.1'
    """
    return f"{round(size_bytes / 2**30, 4):g}"
