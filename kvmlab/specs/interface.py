"""A guest's network card as libvirt's ``<interface>`` element.

The elements and attributes are those of
https://libvirt.org/formatdomain.html#network-interfaces.
"""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Self

from kvmlab.specs.xml import Element, child, number, text

# The kinds of card kvmlab knows: plugged into one of libvirt's networks, or into a bridge
# of the host.
_KINDS = ("network", "bridge")


@dataclass(frozen=True)
class Bandwidth(Element, tag="bandwidth"):
    """How fast data may flow, at a guest's card or in a whole network.

    "Inbound" is what guests receive, "outbound" what they send
    (https://libvirt.org/formatnetwork.html#quality-of-service).

    Attributes:
        inbound_kib_s: the average that may arrive, in KiB per second.
        inbound_peak_kib_s: the most in a burst, in KiB per second.
        inbound_burst_kib: how much may come at that rate, in KiB.
        outbound_kib_s: the average that may leave, in KiB per second.
        outbound_peak_kib_s: the most in a burst, in KiB per second.
        outbound_burst_kib: how much may go at that rate, in KiB.

    Example:
        >>> Bandwidth(inbound_kib_s=1024).outbound_kib_s is None
        True
    """

    inbound_kib_s: int | None = number("inbound/@average", None)
    inbound_peak_kib_s: int | None = number("inbound/@peak", None)
    inbound_burst_kib: int | None = number("inbound/@burst", None)
    outbound_kib_s: int | None = number("outbound/@average", None)
    outbound_peak_kib_s: int | None = number("outbound/@peak", None)
    outbound_burst_kib: int | None = number("outbound/@burst", None)


@dataclass(frozen=True)
class Interface(Element, tag="interface"):
    """A network card and where its cable is plugged in.

    Without a MAC address libvirt picks one when the guest is defined. Of a running guest
    libvirt also tells the ``alias``, the ``target`` (the host's end of the cable) and the
    ``bridge`` that it is in, whatever the type.

    Example:
        >>> Interface(network="default").model
        'virtio'
    """

    type: str = text("@type", "network")
    network: str | None = text("source/@network", None)
    bridge: str | None = text("source/@bridge", None)
    model: str | None = text("model/@type", "virtio")
    mac: str | None = text("mac/@address", None)
    target: str | None = text("target/@dev", None)
    link: str | None = text("link/@state", None)
    mtu: int | None = number("mtu/@size", None)
    bandwidth: Bandwidth | None = child(Bandwidth)
    alias: str | None = text("alias/@name", None)

    @classmethod
    def all_in(cls, element: ET.Element, parent: str = "") -> list[Self]:
        """Read the network cards that are plugged into a network or a bridge."""
        return [each for each in super().all_in(element, parent) if each.type in _KINDS]
