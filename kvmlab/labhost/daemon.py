"""The lab host's libvirtd: its settings, first objects, and what runs across a restart."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from kvmlab.labhost.folders import Folders

URI = "qemu:///system"
PID_FILE = Path("/run/libvirtd.pid")

# "root" is root of the lab host's user namespace: the learner. There is no other
# user to protect in there, and no cgroup, mount or device that QEMU could be kept
# from; the namespaces around all of it are what keeps it from the machine.
# Without the capability filtered out, libvirt asks QEMU for each of some 400 CPU
# properties, one by one, at every start of a guest (qemuMonitorJSONGetGuestCPU): a third
# of a second of CPU time. With it, it asks for all at once, as of a QEMU before 4.2.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
capability_filters = ["cpu-unavailable-features"]
"""

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
host_uuid = "{host_uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

log = logging.getLogger(__name__)


def configure(folders: Folders) -> None:
    """Write libvirtd's settings; the host's UUID stays the same for good."""
    remembered = folders.root / "host_uuid"
    if not remembered.exists():
        remembered.write_text(str(uuid.uuid4()))
    etc = folders.covering("etc")
    (etc / "qemu.conf").write_text(QEMU_CONF)
    (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(host_uuid=remembered.read_text()))
    (folders.covering("lib") / "images").mkdir(exist_ok=True)


def welcome(folders: Folders) -> None:
    """Make the default network and pool active.

    A network or pool that the learner deleted on purpose stays deleted: they are
    defined once, in a new lab, and from then on started by libvirt's autostart.
    """
    import libvirt  # here, so that the supervisor's start need not wait for it

    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(URI)
    try:
        seen = folders.root / "furnished"
        if not seen.exists():
            shipped = files("kvmlab.labhost")
            made = []
            if "default" not in {each.name() for each in connection.listAllNetworks()}:
                made.append(
                    connection.networkDefineXML((shipped / "default-network.xml").read_text())
                )
            if "default" not in {each.name() for each in connection.listAllStoragePools()}:
                made.append(
                    connection.storagePoolDefineXML((shipped / "default-pool.xml").read_text())
                )
            for thing in made:
                thing.setAutostart(1)
                thing.create()
            seen.touch()
    finally:
        connection.close()


def resume_guests(folders: Folders, tell: Callable[[str], None]) -> None:
    """Start again the guests that ``save_guests`` put away."""
    if not folders.resume.exists():
        return
    import libvirt

    names = json.loads(folders.resume.read_text())
    connection = libvirt.open(URI)
    try:
        for count, name in enumerate(names, 1):
            tell(f"resuming guest {name} ({count} of {len(names)})")
            try:
                guest = connection.lookupByName(name)
                if not guest.isActive():
                    guest.create()
            except libvirt.libvirtError as error:
                log.warning("guest %s was not resumed: %s", name, error)
    finally:
        connection.close()
        folders.resume.unlink()


def save_guests(folders: Folders, tell: Callable[[str], None]) -> None:
    """Put every running guest away with its memory (libvirt's managed save).

    A guest that cannot be saved, a transient one say, is named in the log and
    ends with the lab host.
    """
    import libvirt

    connection = libvirt.open(URI)
    try:
        active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        saved: list[str] = []
        for count, guest in enumerate(active, 1):
            tell(f"saving guest {guest.name()} ({count} of {len(active)})")
            try:
                guest.managedSave()
                saved.append(guest.name())
            except libvirt.libvirtError as error:
                log.warning("guest %s was not saved: %s", guest.name(), error)
        if saved:
            folders.resume.write_text(json.dumps(saved))
    finally:
        connection.close()
