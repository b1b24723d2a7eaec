"""What a person wishes a network to be: whether it makes sense, and its definition."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from kvmlab.errors import InvalidArgument
from kvmlab.limits import check_dns_name, check_network_name
from kvmlab.networks.cidr import parse_address
from kvmlab.networks.subnets import Range, Subnet, check_reserved, subnets
from kvmlab.specs import Bandwidth, DhcpHost, DhcpRange, DnsHost, IpSpec, NetworkSpec

Mode = Literal["nat", "routed", "isolated", "open", "bridge"]
MODES: tuple[Mode, ...] = get_args(Mode)

# libvirt's words (https://libvirt.org/formatnetwork.html#connectivity).
_FORWARD = {"nat": "nat", "routed": "route", "isolated": None, "open": "open", "bridge": "bridge"}

# A card's address, as libvirt writes it.
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

_LONGEST_INTERFACE_NAME = 15  # linux/if.h, IFNAMSIZ
_INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# Of an Ethernet frame: the least IPv4 and IPv6 work with (RFC 791, RFC 8200), and the most
# a bridge of Linux takes.
_MTU = {4: 68, 6: 1280}
_LARGEST_MTU = 65_535


@dataclass(frozen=True)
class NetworkWish:
    """What was asked of ``lab.networks.create``; its arguments, with the cards looked up.

    ``hosts`` are the addresses kept for guests, each with the card or the name it is for.
    """

    name: str
    mode: Mode = "nat"
    cidr: str | Sequence[str] = ()
    gateway: str | Sequence[str] = ()
    dhcp: bool | Range | Sequence[Range] = True
    hosts: Sequence[DhcpHost] = ()
    dns: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    isolated_ports: bool = False
    bandwidth: Bandwidth | int | None = None
    mtu: int | None = None
    bridge: str | None = None

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """The subnets of the network, worked out; raises InvalidArgument."""
        return subnets(_several(self.cidr), _several(self.gateway), self.dhcp)


def specify(wish: NetworkWish) -> NetworkSpec:
    """Write a wish as libvirt's definition, refusing one that can't come true anywhere.

    Raises:
        InvalidName: that can't be its name, or one of those in it.
        InvalidArgument: another value makes no sense, or two don't fit together.

    Example:
        >>> specify(NetworkWish("backstage", "isolated", "10.10.0.0/24")).forward is None
        True
    """
    check_network_name(wish.name)
    if wish.mode not in MODES:
        raise InvalidArgument(
            "no such mode", seen=wish.mode, next_step=f"There is: {', '.join(MODES)}"
        )
    if wish.mode == "bridge":
        return _on_a_bridge(wish)
    if wish.bridge is not None:
        _check_interface_name(wish.bridge)
    found = wish.subnets
    if wish.domain is not None:
        check_dns_name(wish.domain, "domain")
    _check_mtu(wish.mtu, found)
    has_ipv6 = any(subnet.block.version == 6 for subnet in found)
    return NetworkSpec(
        name=wish.name,
        forward=_FORWARD[wish.mode],
        nat_ipv6="yes" if wish.mode == "nat" and has_ipv6 else None,
        bridge=wish.bridge,
        # Spanning tree keeps a new port silent for seconds, and one bridge has no loops.
        stp="off",
        delay="0",
        mtu=wish.mtu,
        domain=wish.domain,
        # Names in the network's own domain are nobody else's business.
        domain_is_local="yes" if wish.domain else None,
        dns=dns_hosts(wish.dns),
        isolated_ports="yes" if wish.isolated_ports else None,
        bandwidth=bandwidth_of(wish.bandwidth),
        ips=_ips(found, wish.hosts, serves_dhcp=wish.dhcp is not False),
        options=_options(wish, found),
    )


def pairs_of(what: str, given: Mapping[str, str] | None, example: str) -> Mapping[str, str]:
    """Return names with their addresses, refusing what is anything else.

    Raises:
        InvalidArgument: it is no mapping.

    Example:
        >>> pairs_of("dns", {"db": "10.10.0.5"}, "{...}")
        {'db': '10.10.0.5'}
    """
    if not isinstance(given or {}, Mapping):
        raise InvalidArgument(
            f"{what} must say for each name its address",
            seen=given,
            next_step=f"Give {what}={example}",
        )
    return given or {}


def dns_hosts(names: Mapping[str, str]) -> tuple[DnsHost, ...]:
    """Write names as libvirt wants them: by their address.

    Raises:
        InvalidName: that can't be a name in DNS.
        InvalidArgument: that is no address.

    Example:
        >>> dns_hosts({"db": "10.10.0.5", "sql": "10.10.0.5"})
        (DnsHost(ip='10.10.0.5', hostnames=('db', 'sql')),)
    """
    by_address: dict[str, tuple[str, ...]] = {}
    for name, address in names.items():
        check_dns_name(name)
        found = str(parse_address(f"address of {name!r}", address))
        by_address[found] = (*by_address.get(found, ()), name)
    return tuple(DnsHost(ip=ip, hostnames=those) for ip, those in by_address.items())


def bandwidth_of(limit: Bandwidth | int | None) -> Bandwidth | None:
    """Return a limit; a bare number is an average, in KiB per second, each way.

    Raises:
        InvalidArgument: one of its numbers is not a whole number above zero.

    Example:
        >>> bandwidth_of(512).outbound_kib_s
        512
    """
    if limit is None:
        return None
    if not isinstance(limit, Bandwidth):
        limit = Bandwidth(inbound_kib_s=limit, outbound_kib_s=limit)
    for name, value in vars(limit).items():
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**32
        ):
            raise InvalidArgument(
                f"{name} must be a whole number above zero", seen=value, next_step=f"{name}=1024"
            )
    for way in ("inbound", "outbound"):
        values = {each: getattr(limit, f"{way}_{each}") for each in ("peak_kib_s", "burst_kib")}
        if any(values.values()) and getattr(limit, f"{way}_kib_s") is None:
            raise InvalidArgument(
                f"a burst needs an average to come back to: {way}_kib_s",
                seen=values,
                next_step=f"Give {way}_kib_s, too",
            )
    return limit if limit != Bandwidth() else None


def _on_a_bridge(wish: NetworkWish) -> NetworkSpec:
    """A bridge that is somebody else's: addresses and names are, too."""
    if wish.bridge is None:
        raise InvalidArgument(
            "mode 'bridge' needs a bridge of the host",
            seen=None,
            next_step="Name it: bridge='br0'. `ip link show type bridge` lists them",
        )
    _check_interface_name(wish.bridge)
    unused = {
        "cidr": _several(wish.cidr), "gateway": _several(wish.gateway), "hosts": wish.hosts,
        "dns": wish.dns, "domain": wish.domain, "isolated_ports": wish.isolated_ports,
        "bandwidth": wish.bandwidth, "mtu": wish.mtu, "dhcp": wish.dhcp is not True,
    }  # fmt: skip
    given = [name for name, value in unused.items() if value]
    if given:
        raise InvalidArgument(
            f"on a bridge of the host, libvirt has no say in {', '.join(given)}",
            seen=wish.bridge,
            next_step="Leave that out, or take another mode",
        )
    return NetworkSpec(name=wish.name, forward="bridge", bridge=wish.bridge)


