"""One of libvirt's virtual networks: a switch that guests are plugged into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kvmlab.errors import InUse
from kvmlab.networks.changes import Changes
from kvmlab.networks.plugs import plugged_into, plugs
from kvmlab.specs import NetworkSpec

# libvirt's words for what becomes of packets, in those of `kvmlab.networks.wish.MODES`.
MODE = {None: "isolated", "route": "routed"}


@dataclass(frozen=True)
class Lease:
    """An address that the network's DHCP server has given out.

    Attributes:
        address: the IP address.
        prefix: the length of the network's prefix.
        mac: the network card it was given to.
        hostname: the name the guest asked with, if any.
        expires: when the lease ends.

    Example:
        >>> lab.networks["default"].leases()[0].address
        '192.168.122.57'
    """

    address: str
    prefix: int
    mac: str
    hostname: str | None
    expires: datetime


class Network(Changes):
    """A virtual network.

    Example:
        >>> lab.networks["default"].bridge
        'virbr0'
    """

    @property
    def is_active(self) -> bool:
        """Whether the network is started.

        Example:
            >>> lab.networks["default"].is_active
            True
        """
        with self._doing("net-info", self.name, question=True):
            return bool(self._libvirt.isActive())

    @property
    def bridge(self) -> str:
        """The name of the host's bridge that the guests' cards are plugged into.

        Example:
            >>> lab.networks["default"].bridge
            'virbr0'
        """
        with self._doing("net-info", self.name, question=True):
            return str(self._libvirt.bridgeName())

    @property
    def xml(self) -> str:
        """The network's XML.

        Example:
            >>> print(lab.networks["default"].xml)
            <network>...
        """
        with self._doing("net-dumpxml", self.name, question=True):
            return str(self._libvirt.XMLDesc())

    @property
    def spec(self) -> NetworkSpec:
        """The network's XML as a dataclass: its addresses, DHCP, DNS.

        Example:
            >>> lab.networks["default"].spec.ips[0].address
            '192.168.122.1'
        """
        return NetworkSpec.from_xml(self.xml)

    @property
    def mode(self) -> str:
        """How packets leave it: "nat", "routed", "isolated", "open", "bridge".

        Another tool may have made it in a mode that kvmlab has no word for; then it is
        libvirt's.

        Example:
            >>> lab.networks["default"].mode
            'nat'
        """
        forward = self.spec.forward
        return MODE.get(forward, forward or "")

    @property
    def subnets(self) -> tuple[str, ...]:
        """Its addresses.

        Example:
            >>> lab.networks["default"].subnets
            ('192.168.122.0/24',)
        """
        return tuple(str(ip.subnet) for ip in self.spec.ips)

    @property
    def autostart(self) -> bool:
        """Whether libvirt starts the network when libvirt itself starts; can be set.

        Example:
            >>> lab.networks["default"].autostart = True
        """
        with self._doing("net-info", self.name, question=True):
            return bool(self._libvirt.autostart())

    @autostart.setter
    def autostart(self, on: bool) -> None:
        with self._doing("net-autostart", self.name, None if on else "--disable"):
            self._libvirt.setAutostart(int(on))

    def start(self) -> None:
        """Start the network: its bridge, its DHCP and DNS server, its firewall rules.

        Raises:
            WrongState: it is started already.
            NoBandwidthLimits: this host's kernel can't limit bandwidth.

        Example:
            >>> lab.networks["default"].start()
        """
        with self._doing("net-start", self.name):
            self._libvirt.create()

    def stop(self, *, force: bool = False) -> None:
        """Stop the network: its bridge is gone, and nobody gives out addresses.

        Args:
            force: even if running guests are plugged in. They lose their link for good:
                only a guest that is started anew is plugged in again.

        Raises:
            WrongState: it is not started.
            InUse: running guests are plugged in; the message names them.

        Example:
            >>> lab.networks["default"].stop()
        """
        with self._doing("net-destroy", self.name):
            if not force and self._libvirt.isActive():
                self._check_unused(
                    [
                        plug.guest
                        for plug in plugs(self.lab)
                        if plug.is_running and plug.interface.network == self.name
                    ],
                    "Shut them down, or unplug them: guest.interfaces[...].detach(); "
                    "or stop(force=True)",
                )
            self._libvirt.destroy()

    def delete(self, *, force: bool = False) -> None:
        """Stop the network if it is started, and remove it.

        Args:
            force: even if guests are plugged in. Running ones lose their link for good;
                none of them can be started as long as there is no network of that name.

        Raises:
            InUse: guests, running or not, are plugged in; the message names them.

        Example:
            >>> lab.networks["backstage"].delete()
            >>> "backstage" in lab.networks
            False
        """
        with self._together("net-undefine"):
            if not force:
                self._check_unused(
                    plugged_into(self.lab, self.name),
                    "Delete them, or take their cards out: guest.interfaces[...].detach(); "
                    "or delete(force=True)",
                )
            persistent = self._libvirt.isPersistent()
            if self._libvirt.isActive():
                self.stop(force=True)
            if persistent:
                with self._doing("net-undefine", self.name):
                    self._libvirt.undefine()

    def guests(self) -> list[str]:
        """Return the names of the guests plugged in, running or not.

        Example:
            >>> lab.networks["default"].guests()
            ['web']
        """
        with self._explained("look for guests in"):
            return list(plugged_into(self.lab, self.name))

    def leases(self) -> list[Lease]:
        """Return the addresses that are given out now.

        Example:
            >>> [lease.hostname for lease in lab.networks["default"].leases()]
            ['web']
        """
        with self._doing("net-dhcp-leases", self.name, question=True):
            found = self._libvirt.DHCPLeases()
        return [
            Lease(
                address=each["ipaddr"],
                prefix=each["prefix"],
                mac=each["mac"],
                hostname=each["hostname"],
                expires=datetime.fromtimestamp(each["expirytime"], UTC),
            )
            for each in found
        ]

    def _check_unused(self, guests: Iterable[str], next_step: str) -> None:
        if names := sorted(set(guests)):
            raise InUse(
                f"network {self.name!r} has guests plugged in: {', '.join(names)}",
                next_step=next_step,
            )

    def __repr__(self) -> str:
        return f"<Network {self.name}>"
