"""Virtual networks as libvirt's XML (https://libvirt.org/formatnetwork.html)."""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from kvmlab.specs.interface import Bandwidth
from kvmlab.specs.xml import Element, child, children, number, text, texts


@dataclass(frozen=True)
class DhcpRange(Element, tag="range"):
    """The addresses a network's DHCP server gives to whoever asks.

    Example:
        >>> DhcpRange(start="10.10.0.2", end="10.10.0.254").end
        '10.10.0.254'
    """

    start: str = text("@start")
    end: str = text("@end")


@dataclass(frozen=True)
class DhcpHost(Element, tag="host"):
    """An address that is kept for one guest: known by its card, or by the name it asks with.

    Example:
        >>> DhcpHost(mac="52:54:00:12:34:56", ip="10.10.0.5").name is None
        True
    """

    mac: str | None = text("@mac", None)
    name: str | None = text("@name", None)
    ip: str = text("@ip")


@dataclass(frozen=True)
class DnsHost(Element, tag="host"):
    """Names that the network's DNS server knows an address for.

    Example:
        >>> DnsHost(ip="10.10.0.5", hostnames=("db", "db.lab")).hostnames[0]
        'db'
    """

    ip: str = text("@ip")
    hostnames: tuple[str, ...] = texts("hostname")


@dataclass(frozen=True)
class IpSpec(Element, tag="ip"):
    """One subnet of a network: the host's own address in it, and its DHCP.

    libvirt prints a prefix or a netmask, whichever it was given.

    Example:
        >>> IpSpec(address="10.10.0.1", prefix=24).subnet
        IPv4Network('10.10.0.0/24')
    """

    family: str | None = text("@family", None)
    address: str = text("@address")
    prefix: int | None = number("@prefix", None)
    netmask: str | None = text("@netmask", None)
    ranges: tuple[DhcpRange, ...] = children(DhcpRange, "dhcp")
    hosts: tuple[DhcpHost, ...] = children(DhcpHost, "dhcp")

    @property
    def subnet(self) -> IPv4Network | IPv6Network:
        """The subnet that the address is in; its size may go without saying."""
        size = self.netmask if self.prefix is None else self.prefix
        if size is None:
            size = _natural_prefix(ip_address(self.address))
        return ip_network(f"{self.address}/{size}", strict=False)


@dataclass(frozen=True)
class NetworkSpec(Element, tag="network"):
    """A virtual network, as far as kvmlab defines it.

    Attributes:
        forward: libvirt's word for how packets leave: "nat", "route", "open", "bridge";
            None where they don't.
        isolated_ports: "yes" where guests can't reach each other.
        connections: how many guests' cards libvirt counts in it; never written.
        options: what dnsmasq, the network's DHCP and DNS server, is told besides.

    Example:
        >>> spec = NetworkSpec(name="backstage", ips=(IpSpec(address="10.10.0.1", prefix=24),))
        >>> NetworkSpec.from_xml(spec.to_xml()) == spec
        True
    """

    connections: int | None = number("@connections", None)
    name: str = text("name")
    uuid: str | None = text("uuid", None)
    forward: str | None = text("forward/@mode", None)
    nat_ipv6: str | None = text("forward/nat/@ipv6", None)
    bridge: str | None = text("bridge/@name", None)
    stp: str | None = text("bridge/@stp", None)
    delay: str | None = text("bridge/@delay", None)
    mtu: int | None = number("mtu/@size", None)
    domain: str | None = text("domain/@name", None)
    domain_is_local: str | None = text("domain/@localOnly", None)
    dns: tuple[DnsHost, ...] = children(DnsHost, "dns")
    isolated_ports: str | None = text("port/@isolated", None)
    bandwidth: Bandwidth | None = child(Bandwidth)
    ips: tuple[IpSpec, ...] = children(IpSpec)
    options: tuple[str, ...] = texts("dnsmasq:options/dnsmasq:option/@value")


def _natural_prefix(address: IPv4Address | IPv6Address) -> int:
    """What libvirt takes for granted (virSocketAddrGetIPPrefix): the classes of RFC 791."""
    if address.version == 6:
        return 64
    first = address.packed[0]
    return 8 if first < 128 else 16 if first < 192 else 24
