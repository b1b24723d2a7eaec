"""What a person wishes a guest to be: whether it can come true, and its definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmlab.errors import InvalidArgument, NotSupported
from kvmlab.guests.definition import HOSTNAME_CREDENTIAL
from kvmlab.limits import bytes_of_gib, check_memory, check_vcpus
from kvmlab.specs import (
    Cpu,
    CpuFeature,
    Disk,
    FirmwareFeature,
    GuestSpec,
    Interface,
    OperatingSystem,
    PciController,
    Provenance,
    ScsiController,
    SmbiosStrings,
)

if TYPE_CHECKING:
    from kvmlab.guests.cloudinit import CloudInit
    from kvmlab.host import Host
    from kvmlab.images import Image

Accel = Literal["kvm", "tcg"]
Firmware = Literal["bios", "uefi"]
BootDevice = Literal["hd", "network", "cdrom"]

_KEY_CREDENTIAL = "io.systemd.credential:ssh.authorized_keys.root="
_BOOT_DEVICES = ("hd", "network", "cdrom")

# Virtual CPUs can be plugged in up to this number. A kernel keeps memory for every one
# that might come, so that more would eat up a small guest.
_SOCKETS = 4

_NOT_SIGNED = tuple(
    FirmwareFeature(name=name, enabled="no") for name in ("enrolled-keys", "secure-boot")
)

_UEFI_MIB = 256  # with less, OVMF starts no kernel with its initrd

# Slots for all devices, those that are plugged in later too: as many as virt-install gives.
_PORTS = 14

_MEMORY_MIB = 512  # of a guest with no image to say what it needs


@dataclass(frozen=True)
class Wish:
    """What was asked of ``lab.guests.create``; its arguments, with the images looked up."""

    name: str
    image: Image | None = None
    medium: Image | None = None
    cloud_init: CloudInit | None = None
    memory_mib: int | None = None
    max_memory_mib: int | None = None
    vcpus: int = 1
    disk_gib: float | None = None
    networks: Sequence[str] = ("default",)
    boot: Sequence[BootDevice] | None = None
    firmware: Firmware = "bios"
    direct_kernel: bool = False
    accel: Accel | None = None


def check(wish: Wish, host: Host) -> None:
    """Refuse a wish that can't come true, before anything is made.

    Raises:
        InvalidArgument: one of the values makes no sense.
        NotEnoughMemory: more than the host has, or less than the image needs.
        NotEnoughCpus: more than the host can give.
        NotSupported: the image has no kernel to boot directly.

    Example:
        >>> check(wish, lab.host)
    """
    _check_images(wish)
    memory_mib = _memory_mib(wish)
    check_memory(memory_mib, host, least_mib=wish.image.min_memory_mib if wish.image else 1)
    if wish.max_memory_mib is not None:
        check_memory(wish.max_memory_mib, host)
        if wish.max_memory_mib < memory_mib:
            raise InvalidArgument(
                "max_memory_mib can't be less than memory_mib",
                seen=wish.max_memory_mib,
                next_step=f"Ask for max_memory_mib={memory_mib} or more",
            )
    check_vcpus(wish.vcpus, host)
    for what, value, choice in (
        ("firmware", wish.firmware, ("bios", "uefi")),
        ("accel", wish.accel, ("kvm", "tcg", None)),
        *(("boot device", device, _BOOT_DEVICES) for device in wish.boot or ()),
    ):
        if value not in choice:
            raise InvalidArgument(
                f"no such {what}",
                seen=value,
                next_step=f"There is: {', '.join(filter(None, choice))}",
            )
    if wish.direct_kernel and not (wish.image and wish.image.kernel):
        raise NotSupported(
            "only an image with a kernel of its own beside its disk can be booted directly",
            seen=wish.image and wish.image.name,
            next_step="Use image='tiny', or direct_kernel=False",
        )


def _check_images(wish: Wish) -> None:
    image, medium = wish.image, wish.medium
    if image and image.is_medium:
        raise InvalidArgument(
            "this image is a medium to install from, and no disk with a system on it",
            seen=image.name,
            next_step=f"Put it into the guest's CD drive: iso={image.name!r}",
        )
    if medium and not medium.is_medium:
        raise InvalidArgument(
            "this image is a disk with a system on it, and no medium to install from",
            seen=medium.name,
            next_step=f"Make the guest from it: image={medium.name!r}",
        )
    if wish.cloud_init and not image:
        raise InvalidArgument(
            "cloud-init is a program in an image, and this guest has none",
            seen=wish.cloud_init,
            next_step="Use image='debian', or an image for clouds of your own",
        )
    if wish.cloud_init and image and image.has_cloud_init is False:
        raise NotSupported(
            "there is no cloud-init in this image, which would read it",
            seen=image.name,
            next_step="Use image='debian', or an image for clouds of your own",
        )


def disk_bytes(wish: Wish) -> int | None:
    """Return how large the guest's disk shall be, or ``None`` for no disk.

    Raises:
        InvalidArgument: no number above zero, or smaller than the image.

    Example:
        >>> disk_bytes(wish)
        2147483648
    """
    if wish.disk_gib is None:
        if wish.image:
            return wish.image.virtual_size
        suits = wish.medium and wish.medium.disk_gib
        return int(suits * 2**30) if suits else None
    size = bytes_of_gib("disk_gib", wish.disk_gib)
    if wish.image and size < wish.image.virtual_size:
        raise InvalidArgument(
            f"the disk must hold image {wish.image.name!r}",
            seen=wish.disk_gib,
            next_step=f"Ask for disk_gib={wish.image.virtual_size / 2**30:g} or more",
        )
    return size


def specify(
    wish: Wish,
    host: Host,
    *,
    domain_type: str,
    disk: str | None,
    kernel: str | None,
    initrd: str | None,
    medium: str | None = None,
    seed: str | None = None,
) -> GuestSpec:
    """Write a wish as libvirt's definition.

    Args:
        wish: what was asked for.
        host: where the guest shall run.
        domain_type: libvirt's word for the kind of virtual machine: "kvm", "qemu".
        disk: the path of its disk, if it has one.
        kernel: that of the kernel to boot directly, if it does.
        initrd: that of the kernel's initial RAM disk, if it has one.
        medium: that of the CD to install from, if there is one.
        seed: that of the CD cloud-init reads, if there is one.

    Example:
        >>> specify(wish, lab.host, domain_type="qemu", disk=path, kernel=None, initrd=None)
        GuestSpec(type='qemu', name='web', ...)
    """
    image, memory_mib = wish.image, _memory_mib(wish)
    strings = [HOSTNAME_CREDENTIAL + wish.name]
    if image:
        # Imported late: images are a world of their own, which listing guests does not need.
        from kvmlab.images import public_key

        strings.append(_KEY_CREDENTIAL + public_key())
    origin = image or wish.medium
    cds = _cds(_cd_bus(wish), medium, seed)
    return GuestSpec(
        type=domain_type,
        name=wish.name,
        provenance=Provenance(
            image=origin.name if origin else None,
            digest=origin.digest if origin else None,
            volumes=tuple(filter(None, (disk, seed))),
        ),
        os=OperatingSystem(id=origin.os_id) if origin and origin.os_id else None,
        memory_mib=wish.max_memory_mib or memory_mib,
        current_memory_mib=memory_mib,
        vcpus=wish.vcpus,
        max_vcpus=max(wish.vcpus, _SOCKETS),
        firmware="efi" if wish.firmware == "uefi" else None,
        # Left to itself, libvirt takes a firmware that starts only what Microsoft has signed.
        firmware_features=_NOT_SIGNED if wish.firmware == "uefi" else (),
        kernel=kernel,
        initrd=initrd,
        cmdline=image.cmdline if image and kernel else None,
        boot=tuple(wish.boot or (("hd", "cdrom") if medium else ("hd",))),
        smbios_mode="sysinfo",
        smbios=SmbiosStrings(entries=tuple(strings)),
        cpu=_cpu(domain_type, host),
        disks=(*((Disk(path=disk, target="vda"),) if disk else ()), *cds),
        scsi=(ScsiController(),) if any(cd.bus == "scsi" for cd in cds) else (),
        pci=(PciController(model="pcie-root"), *[PciController()] * _PORTS),
        interfaces=tuple(Interface(network=network) for network in wish.networks),
    )


def _memory_mib(wish: Wish) -> int:
    if wish.memory_mib is not None:
        return wish.memory_mib
    origin = wish.image or wish.medium
    suits = origin.memory_mib if origin else _MEMORY_MIB
    return max(suits, _UEFI_MIB) if wish.firmware == "uefi" else suits


def _cd_bus(wish: Wish) -> str:
    """Return how CD drives are connected.

    Linux kernels for clouds, with which a CD for cloud-init is read, know no SATA;
    Windows, to begin with, nothing of virtio.
    """
    is_windows = wish.medium and "microsoft.com" in (wish.medium.os_id or "")
    return "sata" if is_windows else "scsi"


def _cds(bus: str, *paths: str | None) -> tuple[Disk, ...]:
    return tuple(
        Disk(path=path, target=f"sd{letter}", bus=bus, device="cdrom", format="raw", readonly=True)
        for letter, path in zip("ab", filter(None, paths), strict=False)
    )


def _cpu(domain_type: str, host: Host) -> Cpu:
    if domain_type != "kvm":
        return Cpu(mode="maximum")
    features = (CpuFeature(name=name) for name in host.disabled_cpu_features)
    return Cpu(mode="host-passthrough", features=tuple(features))
