"""libvirt's virtual networks: the switches that guests are plugged into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kvmlab.errors import NetworkNotFound
from kvmlab.handle import Collection, Handle


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


class Network(Handle):
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

        Example:
            >>> lab.networks["default"].start()
        """
        with self._doing("net-start", self.name):
            self._libvirt.create()

    def stop(self) -> None:
        """Stop the network; running guests lose their link to it.

        Raises:
            WrongState: it is not started.

        Example:
            >>> lab.networks["default"].stop()
        """
        with self._doing("net-destroy", self.name):
            self._libvirt.destroy()

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

    def __repr__(self) -> str:
        return f"<Network {self.name}>"


class Networks(Collection[Network]):
    """The virtual networks of a lab, by name.

    Example:
        >>> list(lab.networks)
        ['default']
    """

    _noun = "network"
    _missing = NetworkNotFound

    def _all(self) -> list[Any]:
        return list(self._lab.connection.listAllNetworks())

    def _lookup(self, name: str) -> Any:
        return self._lab.connection.networkLookupByName(name)

    def _handle(self, found: Any) -> Network:
        return Network(self._lab, found)
