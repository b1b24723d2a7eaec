"""Who is connected with whom: networks, bridges and guests of a lab, as plain data."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import NotSupported, translate
from kvmlab.handle import xml_of
from kvmlab.libvirt_errors import translated
from kvmlab.networks.network import MODE
from kvmlab.networks.surroundings import is_here
from kvmlab.specs import GuestSpec, NetworkSpec
from kvmlab.states import state_word

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_SIOCGIFADDR = 0x8915  # netdevice(7): an interface's address
_FOUND = 0x2  # linux/if_arp.h, ATF_COM: whoever has that address has answered


@dataclass(frozen=True)
class Switch:
    """A network, or a bridge of the host that guests are plugged into directly.

    Attributes:
        name: the network's name, or the bridge's.
        mode: "nat", "routed", "isolated", "open" or "bridge".
        bridge: the host's bridge; None where there is none at the moment.
        subnets: its addresses.
        is_active: whether it is started.
        isolated_ports: whether guests in it can't reach each other.
        is_draft: it is only thought of, and not made yet.

    Example:
        >>> Switch("default", "nat", "virbr0", ("192.168.122.0/24",)).is_active
        True
    """

    name: str
    mode: str
    bridge: str | None = None
    subnets: tuple[str, ...] = ()
    is_active: bool = True
    isolated_ports: bool = False
    is_draft: bool = False


@dataclass(frozen=True)
class Cable:
    """A guest's network card, and the cable from it.

    Attributes:
        switch: the name of the `Switch` at the other end.
        target: the host's end of the cable; None while the guest is off.
        addresses: the guest's IP addresses there, as far as they are known.
        is_plugged_in: whether the cable is plugged into the card.

    Example:
        >>> Cable("default", "vnet0", ("192.168.122.57",)).is_plugged_in
        True
    """

    switch: str
    target: str | None = None
    addresses: tuple[str, ...] = ()
    is_plugged_in: bool = True


@dataclass(frozen=True)
class Station:
    """A guest with its cables.

    Attributes:
        name: the guest's name.
        state: libvirt's word: "running", "shut off", ...
        cables: one for each network card.

    Example:
        >>> Station("web", "running", (Cable("default"),)).name
        'web'
    """

    name: str
    state: str
    cables: tuple[Cable, ...] = ()


@dataclass(frozen=True)
class Topology:
    """A host with its networks and guests.

    Attributes:
        host: the host's name.
        uplinks: the host's own ways outside: interface and address.
        switches: its networks and bridges.
        guests: its guests.

    Example:
        >>> Topology("kvmlab", switches=(Switch("default", "nat"),)).guests
        ()
    """

    host: str
    uplinks: tuple[tuple[str, str], ...] = ()
    switches: tuple[Switch, ...] = ()
    guests: tuple[Station, ...] = ()


def read_topology(lab: Lab) -> Topology:
    """Look at who is connected with whom.

    A guest's addresses are those that libvirt's DHCP servers have given out, and, where
    the host is this machine, those under which the host has met its network card.

    It is not in the lab's log of commands: it is none of the learner's doing.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> [switch.name for switch in read_topology(lab).switches]
        ['default']
    """
    connection = lab.connection
    with translated("look at the networks"):
        networks = [
            (each, NetworkSpec.from_xml(xml))
            for each in connection.listAllNetworks()
            for xml in xml_of([each])
        ]
        networks.sort(key=lambda pair: pair[1].name)
        active = {spec.name for each, spec in networks if each.isActive()}
        known = _addresses(each for each, spec in networks if spec.name in active)
        guests = [
            (GuestSpec.from_xml(xml), state_word(record["state.state"]))
            for domain, record in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            for xml in xml_of([domain])
        ]
        host = connection.getHostname()
    if is_here(lab):
        leased = set(known)
        for mac, address in _neighbours():
            if mac not in leased:  # else it may be one of yesterday
                known.setdefault(mac, []).append(address)
    switches = {spec.name: _switch(spec, spec.name in active) for _, spec in networks}
    stations = []
    for guest, state in sorted(guests, key=lambda pair: pair[0].name):
        cables = []
        for card in guest.interfaces:
            name = card.network or card.bridge or ""
            if name not in switches:
                mode, there = ("bridge", name) if card.network is None else ("", None)
                switches[name] = Switch(name, mode, there, is_active=card.network is None)
            found = tuple(dict.fromkeys(known.get(card.mac or "", ()))) if card.target else ()
            cables.append(Cable(name, card.target, found, card.link != "down"))
        stations.append(Station(guest.name, state, tuple(cables)))
    uplinks = tuple(_uplinks()) if is_here(lab) else ()
    return Topology(host, uplinks, tuple(switches.values()), tuple(stations))


def _switch(spec: NetworkSpec, is_active: bool) -> Switch:
    return Switch(
        name=spec.name,
        mode=MODE.get(spec.forward, spec.forward or ""),
        bridge=spec.bridge,
        subnets=tuple(str(ip.subnet) for ip in spec.ips),
        is_active=is_active,
        isolated_ports=spec.isolated_ports == "yes",
    )


def _addresses(networks: Iterable[Any]) -> dict[str, list[str]]:
    """Return what the DHCP servers have given out, by MAC address."""
    found: dict[str, list[str]] = {}
    for network in networks:
        try:
            leases = network.DHCPLeases()
        except libvirt.libvirtError as error:
            if isinstance(translate(error), NotSupported):
                continue  # a libvirt that gives out no addresses
            raise
        for lease in leases:
            if lease["mac"]:
                found.setdefault(lease["mac"], []).append(lease["ipaddr"])
    return found


def _neighbours() -> Iterator[tuple[str, str]]:
    """Yield the network cards that the host has met, and their addresses (arp(7))."""
    try:
        lines = Path("/proc/net/arp").read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        address, _, flags, mac, *_ = line.split()
        if int(flags, 16) & _FOUND:
            yield mac, address


def _uplinks() -> Iterator[tuple[str, str]]:
    """Yield the interfaces by which this host sends what is for everywhere else."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return
    names = (line.split()[0] for line in lines if line.split()[1] == line.split()[7] == "00000000")
    for name in dict.fromkeys(names):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            asked = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, asked)
            except OSError:
                continue  # it has no address of IPv4
        yield name, socket.inet_ntoa(answer[20:24])
