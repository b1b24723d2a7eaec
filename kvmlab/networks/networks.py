"""libvirt's virtual networks: making them, finding them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from html import escape
from typing import Any

import libvirt

from kvmlab.errors import NetworkAlreadyExists, NetworkNotFound
from kvmlab.handle import Collection
from kvmlab.libvirt_errors import translated
from kvmlab.limits import check_network_name
from kvmlab.networks.changes import entry_for
from kvmlab.networks.cidr import check_free, free_block
from kvmlab.networks.network import Network
from kvmlab.networks.plugs import macs_of, plugs
from kvmlab.networks.subnets import Range
from kvmlab.networks.surroundings import check_bridge, check_bridge_is_new, taken
from kvmlab.networks.wish import Mode, NetworkWish, pairs_of, specify
from kvmlab.specs import Bandwidth, NetworkSpec
from kvmlab.virsh import Commands, VirshLog, feed


class Networks(Collection[Network]):
    """The virtual networks of a lab, by name.

    Example:
        >>> list(lab.networks)
        ['default']
    """

    _noun = "network"
    _missing = NetworkNotFound

    def create(
        self,
        name: str,
        *,
        mode: Mode = "nat",
        cidr: str | Sequence[str] | None = None,
        gateway: str | Sequence[str] | None = None,
        dhcp: bool | Range | Sequence[Range] = True,
        hosts: Mapping[str, str] | None = None,
        dns: Mapping[str, str] | None = None,
        domain: str | None = None,
        isolated_ports: bool = False,
        bandwidth: Bandwidth | int | None = None,
        mtu: int | None = None,
        bridge: str | None = None,
        start: bool = True,
        autostart: bool = True,
    ) -> Network:
        """Create a network and start it. All or nothing: what fails leaves nothing behind.

        It is like libvirt's default network where nothing else is said: the host has the
        first address and gives out the others; ports are open at once (no spanning tree),
        and an address is offered without trying for seconds whether somebody has it.

        Args:
            name: 1 to 63 letters, digits, "-", "_" and ".".
            mode: how packets leave it. "nat": to everywhere, with the host's address on
                them, and nobody outside can begin to talk to a guest. "routed": with the
                guests' own addresses; the world outside must know the way back. "isolated":
                not at all. "open": as routed, but libvirt makes no firewall rule. "bridge":
                guests are in the network of a bridge of the host, as if on its cable.
            cidr: its addresses: "10.10.0.0/24", or several, of IPv4 and IPv6:
                ["10.10.0.0/24", "fd00:10::/64"]. Without a word, 256 addresses that nobody
                has; with ``[]`` none: a switch, and nothing else.
            gateway: the host's own address in it, if not the first; or several.
            dhcp: whether addresses are given out; or which, as ("10.10.0.100",
                "10.10.0.199"), or several of these. In IPv6, guests make their own address
                from what the host announces, unless a range is given.
            hosts: addresses kept for guests: {guest or MAC address: address}; see
                `Network.add_host`.
            dns: names its DNS server knows, besides those of guests: {name: address}.
            domain: what guests' names end in, such as "backstage.lab".
            isolated_ports: guests reach the host and what is behind it, but not each other.
            bandwidth: how much all its guests together may receive and send: a `Bandwidth`,
                or one number for both, in KiB per second.
            mtu: the largest packet, in bytes; without it, Ethernet's 1500.
            bridge: for mode "bridge", the host's bridge, which must exist. For others, what
                the new one shall be called, instead of virbr1, virbr2, ...
            start: start it.
            autostart: start it whenever libvirt starts.

        Raises:
            InvalidName: that can't be its name, or one of those in it.
            InvalidArgument: another value makes no sense, or is outside of the subnet.
            NetworkAlreadyExists: the name is taken.
            AlreadyExists: the host has an interface that is called like the new bridge.
            InUse: another network, or the host itself, has some of these addresses.
            DeviceNotFound: the host has no such bridge.
            NoBandwidthLimits: the host's kernel can't limit bandwidth.

        Example:
            >>> lan = lab.networks.create("backstage", mode="isolated", cidr="10.10.0.0/24")
            >>> lan.is_active
            True
        """
        spec = self._plan(
            name,
            mode=mode,
            cidr=cidr,
            gateway=gateway,
            dhcp=dhcp,
            hosts=hosts,
            dns=dns,
            domain=domain,
            isolated_ports=isolated_ports,
            bandwidth=bandwidth,
            mtu=mtu,
            bridge=bridge,
        )
        log = self._lab.virsh_log
        with (
            log.action() as action,
            translated(f"create network {name!r}"),
            ExitStack() as undo,
        ):
            found = _define(self._lab.connection, spec)
            undo.callback(found.undefine)
            if autostart:
                found.setAutostart(1)
            if start:
                found.create()
            undo.pop_all()
            action.note(_commands(spec, log, start=start, autostart=autostart))
        network = Network(self._lab, found)
        network.virsh = action.commands
        return network

    def preview(
        self, name: str, *, start: bool = True, autostart: bool = True, **choices: Any
    ) -> Commands:
        """Return the commands that `create` would have done; nothing is made.

        Args:
            name: as for `create`, and so are all others.
            start: see there.
            autostart: see there.
            choices: see there.

        Raises:
            KvmlabError: what `create` would have raised before it made anything.

        Example:
            >>> lab.networks.preview("backstage", mode="isolated")
            virsh net-define /dev/stdin <<'XML'
            ...
        """
        spec = self._plan(name, **choices)
        return _commands(spec, self._lab.virsh_log, start=start, autostart=autostart)

    def states(self) -> dict[str, str]:
        """Return whether each network is started, in virsh's words.

        Example:
            >>> lab.networks.states()
            {'backstage': 'inactive', 'default': 'active'}
        """
        lab = self._lab
        with lab.virsh_log.action(question=True) as action, translated("list the networks"):
            found = lab.connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
            active = {network.name() for network in found}
            action.note(lab.virsh_log.virsh("net-list", "--all"))
            return {name: "active" if name in active else "inactive" for name in self}

    def _plan(
        self,
        name: str,
        *,
        mode: Mode = "nat",
        cidr: str | Sequence[str] | None = None,
        gateway: str | Sequence[str] | None = None,
        hosts: Mapping[str, str] | None = None,
        dns: Mapping[str, str] | None = None,
        **choices: Any,
    ) -> NetworkSpec:
        check_network_name(name)
        if name in self:
            raise NetworkAlreadyExists("there is a network of that name", seen=name)
        with translated("look at what there is"):
            theirs = list(taken(self._lab))
            # Few guests are defined before their network; most are known by their name.
            cards = list(plugs(self._lab)) if hosts else []
        wish = NetworkWish(
            name,
            mode,
            cidr=() if cidr is None else cidr,
            gateway=gateway or (),
            hosts=[
                entry_for(host, address, macs_of(host, name, cards), name)
                for host, address in pairs_of("hosts", hosts, "{'web': '10.10.0.5'}").items()
            ],
            dns=pairs_of("dns", dns, "{'db': '10.10.0.5'}"),
            **choices,
        )
        if cidr is None and mode != "bridge":
            wish = replace(wish, cidr=str(free_block(theirs)))
        spec = specify(wish)
        for ip in spec.ips:
            check_free(ip.subnet, theirs)
        if mode == "bridge":
            check_bridge(self._lab, str(wish.bridge))
        elif wish.bridge:
            check_bridge_is_new(self._lab, wish.bridge)
        return spec

    def _all(self) -> list[Any]:
        return list(self._lab.connection.listAllNetworks())

    def _lookup(self, name: str) -> Any:
        return self._lab.connection.networkLookupByName(name)

    def _handle(self, found: Any) -> Network:
        return Network(self._lab, found)

    def __repr__(self) -> str:
        states = self.states()
        width = max(map(len, states), default=0)
        rows = [f"{name:{width}}  {state}" for name, state in states.items()]
        return "\n".join(rows) or "<no networks>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{state}</td></tr>"
            for name, state in self.states().items()
        )
        return f"<table><tr><th>Name</th><th>State</th></tr>{rows}</table>"


def _define(connection: Any, spec: NetworkSpec) -> Any:
    return connection.networkDefineXMLFlags(spec.to_xml(), libvirt.VIR_NETWORK_DEFINE_VALIDATE)


def _commands(spec: NetworkSpec, log: VirshLog, *, start: bool, autostart: bool) -> Commands:
    lines = [feed(log.virsh("net-define", "/dev/stdin"), spec.to_xml())]
    if autostart:
        lines.append(log.virsh("net-autostart", spec.name))
    if start:
        lines.append(log.virsh("net-start", spec.name))
    return Commands("\n".join(lines))
