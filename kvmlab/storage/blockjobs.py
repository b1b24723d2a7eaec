"""Changing the backing chain of a guest's disk: commit and pull, under a running guest.

libvirt's block jobs, as https://libvirt.org/kbase/live_full_disk_backup.html and
https://www.qemu.org/docs/master/interop/live-block-operations.html tell of them. What the
guest sees never changes. While the guest is off, ``qemu-img`` does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import InvalidArgument
from kvmlab.storage import qemuimg
from kvmlab.storage.chains import Link, chain_of, index_of, refuse_commit
from kvmlab.storage.contents import Progress
from kvmlab.storage.diskhandle import DiskHandle
from kvmlab.storage.jobwatch import JobWatch
from kvmlab.storage.owned import adopt, refresh_around, refuse_removal, remove_files
from kvmlab.storage.usage import Use, refuse_if_it_holds_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOB_S = 3600.0  # how long a job may take: a full disk, on a slow host


class BlockJobs(DiskHandle):
    """The part of a disk that is its place in a backing chain."""

    def chain(self) -> tuple[Link, ...]:
        """Return the files the disk consists of: the one that is written to, down to the base.

        Raises:
            BackingMissing: one of them is not there.
            VolumeNotFound: the disk is in no file.

        Example:
            >>> [link.name for link in web.disks["vda"].chain()]
            ['web.qcow2', 'kvmlab-tiny-3fa9c2d17b60.qcow2']
        """
        with self._explained(f"read the chain of {self.target}"):
            return chain_of(self.lab, self._path())

    def commit(
        self,
        *,
        top: str | None = None,
        base: str | None = None,
        delete: bool = False,
        progress: Progress | None = None,
        timeout_s: float = JOB_S,
    ) -> tuple[Link, ...]:
        """Write what overlays hold into the file below them, which takes their place.

        Args:
            top: the overlay, by its file name or path; without it, the one that is written to.
            base: what it is written into; without it, the file just below.
            delete: remove the files that are of no more use then.
            progress: is called with what is being done, and how much of it is done (0 to 1).
            timeout_s: how long it may take.

        Returns:
            The chain, as it is then.

        Raises:
            InvalidArgument: no such file in the chain, or the base is not below the top.
            InUse: others need the base as it is: another guest, an overlay, a snapshot; or
                it is an image that further guests shall be made from.
            BackingMissing: a file of the chain is not there.
            NotSupported: the guest is off, and libvirt is on another machine.
            TimedOut: it took too long; all is as it was.

        Example:
            >>> [link.name for link in web.disks["vda"].chain()]
            ['top.qcow2', 'web.qcow2', 'kvmlab-tiny-3fa9c2d17b60.qcow2']
            >>> [link.name for link in web.disks["vda"].commit(delete=True)]
            ['web.qcow2', 'kvmlab-tiny-3fa9c2d17b60.qcow2']
        """
        return self._commit(top, base, delete, progress, timeout_s, lambda _: False)

    def _commit(
        self,
        top: str | None,
        base: str | None,
        delete: bool,
        progress: Progress | None,
        timeout_s: float,
        but: Callable[[Use], bool],
    ) -> tuple[Link, ...]:
        """Commit; ``but`` tells which uses of the base do not matter."""
        chain = self.chain()
        first = index_of(chain, top) if top else 0
        last = index_of(chain, base) if base else first + 1
        refuse_commit(self.lab, chain, first, last, guest=self.guest.name, but=but)
        if delete:
            refuse_removal(self.lab, chain[first:last], above=chain[:first], guest=self.guest.name)
        doing = f"commit {chain[first].name}"
        with self._together("commit"):
            if self._is_running():
                self._commit_live(chain, first, last, doing, progress, timeout_s)
            else:
                self._commit_offline(chain, first, last, doing, progress)
            if first == 0:
                adopt(self.guest, chain, chain[last].path)
            refresh_around(self.lab, chain)
            if delete:
                remove_files(self.lab, chain[first:last])
        return self.chain()

    def _commit_live(
        self,
        chain: Sequence[Link],
        first: int,
        last: int,
        doing: str,
        progress: Progress | None,
        timeout_s: float,
    ) -> None:
        top, base = chain[first].path, chain[last].path
        active = first == 0
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if active else 0
        words = ["--base", base, *([] if active else ["--top", top])]
        words += ["--active", "--pivot"] if active else ["--wait"]
        with (
            JobWatch(self, doing, progress, timeout_s) as job,
            self._doing("blockcommit", self.guest.name, self.target, *words),
        ):
            self._libvirt.blockCommit(self.target, base, top, 0, flags)
            job.wait(pivot=active)

    def _commit_offline(
        self,
        chain: Sequence[Link],
        first: int,
        last: int,
        doing: str,
        progress: Progress | None,
    ) -> None:
        top, base = chain[first], chain[last]
        words = ("commit", "-f", top.format, "-b", base.path, "-d", top.path)
        qemuimg.run(self.lab, *words, doing=doing, progress=progress)
        if first == 0:
            self._write_to(base.path, base.format)
        else:
            above = chain[first - 1].path
            qemuimg.run(self.lab, "rebase", "-u", "-b", base.path, "-F", base.format, above)

    def pull(
        self,
        *,
        base: str | None = None,
        progress: Progress | None = None,
        timeout_s: float = JOB_S,
    ) -> tuple[Link, ...]:
        """Copy what the files below hold into the one that is written to.

        Args:
            base: down to which file, by its name or path, which stays below; without it,
                all of them, and the disk stands alone.
            progress: is called with what is being done, and how much of it is done (0 to 1).
            timeout_s: how long it may take.

        Returns:
            The chain, as it is then.

        Raises:
            InvalidArgument: no such file in the chain, or nothing is to be pulled.
            InUse: an internal snapshot is kept in the disk's file.
            BackingMissing: a file of the chain is not there.
            NotEnoughDisk: the guest is off, and the pool has no room.
            NotSupported: the guest is off, and libvirt is on another machine.
            TimedOut: it took too long; the chain is as it was.

        Example:
            >>> [link.name for link in web.disks["vda"].pull()]
            ['web.qcow2']
        """
        chain = self.chain()
        keep = chain[index_of(chain, base)] if base else None
        if len(chain) < 2 or keep in chain[:2]:
            raise InvalidArgument(
                f"there is nothing to pull into {chain[0].name}",
                seen=[link.name for link in chain],
                next_step="Choose a base further down, or none",
            )
        what = f"nothing can be pulled into {chain[0].name!r}"
        refuse_if_it_holds_snapshots(self.lab, [chain[0].path], what)
        doing = f"pull into {chain[0].name}"
        with self._together("pull"):
            if self._is_running():
                words = [*(["--base", keep.path] if keep else []), "--wait"]
                with (
                    JobWatch(self, doing, progress, timeout_s) as job,
                    self._doing("blockpull", self.guest.name, self.target, *words),
                ):
                    self._libvirt.blockRebase(self.target, keep and keep.path, 0, 0)
                    job.wait()
            else:
                onto = ["-b", keep.path, "-F", keep.format] if keep else ["-b", ""]
                words = ["rebase", "-f", chain[0].format, *onto, chain[0].path]
                qemuimg.run(self.lab, *words, doing=doing, progress=progress)
            adopt(self.guest, chain, chain[0].path)
            refresh_around(self.lab, chain)
        return self.chain()

    def flatten(
        self, *, progress: Progress | None = None, timeout_s: float = JOB_S
    ) -> tuple[Link, ...]:
        """Pull all there is below, so that the disk stands alone; errors are those of `pull`.

        Example:
            >>> web.disks["vda"].flatten()
            (Link(path='/var/lib/libvirt/images/web.qcow2', format='qcow2', ...),)
        """
        return self.pull(progress=progress, timeout_s=timeout_s)
