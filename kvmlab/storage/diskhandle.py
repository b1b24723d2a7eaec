"""What the sides of a guest's disk share."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import libvirt

from kvmlab import specs
from kvmlab.errors import DeviceNotFound, GuestNotRunning, KvmlabError, VolumeNotFound, translate
from kvmlab.handle import GuestHandle, Handle
from kvmlab.storage.pool import Pool
from kvmlab.storage.usage import path_of
from kvmlab.storage.volume import Volume
from kvmlab.virsh import Commands, feed

if TYPE_CHECKING:
    from collections.abc import Iterator


class DiskHandle(Handle):
    """A handle on a guest's disk: the base of what `kvmlab.Disk` is made of."""

    def __init__(self, guest: GuestHandle, target: str) -> None:
        self.lab = guest.lab
        self.guest = guest
        self.name = self.target = target
        self.virsh = Commands()
        self._libvirt = guest._libvirt

    def _explain(self, error: libvirt.libvirtError, doing: str) -> KvmlabError:
        return self.guest._explain(error, doing)

    def _spec(self, flags: int = 0) -> specs.Disk:
        """Return its XML; of a guest that has it only at its next start, that."""
        with self._explained(f"look at {self.target} of {self.guest.name}"):
            for spec in self._definitions(flags):
                for disk in spec.disks:
                    if disk.target == self.target:
                        return disk
        raise DeviceNotFound(f"guest {self.guest.name!r} has no such disk", seen=self.target)

    def _definitions(self, flags: int) -> Iterator[specs.GuestSpec]:
        yield self.guest._spec(flags)
        if not flags and self._libvirt.isPersistent():
            yield self.guest._spec(libvirt.VIR_DOMAIN_XML_INACTIVE)

    def _element(self, flags: int) -> ET.Element:
        """Return its XML with all that libvirt has put into it, to be changed."""
        for found in ET.fromstring(self._libvirt.XMLDesc(flags)).iterfind("devices/disk"):
            target = found.find("target")
            if target is not None and target.get("dev") == self.target:
                return found
        raise DeviceNotFound(f"guest {self.guest.name!r} has no such disk", seen=self.target)

    def _with_source(self, flags: int, path: str | None, format: str | None) -> str:
        """Return its XML with another file in it, or with none, and all else as it is."""
        element = self._element(flags)
        for old in ("source", "backingStore", "alias", "mirror"):
            for found in element.findall(old):
                element.remove(found)
        element.set("type", "file")
        if path is not None:
            ET.SubElement(element, "source", file=path)
            driver = element.find("driver")
            if driver is None:
                driver = ET.SubElement(element, "driver", name="qemu")
            driver.set("type", format or "raw")
        ET.indent(element)
        return ET.tostring(element, encoding="unicode").strip()

    def _update(self, xml: str, flags: int, *options: str) -> None:
        """Replace the device by its changed XML."""
        log = self.lab.virsh_log
        command = feed(log.virsh("update-device", self.guest.name, "/dev/stdin", *options), xml)
        with self._running(command, f"update-device {self.guest.name}"):
            self._libvirt.updateDeviceFlags(xml, flags)

    def _write_to(self, path: str, format: str) -> None:
        """Let a guest that is off go on with another file."""
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        xml = self._with_source(inactive, path, format)
        self._update(xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG, "--config")

    def _path(self) -> str:
        """Return the file that is in it."""
        path = path_of(self.lab, self._spec())
        if path is None:
            raise VolumeNotFound(f"{self.target} of guest {self.guest.name!r} is in no file")
        return path

    def _volume(self) -> Volume:
        path = self._path()
        try:
            found = self.lab.connection.storageVolLookupByPath(path)
            return Volume(Pool(self.lab, found.storagePoolLookupByVolume()), found)
        except libvirt.libvirtError as error:
            problem = translate(error)
            if not isinstance(problem, VolumeNotFound):
                raise problem from error
            raise VolumeNotFound(
                f"{self.target} of guest {self.guest.name!r} is in no storage pool",
                seen=path,
                next_step="Make a pool of its folder: lab.pools.create(..., path=...)",
            ) from error

    def _is_running(self) -> bool:
        with self._explained(f"look at {self.guest.name}"):
            return bool(self._libvirt.isActive())

    def _needs_running(self, doing: str) -> None:
        if not self._is_running():
            raise GuestNotRunning(
                f"{doing} needs a guest that runs, and {self.guest.name!r} does not",
                seen=self.guest._state(),
            )
