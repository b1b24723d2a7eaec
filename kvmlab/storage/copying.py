"""Copying a guest's disk into a new volume, under a running guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from kvmlab import specs
from kvmlab.specs import VolumeSpec
from kvmlab.storage.blockjobs import JOB_S, BlockJobs
from kvmlab.storage.contents import Progress
from kvmlab.storage.jobwatch import JobWatch
from kvmlab.storage.owned import adopt
from kvmlab.storage.usage import refuse_if_it_holds_snapshots
from kvmlab.storage.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmlab.storage.chains import Link
    from kvmlab.storage.pools import Pool


class Copies(BlockJobs):
    """The part of a disk that copies of it are made by."""

    def copy(
        self,
        name: str,
        *,
        pool: Pool | None = None,
        pivot: bool = False,
        progress: Progress | None = None,
        timeout_s: float = JOB_S,
    ) -> Volume:
        """Copy the disk, as the guest sees it at the end of copying, into a new volume.

        Nothing is below the copy. A copy of a running guest's disk is what its disk would be
        after a power cut at that moment.

        Args:
            name: the file name of the copy, which has the format of the disk.
            pool: where it shall be; without it, where the disk is.
            pivot: let the guest go on with the copy, and not with what it had.
            progress: is called with what is being done, and how much of it is done (0 to 1).
            timeout_s: how long it may take.

        Raises:
            InvalidName: that can't be a file name.
            VolumeAlreadyExists: the name is taken.
            InUse: with ``pivot``, an internal snapshot is kept in the disk's file.
            NotEnoughDisk: the pool has less room than that.
            TimedOut: it took too long; no copy is left.

        Example:
            >>> web.disks["vda"].copy("backup.qcow2")
            <Volume backup.qcow2 in default>
        """
        chain = self.chain()
        if pivot:
            what = f"the guest can't go on with a copy of {chain[0].name!r}"
            refuse_if_it_holds_snapshots(self.lab, [chain[0].path], what)
        pool = pool or self._volume().pool
        with self._together("copy"):
            if self._is_running():
                self._copy_live(chain, name, pool, pivot, progress, timeout_s)
            else:
                self._volume().clone(name, pool=pool, progress=progress)
            made = pool.volumes[name]
            if pivot:
                if not self._is_running():
                    self._write_to(made.path, chain[0].format)
                adopt(self.guest, chain, made.path)
        return made

    def _copy_live(
        self,
        chain: Sequence[Link],
        name: str,
        pool: Pool,
        pivot: bool,
        progress: Progress | None,
        timeout_s: float,
    ) -> None:
        top = chain[0]
        spec = VolumeSpec(name=name, capacity_bytes=top.capacity_bytes, format=top.format)
        needs = min(sum(link.allocation_bytes for link in chain), top.capacity_bytes)
        pool.volumes.check_new(spec, needs_bytes=needs)
        path = f"{pool.path}/{name}"
        xml = specs.Disk(path=path, format=top.format, target=self.target).to_xml()
        words = ("--dest", path, "--format", top.format, "--transient-job", "--wait")
        end = "--pivot" if pivot else "--finish"
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB  # it ends with the guest
        try:
            with (
                JobWatch(self, f"copy {top.name}", progress, timeout_s) as job,
                self._doing("blockcopy", self.guest.name, self.target, *words, end),
            ):
                self._libvirt.blockCopy(self.target, xml, {}, flags)
                job.wait(pivot=pivot, finish=not pivot)
        except BaseException:
            pool.refresh()
            if self._path() == path:  # too late: the guest writes to the copy already
                adopt(self.guest, chain, path)
            elif name in pool.volumes:
                pool.volumes[name]._delete()
            raise
        pool.refresh()
