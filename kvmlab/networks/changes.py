"""Changing a network that guests are using: reservations in DHCP, names in DNS.

What is changed is so at once and stays so: in the running network and in its definition
(``virsh net-update --live --config``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import libvirt

from kvmlab.errors import InUse, InvalidArgument, NotFound
from kvmlab.handle import Handle
from kvmlab.limits import check_dns_name
from kvmlab.networks.cidr import parse_address
from kvmlab.networks.plugs import macs_of, plugs
from kvmlab.networks.subnets import Subnet, check_reserved
from kvmlab.networks.wish import MAC, dns_hosts, home_of
from kvmlab.specs import DhcpHost, DnsHost, NetworkSpec
from kvmlab.specs.xml import Element, one_line

_COMMANDS = {
    "add": libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
    "delete": libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE,
}
_SECTIONS = {
    "ip-dhcp-host": libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
    "dns-host": libvirt.VIR_NETWORK_SECTION_DNS_HOST,
}


class Changes(Handle):
    """The part of a network that can be changed while guests use it."""

    def add_host(self, host: str, address: str) -> None:
        """Keep an address for a guest: whenever it asks for one, it gets that.

        A guest that has an address already gets the new one when it next asks: when it
        boots, or when its card is plugged in anew.

        Args:
            host: the guest's name, or its card's MAC address. A guest without a card in
                this network, or yet to be made, is known by the name that it asks with.
            address: an IPv4 address of this network.

        Raises:
            InvalidArgument: the address is outside of the network, or the host's own; or
                the guest has several cards in the network.
            InUse: the address is kept for another one, or given out to another one.

        Example:
            >>> lab.networks["default"].add_host("web", "192.168.122.10")
        """
        with self._together("net-update"):
            spec = NetworkSpec.from_xml(self._libvirt.XMLDesc())
            entry = entry_for(host, address, self._cards_of(host), self.name)
            place = self._place(spec, entry.ip)
            kept = [each for ip in spec.ips for each in ip.hosts]
            for each in kept:
                if each.ip == entry.ip or _is_same(each, entry):
                    raise InUse(
                        f"network {self.name!r} keeps {each.ip} for {each.mac or each.name}",
                        seen=entry.ip if each.ip == entry.ip else host,
                        next_step=f"remove_host({each.ip!r}) lets go of it",
                    )
            self._check_not_given(entry)
            self._update("add", "ip-dhcp-host", entry, place)

    def remove_host(self, host: str) -> None:
        """Keep an address for its guest no longer. Who has it now, has it until the lease ends.

        Args:
            host: the guest's name, its card's MAC address, or the address that is kept.

        Raises:
            NotFound: no address is kept for it.

        Example:
            >>> lab.networks["default"].remove_host("web")
        """
        with self._together("net-update"):
            spec = NetworkSpec.from_xml(self._libvirt.XMLDesc())
            macs = self._cards_of(host)
            meant = {str(host), str(host).lower(), *macs}
            for place, ip in enumerate(spec.ips):
                for each in ip.hosts:
                    if meant & {each.ip, each.name, each.mac and each.mac.lower()}:
                        self._update("delete", "ip-dhcp-host", each, place)
                        return
            there = ", ".join(f"{h.ip} for {h.mac or h.name}" for ip in spec.ips for h in ip.hosts)
            raise NotFound(
                f"network {self.name!r} keeps no address for that",
                seen=host,
                next_step=f"It keeps: {there or 'none'}",
            )

    def add_dns(self, name: str, address: str) -> None:
        """Have the network's DNS server know a name.

        Args:
            name: such as "db" or "db.lab".
            address: any IP address.

        Raises:
            InvalidName: that can't be a name in DNS.
            InvalidArgument: that is no address.
            InUse: the name is known already, for that address.

        Example:
            >>> lab.networks["default"].add_dns("db", "192.168.122.10")
        """
        (entry,) = dns_hosts({name: address})
        with self._together("net-update"):
            known = NetworkSpec.from_xml(self._libvirt.XMLDesc()).dns
            for each in known:
                if name in each.hostnames and each.ip == entry.ip:
                    raise InUse(f"{name!r} is known in network {self.name!r}", seen=each.ip)
            self._replace_names(entry.ip, known, lambda names: (*names, name))

    def remove_dns(self, name: str) -> None:
        """Have the network's DNS server forget a name, for every address.

        Raises:
            NotFound: it does not know that name.

        Example:
            >>> lab.networks["default"].remove_dns("db")
        """
        with self._together("net-update"):
            known = NetworkSpec.from_xml(self._libvirt.XMLDesc()).dns
            found = [each for each in known if name in each.hostnames]
            if not found:
                there = sorted(each for host in known for each in host.hostnames)
                raise NotFound(
                    f"network {self.name!r} has no such name in its DNS",
                    seen=name,
                    next_step=f"It has: {', '.join(there) or 'none'}",
                )
            for each in found:
                self._replace_names(
                    each.ip, known, lambda names: tuple(one for one in names if one != name)
                )

    # ---- how it is done

    def _cards_of(self, guest: str) -> list[str]:
        return macs_of(guest, self.name, plugs(self.lab))

    def _update(self, command: str, section: str, entry: Element, place: int | None = None) -> None:
        flags, words = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG, ["--config"]
        if self._libvirt.isActive():
            flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
            words.insert(0, "--live")
        if place:
            words = ["--parent-index", str(place), *words]
        xml = one_line(entry)
        with self._doing("net-update", self.name, command, section, xml, *words):
            self._libvirt.update(
                _COMMANDS[command], _SECTIONS[section], -1 if place is None else place, xml, flags
            )

    def _replace_names(
        self,
        address: str,
        known: tuple[DnsHost, ...],
        change: Callable[[tuple[str, ...]], tuple[str, ...]],
    ) -> None:
        """Change the names of one address. libvirt can't; it can forget them, and learn anew."""
        with ExitStack() as undo:
            before = next((each for each in known if each.ip == address), None)
            if before:
                self._update("delete", "dns-host", before)
                undo.callback(self._update, "add", "dns-host", before)
            names = change(before.hostnames if before else ())
            if names:
                self._update("add", "dns-host", DnsHost(ip=address, hostnames=names))
            undo.pop_all()

    def _place(self, spec: NetworkSpec, address: str) -> int:
        """Return the number of the subnet that an address is in; refuse one that is in none."""
        there = [Subnet(ip.subnet, parse_address("gateway", ip.address)) for ip in spec.ips]
        home = home_of(address, there)
        check_reserved(address, home)
        if not (spec.ips[there.index(home)].ranges or spec.ips[there.index(home)].hosts):
            raise InvalidArgument(
                f"network {self.name!r} gives out no addresses",
                seen=address,
                next_step="Set the address inside the guest, or make the network with dhcp=True",
            )
        return there.index(home)

    def _check_not_given(self, entry: DhcpHost) -> None:
        if not self._libvirt.isActive():
            return
        for lease in self._libvirt.DHCPLeases():
            theirs = entry.mac != lease["mac"] if entry.mac else entry.name != lease["hostname"]
            if lease["ipaddr"] == entry.ip and theirs:
                raise InUse(
                    f"that address is given out to {lease['hostname'] or lease['mac']}",
                    seen=entry.ip,
                    next_step="Choose another one; leases() shows all that are given out",
                )


