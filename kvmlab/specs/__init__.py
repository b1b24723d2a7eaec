"""libvirt's XML as frozen dataclasses: one class for one element, in both directions."""

from kvmlab.specs.devices import (
    AgentChannel,
    Disk,
    Graphics,
    Interface,
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
from kvmlab.specs.storage import PoolSpec, VolumeSpec

__all__ = [
    "AgentChannel",
    "Cpu",
    "CpuFeature",
    "Disk",
    "Graphics",
    "GuestSpec",
    "Interface",
    "MemBalloon",
    "OperatingSystem",
    "PoolSpec",
    "Provenance",
    "Rng",
    "Serial",
    "SmbiosStrings",
    "UsbController",
    "Video",
    "VolumeSpec",
]
