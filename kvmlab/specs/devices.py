"""The devices of a guest, one class for each kind of libvirt element.

The elements and attributes are those of https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.specs.xml import Element, number, text


@dataclass(frozen=True)
class Serial(Element, tag="serial"):
    """A serial port: what ``virsh console`` talks to.

    Example:
        >>> Serial().type
        'pty'
    """

    type: str = text("@type", "pty")


@dataclass(frozen=True)
class AgentChannel(Element, tag="channel", fixed={"@type": "unix", "target/@type": "virtio"}):
    """The virtio port on which the QEMU guest agent listens.

    ``state`` is libvirt's word on a running guest: "connected" once an agent
    inside has opened the port; it is never written.

    Example:
        >>> AgentChannel().name
        'org.qemu.guest_agent.0'
    """

    name: str = text("target/@name", "org.qemu.guest_agent.0")
    state: str | None = text("target/@state", None)


@dataclass(frozen=True)
class UsbController(Element, tag="controller", fixed={"@type": "usb"}):
    """The USB controller, which libvirt adds unless it is told that there shall be none.

    Guests get none: nothing is plugged into it, and finding that out makes their boot a
    tenth longer under TCG.

    Example:
        >>> UsbController().model
        'none'
    """

    model: str | None = text("@model", "none")


@dataclass(frozen=True)
class PciController(Element, tag="controller", fixed={"@type": "pci"}):
    """A part of the guest's PCI Express: the root ("pcie-root"), or a slot ("pcie-root-port").

    libvirt gives a guest as many slots as it has devices, and one more; each device that is
    plugged in while the guest runs needs one of its own.

    Example:
        >>> PciController().model
        'pcie-root-port'
    """

    model: str | None = text("@model", "pcie-root-port")


@dataclass(frozen=True)
class Rng(Element, tag="rng", fixed={"@model": "virtio", "backend/@model": "random"}):
    """A virtio random number generator, so that a booting guest never waits for entropy.

    Example:
        >>> Rng().source
        '/dev/urandom'
    """

    source: str | None = text("backend", "/dev/urandom")


@dataclass(frozen=True)
class Graphics(Element, tag="graphics"):
    """The display server. VNC on the loopback address, at the first free port.

    Example:
        >>> Graphics().listen
        '127.0.0.1'
    """

    type: str = text("@type", "vnc")
    autoport: str | None = text("@autoport", "yes")
    listen: str | None = text("@listen", "127.0.0.1")


@dataclass(frozen=True)
class Video(Element, tag="video"):
    """The graphics card. Plain VGA shows firmware, boot loader and kernel alike.

    Example:
        >>> Video().model
        'vga'
    """

    model: str = text("model/@type", "vga")


@dataclass(frozen=True)
class MemBalloon(Element, tag="memballoon"):
    """The balloon, through which a running guest's memory shrinks and grows.

    The guest reports how it uses its memory every ``stats_period_s`` seconds.

    Example:
        >>> MemBalloon().stats_period_s
        5
    """

    model: str = text("@model", "virtio")
    stats_period_s: int | None = number("stats/@period", 5)
