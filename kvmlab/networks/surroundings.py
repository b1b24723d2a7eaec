"""What a new network must not run into: other networks, and the host's own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvmlab.errors import AlreadyExists, DeviceNotFound
from kvmlab.handle import xml_of
from kvmlab.networks.cidr import Block
from kvmlab.specs import NetworkSpec

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_PROC, _SYS = Path("/proc/net"), Path("/sys/class/net")
_UP = 0x1  # linux/route.h, RTF_UP


def specs_of_networks(lab: Lab) -> list[NetworkSpec]:
    """Return every network's definition, started or not.

    Raises:
        libvirt.libvirtError: libvirt can't be asked.

    Example:
        >>> [spec.name for spec in specs_of_networks(lab)]
        ['default']
    """
    return [NetworkSpec.from_xml(xml) for xml in xml_of(lab.connection.listAllNetworks())]


def taken(lab: Lab) -> Iterator[tuple[Block, str]]:
    """Yield the subnets that somebody has already, and who: networks first, then the host.

    Raises:
        libvirt.libvirtError: libvirt can't be asked.

    Example:
        >>> next(taken(lab))
        (IPv4Network('192.168.122.0/24'), "network 'default'")
    """
    for spec in specs_of_networks(lab):
        for ip in spec.ips:
            yield ip.subnet, f"network {spec.name!r}"
    if is_here(lab):
        yield from routes()


def is_here(lab: Lab) -> bool:
    """Whether libvirt's host is the machine we are on, so that we can look at it ourselves.

    Example:
        >>> is_here(lab)
        True
    """
    parts = urlsplit(lab.uri)
    return parts.scheme.startswith("qemu") and not parts.hostname


def routes() -> Iterator[tuple[Block, str]]:
    """Yield where this host's own interfaces lead to, but for the way to everywhere else.

    From the kernel's tables of routes (proc(5), /proc/net/route and /proc/net/ipv6_route):
    an interface with an address has a route to its subnet.

    Example:
        >>> list(routes())
        [(IPv4Network('192.168.122.0/24'), "this host's interface virbr0")]
    """
    for line in _lines("route")[1:]:
        name, destination, _, flags, _, _, _, mask, *_ = line.split()
        size = int(mask, 16).bit_count()
        if size and int(flags, 16) & _UP:
            # Kept as it lies in memory, the highest byte first, read as a number.
            start = socket.inet_ntoa(struct.pack("=I", int(destination, 16)))
            yield IPv4Network((start, size), strict=False), f"this host's interface {name}"
    for line in _lines("ipv6_route"):
        destination, size_hex, *_, flags, name = line.split()
        block = IPv6Network((int(destination, 16), int(size_hex, 16)), strict=False)
        special = block.is_link_local or block.is_multicast or block.is_loopback
        if block.prefixlen and name != "lo" and not special and int(flags, 16) & _UP:
            yield block, f"this host's interface {name}"


def bridges() -> list[str]:
    """Return the names of this host's bridges.

    Example:
        >>> bridges()
        ['virbr0']
    """
    return sorted(each.parent.name for each in _SYS.glob("*/bridge"))


def check_bridge(lab: Lab, name: str) -> None:
    """Refuse a bridge that the host, if we can look at it, does not have.

    Raises:
        DeviceNotFound: there is no such bridge.

    Example:
        >>> check_bridge(lab, "virbr0")
    """
    if is_here(lab) and name not in (there := bridges()):
        raise DeviceNotFound(
            "this host has no such bridge",
            seen=name,
            next_step=f"There is: {', '.join(there) or 'none'}. "
            f"`ip link add {name} type bridge` makes one",
        )


def check_bridge_is_new(lab: Lab, name: str) -> None:
    """Refuse the name of an interface that the host, if we can look at it, has already.

    Raises:
        AlreadyExists: there is one.

    Example:
        >>> check_bridge_is_new(lab, "backstage0")
    """
    if is_here(lab) and (_SYS / name).exists():
        raise AlreadyExists(
            "this host has an interface of that name",
            seen=name,
            next_step="Leave bridge out, and libvirt finds a name; "
            "a bridge that exists is for mode='bridge'",
        )


def _lines(table: str) -> list[str]:
    try:
        return (_PROC / table).read_text().splitlines()
    except OSError:
        return []  # a kernel without IPv6
