"""One snapshot: the way back to it, and forgetting it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import InvalidArgument, NotSupported, WrongState
from kvmlab.snapshots.books import put_right
from kvmlab.snapshots.delete import merges_for, steps_to_delete
from kvmlab.snapshots.facts import SnapshotFacts
from kvmlab.snapshots.files import files_of
from kvmlab.snapshots.revert import steps_to_revert
from kvmlab.snapshots.steps import Step, carry_out, told
from kvmlab.snapshots.tree import Children, doomed_by, specs_of
from kvmlab.specs import GuestSpec, SnapshotSpec
from kvmlab.storage.volumes import Progress
from kvmlab.virsh import Commands
from kvmlab.waiting import attempts

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

_DELETE = {
    "keep": (0, None),
    "remove": (libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN, "--children"),
    "only": (libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY, "--children-only"),
}

# libvirt itself calls a snapshot without a name by the seconds since 1970; no disk holds as
# many snapshots as that.
_SURELY_NO_NUMBER = 10**8

_A_SECOND_S = 2.0


class Snapshot(SnapshotFacts):
    """A snapshot of a guest: its disks, and its memory if it ran, as they were.

    It is a live handle: what it tells is read from libvirt when it is asked.

    Attributes:
        guest: the guest.
        name: the snapshot's name.
        virsh: the commands that do the same as what was last done with it.

    Example:
        >>> web.snapshots["clean"].revert()
    """

    def revert(self, *, running: bool = False, paused: bool = False, force: bool = False) -> None:
        """Make the guest what it was when the snapshot was taken.

        **What its disks and its memory have become since is lost**, unless a later snapshot
        keeps it; the snapshots themselves all stay. Its definition goes back, too. A guest
        whose memory is in the snapshot goes on from there; any other is off then, its disks
        as if its plug had been pulled.

        Args:
            running: let it run then, whatever it did.
            paused: leave it paused then, whatever it did.
            force: throw away a managed save, which belongs to the disks as they are now,
                and go on where libvirt would rather not.

        Raises:
            InvalidArgument: both running and paused.
            SnapshotNotFound: it was deleted meanwhile.
            WrongState: it has a managed save, or libvirt finds it risky.
            VolumeNotFound: a file of the snapshot is gone.
            NotSupported: its files are in no storage pool.

        Example:
            >>> web.run("rm -r /etc")
            >>> web.snapshots["clean"].revert()
        """
        with self._together("revert to"):
            self._spec()  # or it is gone
            steps = self._steps_to_revert(running=running, paused=paused, force=force)
            carry_out(self, steps, f"revert {self.guest.name} to {self.name}")

    def preview_revert(
        self, *, running: bool = False, paused: bool = False, force: bool = False
    ) -> Commands:
        """Return the commands that `revert` would have done; nothing happens.

        Args:
            running: as for `revert`, and so are all others.
            paused: see there.
            force: see there.

        Raises:
            KvmlabError: what `revert` would have raised before it did anything.

        Example:
            >>> web.snapshots["clean"].preview_revert()
            virsh snapshot-revert web clean
        """
        with self._looking("revert to"):
            return told(self._steps_to_revert(running=running, paused=paused, force=force))

    def _steps_to_revert(self, *, running: bool, paused: bool, force: bool) -> list[Step]:
        if running and paused:
            raise InvalidArgument(
                "a guest can't run and be paused",
                seen="running=True, paused=True",
                next_step="Ask for one of them",
            )
        steps = self._steps_to_clear_managed_save(force=force)
        afterwards: list[Step] = []
        spec = self._spec()
        if spec.kind == "external":
            specs = specs_of(self.guest)
            if not self._libvirt_manages_external():
                return steps + steps_to_revert(
                    self.guest, self.name, specs, running=running, paused=paused
                )
            files_of(self.lab, spec)  # or one is gone
            before, afterwards = put_right(self.guest, self.name, specs)
            steps += before
        elif self.name.isdigit() and int(self.name) < _SURELY_NO_NUMBER and not spec.has_memory:
            raise NotSupported(
                "QEMU numbers the snapshots in a disk, and would go back to the one of this number",
                seen=self.name,
                next_step=f"Copy it out by its name: qemu-img convert -l snapshot.name={self.name}",
            )
        flags, words = 0, []
        for word, wanted in (("running", running), ("paused", paused), ("force", force)):
            if wanted:
                flags |= getattr(libvirt, f"VIR_DOMAIN_SNAPSHOT_REVERT_{word.upper()}")
                words.append(f"--{word}")
        command = self.lab.virsh_log.virsh("snapshot-revert", self.guest.name, self.name, *words)
        return [*steps, Step(command, partial(self._revert, flags)), *afterwards]

    def _revert(self, flags: int) -> None:
        domain, problem = self.guest._libvirt, None
        defined = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        before = domain.XMLDesc(defined)
        # libvirt names a new overlay by the second, so that two reverts can't be in the same.
        for _ in attempts(_A_SECOND_S):
            try:
                domain.revertToSnapshot(self._libvirt, flags)
                return
            except libvirt.libvirtError as error:
                problem = error
                if "already exists and is not a block device" not in str(error):
                    break
        if domain.XMLDesc(defined) != before:
            # Half way, its disks may be those of the snapshot, which the next start would ruin.
            self.lab.connection.defineXML(before)
        assert problem is not None
        raise problem

    def delete(self, *, children: Children = "keep", progress: Progress | None = None) -> None:
        """Forget the snapshot. The guest stays as it is, and so does every other snapshot.

        Args:
            children: what becomes of those that were taken after it: "keep" them, "remove"
                them as well, or remove "only" them.
            progress: is called with what is being done, and how much of it is done (0 to
                1), where files have to be merged.

        Raises:
            InvalidArgument: no such choice.
            SnapshotNotFound: it was deleted meanwhile.
            InUse: something else depends on a file that would change or go.
            NotSupported: its files are in no storage pool, or on another machine.

        Example:
            >>> web.snapshots["clean"].delete()
        """
        if children not in _DELETE:
            raise InvalidArgument(
                "no such choice", seen=children, next_step="There is: 'keep', 'remove', 'only'"
            )
        with self._together("delete"):
            self._spec()  # or it is gone
            for steps in self._steps_to_delete(children, progress):
                carry_out(self, steps, f"delete {self.name} of {self.guest.name}")

    def preview_delete(self, *, children: Children = "keep") -> Commands:
        """Return the commands that `delete` would have done; nothing happens.

        Where several snapshots go one after the other, only the first one's commands are
        known before it has gone.

        Args:
            children: as for `delete`.

        Raises:
            KvmlabError: what `delete` would have raised before it did anything.

        Example:
            >>> web.snapshots["clean"].preview_delete(children="remove")
            virsh snapshot-delete web clean --children
        """
        with self._looking("delete"):
            return told(next(self._steps_to_delete(children), []))

    def _steps_to_delete(
        self, children: Children, progress: Progress | None = None
    ) -> Iterator[list[Step]]:
        """Yield the steps for one snapshot after the other; each changes what comes next."""
        if children not in _DELETE:
            raise InvalidArgument(
                "no such choice", seen=children, next_step="There is: 'keep', 'remove', 'only'"
            )
        guest, virsh = self.guest, self.lab.virsh_log.virsh
        specs = specs_of(guest)
        doomed = doomed_by(self.name, specs, children)
        _refuse_confusion(guest, doomed, specs)
        if not doomed:  # only children, and it has none
            return
        if all(specs[name].kind == "internal" for name in doomed):
            flags, option = _DELETE[children]
            command = virsh("snapshot-delete", guest.name, self.name, option)
            yield [Step(command, partial(self._libvirt.delete, flags))]
            return
        for name in doomed:
            specs = specs_of(guest)
            if specs[name].kind == "external":
                if not self._libvirt_manages_external():
                    yield steps_to_delete(guest, name, specs, progress)
                    continue
                merges_for(guest, name, specs)  # or somebody else would be harmed
            found = guest._libvirt.snapshotLookupByName(name)
            yield [Step(virsh("snapshot-delete", guest.name, name), found.delete)]

    @contextmanager
    def _looking(self, doing: str) -> Iterator[None]:
        """Look what something would take; that is not for the log of what was done."""
        with self.lab.virsh_log.action(), self._explained(f"{doing} {self.name}"):
            yield

    def _libvirt_manages_external(self) -> bool:
        """Whether libvirt itself reverts to external snapshots, and deletes them.

        From 9.9.0 on, whose release notes name this sign of it. It then keeps books that who
        does it by hand would bring into disorder; before, it deleted some, but knew nothing
        of the files that a revert makes.
        """
        told = ET.fromstring(self.lab.connection.getCapabilities())
        return told.find("guest/features/externalSnapshot") is not None

    def _steps_to_clear_managed_save(self, *, force: bool) -> list[Step]:
        domain = self.guest._libvirt
        if not domain.hasManagedSaveImage():
            return []
        if not force:
            raise WrongState(
                f"guest {self.guest.name!r} has a managed save: memory that goes with its disks "
                "as they are, and would ruin what they were",
                next_step="Throw it away with guest.remove_managed_save(), or revert(force=True)",
            )
        command = self.lab.virsh_log.virsh("managedsave-remove", self.guest.name)
        return [Step(command, domain.managedSaveRemove)]


def _refuse_confusion(
    guest: GuestHandle, doomed: Sequence[str], specs: Mapping[str, SnapshotSpec]
) -> None:
    """Refuse to delete internal snapshots from a file that the running guest has not open.

    QEMU would look for them in the files that it has open.

    Raises:
        WrongState: that is so.
    """
    internal = [specs[name] for name in doomed if specs[name].kind == "internal"]
    if not internal or not guest._libvirt.isActive():
        return
    disks = GuestSpec.from_xml(guest._libvirt.XMLDesc()).disks
    now = {disk.target: disk.path for disk in disks}
    for spec in internal:
        for target, path in spec.points.items():
            if now.get(target) != path:
                raise WrongState(
                    f"internal snapshot {spec.name!r} is in a file that the running guest does "
                    "not have open",
                    seen=path,
                    next_step="Shut the guest down first",
                )
