"""A guest's place in the network: its cards, and a way to its services from a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.errors import GuestNotRunning, WrongState
from kvmlab.guests.agent import Inside
from kvmlab.networks.interfaces import Interfaces

if TYPE_CHECKING:
    from kvmlab.networks.forwarding import Forward


class Connections(Inside):
    """The part of a guest that connects it with others."""

    @property
    def interfaces(self) -> Interfaces:
        """The guest's network cards, by MAC address, place or host's end of the cable.

        Example:
            >>> web.interfaces
            52:54:00:5b:1c:0e  virtio  default  vnet0  plugged in
        """
        return Interfaces(self)

    def forward(
        self, port: int, *, local_port: int | None = None, address: str | None = None
    ) -> Forward:
        """Make a service of the guest's reachable from this machine's own browser.

        What connects to the address returned is connected on to the guest. It is open on
        127.0.0.1 only: of the machine that the lab host runs on, and within the lab host
        alike. It is closed by `Forward.close`, when the guest stops, and when the Python
        that opened it, the lab or the lab host ends.

        Args:
            port: the guest's TCP port.
            local_port: the port on 127.0.0.1, from 1024 on; without it, any that is free.
            address: which of the guest's; without it, its first one of IPv4, else of IPv6.

        Raises:
            InvalidArgument: that is no port.
            GuestNotRunning: the guest is off.
            WrongState: it has no address yet.
            InUse: the local port is taken.
            LabHostError: the lab host can't open a port outside.

        Example:
            >>> web.run("echo Hello >/var/www/index.html; httpd -h /var/www")
            >>> site = web.forward(80)
            >>> site
            http://127.0.0.1:42807/
            >>> site.close()
        """
        # Imported late: few programs need it, and it needs asyncio.
        from kvmlab.networks.forwarding import check_ports, open_forward

        check_ports(port, local_port)
        with self._explained("forward a port of"):
            if not self._libvirt.isActive():
                raise GuestNotRunning(
                    f"guest {self.name!r} has nothing to forward to", seen=self._state()
                )
        return open_forward(self, address or self._reachable_address(), port, local_port)

    def _reachable_address(self) -> str:
        found = [each.address for each in self.addresses()]
        for address in sorted(found, key=lambda each: ":" in each):
            if not address.lower().startswith("fe80:"):  # means nothing without its interface
                return address
        raise WrongState(
            f"guest {self.name!r} has no address yet",
            seen=found,
            next_step="Wait for it: guest.wait_address()",
        )