def entry_for(host: str, address: str, cards: list[str], network: str) -> DhcpHost:
    """Write down for whom an address is kept.

    Args:
        host: a MAC address, or the name of a guest.
        address: what is kept.
        cards: the MAC addresses of that guest's cards in the network.
        network: the network's name.

    Raises:
        InvalidArgument: the guest has several cards.
        InvalidName: that can't be the name of a guest.

    Example:
        >>> entry_for("web", "10.10.0.5", [], "backstage")
        DhcpHost(mac=None, name='web', ip='10.10.0.5')
    """
    if isinstance(host, str) and MAC.fullmatch(host.lower()):
        return DhcpHost(mac=host.lower(), ip=address)
    check_dns_name(host, "name that a guest asks with")
    if not cards:
        return DhcpHost(name=host, ip=address)
    if len(cards) > 1:
        raise InvalidArgument(
            f"guest {host!r} has {len(cards)} cards in network {network!r}",
            seen=cards,
            next_step="Say which, by its MAC address",
        )
    return DhcpHost(mac=cards[0], name=host, ip=address)


def _is_same(one: DhcpHost, other: DhcpHost) -> bool:
    if one.mac and other.mac:
        return one.mac.lower() == other.mac.lower()  # as it was written, not by libvirt
    return one.name is not None and one.name == other.name
