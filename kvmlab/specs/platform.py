"""What surrounds the processor: firmware, clock, TPM, and what makes Windows feel at home.

The elements and attributes are those of https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.specs.xml import Element, children, text


@dataclass(frozen=True)
class FirmwareFeature(Element, tag="feature"):
    """What the firmware must be able to do, for libvirt to choose one.

    Example:
        >>> FirmwareFeature(name="secure-boot").enabled
        'yes'
    """

    name: str = text("@name")
    enabled: str | None = text("@enabled", "yes")


@dataclass(frozen=True)
class HyperV(Element, tag="hyperv", fixed={"@mode": "custom"}):
    """Enlightenments: what Windows asks of Microsoft's hypervisor, answered by QEMU.

    A guest that knows it is one spares itself work: its spinlocks yield, its clock is read
    without leaving the guest. Each is "on", or left out.

    Example:
        >>> HyperV(relaxed="on").vapic
    """

    relaxed: str | None = text("relaxed/@state", None)
    vapic: str | None = text("vapic/@state", None)
    spinlocks: str | None = text("spinlocks/@state", None)
    spinlock_retries: str | None = text("spinlocks/@retries", None)
    vpindex: str | None = text("vpindex/@state", None)
    runtime: str | None = text("runtime/@state", None)
    synic: str | None = text("synic/@state", None)
    stimer: str | None = text("stimer/@state", None)
    frequencies: str | None = text("frequencies/@state", None)


@dataclass(frozen=True)
class Timer(Element, tag="timer"):
    """A clock of the machine, and what happens when the guest could not keep up with it.

    Example:
        >>> Timer(name="hpet", present="no").tickpolicy
    """

    name: str = text("@name")
    tickpolicy: str | None = text("@tickpolicy", None)
    present: str | None = text("@present", None)


@dataclass(frozen=True)
class Clock(Element, tag="clock"):
    """What the guest's clock shows when it starts: "utc", or "localtime" as Windows expects.

    Example:
        >>> Clock(offset="localtime").timers
        ()
    """

    offset: str | None = text("@offset", "utc")
    timers: tuple[Timer, ...] = children(Timer)


@dataclass(frozen=True)
class Tpm(Element, tag="tpm", fixed={"backend/@type": "emulator"}):
    """A Trusted Platform Module, emulated by swtpm: a safe for keys.

    Example:
        >>> Tpm().version
        '2.0'
    """

    model: str | None = text("@model", "tpm-crb")
    version: str | None = text("backend/@version", "2.0")


@dataclass(frozen=True)
class Input(Element, tag="input"):
    """A keyboard, a mouse, or a tablet: a pointer whose place is told, rather than its way.

    Example:
        >>> Input(type="tablet", bus="usb").bus
        'usb'
    """

    type: str = text("@type")
    bus: str | None = text("@bus", None)
