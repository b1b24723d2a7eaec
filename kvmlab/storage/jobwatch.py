"""Following a block job of libvirt's to its end."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import libvirt

from kvmlab.errors import GuestNotRunning, LibvirtFailed, TimedOut

if TYPE_CHECKING:
    from kvmlab.storage.contents import Progress
    from kvmlab.storage.diskhandle import DiskHandle

_TELL_EVERY_S = 0.25  # how often it is told how far a job is; libvirt has no event for that


class JobWatch:
    """Watches one disk's block job from before it starts; a job that is left is cancelled.

    Args:
        disk: whose job.
        doing: what it does, in words.
        progress: is called with that, and how much of it is done (0 to 1).
        timeout_s: how long it may take.

    Example:
        >>> with JobWatch(disk, "pull", None, 60) as job:
        ...     domain.blockPull("vda")
        ...     job.wait()
    """

    def __init__(
        self, disk: DiskHandle, doing: str, progress: Progress | None, timeout_s: float
    ) -> None:
        self._disk, self._doing, self._progress = disk, doing, progress
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._watch = disk.lab.events.watch(guest=disk.guest.name)

    def wait(self, *, pivot: bool = False, finish: bool = False) -> None:
        """Wait for the end of the job.

        Args:
            pivot: it does not end by itself: when it is ready, the guest goes on with
                what it has made.
            finish: neither does this one: when it is ready, it has made a copy.

        Raises:
            GuestNotRunning: the guest stopped.
            LibvirtFailed: the job failed, or somebody cancelled it.
            TimedOut: it took too long.
        """
        domain, target = self._disk._libvirt, self._disk.target
        ended = self._next("ready", "completed") if pivot or finish else self._next("completed")
        if ended == "ready":
            # Both wait for the last writes to be in both files.
            domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT if pivot else 0)
            self._next("completed", "canceled") if finish else self._next("completed")
        if self._progress:
            self._progress(self._doing, 1.0)

    def _next(self, *wanted: str) -> str:
        """Wait until the job is what was wanted; tell how far it is meanwhile."""
        target, guest = self._disk.target, self._disk.guest.name
        while True:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise TimedOut(f"{self._doing} took longer than {self._timeout_s:g} s")
            try:
                event = self._watch.next(min(left_s, _TELL_EVERY_S) if self._progress else left_s)
            except TimedOut:
                self._tell()
                continue
            if event.kind == "stopped":
                raise GuestNotRunning(f"{self._doing}: guest {guest!r} stopped meanwhile")
            about, _, state = event.detail.rpartition(" ")
            if event.kind != "block job" or about != target:
                continue
            if state in wanted:
                return state
            if state in ("failed", "canceled"):
                raise LibvirtFailed(
                    f"{self._doing}: the block job of {target} {state}",
                    next_step=f"QEMU's own words are in /var/log/libvirt/qemu/{guest}.log; "
                    "often the file system is full",
                )

    def _tell(self) -> None:
        with suppress(libvirt.libvirtError):
            told = self._disk._libvirt.blockJobInfo(self._disk.target)
            if self._progress and told and told.get("end"):
                self._progress(self._doing, min(told["cur"] / told["end"], 1.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.close()
        if error is not None:
            with suppress(libvirt.libvirtError):  # most often there is none any more
                if self._disk._libvirt.blockJobInfo(self._disk.target):
                    self._disk._libvirt.blockJobAbort(self._disk.target)
