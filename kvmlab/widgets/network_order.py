"""An order for a network, and what is to be said on each of its parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvmlab.errors import KvmlabError
from kvmlab.lab import Lab
from kvmlab.libvirt_errors import translated
from kvmlab.limits import check_network_name
from kvmlab.networks.cidr import Block, check_free, parse_block
from kvmlab.networks.surroundings import bridges, is_here, taken
from kvmlab.networks.wish import MODES, Mode
from kvmlab.widgets.create_order import Note

# What becomes of packets, for a person who chooses.
SAYS: dict[Mode, str] = {
    "nat": "Guests reach everything, under the host's address; nobody outside can begin.",
    "routed": "Guests go by their own addresses; the world outside must know the way back.",
    "isolated": "Guests reach each other and the host, and nothing else.",
    "open": "As routed, and libvirt makes no firewall rules.",
    "bridge": "Guests are in the same network as the host, as if on its cable.",
}
assert set(SAYS) == set(MODES)


@dataclass(frozen=True)
class NetworkOrder:
    """What is filled in.

    Attributes:
        name: what the network shall be called.
        mode: how packets leave it.
        cidr: its subnets, with commas between them; empty for none.
        dhcp: whether addresses are given out.
        isolated_ports: whether guests in it can't reach each other.
        bridge: the host's bridge, for mode "bridge".

    Example:
        >>> NetworkOrder("backstage", "isolated", "10.10.0.0/24").python
        'lab.networks.create(\\n    "backstage",\\n    mode="isolated",\\n    ...)'
    """

    name: str
    mode: Mode
    cidr: str
    dhcp: bool = True
    isolated_ports: bool = False
    bridge: str | None = None

    @property
    def cidrs(self) -> list[str]:
        """The subnets, one by one."""
        return [each.strip() for each in self.cidr.split(",") if each.strip()]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `lab.networks.create` after the name: those that matter."""
        if self.mode == "bridge":
            return {"mode": self.mode, "bridge": self.bridge}
        cidrs = self.cidrs
        wish: dict[str, Any] = {"mode": self.mode, "cidr": cidrs[0] if len(cidrs) == 1 else cidrs}
        if not self.dhcp:
            wish["dhcp"] = False
        if self.isolated_ports:
            wish["isolated_ports"] = True
        return wish

    @property
    def python(self) -> str:
        """The Python call that makes this network."""
        lines = [json.dumps(self.name)]
        # Text and lists of text are spelt alike in JSON and in Python; True and False are not.
        lines += [
            f"{name}={value if isinstance(value, bool) else json.dumps(value)}"
            for name, value in self.arguments.items()
        ]
        return "lab.networks.create(\n" + "".join(f"    {line},\n" for line in lines) + ")"


@dataclass(frozen=True)
class Surroundings:
    """What there is already, at the moment it was looked at.

    Attributes:
        networks: the names that are taken.
        taken: the subnets that somebody has, and who.
        bridges: the host's bridges that are nobody's: not libvirt's own.
    """

    networks: frozenset[str]
    taken: tuple[tuple[Block, str], ...]
    bridges: tuple[str, ...]


def look(lab: Lab) -> Surroundings:
    """Look at what there is already.

    It is not in the lab's log of commands: it is none of the learner's doing.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> look(lab).networks
        frozenset({'default'})
    """
    with lab.virsh_log.action(), translated("look at the networks"):
        specs = {name: network.spec for name, network in lab.networks.items()}
        own = {spec.bridge for spec in specs.values() if spec.forward != "bridge"}
        return Surroundings(
            networks=frozenset(specs),
            taken=tuple(taken(lab)),
            bridges=tuple(each for each in bridges() if each not in own) if is_here(lab) else (),
        )


def judge(order: NetworkOrder, around: Surroundings, made: str | None = None) -> dict[str, Note]:
    """Return what is to be said on each field of an order.

    Args:
        order: what is filled in.
        around: what there is.
        made: the name of the network that was made last.

    Example:
        >>> judge(order, look(lab))["mode"].kind
        'hint'
    """
    is_ours = order.mode != "bridge"
    unused = Note("Not libvirt's business here: whoever looks after that bridge says.")
    return {
        "name": _on_name(order.name, around, made),
        "mode": Note(SAYS[order.mode]),
        "cidr": _on_cidr(order, around, made) if is_ours else unused,
        "dhcp": _on_dhcp(order) if is_ours else unused,
        "isolated_ports": _on_ports(order) if is_ours else unused,
        "bridge": _on_bridge(order.bridge, around) if not is_ours else Note(_OWN_BRIDGE),
    }


_OWN_BRIDGE = "libvirt makes a bridge of its own for this network."


def _on_name(name: str, around: Surroundings, made: str | None) -> Note:
    if error := _refusal(lambda: check_network_name(name)):
        return error
    if name not in around.networks:
        return Note("The name by which guests are plugged into it.")
    if name == made:
        return Note("This network is made. Choose another name to make another one.", "done")
    return Note("there is a network of this name already. Choose another one.", "error")


def _on_cidr(order: NetworkOrder, around: Surroundings, made: str | None) -> Note:
    if not order.cidrs:
        return Note("no addresses: a switch, and nothing else.", "warning")
    # What was made from this very form is in nobody's way, nor is the bridge that came of it.
    mine = f"network {made!r}" if order.name == made else ""
    ours = {block for block, who in around.taken if who == mine}
    theirs = [each for each in around.taken if each[0] not in ours]
    for cidr in order.cidrs:
        if error := _refusal(lambda cidr=cidr: check_free(parse_block(cidr), theirs)):  # type: ignore[misc]
            return error
    counts = [parse_block(cidr) for cidr in order.cidrs]
    rooms = [f"{block.num_addresses - 3} guests" for block in counts if block.version == 4]
    rooms += ["any number in IPv6" for block in counts if block.version == 6]
    return Note(f"Room for {', and for '.join(rooms)}; nobody else has these addresses.")


def _on_dhcp(order: NetworkOrder) -> Note:
    if not order.cidrs:
        return Note("Without addresses there is nothing to give out.")
    if order.dhcp:
        return Note("The host gives each guest an address when it asks for one.")
    return Note("Each guest must be given its address inside, by hand.")


def _on_ports(order: NetworkOrder) -> Note:
    if order.isolated_ports:
        return Note("Guests reach the host and what is behind it, but not each other.")
    return Note("Guests in it reach each other.")


def _on_bridge(bridge: str | None, around: Surroundings) -> Note:
    if not around.bridges:
        return Note(
            "this host has no bridge of its own. `ip link add br0 type bridge` makes one.", "error"
        )
    if bridge is None:
        return Note("choose the bridge that guests shall be plugged into.", "error")
    return Note("Guests are plugged into this one.")


def _refusal(check: Callable[[], object]) -> Note | None:
    """Make a note of why a check of the library's refuses a value; the value is in sight."""
    try:
        check()
    except KvmlabError as error:
        advice = f" {error.next_step}." if error.next_step else ""
        return Note(f"{error.happened}.{advice}", "error")
    return None
