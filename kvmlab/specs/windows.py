"""The definition of a guest for Windows 11: what differs from one for Linux, in one place.

Microsoft's list of what it needs: https://learn.microsoft.com/windows/whats-new/windows-11-requirements
"""

from __future__ import annotations

from kvmlab.specs.devices import Rng, UsbController, Video
from kvmlab.specs.disk import Disk
from kvmlab.specs.guest import Cpu, GuestSpec, OperatingSystem
from kvmlab.specs.interface import Interface
from kvmlab.specs.platform import Clock, FirmwareFeature, HyperV, Input, Timer, Tpm


def windows_11(
    name: str, *, disk: str, iso: str, drivers: str, memory_mib: int = 4096, vcpus: int = 2
) -> GuestSpec:
    """Return the definition of a guest that Windows 11 can be installed on.

    UEFI with Secure Boot and a TPM 2.0, as it refuses to be installed without; a virtio disk
    and network card, for which its installer needs drivers from a second CD; and Hyper-V's
    enlightenments, without which it is slow.

    Args:
        name: the guest's name.
        disk: the path of its disk, a qcow2 of 64 GiB or more.
        iso: that of Microsoft's installation CD.
        drivers: that of the virtio drivers' CD, virtio-win.iso.
        memory_mib: its memory; 4 GiB is the least Windows 11 takes.
        vcpus: its virtual CPUs; two are the least.

    Example:
        >>> print(windows_11("win", disk=disk, iso=iso, drivers=drivers).to_xml())
        <domain type="kvm">
          <name>win</name>
          ...
    """
    cds = ((iso, "sda"), (drivers, "sdb"))
    return GuestSpec(
        type="kvm",
        name=name,
        os=OperatingSystem(id="http://microsoft.com/win/11"),
        memory_mib=memory_mib,
        max_vcpus=vcpus,
        firmware="efi",
        firmware_features=(
            FirmwareFeature(name="enrolled-keys"),
            FirmwareFeature(name="secure-boot"),
        ),
        boot=("hd", "cdrom"),
        smm="on",  # Secure Boot keeps its keys where only System Management Mode can write
        hyperv=HyperV(
            relaxed="on",
            vapic="on",
            spinlocks="on",
            spinlock_retries="8191",
            vpindex="on",
            runtime="on",
            synic="on",
            stimer="on",
            frequencies="on",
        ),
        cpu=Cpu(mode="host-passthrough"),
        clock=Clock(
            offset="localtime",
            timers=(
                Timer(name="rtc", tickpolicy="catchup"),
                Timer(name="pit", tickpolicy="delay"),
                Timer(name="hpet", present="no"),
                Timer(name="hypervclock", present="yes"),
            ),
        ),
        disks=(
            Disk(path=disk, target="vda"),
            *(
                Disk(path=path, target=target, bus="sata", device="cdrom", format="raw",
                     readonly=True)
                for path, target in cds
            ),
        ),
        interfaces=(Interface(network="default"),),
        usb=(UsbController(model="qemu-xhci"),),
        inputs=(Input(type="tablet", bus="usb"),),
        tpm=Tpm(),
        video=(Video(model="virtio"),),
        rng=Rng(),
    )  # fmt: skip
