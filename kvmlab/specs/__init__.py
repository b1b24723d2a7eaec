"""libvirt's XML as frozen dataclasses: one class for one element, in both directions."""

from kvmlab.specs.devices import (
    AgentChannel,
    Graphics,
    MemBalloon,
    PciController,
    Rng,
    Serial,
    UsbController,
    Video,
)
from kvmlab.specs.disk import Disk, Passphrase, ScsiController, Throttle
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
from kvmlab.specs.platform import Clock, FirmwareFeature, HyperV, Input, Timer, Tpm
from kvmlab.specs.snapshot import (
    Firmware,
    FrozenDefinition,
    FrozenGuest,
    SnapshotDisk,
    SnapshotSpec,
)
from kvmlab.specs.storage import PoolSpec, SecretSpec, VolumeSpec

__all__ = [
    "AgentChannel",
    "Bandwidth",
    "Clock",
    "Cpu",
    "CpuFeature",
    "DhcpHost",
    "DhcpRange",
    "Disk",
    "DnsHost",
    "Firmware",
    "FirmwareFeature",
    "FrozenDefinition",
    "FrozenGuest",
    "Graphics",
    "GuestSpec",
    "HyperV",
    "Input",
    "Interface",
    "IpSpec",
    "MemBalloon",
    "NetworkSpec",
    "OperatingSystem",
    "Passphrase",
    "PciController",
    "PoolSpec",
    "Provenance",
    "Rng",
    "ScsiController",
    "SecretSpec",
    "Serial",
    "SmbiosStrings",
    "SnapshotDisk",
    "SnapshotSpec",
    "Throttle",
    "Timer",
    "Tpm",
    "UsbController",
    "Video",
    "VolumeSpec",
]
