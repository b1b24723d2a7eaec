"""Blocks of IP addresses: reading them, and finding one that nobody has. No libvirt in here."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from kvmlab.errors import InUse, InvalidArgument

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network

# Two addresses besides the network's own and the broadcast address: the host's, a guest's.
_LONGEST_PREFIX = {4: 30, 6: 126}

_NEXT = "Use a private one, such as '10.10.0.0/24' or 'fd00:10::/64'"


def parse_block(cidr: str) -> Block:
    """Read a subnet, refusing what guests can't live in.

    Raises:
        InvalidArgument: no subnet, one of a special kind, or one too small.

    Example:
        >>> parse_block("10.10.0.0/24").num_addresses
        256
    """
    try:
        if not isinstance(cidr, str) or "/" not in cidr:
            raise ValueError
        wide = ip_network(cidr, strict=False)
    except ValueError:
        raise InvalidArgument("that is no subnet", seen=cidr, next_step=_NEXT) from None
    if str(wide.network_address) != str(ip_address(cidr.partition("/")[0])):
        raise InvalidArgument(
            "a subnet begins with its lowest address",
            seen=cidr,
            next_step=f"Write {wide}; the host's own address is the gateway",
        )
    if wide.prefixlen > _LONGEST_PREFIX[wide.version]:
        raise InvalidArgument("that subnet has no room for a guest", seen=cidr, next_step=_NEXT)
    special = [wide.is_loopback, wide.is_multicast, wide.is_link_local, wide.is_unspecified]
    if isinstance(wide, IPv4Network):
        # "This network", and what is set aside for ever (RFC 1122, RFC 1112).
        special += [wide.overlaps(IPv4Network(each)) for each in ("0.0.0.0/8", "240.0.0.0/4")]
    if any(special):
        raise InvalidArgument("these addresses are not for guests", seen=cidr, next_step=_NEXT)
    return wide


def parse_address(what: str, address: str) -> Address:
    """Read an address.

    Args:
        what: what it is, for the error.
        address: such as "10.10.0.5".

    Raises:
        InvalidArgument: it is none.

    Example:
        >>> parse_address("gateway", "10.10.0.1")
        IPv4Address('10.10.0.1')
    """
    try:
        if not isinstance(address, str) or "%" in address:  # a zone: only its host knows it
            raise ValueError
        return ip_address(address)
    except ValueError:
        raise InvalidArgument(
            f"that {what} is no IP address",
            seen=address,
            next_step="Give one, such as '10.10.0.5'",
        ) from None


def overlap(one: Block, other: Block) -> bool:
    """Whether two subnets have addresses in common.

    Example:
        >>> overlap(parse_block("10.0.0.0/8"), parse_block("10.10.0.0/24"))
        True
    """
    return one.version == other.version and one.overlaps(other)


def check_free(block: Block, taken: Iterable[tuple[Block, str]]) -> None:
    """Refuse a subnet of which somebody has addresses already.

    Args:
        block: the subnet.
        taken: what is taken, and by whom.

    Raises:
        InUse: they overlap; the message says with what.

    Example:
        >>> check_free(parse_block("10.10.0.0/24"), taken(lab))
    """
    for theirs, who in taken:
        if overlap(block, theirs):
            raise InUse(
                f"addresses of that subnet are taken: {who} has {theirs}",
                seen=str(block),
                next_step="Give another cidr, or none for one that is free",
            )


def free_block(taken: Iterable[tuple[Block, str]]) -> IPv4Network:
    """Return a subnet of 256 addresses that nobody has.

    libvirt's own default network is 192.168.122.0/24; these are the ones after it.

    Raises:
        InUse: all that were tried are taken.

    Example:
        >>> free_block([])
        IPv4Network('192.168.123.0/24')
    """
    theirs = [block for block, _ in taken]
    for number in range(123, 255):
        block = IPv4Network(f"192.168.{number}.0/24")
        if not any(overlap(block, each) for each in theirs):
            return block
    raise InUse(
        "every subnet from 192.168.123.0/24 to 192.168.254.0/24 is taken",
        next_step="Give a cidr, such as '10.10.0.0/24'",
    )
