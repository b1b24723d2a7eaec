"""A guest's snapshots: taking them, finding them, the tree they are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import SnapshotNotFound
from kvmlab.handle import Collection
from kvmlab.snapshots.files import Files
from kvmlab.snapshots.plan import Kind, Plan, Subject, draw_up
from kvmlab.snapshots.snapshot import Snapshot
from kvmlab.snapshots.steps import paused_explained
from kvmlab.snapshots.tree import SnapshotNode, lines, specs_of, tree_of
from kvmlab.specs import Firmware, GuestSpec
from kvmlab.storage.volumes import Progress
from kvmlab.virsh import Commands
from kvmlab.waiting import meanwhile

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle


class Snapshots(Collection[Snapshot]):
    """The snapshots of a guest, by name.

    Example:
        >>> web.snapshots.create("clean", description="before the update")
        <Snapshot clean of web>
        >>> web.snapshots
        clean (internal, with memory): before the update <- you are here
    """

    _noun = "snapshot"
    _missing = SnapshotNotFound

    def __init__(self, guest: GuestHandle) -> None:
        super().__init__(guest.lab)
        self._guest = guest

    def create(
        self,
        name: str,
        description: str = "",
        *,
        kind: Kind | None = None,
        memory: bool | None = None,
        quiesce: bool = False,
        mixed: bool = False,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Keep the guest as it is now, to go back to with `Snapshot.revert`.

        An *internal* snapshot is kept in the disks' own files, which must be qcow2; with it
        goes the memory of a guest that runs, and the guest stands still meanwhile. An
        *external* one leaves the disks' files as they are from now on, and has the guest
        write to new ones beside them; memory goes to a file of its own. Disks that are
        read-only are left out. A snapshot is no backup: it is of no use without the disk.

        Args:
            name: 1 to 63 letters, digits, "-", "_" and ".", not digits alone.
            description: one line on what it is for.
            kind: "internal" or "external"; without it, the kind of those there are, and
                else internal where that is possible.
            memory: keep the memory, so that the guest goes on from there after a revert;
                without a word, if the guest runs. Without memory, disks are as if the plug
                had been pulled.
            quiesce: have the agent write everything out and hold the file systems still
                for the moment; for an external snapshot without memory.
            mixed: take it though there are snapshots of the other kind.
            progress: is called with what is being done, and how much of it is done (0 to
                1); QEMU tells of external memory only.

        Raises:
            InvalidName: that can't be the name of a snapshot.
            InvalidArgument: another value makes no sense.
            SnapshotAlreadyExists: the name is taken.
            NotSupported: this guest can have no such snapshot; the message says why.
            WrongState: it has a managed save, or snapshots of the other kind.
            GuestNotRunning: it has no memory to keep, and nothing to quiesce.
            AgentUnavailable: there is no agent to quiesce.
            NotEnoughDisk: the host has no room.

        Example:
            >>> web.snapshots.create("clean", description="before the update")
            <Snapshot clean of web>
        """
        guest, domain = self._guest, self._guest._libvirt
        with guest._together("take a snapshot of"):
            plan = self._plan(
                name,
                description=description,
                kind=kind,
                memory=memory,
                quiesce=quiesce,
                mixed=mixed,
            )
            text = plan.spec.to_xml()
            with paused_explained(guest), guest._doing(*plan.words):
                take = partial(domain.snapshotCreateXML, text, plan.flags)
                found = meanwhile(
                    take, partial(_tell, domain, name, progress) if progress else None
                )
        snapshot = Snapshot(guest, found)
        snapshot.virsh = guest.virsh
        return snapshot

    def preview(self, name: str, description: str = "", **choices: Any) -> Commands:
        """Return the command that `create` would have done; nothing is made.

        Args:
            name: as for `create`, and so are all others.
            description: see there.
            choices: see there.

        Raises:
            KvmlabError: what `create` would have raised before it made anything.

        Example:
            >>> web.snapshots.preview("clean")
            virsh snapshot-create-as web clean
        """
        log = self._lab.virsh_log
        with log.action(question=True), self._guest._explained("plan a snapshot of"):
            plan = self._plan(name, description=description, **choices)
        return Commands(log.virsh(*plan.words))

    @property
    def current(self) -> Snapshot | None:
        """The snapshot that the guest's disks now are a continuation of, if there is one.

        Example:
            >>> web.snapshots.current
            <Snapshot clean of web>
        """
        guest = self._guest
        with guest._doing("snapshot-current", guest.name, "--name", question=True):
            if not guest._libvirt.hasCurrentSnapshot():
                return None
            return self._handle(guest._libvirt.snapshotCurrent())

    def tree(self) -> tuple[SnapshotNode, ...]:
        """Return all snapshots as plain data: those without a parent, with their children.

        Example:
            >>> web.snapshots.tree()[0].children[0].name
            'update'
        """
        guest = self._guest
        with guest._doing("snapshot-list", guest.name, "--tree", question=True):
            domain = guest._libvirt
            specs = specs_of(guest)
            has_current = specs and domain.hasCurrentSnapshot()
            return tree_of(specs, domain.snapshotCurrent().getName() if has_current else None)

    def _plan(self, name: str, *, kind: Kind | None = None, **choices: Any) -> Plan:
        return draw_up(self._subject(), name, kind=kind, **choices)

    def _subject(self) -> Subject:
        guest, domain = self._guest, self._guest._libvirt
        told = ET.fromstring(domain.XMLDesc())
        spec = GuestSpec.from_element(told)
        paths = [disk.path for disk in spec.disks if disk.path and not disk.readonly]
        return Subject(
            name=guest.name,
            state=guest._state(),
            disks=spec.disks,
            firmware=next(iter(Firmware.all_in(told)), Firmware()),
            has_managed_save=bool(domain.hasManagedSaveImage()),
            has_agent=any(channel.state == "connected" for channel in spec.channels),
            snapshots=tuple(specs_of(guest).values()),
            libvirt_version=self._lab.connection.getLibVersion(),
            taken=lambda: Files(self._lab, paths).paths,
        )

    def _all(self) -> list[Any]:
        return list(self._guest._libvirt.listAllSnapshots())

    def _lookup(self, name: str) -> Any:
        return self._guest._libvirt.snapshotLookupByName(name)

    def _handle(self, found: Any) -> Snapshot:
        return Snapshot(self._guest, found)

    def __repr__(self) -> str:
        return "\n".join(lines(self.tree())) or "<no snapshots>"


def _tell(domain: Any, name: str, progress: Progress) -> None:
    """Tell how much of the memory is written."""
    with suppress(libvirt.libvirtError):  # it is over, or has not begun
        if (job := domain.jobStats()) and (total := job.get("memory_total")):
            progress(f"take snapshot {name}", job.get("memory_processed", 0) / total)
