"""One guest, put together from its sides."""

from __future__ import annotations

import libvirt

from kvmlab.guests import metrics
from kvmlab.guests.connections import Connections
from kvmlab.guests.console import Console
from kvmlab.guests.definition import Definition
from kvmlab.guests.installation import Installation
from kvmlab.guests.lifecycle import Lifecycle
from kvmlab.guests.resources import Resources
from kvmlab.guests.screen import Screenshot
from kvmlab.snapshots.snapshots import Snapshots
from kvmlab.storage.disks import Disks


class Guest(Lifecycle, Installation, Definition, Resources, Connections):
    """A guest: what libvirt calls a domain.

    It is a live handle: what it tells is read from libvirt when it is asked.
    Each of its bases is one side of it, in a module of its own.

    Attributes:
        lab: the lab it is in.
        name: its name.
        virsh: the commands that do the same as what was last done with it.

    Example:
        >>> web = lab.guests["web"]
        >>> web.start()
        >>> web.virsh
        virsh start web
    """

    @property
    def snapshots(self) -> Snapshots:
        """The guest's snapshots, by name: what it was, and can be again.

        Example:
            >>> web.snapshots.create("clean")
            <Snapshot clean of web>
            >>> web.snapshots["clean"].revert()
        """
        return Snapshots(self)

    @property
    def disks(self) -> Disks:
        """Its disks and CD-ROM drives, by target.

        Example:
            >>> web.disks["vda"].path
            '/var/lib/libvirt/images/web.qcow2'
        """
        return Disks(self)

    def console(self, *, force: bool = False) -> Console:
        """Open the guest's serial console.

        What it printed before is gone; to see all, start the guest paused, open the
        console, and resume it.

        Args:
            force: take it from whoever has it open now.

        Raises:
            GuestNotRunning: the guest is off.
            LibvirtFailed: somebody else has the console open.

        Example:
            >>> with web.console() as console:
            ...     console.send("\\n")
            ...     console.expect("login: ")
        """
        with self._doing("console", self.name, "--force" if force else None):
            return Console(self.lab, self._libvirt, force=force)

    def screenshot(self) -> Screenshot:
        """Take a picture of what the guest's screen shows.

        Raises:
            GuestNotRunning: the guest is off.
            NotSupported: it has no graphics card.

        Example:
            >>> web.screenshot()
            Screenshot(width=720, height=400)
        """
        with self._doing("screenshot", self.name, f"{self.name}.ppm", question=True):
            received = bytearray()
            stream = self.lab.connection.newStream()
            self._libvirt.screenshot(stream, 0)
            stream.recvAll(lambda _, data, __: received.extend(data), None)
            stream.finish()
        return Screenshot.from_bytes(bytes(received))

    def stats(self) -> metrics.GuestStats:
        """Measure the guest now; ``lab.stats()`` measures all of them by one call.

        Example:
            >>> web.stats().cpu_time_s
            2.31
        """
        with self._doing("domstats", self.name, question=True):
            records = self.lab.connection.domainListGetStats([self._libvirt], metrics.GROUPS)
            return metrics.read(records)[0]

    def __repr__(self) -> str:
        try:
            return f"<Guest {self.name}: {self._state()}>"
        except libvirt.libvirtError:
            return f"<Guest {self.name}: gone>"
