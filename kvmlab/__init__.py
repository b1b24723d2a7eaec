"""kvmlab: learn KVM, QEMU and libvirt on real guests.

>>> import kvmlab
>>> lab = kvmlab.connect()
>>> web = lab.guests.create("web", image="tiny", memory_mib=256)
>>> web.start()
>>> web.wait_ready()
>>> web.run("uname -s").stdout
'Linux\\n'
>>> web.delete()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvmlab.errors import (
        AgentUnavailable,
        AlreadyExists,
        BackingMissing,
        CommandFailed,
        ConnectionFailed,
        ConnectionLost,
        ConsoleBusy,
        ConsoleClosed,
        DeviceNotFound,
        Forbidden,
        GuestAlreadyExists,
        GuestAlreadyRunning,
        GuestNotFound,
        GuestNotReady,
        GuestNotRunning,
        GuestProgramError,
        HostRequirementError,
        ImageAlreadyExists,
        ImageError,
        ImageNotFound,
        InstallationFailed,
        InUse,
        InvalidArgument,
        InvalidName,
        InvalidXml,
        KvmlabError,
        KvmUnavailable,
        LabHostError,
        LibvirtFailed,
        NetworkAlreadyExists,
        NetworkNotActive,
        NetworkNotFound,
        NoBandwidthLimits,
        NotEnough,
        NotEnoughCpus,
        NotEnoughDisk,
        NotEnoughMemory,
        NotFound,
        NotSupported,
        PoolAlreadyExists,
        PoolBusy,
        PoolNotActive,
        PoolNotFound,
        QemuMissing,
        SnapshotAlreadyExists,
        SnapshotNotFound,
        TimedOut,
        VmmError,
        VolumeAlreadyExists,
        VolumeNotFound,
        WrongState,
    )
    from kvmlab.events import Event, Events, Watch
    from kvmlab.gallery import Images
    from kvmlab.guests.agent import Address, CommandResult
    from kvmlab.guests.cloudinit import CloudInit
    from kvmlab.guests.console import Console
    from kvmlab.guests.guest import Guest
    from kvmlab.guests.guests import Guests
    from kvmlab.guests.metrics import GuestStats
    from kvmlab.guests.screen import Screenshot
    from kvmlab.host import Host
    from kvmlab.lab import Lab, connect
    from kvmlab.networks.forwarding import Forward
    from kvmlab.networks.interface import Interface, Traffic
    from kvmlab.networks.interfaces import Interfaces
    from kvmlab.networks.network import Lease, Network
    from kvmlab.networks.networks import Networks
    from kvmlab.snapshots.snapshot import Snapshot
    from kvmlab.snapshots.snapshots import Snapshots
    from kvmlab.snapshots.tree import SnapshotNode
    from kvmlab.specs import Throttle
    from kvmlab.specs.interface import Bandwidth
    from kvmlab.storage.chains import Link
    from kvmlab.storage.disk import Disk, DiskInfo, DiskStats
    from kvmlab.storage.disks import Disks
    from kvmlab.storage.pool import Pool
    from kvmlab.storage.pools import Pools
    from kvmlab.storage.usage import Use
    from kvmlab.storage.volume import Volume
    from kvmlab.storage.volumes import Volumes
    from kvmlab.virsh import Commands, VirshLog

__all__ = [
    "Address",
    "AgentUnavailable",
    "AlreadyExists",
    "BackingMissing",
    "Bandwidth",
    "CloudInit",
    "CommandFailed",
    "CommandResult",
    "Commands",
    "ConnectionFailed",
    "ConnectionLost",
    "Console",
    "ConsoleBusy",
    "ConsoleClosed",
    "DeviceNotFound",
    "Disk",
    "DiskInfo",
    "DiskStats",
    "Disks",
    "Event",
    "Events",
    "Forbidden",
    "Forward",
    "Guest",
    "GuestAlreadyExists",
    "GuestAlreadyRunning",
    "GuestNotFound",
    "GuestNotReady",
    "GuestNotRunning",
    "GuestProgramError",
    "GuestStats",
    "Guests",
    "Host",
    "HostRequirementError",
    "ImageAlreadyExists",
    "ImageError",
    "ImageNotFound",
    "Images",
    "InUse",
    "InstallationFailed",
    "Interface",
    "Interfaces",
    "InvalidArgument",
    "InvalidName",
    "InvalidXml",
    "KvmUnavailable",
    "KvmlabError",
    "Lab",
    "LabHostError",
    "Lease",
    "LibvirtFailed",
    "Link",
    "Network",
    "NetworkAlreadyExists",
    "NetworkNotActive",
    "NetworkNotFound",
    "Networks",
    "NoBandwidthLimits",
    "NotEnough",
    "NotEnoughCpus",
    "NotEnoughDisk",
    "NotEnoughMemory",
    "NotFound",
    "NotSupported",
    "Pool",
    "PoolAlreadyExists",
    "PoolBusy",
    "PoolNotActive",
    "PoolNotFound",
    "Pools",
    "QemuMissing",
    "Screenshot",
    "Snapshot",
    "SnapshotAlreadyExists",
    "SnapshotNode",
    "SnapshotNotFound",
    "Snapshots",
    "Throttle",
    "TimedOut",
    "Traffic",
    "Use",
    "VirshLog",
    "VmmError",
    "Volume",
    "VolumeAlreadyExists",
    "VolumeNotFound",
    "Volumes",
    "Watch",
    "WrongState",
    "connect",
]

# The modules of the public names that are no errors. Names are loaded when first used,
# so that `import kvmlab` costs nothing to a program that needs only a part (PEP 562).
_HOME = {
    "Address": "guests.agent",
    "Bandwidth": "specs.interface",
    "CloudInit": "guests.cloudinit",
    "CommandResult": "guests.agent",
    "Commands": "virsh",
    "Console": "guests.console",
    "Disk": "storage.disk",
    "DiskInfo": "storage.disk",
    "DiskStats": "storage.disk",
    "Disks": "storage.disks",
    "Event": "events",
    "Events": "events",
    "Forward": "networks.forwarding",
    "Guest": "guests.guest",
    "GuestStats": "guests.metrics",
    "Guests": "guests.guests",
    "Host": "host",
    "Interface": "networks.interface",
    "Interfaces": "networks.interfaces",
    "Images": "gallery",
    "Lab": "lab",
    "Lease": "networks.network",
    "Network": "networks.network",
    "Link": "storage.chains",
    "Networks": "networks.networks",
    "Pool": "storage.pool",
    "Pools": "storage.pools",
    "Screenshot": "guests.screen",
    "Traffic": "networks.interface",
    "Snapshot": "snapshots.snapshot",
    "SnapshotNode": "snapshots.tree",
    "Snapshots": "snapshots.snapshots",
    "Throttle": "specs",
    "Use": "storage.usage",
    "VirshLog": "virsh",
    "Volume": "storage.volume",
    "Volumes": "storage.volumes",
    "Watch": "events",
    "connect": "lab",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'kvmlab' has no attribute {name!r}")
    value = getattr(import_module(f"kvmlab.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
