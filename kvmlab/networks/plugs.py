"""Which guest is plugged into what: the network cards of all guests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libvirt

from kvmlab.handle import xml_of
from kvmlab.specs import GuestSpec, Interface

if TYPE_CHECKING:
    from kvmlab.lab import Lab


@dataclass(frozen=True)
class Plug:
    """One network card of one guest.

    Attributes:
        guest: the guest's name.
        is_running: whether the guest is on.
        interface: the card; of a running guest, as it is now.

    Example:
        >>> next(plugs(lab)).interface.network
        'default'
    """

    guest: str
    is_running: bool
    interface: Interface


def plugs(lab: Lab) -> Iterator[Plug]:
    """Yield every network card of every guest.

    libvirt tells of all guests at once what they use, but not what they are plugged into:
    that stands only in each one's XML.

    Raises:
        libvirt.libvirtError: libvirt can't be asked.

    Example:
        >>> [plug.guest for plug in plugs(lab)]
        ['web']
    """
    for flag, is_running in (
        (libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE, True),
        (libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE, False),
    ):
        for xml in xml_of(lab.connection.listAllDomains(flag)):
            spec = GuestSpec.from_xml(xml)
            for interface in spec.interfaces:
                yield Plug(spec.name, is_running, interface)


def macs_of(guest: str, network: str, cards: Iterable[Plug]) -> list[str]:
    """Return the MAC addresses of a guest's cards in a network.

    Example:
        >>> macs_of("web", "default", plugs(lab))
        ['52:54:00:5b:1c:0e']
    """
    return [
        plug.interface.mac
        for plug in cards
        if plug.guest == guest and plug.interface.network == network and plug.interface.mac
    ]


def plugged_into(lab: Lab, network: str) -> dict[str, bool]:
    """Return the guests with a card in a network, and whether each is running.

    A running guest counts, too, that is going to have one at its next start.

    Raises:
        libvirt.libvirtError: libvirt can't be asked.

    Example:
        >>> plugged_into(lab, "default")
        {'web': True}
    """
    there = {
        plug.guest: plug.is_running for plug in plugs(lab) if plug.interface.network == network
    }
    running = lab.connection.listAllDomains(
        libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT
    )
    for xml in xml_of(running, libvirt.VIR_DOMAIN_XML_INACTIVE):
        spec = GuestSpec.from_xml(xml)
        if any(interface.network == network for interface in spec.interfaces):
            there.setdefault(spec.name, True)
    return dict(sorted(there.items()))
