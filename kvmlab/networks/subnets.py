"""The subnets of one virtual network: the host's address, and what its DHCP gives out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kvmlab.errors import InvalidArgument
from kvmlab.networks.cidr import Address, Block, overlap, parse_address, parse_block

Range = tuple[str, str]

# dnsmasq keeps a table of every address it may give out; libvirt refuses ranges longer
# than this (virSocketAddrGetRange).
_LONGEST_RANGE = 65_534

# A guest makes an IPv6 address of its own from what the router announces, in a subnet of
# exactly this size (RFC 4862).
_SLAAC = 64


@dataclass(frozen=True)
class Subnet:
    """One subnet of a virtual network.

    Attributes:
        block: its addresses.
        gateway: the host's own address in it: the guests' way out, their DHCP and DNS server.
        ranges: what the DHCP server gives out, each from the first to the last.

    Example:
        >>> subnet = Subnet.of("10.10.0.0/24")
        >>> str(subnet.gateway), subnet.ranges
        ('10.10.0.1', (('10.10.0.2', '10.10.0.254'),))
    """

    block: Block
    gateway: Address
    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(
        cls,
        cidr: str,
        gateway: str | None = None,
        dhcp: bool | Sequence[Range] = True,
    ) -> Subnet:
        """Work a subnet out, refusing what can't be one.

        IPv6 subnets get no range by themselves: guests make an address of their own there.

        Args:
            cidr: its addresses, such as "10.10.0.0/24".
            gateway: the host's own address; without it, the first.
            dhcp: whether addresses are given out, or exactly which.

        Raises:
            InvalidArgument: one of the values makes no sense, or they don't fit together.

        Example:
            >>> Subnet.of("10.10.0.0/24", gateway="10.10.0.254").ranges
            (('10.10.0.1', '10.10.0.253'),)
        """
        block = parse_block(cidr)
        if gateway is None:
            own: Address = block.network_address + 1
        else:
            own = parse_address("gateway", gateway)
            _check_host("gateway", own, block)
        if dhcp is True:
            if block.version == 4:
                return cls(block, own, (_whole(block, own),))
            if block.prefixlen != _SLAAC:
                raise InvalidArgument(
                    f"guests find themselves an IPv6 address in a /{_SLAAC} only",
                    seen=cidr,
                    next_step=f"Give a /{_SLAAC}, a range of addresses as dhcp, or dhcp=False",
                )
        ranges = () if isinstance(dhcp, bool) else tuple(_range(each, block) for each in dhcp)
        return cls(block, own, ranges)


def subnets(
    cidrs: Sequence[str],
    gateways: Sequence[str] = (),
    dhcp: bool | Range | Sequence[Range] = True,
) -> tuple[Subnet, ...]:
    """Work the subnets of one network out; each gateway and range goes where it fits.

    Args:
        cidrs: the subnets, IPv4 and IPv6.
        gateways: the host's own address in some of them.
        dhcp: whether addresses are given out; or the first and the last; or several of these.

    Raises:
        InvalidArgument: one of the values makes no sense, or fits into none of the subnets.

    Example:
        >>> [str(each.gateway) for each in subnets(["10.10.0.0/24", "fd00:10::/64"])]
        ['10.10.0.1', 'fd00:10::1']
    """
    blocks = [parse_block(cidr) for cidr in cidrs]
    for one, other in combinations(blocks, 2):
        if overlap(one, other):
            raise InvalidArgument(
                f"the subnets {one} and {other} have addresses in common",
                seen=list(cidrs),
                next_step="Give subnets that lie apart",
            )
    own = _by_block("gateway", gateways, blocks)
    ranges = [] if isinstance(dhcp, bool) else _as_ranges(dhcp)
    starts = [_range_ends(each)[0] for each in ranges]
    given = [_home("range of addresses", str(start), blocks) for start in starts]
    found = []
    for block in blocks:
        mine = [each for each, home in zip(ranges, given, strict=True) if home == block]
        found.append(
            Subnet.of(str(block), own.get(block), dhcp if isinstance(dhcp, bool) else mine)
        )
    return tuple(found)


def check_reserved(address: str, subnet: Subnet) -> None:
    """Refuse to keep an address of a subnet for a guest that can't be the guest's.

    Raises:
        InvalidArgument: it is outside of the subnet, or the host's own.

    Example:
        >>> check_reserved("10.10.0.5", Subnet.of("10.10.0.0/24"))
    """
    found = parse_address("host", address)
    _check_host("host", found, subnet.block)
    if found == subnet.gateway:
        raise InvalidArgument(
            "that address is the gateway's, the host's own",
            seen=address,
            next_step=f"Give another one of {subnet.block}",
        )


def _check_host(what: str, address: Address, block: Block) -> None:
    if address not in block:
        raise InvalidArgument(
            f"the {what} is outside of the subnet {block}",
            seen=str(address),
            next_step=f"Give one from {block.network_address + 1} on",
        )
    ends = (block.network_address, *((block.broadcast_address,) if block.version == 4 else ()))
    if address in ends:
        raise InvalidArgument(
            f"the first and the last address of {block} stand for the subnet as a whole",
            seen=str(address),
            next_step=f"Give {block.network_address + 1}, for one",
        )


def _whole(block: Block, gateway: Address) -> Range:
    """The range of a whole subnet without the gateway, where that is at an end."""
    first, last = block.network_address + 1, block.broadcast_address - 1
    if first == gateway:
        first += 1
    if last == gateway:
        last -= 1
    return str(first), str(min(last, first + _LONGEST_RANGE - 1))


def _range(ends: Range, block: Block) -> Range:
    start, end = _range_ends(ends)
    for each in (start, end):
        _check_host("range of addresses", each, block)
    return str(start), str(end)


def _range_ends(ends: Range) -> tuple[Address, Address]:
    try:
        start, end = ends
    except (TypeError, ValueError):
        raise _no_range(ends) from None
    first = parse_address("first address of the range", start)
    last = parse_address("last address of the range", end)
    if first.version != last.version or int(last) < int(first):
        raise _no_range(ends)
    if int(last) - int(first) >= _LONGEST_RANGE:
        raise InvalidArgument(
            f"a range has {_LONGEST_RANGE} addresses at most",
            seen=ends,
            next_step="Give a shorter one",
        )
    return first, last


def _no_range(seen: object) -> InvalidArgument:
    return InvalidArgument(
        "that is no range of addresses",
        seen=seen,
        next_step="Give True, False, or the first and the last: ('10.10.0.100', '10.10.0.199')",
    )


def _as_ranges(dhcp: Range | Sequence[Range]) -> list[Range]:
    if isinstance(dhcp, str) or not isinstance(dhcp, Sequence):
        raise _no_range(dhcp)
    if len(dhcp) == 2 and all(isinstance(each, str) for each in dhcp):
        return [(str(dhcp[0]), str(dhcp[1]))]
    return list(dhcp)  # type: ignore[arg-type]


def _by_block(what: str, addresses: Sequence[str], blocks: Sequence[Block]) -> dict[Block, str]:
    found: dict[Block, str] = {}
    for address in addresses:
        home = _home(what, address, blocks)
        if home in found:
            raise InvalidArgument(
                f"{home} has one {what}", seen=address, next_step=f"Leave one {what} out"
            )
        found[home] = address
    return found


def _home(what: str, address: str, blocks: Sequence[Block]) -> Block:
    """Return the subnet an address is in."""
    found = parse_address(what, address)
    for block in blocks:
        if found in block:
            return block
    there = ", ".join(map(str, blocks)) or "there is none"
    raise InvalidArgument(
        f"the {what} is outside of the network's addresses",
        seen=address,
        next_step=f"Give one within its subnets: {there}",
    )
