"""What a volume stands on: reading its backing chain, and changing it while no guest runs.

libvirt changes the chains of running guests (`Disk.commit`, `Disk.pull`); for others it has
no call, and ``qemu-img`` does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.errors import InvalidArgument, NotSupported
from kvmlab.storage import qemuimg
from kvmlab.storage.chains import Link, chain_of, refuse_commit
from kvmlab.storage.contents import Progress, VolumeHandle
from kvmlab.storage.usage import refuse_if_it_holds_snapshots

if TYPE_CHECKING:
    from kvmlab.storage.volume import Volume


class Overlay(VolumeHandle):
    """The part of a volume that is its place in a backing chain."""

    def chain(self) -> tuple[Link, ...]:
        """Return the volume and what is below it, down to the base.

        Raises:
            BackingMissing: a file of the chain is not there.

        Example:
            >>> [link.name for link in volume.chain()]
            ['web.qcow2', 'kvmlab-tiny-3fa9c2d17b60.qcow2']
        """
        with self._explained(f"read the chain of {self.name}"):
            return chain_of(self.lab, self._libvirt.path())

    def commit(self, *, progress: Progress | None = None) -> None:
        """Write what the overlay holds into the file below, which has it all then.

        The overlay stays, and is of no more use: `delete` it. For a guest that runs, and for
        the disk of one that is off, `Disk.commit` does it.

        Args:
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: it is no overlay.
            InUse: a guest has it, or what is below is used by others too.
            BackingMissing: what is below is not there.
            NotSupported: libvirt is on another machine.

        Example:
            >>> overlay.commit()
            >>> overlay.delete()
        """
        self._refuse_if_used("committed", next_step="Use guest.disks[...].commit()")
        chain = self.chain()
        refuse_commit(self.lab, chain, 0, 1)
        with self._together("commit"):
            words = ("commit", "-f", chain[0].format, "-d", chain[0].path)
            qemuimg.run(self.lab, *words, doing=f"commit {self.name}", progress=progress)
            self.pool.refresh()

    def flatten(self, *, progress: Progress | None = None) -> None:
        """Copy what the files below hold into the volume, so that it needs none of them.

        What the guest sees in it does not change. `Disk.flatten` does it while a guest runs.

        Args:
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: it is no overlay.
            InUse: a guest runs with it, or an internal snapshot is kept in it.
            BackingMissing: a file below is not there.
            NotEnoughDisk: the pool has no room for all that.
            NotSupported: libvirt is on another machine.

        Example:
            >>> overlay.flatten()
            >>> len(overlay.chain())
            1
        """
        self._rebase(None, "flattened", progress)

    def rebase(self, onto: Volume, *, copy: bool = True, progress: Progress | None = None) -> None:
        """Put the overlay on another file.

        Args:
            onto: what it shall be an overlay on.
            copy: copy into it whatever differs between the old chain and the new one, so
                that the guest sees the same as before. With False, only the name of the file
                below is written: right if that was moved, and a broken disk otherwise.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: it is no overlay, or would stand on itself.
            InUse: a guest runs with it, or an internal snapshot is kept in it.
            BackingMissing: a file of the old chain is not there, and ``copy`` needs it.
            NotSupported: libvirt is on another machine.

        Example:
            >>> overlay.rebase(moved, copy=False)
        """
        self._rebase(onto, "rebased", progress, copy=copy)

    def _rebase(
        self, onto: Volume | None, done: str, progress: Progress | None, *, copy: bool = True
    ) -> None:
        with self._explained(f"rebase {self.name}"):
            path, spec = self._libvirt.path(), self._spec()
        if spec.backing_path is None:
            raise InvalidArgument(
                f"volume {self.name!r} is no overlay",
                seen=spec.format,
                next_step="volume.chain() tells what stands on what",
            )
        if spec.encryption:
            raise NotSupported(
                f"volume {self.name!r} is encrypted, and libvirt tells nobody its passphrase"
            )
        if onto is not None and path in {link.path for link in onto.chain()}:
            raise InvalidArgument(
                f"volume {self.name!r} can't stand on itself",
                seen=onto.name,
                next_step="Choose a volume that is not above it",
            )
        self._refuse_if_used(
            done,
            but=lambda use: not use.is_running,
            next_step="While its guest runs, use guest.disks[...].pull()",
        )
        if copy:
            refuse_if_it_holds_snapshots(self.lab, [path], f"volume {self.name!r} can't be {done}")
            self.chain()  # what is missing is named better here
        words = ["rebase", *([] if copy else ["-u"]), "-b", onto.path if onto else ""]
        if onto is not None:
            words += ["-F", onto.spec.format or "raw"]
        with self._together("rebase"):
            doing = f"rebase {self.name}"
            qemuimg.run(self.lab, *words, path, doing=doing, progress=progress)
            self.pool.refresh()
