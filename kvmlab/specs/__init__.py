"""libvirt's XML as frozen dataclasses: one class for one element, in both directions."""

from kvmlab.specs.devices import (
    AgentChannel,
    Disk,
    Graphics,
    Interface,
    MemBalloon,
    Rng,
    Serial,
    Video,
)
from kvmlab.specs.guest import Cpu, CpuFeature, GuestSpec, Provenance, SmbiosStrings
from kvmlab.specs.storage import VolumeSpec

__all__ = [
    "AgentChannel",
    "Cpu",
    "CpuFeature",
    "Disk",
    "Graphics",
    "GuestSpec",
    "Interface",
    "MemBalloon",
    "Provenance",
    "Rng",
    "Serial",
    "SmbiosStrings",
    "Video",
    "VolumeSpec",
]
