"""Installing an operating system into a guest without being asked a single question."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from contextlib import suppress

import libvirt

from kvmlab.errors import GuestAlreadyRunning, InstallationFailed, NotSupported, TimedOut
from kvmlab.events import Watch
from kvmlab.guests.console import Console
from kvmlab.handle import GuestHandle
from kvmlab.storage.volumes import Progress
from kvmlab.virsh import shell

# How our installer tells what it does: "[3/5] Copying the system".
_STEP = re.compile(r"\[(\d+)/(\d+)\] (.+?)\r?\n")
_FAILED = re.compile(r"The installation has failed: (.+?)\r?\n")


class Installation(GuestHandle):
    """The part of a guest that gets its operating system from a CD."""

    def install(
        self, kernel_args: str, *, timeout_s: float = 600, progress: Progress | None = None
    ) -> None:
        """Install from the CD the guest was created with, unattended, and wait for it.

        As virt-install does it: the kernel on the CD is started once, without firmware and
        boot loader, with the answers on its command line; when the installer restarts the
        machine, it goes off instead. The guest's definition stays as it is, so that `start`
        boots from the disk.

        Args:
            kernel_args: the answers, as this installer takes them; for the image
                "installer" ``hostname=NAME password=PASSWORD``.
            timeout_s: how long it may take.
            progress: is called with the installer's steps, and how much is done (0 to 1).

        Raises:
            GuestAlreadyRunning: the guest is not off.
            NotSupported: no kernel is known of the CD in its drive.
            InstallationFailed: the installer gave up.
            TimedOut: it was not done in time; the guest still runs.

        Example:
            >>> box = lab.guests.create("box", iso="installer")
            >>> box.install("hostname=box password=secret")
            >>> box.start()
        """
        with (
            self._together("install"),
            self.lab.events.watch(guest=self.name) as watch,
            self.lab.virsh_log.action() as action,
        ):
            if self._libvirt.isActive():
                raise GuestAlreadyRunning(f"guest {self.name!r} is not off", seen=self._state())
            boot = self._kernel_of_cd()
            boot["cmdline"] = f"{boot['cmdline']} {kernel_args}"
            domain = ET.fromstring(self._libvirt.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            _set(domain, "on_reboot", "destroy")
            for part, value in boot.items():
                _set(domain, f"os/{part}", value)
            # Its definition is another: what runs is told by what it is created from.
            self.lab.connection.createXML(ET.tostring(domain, encoding="unicode"))
            action.note(self._commands(boot))
            self._follow(watch, time.monotonic() + timeout_s, progress)

    def _kernel_of_cd(self) -> dict[str, str]:
        """Return the paths of the kernel and initrd of the CD, and their own command line."""
        from kvmlab.images import Catalogue  # imported late, as in wish.py

        spec, catalogue = self._spec(), Catalogue()
        origin = spec.provenance
        name = (origin and origin.image) or ""
        cds = [disk.path for disk in spec.disks if disk.device == "cdrom" and disk.path]
        if cds and origin and name in catalogue and catalogue.is_built(name):
            image = catalogue[name]
            if image.is_medium and image.kernel and origin.digest == image.digest:
                begin = cds[0].removesuffix(".iso")
                return {
                    "kernel": f"{begin}.kernel",
                    "initrd": f"{begin}.initrd",
                    "cmdline": image.cmdline or "",
                }
        raise NotSupported(
            "only a CD whose kernel is known can be installed from without being asked",
            seen=name,
            next_step="Create it with iso='installer', or start it and answer on its console",
        )

    def _commands(self, boot: dict[str, str]) -> str:
        log = self.lab.virsh_log
        kernel = f'kernel={boot["kernel"]},initrd={boot["initrd"]},kernel_args="{boot["cmdline"]}"'
        return " | ".join(
            (
                log.virsh("dumpxml", "--inactive", self.name),
                shell("virt-xml", "--edit", "--boot", kernel),
                shell("virt-xml", "--edit", "--events", "on_reboot=destroy"),
                log.virsh("create", "/dev/stdin"),
            )
        )

    def _follow(self, watch: Watch, deadline: float, progress: Progress | None) -> None:
        """Read what the installer says, until the guest is off."""
        said, step = "", None
        with Console(self.lab, self._libvirt) as console:
            while console.is_open and (left_s := deadline - time.monotonic()) > 0:
                with suppress(TimedOut):
                    said += console.read(timeout_s=left_s).decode(errors="replace")
                if found := _FAILED.search(said):
                    raise InstallationFailed(
                        f"the installer in guest {self.name!r} gave up", seen=found[1]
                    )
                steps = _STEP.findall(said)
                if progress and steps and steps[-1] != step:
                    step = steps[-1]
                    progress(step[2], (int(step[0]) - 1) / int(step[1]))
        watch.wait_for("stopped", timeout_s=max(1.0, deadline - time.monotonic()))
        if progress:
            progress("installed", 1.0)


def _set(element: ET.Element, path: str, value: str) -> None:
    """Set the text of an element, which is made if it is not there."""
    for tag in path.split("/"):
        found = element.find(tag)
        element = ET.SubElement(element, tag) if found is None else found
    element.text = value
