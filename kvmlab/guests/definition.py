"""How a guest is defined: reading its definition, changing it, and taking it away."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from kvmlab.errors import GuestAlreadyExists
from kvmlab.guests.belongings import own_volumes
from kvmlab.handle import GuestHandle
from kvmlab.limits import check_name
from kvmlab.specs import GuestSpec

HOSTNAME_CREDENTIAL = "io.systemd.credential:system.hostname="


class Definition(GuestHandle):
    """The part of a guest that is its definition."""

    @property
    def xml(self) -> str:
        """The guest's XML; of a running guest, as it runs.

        Example:
            >>> print(web.xml[:20])
            <domain type='qemu'>
        """
        with self._doing("dumpxml", self.name, question=True):
            return str(self._libvirt.XMLDesc())

    @property
    def spec(self) -> GuestSpec:
        """The guest's XML as a dataclass.

        Example:
            >>> web.spec.memory_mib
            256
        """
        return GuestSpec.from_xml(self.xml)

    @property
    def uuid(self) -> str:
        """The UUID by which libvirt knows the guest, whatever it is called.

        Example:
            >>> web.uuid
            '8ac3f3e5-6f43-4fb0-9c6c-f0f5c4d11f0d'
        """
        with self._doing("domuuid", self.name, question=True):
            return str(self._libvirt.UUIDString())

    @property
    def autostart(self) -> bool:
        """Whether libvirt starts the guest when libvirt itself starts; can be set.

        Example:
            >>> web.autostart = True
        """
        with self._doing("dominfo", self.name, question=True):
            return bool(self._libvirt.autostart())

    @autostart.setter
    def autostart(self, on: bool) -> None:
        with self._doing("autostart", self.name, None if on else "--disable"):
            self._libvirt.setAutostart(int(on))

    def rename(self, name: str) -> None:
        """Give the guest, which must be off, another name; its hostname follows.

        Its disk keeps its file name: libvirt moves no volumes.

        Raises:
            InvalidName: that can't be the name of a guest.
            GuestAlreadyExists: there is one of that name.
            GuestAlreadyRunning: the guest is not off.
            WrongState: it has a managed save.

        Example:
            >>> web.rename("shop")
            >>> lab.guests["shop"].start()
        """
        check_name(name)
        if name in self.lab.guests:
            raise GuestAlreadyExists("the new name is taken", seen=name)
        with self._together("rename"):
            old = self.name
            with self._doing("domrename", old, name):
                self._libvirt.rename(name)
            self._libvirt = self.lab.connection.lookupByName(name)
            self.name = name
            self._tell_hostname(old)

    def _tell_hostname(self, old: str) -> None:
        log = self.lab.virsh_log
        domain = ET.fromstring(self._libvirt.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        for place, entry in enumerate(domain.iterfind("sysinfo/oemStrings/entry")):
            if entry.text == HOSTNAME_CREDENTIAL + old:
                entry.text = HOSTNAME_CREDENTIAL + self.name
                words = ("--edit", "--sysinfo", f"oemStrings.entry{place}={entry.text}")
                with log.action() as action:
                    self.lab.connection.defineXML(ET.tostring(domain, encoding="unicode"))
                    action.note(log.tool("virt-xml", self.name, *words))

    def undefine(self) -> None:
        """Forget the guest, with its managed save and firmware variables; disks stay.

        Its snapshots are forgotten, too: what holds them stays, in the disks and beside
        them, but libvirt has no way back to it. A running guest runs on, and is gone once it
        is off.

        Example:
            >>> web.undefine()
        """
        with self._together("undefine"):
            flags, options = 0, []
            if self._libvirt.hasManagedSaveImage():
                flags |= libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                options.append("--managed-save")
            if self._libvirt.snapshotNum():
                flags |= libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                options.append("--snapshots-metadata")
            spec = self._spec()
            if spec.nvram or spec.firmware == "efi":  # which of the two is told, varies
                flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                options.append("--nvram")
            with self._doing("undefine", self.name, *options):
                self._libvirt.undefineFlags(flags)

    def delete(self) -> None:
        """Stop the guest if it runs, and remove it with its disks; images stay.

        Of a guest that kvmlab made, the volumes made with it go; of another, its
        writable disks, as with ``virsh undefine --remove-all-storage``. The files of its
        snapshots go, too. What another guest uses, or another volume as its backing image,
        stays.

        Example:
            >>> web.delete()
            >>> "web" in lab.guests
            False
        """
        with self._together("delete"):
            volumes = own_volumes(self)
            persistent = self._libvirt.isPersistent()
            if self._libvirt.isActive():
                with self._doing("destroy", self.name):
                    self._libvirt.destroy()
            # The definition goes last: whatever fails, the guest is still there to be
            # deleted again.
            for volume in volumes:
                volume._delete()
            if persistent:
                self.undefine()
