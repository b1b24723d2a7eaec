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
    from kvmlab.agent import Address, CommandResult
    from kvmlab.chains import Link
    from kvmlab.cloudinit import CloudInit
    from kvmlab.console import Console
    from kvmlab.disk import Disk, DiskInfo, DiskStats
    from kvmlab.disks import Disks
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
    from kvmlab.forwarding import Forward
    from kvmlab.gallery import Images
    from kvmlab.guest import Guest
    from kvmlab.guests import Guests
    from kvmlab.host import Host
    from kvmlab.interface import Interface, Traffic
    from kvmlab.interfaces import Interfaces
    from kvmlab.lab import Lab, connect
    from kvmlab.metrics import GuestStats
    from kvmlab.network import Lease, Network
    from kvmlab.networks import Networks
    from kvmlab.pool import Pool
    from kvmlab.screen import Screenshot
    from kvmlab.snapshot import Snapshot
    from kvmlab.snapshot_tree import SnapshotNode
    from kvmlab.snapshots import Snapshots
    from kvmlab.specs import Throttle
    from kvmlab.specs.interface import Bandwidth
    from kvmlab.storage import Pools
    from kvmlab.usage import Use
    from kvmlab.virsh import Commands, VirshLog
    from kvmlab.volume import Volume
    from kvmlab.volumes import Volumes

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
    "Address": "agent",
    "Bandwidth": "specs.interface",
    "CloudInit": "cloudinit",
    "CommandResult": "agent",
    "Commands": "virsh",
    "Console": "console",
    "Disk": "disk",
    "DiskInfo": "disk",
    "DiskStats": "disk",
    "Disks": "disks",
    "Event": "events",
    "Events": "events",
    "Forward": "forwarding",
    "Guest": "guest",
    "GuestStats": "metrics",
    "Guests": "guests",
    "Host": "host",
    "Interface": "interface",
    "Interfaces": "interfaces",
    "Images": "gallery",
    "Lab": "lab",
    "Lease": "network",
    "Network": "network",
    "Link": "chains",
    "Networks": "networks",
    "Pool": "pool",
    "Pools": "storage",
    "Screenshot": "screen",
    "Traffic": "interface",
    "Snapshot": "snapshot",
    "SnapshotNode": "snapshot_tree",
    "Snapshots": "snapshots",
    "Throttle": "specs",
    "Use": "usage",
    "VirshLog": "virsh",
    "Volume": "volume",
    "Volumes": "volumes",
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
