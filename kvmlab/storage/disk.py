"""One disk, or CD-ROM drive, of a guest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import PurePosixPath

import libvirt

from kvmlab import specs
from kvmlab.errors import InvalidArgument, KvmlabError
from kvmlab.limits import bytes_of_gib
from kvmlab.specs import Throttle
from kvmlab.storage.copying import Copies
from kvmlab.storage.drives import Drive
from kvmlab.storage.growing import grow_file_systems
from kvmlab.storage.plugging import affected
from kvmlab.storage.volume import Volume

_LIMITS = tuple(field.name for field in fields(Throttle))


@dataclass(frozen=True)
class DiskInfo:
    """How large a disk is (``virsh domblkinfo``).

    Attributes:
        capacity_bytes: what the guest sees.
        allocation_bytes: how much of it has something in it, as QEMU counts.
        physical_bytes: how long the file is on the host.

    Example:
        >>> web.disks["vda"].info().capacity_bytes // 2**30
        1
    """

    capacity_bytes: int
    allocation_bytes: int
    physical_bytes: int


@dataclass(frozen=True)
class DiskStats:
    """What a guest has done with a disk since it started (``virsh domblkstat``).

    Attributes:
        reads: how many times it read.
        read_bytes: how much.
        writes: how many times it wrote.
        written_bytes: how much.
        flushes: how many times it asked for all to be written to the medium.

    Example:
        >>> web.disks["vda"].stats().reads
        1520
    """

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    flushes: int


class Disk(Copies, Drive):
    """A disk or a CD-ROM drive of a guest.

    It is a live handle: what it tells is read from libvirt when it is asked.

    Attributes:
        guest: the guest.
        target: libvirt's name for it, "vda"; the guest may call it otherwise.

    Example:
        >>> web.disks["vda"]
        <Disk vda of web: web.qcow2>
    """

    @property
    def spec(self) -> specs.Disk:
        """The disk's XML as a dataclass; of a running guest, as it is now.

        Example:
            >>> web.disks["vda"].spec.bus
            'virtio'
        """
        with self._doing("dumpxml", self.guest.name, question=True):
            return self._spec()

    @property
    def path(self) -> str | None:
        """The file that is in it; ``None`` for an empty drive, or another kind of source.

        Example:
            >>> web.disks["vda"].path
            '/var/lib/libvirt/images/web.qcow2'
        """
        return self.spec.path

    def volume(self) -> Volume:
        """Return the volume that is in it.

        Raises:
            VolumeNotFound: the drive is empty, or what is in it is in no storage pool.

        Example:
            >>> web.disks["vda"].volume()
            <Volume web.qcow2 in default>
        """
        return self._volume()

    def info(self) -> DiskInfo:
        """Return how large it is.

        Example:
            >>> web.disks["vda"].info().capacity_bytes
            1073741824
        """
        with self._doing("domblkinfo", self.guest.name, self.target, question=True):
            return DiskInfo(*map(int, self._libvirt.blockInfo(self.target)))

    def stats(self) -> DiskStats:
        """Return what the guest has done with it since it started.

        Raises:
            GuestNotRunning: the guest is off.

        Example:
            >>> web.disks["vda"].stats().written_bytes
            1024000
        """
        with self._doing("domblkstat", self.guest.name, self.target, question=True):
            self._needs_running("domblkstat")
            told = self._libvirt.blockStatsFlags(self.target)
        return DiskStats(
            reads=told.get("rd_operations", 0),
            read_bytes=told.get("rd_bytes", 0),
            writes=told.get("wr_operations", 0),
            written_bytes=told.get("wr_bytes", 0),
            flushes=told.get("flush_operations", 0),
        )

    @property
    def throttle(self) -> Throttle:
        """How fast it may be; can be set, also while the guest runs, and for good.

        Raises:
            InvalidArgument: limits that exclude each other.

        Example:
            >>> web.disks["vda"].throttle = Throttle(read_bytes_sec=2**20)
            >>> web.disks["vda"].throttle
            Throttle(read_bytes_sec=1048576)
            >>> web.disks["vda"].throttle = Throttle()
        """
        with self._doing("blkdeviotune", self.guest.name, self.target, question=True):
            told = self._libvirt.blockIoTune(self.target)
        return Throttle(**{name: told.get(name) or None for name in _LIMITS})

    @throttle.setter
    def throttle(self, limits: Throttle) -> None:
        for kind in ("bytes", "iops"):
            if getattr(limits, f"total_{kind}_sec") and (
                getattr(limits, f"read_{kind}_sec") or getattr(limits, f"write_{kind}_sec")
            ):
                raise InvalidArgument(
                    f"a limit on all {kind} and one on those read or written exclude each other",
                    seen=limits,
                    next_step="Give the total, or reads and writes",
                )
        flags, options = affected(self.guest, live=None, config=True)
        values = {name: getattr(limits, name) or 0 for name in _LIMITS}
        words = [
            word
            for name, value in values.items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        with self._doing("blkdeviotune", self.guest.name, self.target, *words, *options):
            self._libvirt.setBlockIoTune(self.target, values, flags)

    def resize(self, size_gib: float, *, shrink: bool = False) -> None:
        """Make the disk larger, whether the guest runs or not; a running one sees it at once.

        The file systems in it stay as they are: `grow_file_system` is the next step.

        Args:
            size_gib: how large it shall be.
            shrink: allow it to become smaller. What was beyond the new end is lost: a
                file system must have been made smaller before.

        Raises:
            InvalidArgument: no number above zero, or smaller without ``shrink``.
            VolumeNotFound: the guest is off, and the disk is in no storage pool.
            WrongState: a block job is at work on it.

        Example:
            >>> web.disks["vdb"].resize(2)
            >>> web.run("lsblk -bno SIZE /dev/vdb").stdout
            '2147483648\\n'
        """
        size = bytes_of_gib("size_gib", size_gib)
        if not self._is_running():
            with self._together("resize"):
                self._volume().resize(size_gib, shrink=shrink)
            return
        now = self.info().capacity_bytes
        if size < now and not shrink:
            raise InvalidArgument(
                f"disk {self.target} has {now / 2**30:g} GiB, and what is beyond the new end "
                "would be lost",
                seen=size_gib,
                next_step="Make the file system in it smaller first, then say shrink=True",
            )
        with self._doing("blockresize", self.guest.name, self.target, f"{size}B"):
            flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            self._libvirt.blockResize(self.target, size, flags)

    def grow_file_system(self) -> tuple[str, ...]:
        """Let the mounted file systems on it grow to its size, through the guest's agent.

        ext2 to ext4, XFS and btrfs, on the whole disk or on its last partition, which grows
        first; all of them stay mounted.

        Returns:
            Where those that have grown are mounted.

        Raises:
            GuestNotRunning: the guest is off.
            AgentUnavailable: its agent does not answer.
            NotSupported: there is nothing on it that can grow, or a tool is missing there.
            CommandFailed: the tool in the guest failed.

        Example:
            >>> web.disks["vdb"].resize(2)
            >>> web.disks["vdb"].grow_file_system()
            ('/mnt',)
        """
        with self._together("grow the file system of"):
            self._needs_running("grow a file system")
            return grow_file_systems(self.guest, self.target)

    def __repr__(self) -> str:
        try:
            source = self._spec().source
        except KvmlabError:
            return f"<Disk {self.target} of {self.guest.name}: gone>"
        name = PurePosixPath(source).name if source else "empty"
        return f"<Disk {self.target} of {self.guest.name}: {name}>"