def _ips(
    found: Iterable[Subnet], hosts: Sequence[DhcpHost], *, serves_dhcp: bool
) -> tuple[IpSpec, ...]:
    there = tuple(found)
    if hosts and not serves_dhcp:
        raise InvalidArgument(
            "addresses can't be kept for guests without DHCP, which gives them out",
            seen=[host.ip for host in hosts],
            next_step="Leave dhcp=False out, or set the addresses inside the guests",
        )
    for number, host in enumerate(hosts):
        check_reserved(host.ip, home_of(host.ip, there))
        if any(host.ip == other.ip for other in hosts[:number]):
            raise InvalidArgument(
                "one address can't be kept for two", seen=host.ip, next_step="Give each its own"
            )
        if host.mac and any(host.mac == other.mac for other in hosts[:number]):
            raise InvalidArgument(
                "one card can't be kept two addresses", seen=host.mac, next_step="Give it one"
            )
    return tuple(
        IpSpec(
            family=f"ipv{subnet.block.version}",
            address=str(subnet.gateway),
            prefix=subnet.block.prefixlen,
            ranges=tuple(DhcpRange(start=start, end=end) for start, end in subnet.ranges),
            hosts=tuple(host for host in hosts if home_of(host.ip, there) == subnet),
        )
        for subnet in there
    )


def home_of(address: str, found: Sequence[Subnet]) -> Subnet:
    """Return the subnet an address can be kept in: that of IPv4 it lies in.

    Raises:
        InvalidArgument: there is none.

    Example:
        >>> home_of("10.10.0.5", subnets(["10.10.0.0/24"])).block
        IPv4Network('10.10.0.0/24')
    """
    wanted = parse_address("host", address)
    if wanted.version == 6:
        raise InvalidArgument(
            "IPv6 addresses can't be kept for a card: guests make their own from it",
            seen=address,
            next_step="Keep an IPv4 address, or set that one inside the guest",
        )
    for subnet in found:
        if wanted in subnet.block:
            return subnet
    there = ", ".join(str(each.block) for each in found) or "there is none"
    raise InvalidArgument(
        "that address is outside of the network's addresses",
        seen=address,
        next_step=f"Give one within its subnets: {there}",
    )


def _options(wish: NetworkWish, found: Iterable[Subnet]) -> tuple[str, ...]:
    """Return what dnsmasq (its manual page has the options) is told besides libvirt's."""
    if not any(subnet.ranges for subnet in found):
        return ()
    # Without the first, dnsmasq pings an address for three seconds before it offers it. The
    # second tells guests: libvirt sets the MTU of the host's ends of their cables only.
    mtu = () if wish.mtu is None else (f"dhcp-option=option:mtu,{wish.mtu}",)
    return ("no-ping", *mtu)


def _check_mtu(mtu: int | None, found: Iterable[Subnet]) -> None:
    if mtu is None:
        return
    least = max((_MTU[subnet.block.version] for subnet in found), default=_MTU[4])
    if not isinstance(mtu, int) or isinstance(mtu, bool) or not least <= mtu <= _LARGEST_MTU:
        raise InvalidArgument(
            f"mtu must be a whole number from {least} to {_LARGEST_MTU}",
            seen=mtu,
            next_step="Ethernet's is mtu=1500, jumbo frames are mtu=9000",
        )


def _check_interface_name(name: str) -> None:
    if (
        not isinstance(name, str)
        or not _INTERFACE_NAME.fullmatch(name)
        or len(name) > _LONGEST_INTERFACE_NAME
    ):
        raise InvalidArgument(
            "that can't be the name of a bridge",
            seen=name,
            next_step=f"Use 1 to {_LONGEST_INTERFACE_NAME} letters, digits, '-', '_' and '.'",
        )


def _several(value: Any) -> tuple[Any, ...]:
    # What is neither one nor several is refused as the one that it is not.
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(value) if several else (value,)
