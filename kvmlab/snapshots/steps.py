"""What takes several steps: each with the shell command that does the same, and its undoing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.errors import LibvirtFailed, WrongState
from kvmlab.virsh import Commands

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle
    from kvmlab.snapshots.facts import SnapshotFacts

_LET_GO = re.compile(
    "Block node is read-only|paused due to previous migration|Inactive '.*' can't be a backing"
)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        command: the shell command that does the same.
        do: does it.
        undo: takes it back, if a later step fails.
        is_last_way_back: from here on nothing is taken back.

    Example:
        >>> Step("virsh destroy web", domain.destroy).undo is None
        True
    """

    command: str
    do: Callable[[], object]
    undo: Callable[[], object] | None = None
    is_last_way_back: bool = False


def carry_out(snapshot: SnapshotFacts, steps: Iterable[Step], doing: str) -> None:
    """Do one step after the other; where one fails, take back those before it.

    Raises:
        KvmlabError: a step failed.

    Example:
        >>> carry_out(web.snapshots["clean"], steps, "revert web")
    """
    log = snapshot.lab.virsh_log
    with ExitStack() as undo, paused_explained(snapshot.guest):
        for step in steps:
            with snapshot._running(step.command, doing), log.action(question=True):
                step.do()
            if step.undo:
                undo.callback(step.undo)
            if step.is_last_way_back:
                undo.pop_all()
        undo.pop_all()


@contextmanager
def paused_explained(guest: GuestHandle) -> Iterator[None]:
    """Explain why QEMU can't work with the disks of a guest.

    When QEMU has written the memory of a paused guest to a file, it lets go of the disks, as
    if the guest had gone to another host, and takes them up again when the guest runs on.

    Raises:
        WrongState: that is the reason.

    Example:
        >>> with paused_explained(web):
        ...     domain.snapshotCreateXML(xml)
    """
    try:
        yield
    except LibvirtFailed as problem:
        if not _LET_GO.search(problem.happened):
            raise
        raise WrongState(
            f"guest {guest.name!r} was paused when its memory was written to a file, and QEMU "
            "has let go of its disks until it runs on",
            next_step="Resume it first: guest.resume()",
        ) from problem


def told(steps: Iterable[Step]) -> Commands:
    """Return the commands of some steps.

    Example:
        >>> told(steps)
        virsh destroy web
    """
    return Commands("\n".join(step.command for step in steps))
