"""One volume: a file that is, or can be, a guest's disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import InvalidArgument, NotSupported
from kvmlab.limits import bytes_of_gib
from kvmlab.specs import VolumeSpec
from kvmlab.storage.contents import Contents, Progress
from kvmlab.storage.overlays import Overlay
from kvmlab.storage.secrets import forget_passphrase
from kvmlab.storage.usage import Use, users_of
from kvmlab.virsh import feed

if TYPE_CHECKING:
    from kvmlab.storage.pools import Pool

_TELL_EVERY_S = 0.25  # how often it is told how far a copy is; libvirt has no event for that


class Volume(Contents, Overlay):
    """A volume: a file that can be a guest's disk.

    It is a live handle: what it tells is read from libvirt when it is asked.

    Attributes:
        pool: the pool it is in.

    Example:
        >>> lab.pools["default"].volumes["web.qcow2"].path
        '/var/lib/libvirt/images/web.qcow2'
    """

    @property
    def path(self) -> str:
        """The file's path on the host.

        Example:
            >>> volume.path
            '/var/lib/libvirt/images/web.qcow2'
        """
        with self._doing(*self._words("vol-path"), question=True):
            return str(self._libvirt.path())

    @property
    def spec(self) -> VolumeSpec:
        """The volume's XML as a dataclass: its format, sizes and backing image.

        Example:
            >>> volume.spec.format
            'qcow2'
        """
        with self._doing(*self._words("vol-dumpxml"), question=True):
            return self._spec()

    @property
    def capacity_bytes(self) -> int:
        """How large a disk the guest sees.

        Example:
            >>> volume.capacity_bytes // 2**30
            1
        """
        with self._doing(*self._words("vol-info", "--bytes"), question=True):
            return int(self._libvirt.info()[1])

    @property
    def allocation_bytes(self) -> int:
        """How much room it takes on the host, now.

        Example:
            >>> volume.allocation_bytes // 2**10
            196
        """
        with self._doing(*self._words("vol-info", "--bytes"), question=True):
            return int(self._libvirt.info()[2])

    def users(self) -> tuple[Use, ...]:
        """Return what would break without the volume: guests, snapshots, overlays on it.

        Example:
            >>> [use.by for use in volume.users()]
            ["guest 'web' (vda)"]
        """
        with self._explained(f"look who uses {self.name}"):
            return users_of(self.lab, {self._libvirt.path()})

    def resize(self, size_gib: float, *, shrink: bool = False) -> None:
        """Make the disk that a guest sees in it larger, while no guest runs with it.

        The file systems in it stay as they are, and can be grown from inside.
        `Disk.resize` does it while the guest runs.

        Args:
            size_gib: how large it shall be.
            shrink: allow it to become smaller. What was beyond the new end is lost: a
                file system must have been made smaller before.

        Raises:
            InvalidArgument: no number above zero, or smaller without ``shrink``.
            InUse: a guest runs with it; or it shall shrink, and a volume is an overlay on it.
            NotEnoughDisk: a fully allocated volume, and the pool has no room.

        Example:
            >>> volume.resize(2)
            >>> volume.capacity_bytes // 2**30
            2
        """
        size = bytes_of_gib("size_gib", size_gib)
        now = self.capacity_bytes
        if size < now and not shrink:
            raise InvalidArgument(
                f"volume {self.name!r} has {now / 2**30:g} GiB, and what is beyond the new end "
                "would be lost",
                seen=size_gib,
                next_step="Make the file system in it smaller first, then say shrink=True",
            )
        self._refuse_if_used(
            "resized",
            but=lambda use: not (use.is_running or (use.overlay and size < now)),
            next_step="While its guest runs, use guest.disks[...].resize()",
        )
        flags = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK if size < now else 0
        words = self._words("vol-resize", f"{size}B", "--shrink" if flags else None)
        with self._doing(*words):
            self._libvirt.resize(size, flags)

    def clone(
        self,
        name: str,
        *,
        pool: Pool | None = None,
        progress: Progress | None = None,
    ) -> Volume:
        """Copy the volume into a new one, which nothing is below.

        What an overlay's backing images hold comes along.

        Args:
            name: the file name of the new one.
            pool: where it shall be, if not in the same pool.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidName: that can't be a file name.
            VolumeAlreadyExists: the name is taken.
            InUse: a running guest is writing to the volume.
            BackingMissing: it is an overlay, and a file below it is gone.
            NotEnoughDisk: the pool has less room than the volume takes.
            NotSupported: it is encrypted, and libvirt tells nobody its passphrase.

        Example:
            >>> volume.clone("copy.qcow2")
            <Volume copy.qcow2 in default>
        """
        target = pool or self.pool
        spec = self.spec
        if spec.encryption:
            raise NotSupported(
                f"volume {self.name!r} is encrypted, and libvirt tells nobody its passphrase",
                next_step="Create another one with a passphrase, and copy the data in a guest",
            )
        self._refuse_if_used(
            "cloned",
            but=lambda use: not (use.is_running and use.is_exclusive),
            next_step="Shut the guest down first, or copy its disk: guest.disks[...].copy()",
        )
        chain = self.chain()
        wanted = replace(spec, name=name, backing_path=None, backing_format=None)
        taken = sum(link.allocation_bytes for link in chain)
        target.volumes.check_new(wanted, needs_bytes=taken)
        with self._together("clone"):
            return self._cloned(wanted, target, max(taken, 1), progress)

    def _cloned(
        self, wanted: VolumeSpec, pool: Pool, taken: int, progress: Progress | None
    ) -> Volume:
        log, xml = self.lab.virsh_log, wanted.to_xml()
        command = log.virsh(*self._words("vol-clone", wanted.name))
        if pool.name != self.pool.name:
            words = ("vol-create-from", pool.name, "/dev/stdin", self.name)
            command = feed(log.virsh(*words, "--inputpool", self.pool.name), xml)
        with pool._running(command, f"clone {self.name}"):
            return self._copied(xml, wanted.name, pool, taken, progress)

    def _copied(
        self, xml: str, name: str, pool: Pool, taken: int, progress: Progress | None
    ) -> Volume:
        doing = f"clone {self.name}"
        with ThreadPoolExecutor(1, thread_name_prefix="kvmlab-clone") as helper:
            job = helper.submit(pool._libvirt.createXMLFrom, xml, self._libvirt, 0)
            try:
                while progress and not wait([job], timeout=_TELL_EVERY_S).done:
                    progress(doing, min(_allocated(pool, name) / taken, 1.0))
                made = Volume(pool, job.result())
                if progress:
                    progress(doing, 1.0)
            except BaseException:
                if job.exception() is None:  # libvirt can't be stopped in the middle of it
                    job.result().delete()
                raise
        return made

    def delete(self) -> None:
        """Remove the volume and all that is in it; of an encrypted one, its passphrase too.

        Raises:
            InUse: a guest has it, or a snapshot, or another volume is an overlay on it.

        Example:
            >>> volume.delete()
        """
        self._refuse_if_used("deleted", next_step="Delete or detach what is named here first")
        self._delete()

    def _delete(self) -> None:
        """Remove it, whoever uses it: for those who are about to remove the user, too."""
        with self._together("delete"):
            path = self._libvirt.path()
            encrypted = self._spec().encryption
            with self._doing(*self._words("vol-delete")):
                self._libvirt.delete()
            if encrypted:
                forget_passphrase(self.lab, path)

    def __repr__(self) -> str:
        return f"<Volume {self.name} in {self.pool.name}>"


def _allocated(pool: Pool, name: str) -> int:
    """Return how much room a volume that is being made has taken already."""
    try:
        return int(pool._libvirt.storageVolLookupByName(name).info()[2])
    except libvirt.libvirtError:
        return 0  # it is not there yet, or just not to be asked
