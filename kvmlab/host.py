"""What the host has for guests: CPUs, memory, acceleration, firmware."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import libvirt

_ARCH, _MACHINE = "x86_64", "q35"


@dataclass(frozen=True)
class Host:
    """What the host has, at the moment it was asked.

    Attributes:
        hostname: its name.
        vcpus: CPUs the host can run threads on.
        memory_mib: all its memory.
        free_memory_mib: what guests could have now, caches counted as free.
        acceleration: "kvm" or "tcg" (QEMU's emulation).
        acceleration_reason: why that one.
        disabled_cpu_features: CPU features that KVM guests must go without here.
        libvirt_version: such as "9.0.0".
        qemu_version: such as "7.2.22".

    Example:
        >>> lab.host.memory_mib
        24105
    """

    hostname: str
    vcpus: int
    memory_mib: int
    free_memory_mib: int
    acceleration: str
    acceleration_reason: str
    disabled_cpu_features: tuple[str, ...]
    libvirt_version: str
    qemu_version: str


def read_host(connection: Any) -> Host:
    """Ask libvirt what its host has.

    Example:
        >>> read_host(libvirt.open("qemu:///system")).vcpus
        2
    """
    memory_mib, free_memory_mib = _memory_mib(connection)
    kind, reason, disabled = _acceleration(connection)
    return Host(
        hostname=connection.getHostname(),
        vcpus=connection.getInfo()[2],
        memory_mib=memory_mib,
        free_memory_mib=free_memory_mib,
        acceleration=kind,
        acceleration_reason=reason,
        disabled_cpu_features=disabled,
        libvirt_version=_version(connection.getLibVersion()),
        qemu_version=_version(connection.getVersion()),
    )


def domain_type(connection: Any, acceleration: str) -> str:
    """Return libvirt's word for guests that run with that acceleration here.

    Example:
        >>> domain_type(connection, "tcg")
        'qemu'
    """
    capabilities = ET.fromstring(connection.getCapabilities())
    offered = [each.get("type", "") for each in capabilities.iterfind("guest/arch/domain")]
    wanted = "kvm" if acceleration == "kvm" else "qemu"
    # libvirt's test driver has one kind of its own.
    return wanted if wanted in offered or not offered else offered[0]


def has_uefi(connection: Any, domain_type: str) -> bool:
    """Whether libvirt finds UEFI firmware for such guests.

    Example:
        >>> has_uefi(connection, "qemu")
        False
    """
    capabilities = connection.getDomainCapabilities(None, _ARCH, _MACHINE, domain_type)
    names = ET.fromstring(capabilities).iterfind("os/enum[@name='firmware']/value")
    return any(name.text == "efi" for name in names)


def _acceleration(connection: Any) -> tuple[str, str, tuple[str, ...]]:
    if "KVMLAB_LABHOST" in os.environ and connection.getURI() == "qemu:///system":
        # Imported late: only a lab host has a verdict.
        from kvmlab.labhost import acceleration

        if verdict := acceleration.cached():
            return verdict.kind, verdict.reason, verdict.disabled_cpu_features
        return "tcg", "this lab host's KVM has not been tried yet", ()
    try:
        connection.getDomainCapabilities(None, _ARCH, None, "kvm")
    except libvirt.libvirtError as error:
        return "tcg", f"libvirt offers no KVM: {error.get_error_message()}", ()
    return "kvm", "libvirt offers KVM", ()


def _version(number: int) -> str:
    """Spell libvirt's 1000000 * major + 1000 * minor + release."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _memory_mib(connection: Any) -> tuple[int, int]:
    """Return all memory and what guests could have of it now."""
    try:
        kib = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError:  # the test driver has no statistics
        return connection.getInfo()[1], connection.getFreeMemory() // 2**20
    free = sum(kib.get(part, 0) for part in ("free", "buffers", "cached"))
    return kib["total"] // 1024, free // 1024
