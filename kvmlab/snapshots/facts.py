"""What a snapshot tells of itself, and of the guest that was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import libvirt

from kvmlab.errors import KvmlabError, NotSupported, SnapshotNotFound, WrongState
from kvmlab.handle import Handle
from kvmlab.specs import SnapshotSpec
from kvmlab.virsh import Commands

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle


class SnapshotFacts(Handle):
    """The part of a snapshot that only tells."""

    def __init__(self, guest: GuestHandle, found: Any) -> None:
        self.lab = guest.lab
        self.guest = guest
        self.name = found.getName()
        self._libvirt = found
        self.virsh = Commands()

    @property
    def spec(self) -> SnapshotSpec:
        """The snapshot's XML as a dataclass.

        Example:
            >>> web.snapshots["clean"].spec.disks[0].name
            'vda'
        """
        with self._doing("snapshot-dumpxml", self.guest.name, self.name, question=True):
            return SnapshotSpec.from_xml(self._libvirt.getXMLDesc())

    @property
    def description(self) -> str:
        """What a person had to say on it.

        Example:
            >>> web.snapshots["clean"].description
            'before the update'
        """
        return self.spec.description or ""

    @property
    def kind(self) -> str:
        """Where it is kept: "internal" (in the disks' own files) or "external" (in others).

        Example:
            >>> web.snapshots["clean"].kind
            'internal'
        """
        return self.spec.kind

    @property
    def has_memory(self) -> bool:
        """Whether the guest's memory is a part of it.

        Example:
            >>> web.snapshots["clean"].has_memory
            True
        """
        return self.spec.has_memory

    @property
    def state(self) -> str:
        """The guest's state when it was taken: "running", "paused" or "shutoff".

        "disk-snapshot" where the guest ran and its memory was left out.

        Example:
            >>> web.snapshots["clean"].state
            'running'
        """
        return self.spec.state or "shutoff"

    @property
    def created(self) -> datetime:
        """When it was taken.

        Example:
            >>> web.snapshots["clean"].created.isoformat()
            '2026-11-24T08:15:00+00:00'
        """
        return datetime.fromtimestamp(self.spec.created_s or 0, tz=UTC)

    @property
    def parent(self) -> Self | None:
        """The snapshot that it was taken after; ``None`` if there was none.

        Example:
            >>> web.snapshots["update"].parent
            <Snapshot clean of web>
        """
        name = self.spec.parent
        if name is None:
            return None
        with self._explained(f"look for {name}, the parent of"):
            return type(self)(self.guest, self.guest._libvirt.snapshotLookupByName(name))

    @property
    def children(self) -> tuple[Self, ...]:
        """The snapshots that were taken after it, in the order of their names.

        Example:
            >>> web.snapshots["clean"].children
            (<Snapshot update of web>,)
        """
        with self._doing("snapshot-list", self.guest.name, "--from", self.name, question=True):
            found = [type(self)(self.guest, each) for each in self._libvirt.listAllChildren()]
        return tuple(sorted(found, key=lambda each: each.name))

    @property
    def is_current(self) -> bool:
        """Whether the guest's disks are what became of this one, and of no later one.

        Example:
            >>> web.snapshots["clean"].is_current
            True
        """
        with self._doing("snapshot-current", self.guest.name, "--name", question=True):
            return bool(self._libvirt.isCurrent())

    def _spec(self) -> SnapshotSpec:
        return SnapshotSpec.from_xml(self._libvirt.getXMLDesc())

    def _explain(self, error: libvirt.libvirtError, doing: str) -> KvmlabError:
        problem = super()._explain(error, doing)
        if isinstance(problem, SnapshotNotFound):
            return SnapshotNotFound(
                f"{doing}: the snapshot is no longer there",
                next_step="list(guest.snapshots) names those that are",
            )
        if error.get_error_code() == libvirt.VIR_ERR_SNAPSHOT_REVERT_RISKY:
            return WrongState(
                problem.happened, next_step="If that is what you want: revert(force=True)"
            )
        if "Invalid target domain state 'disk-snapshot'" in problem.happened:
            return NotSupported(
                f"{doing}: this libvirt reverts to external snapshots, but not to one that was "
                "taken of a running guest without its memory",
                seen="disk-snapshot",
                next_step="Use libvirt 11, or keep the memory, too",
            )
        if isinstance(problem, NotSupported) and doing.startswith("delete"):
            return NotSupported(
                problem.happened,
                next_step="Delete those that were taken after it first, or go back to one of them",
            )
        return problem

    def __repr__(self) -> str:
        return f"<Snapshot {self.name} of {self.guest.name}>"
