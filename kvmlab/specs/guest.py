"""A whole guest as libvirt's ``<domain>`` element."""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

from dataclasses import dataclass

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
from kvmlab.specs.disk import Disk, ScsiController
from kvmlab.specs.interface import Interface
from kvmlab.specs.platform import Clock, FirmwareFeature, HyperV, Input, Tpm
from kvmlab.specs.xml import Element, child, children, number, present, size, text, texts


@dataclass(frozen=True)
class Provenance(Element, tag="kvmlab:guest"):
    """What kvmlab remembers in a guest's ``<metadata>``.

    Attributes:
        image: the name of the image the guest was made from.
        digest: that image's SHA-256, in hex.
        volumes: paths of the volumes that belong to the guest and go with it.

    Example:
        >>> Provenance(image="tiny", volumes=("/var/lib/libvirt/images/web.qcow2",)).image
        'tiny'
    """

    image: str | None = text("kvmlab:image/@name", None)
    digest: str | None = text("kvmlab:image/@sha256", None)
    volumes: tuple[str, ...] = texts("kvmlab:volume/@path")


@dataclass(frozen=True)
class OperatingSystem(Element, tag="libosinfo:libosinfo"):
    """Which operating system is in the guest, where virt-manager looks for it.

    Example:
        >>> OperatingSystem(id="http://debian.org/debian/12").id
        'http://debian.org/debian/12'
    """

    id: str | None = text("libosinfo:os/@id")


@dataclass(frozen=True)
class CpuFeature(Element, tag="feature"):
    """A CPU feature that is asked for or withheld by name.

    Example:
        >>> CpuFeature(name="arch-capabilities").policy
        'disable'
    """

    name: str = text("@name")
    policy: str | None = text("@policy", "disable")


@dataclass(frozen=True)
class Cpu(Element, tag="cpu"):
    """Which CPU the guest sees.

    Example:
        >>> Cpu(mode="maximum").features
        ()
    """

    mode: str | None = text("@mode")
    features: tuple[CpuFeature, ...] = children(CpuFeature)


@dataclass(frozen=True)
class SmbiosStrings(Element, tag="sysinfo", fixed={"@type": "smbios"}):
    """SMBIOS type 11 strings: what the host tells the guest before it boots.

    systemd reads such strings as credentials (https://systemd.io/CREDENTIALS),
    and so do kvmlab's images: this is how a guest learns its own name.

    Example:
        >>> SmbiosStrings(entries=("io.systemd.credential:system.hostname=web",)).entries[0][-3:]
        'web'
    """

    entries: tuple[str, ...] = texts("oemStrings/entry")


@dataclass(frozen=True)
class GuestSpec(Element, tag="domain"):
    """A guest, as far as kvmlab defines it.

    ``vcpus`` is ``None`` in XML where all of ``max_vcpus`` are plugged in.

    Example:
        >>> spec = GuestSpec(type="qemu", name="web", memory_mib=256, max_vcpus=1)
        >>> GuestSpec.from_xml(spec.to_xml()) == spec
        True
    """

    type: str = text("@type")
    name: str = text("name")
    uuid: str | None = text("uuid", None)
    provenance: Provenance | None = child(Provenance, "metadata")
    os: OperatingSystem | None = child(OperatingSystem, "metadata")
    memory_mib: int = size("memory", "MiB")
    current_memory_mib: int | None = size("currentMemory", "MiB", None)
    max_vcpus: int = number("vcpu")
    vcpus: int | None = number("vcpu/@current", None)
    firmware: str | None = text("os/@firmware", None)
    machine: str | None = text("os/type/@machine", "q35")
    arch: str | None = text("os/type/@arch", "x86_64")
    os_type: str = text("os/type", "hvm")
    firmware_features: tuple[FirmwareFeature, ...] = children(FirmwareFeature, "os/firmware")
    nvram: str | None = text("os/nvram", None)
    kernel: str | None = text("os/kernel", None)
    initrd: str | None = text("os/initrd", None)
    cmdline: str | None = text("os/cmdline", None)
    boot: tuple[str, ...] = texts("os/boot/@dev")
    smbios_mode: str | None = text("os/smbios/@mode", None)
    smbios: SmbiosStrings | None = child(SmbiosStrings)
    acpi: bool = present("features/acpi", default=True)
    apic: bool = present("features/apic", default=True)
    hyperv: HyperV | None = child(HyperV, "features")
    smm: str | None = text("features/smm/@state", None)
    cpu: Cpu | None = child(Cpu)
    clock: Clock | None = child(Clock)
    disks: tuple[Disk, ...] = children(Disk, "devices")
    scsi: tuple[ScsiController, ...] = children(ScsiController, "devices")
    interfaces: tuple[Interface, ...] = children(Interface, "devices")
    pci: tuple[PciController, ...] = children(PciController, "devices")
    usb: tuple[UsbController, ...] = children(UsbController, "devices", (UsbController(),))
    serials: tuple[Serial, ...] = children(Serial, "devices", (Serial(),))
    channels: tuple[AgentChannel, ...] = children(AgentChannel, "devices", (AgentChannel(),))
    inputs: tuple[Input, ...] = children(Input, "devices")
    tpm: Tpm | None = child(Tpm, "devices")
    graphics: tuple[Graphics, ...] = children(Graphics, "devices", (Graphics(),))
    video: tuple[Video, ...] = children(Video, "devices", (Video(),))
    balloon: MemBalloon | None = child(MemBalloon, "devices", MemBalloon())
    rng: Rng | None = child(Rng, "devices", Rng())
