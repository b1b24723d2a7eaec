"""libvirt's XML as frozen dataclasses: one class for one element, in both directions."""

from kvmlab.specs.devices import (
    AgentChannel,
    Disk,
    Graphics,
    MemBalloon,
    Rng,
    Serial,
    UsbController,
    Video,
)
from kvmlab.specs.guest import (
    Cpu,
    CpuFeature,
    GuestSpec,
    OperatingSystem,
    Provenance,
    SmbiosStrings,
)
from kvmlab.specs.interface import Bandwidth, Interface
from kvmlab.specs.network import DhcpHost, DhcpRange, DnsHost, IpSpec, NetworkSpec
from kvmlab.specs.snapshot import (
    Firmware,
    FrozenDefinition,
    FrozenGuest,
    SnapshotDisk,
    SnapshotSpec,
)
from kvmlab.specs.storage import PoolSpec, VolumeSpec

__all__ = [
    "AgentChannel",
    "Bandwidth",
    "Cpu",
    "CpuFeature",
    "DhcpHost",
    "DhcpRange",
    "Disk",
    "DnsHost",
    "Firmware",
    "FrozenDefinition",
    "FrozenGuest",
    "Graphics",
    "GuestSpec",
    "Interface",
    "IpSpec",
    "MemBalloon",
    "NetworkSpec",
    "OperatingSystem",
    "PoolSpec",
    "Provenance",
    "Rng",
    "Serial",
    "SmbiosStrings",
    "SnapshotDisk",
    "SnapshotSpec",
    "UsbController",
    "Video",
    "VolumeSpec",
]
