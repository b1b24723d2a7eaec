"""One network card of a guest: its cable, its limits, its counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.errors import DeviceNotFound, GuestNotRunning, TimedOut
from kvmlab.networks import cabling
from kvmlab.networks.wish import bandwidth_of
from kvmlab.specs import Bandwidth
from kvmlab.specs import Interface as InterfaceSpec
from kvmlab.waiting import attempts

if TYPE_CHECKING:
    from kvmlab.guests.agent import Address, Inside
    from kvmlab.virsh import Commands


@dataclass(frozen=True)
class Traffic:
    """What has gone through a network card since the guest was started, as the guest sees it.

    Attributes:
        received_bytes: what came in.
        received_packets: in as many packets.
        received_errors: packets that came damaged.
        received_dropped: packets that nobody had room for.
        sent_bytes: what went out.
        sent_packets: in as many packets.
        sent_errors: packets that could not be sent.
        sent_dropped: packets that nobody had room for.

    Example:
        >>> web.interfaces[0].traffic().sent_packets
        12
    """

    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int


class Interface:
    """A network card of a guest. It is a live handle: what it tells is read when asked.

    Attributes:
        guest: the guest it is in.
        mac: its hardware address, by which libvirt knows it.

    Example:
        >>> web.interfaces[0].unplug()
        >>> web.interfaces[0].is_plugged_in
        False
    """

    def __init__(self, guest: Inside, mac: str) -> None:
        self.guest = guest
        self.mac = mac

    @property
    def spec(self) -> InterfaceSpec:
        """The card's XML as a dataclass; of a running guest, as it is now.

        Raises:
            DeviceNotFound: the guest has it no more.

        Example:
            >>> web.interfaces[0].spec.alias
            'net0'
        """
        guest = self.guest
        with guest._doing("dumpxml", guest.name, question=True):
            return self._look()

    @property
    def model(self) -> str | None:
        """What card it is: "virtio", "e1000e", ...

        Example:
            >>> web.interfaces[0].model
            'virtio'
        """
        return self.spec.model

    @property
    def network(self) -> str | None:
        """The name of libvirt's network it is plugged into; None for a bridge of the host.

        Example:
            >>> web.interfaces[0].network
            'default'
        """
        return self.spec.network

    @property
    def bridge(self) -> str | None:
        """The host's bridge it is plugged into; None while the guest is off, and in a network.

        Example:
            >>> web.interfaces[0].bridge
            'virbr0'
        """
        return self.spec.bridge

    @property
    def target(self) -> str | None:
        """The host's end of its cable; None while the guest is off.

        Example:
            >>> web.interfaces[0].target
            'vnet0'
        """
        return self.spec.target

    @property
    def is_plugged_in(self) -> bool:
        """Whether the cable is plugged into the card.

        Example:
            >>> web.interfaces[0].is_plugged_in
            True
        """
        return self.spec.link != "down"

    @property
    def bandwidth(self) -> Bandwidth | None:
        """How much it may receive and send; None for no limit.

        Example:
            >>> web.interfaces[0].bandwidth is None
            True
        """
        return self.spec.bandwidth

    @property
    def virsh(self) -> Commands:
        """The commands that do the same as what was last done with the guest."""
        return self.guest.virsh

    def unplug(self) -> None:
        """Pull the cable out of the card: it is there, and hears nothing.

        It stays out, also over a restart, until `plug`.

        Raises:
            DeviceNotFound: the guest has this card no more.

        Example:
            >>> web.interfaces[0].unplug()
            >>> web.virsh
            virsh domif-setlink web 52:54:00:5b:1c:0e down
            virsh domif-setlink web 52:54:00:5b:1c:0e down --config
        """
        cabling.set_link(self.guest, self.mac, "down")

    def plug(self) -> None:
        """Plug the cable in again.

        Raises:
            DeviceNotFound: the guest has this card no more.

        Example:
            >>> web.interfaces[0].plug()
        """
        cabling.set_link(self.guest, self.mac, "up")

    def set_bandwidth(self, limit: Bandwidth | int | None) -> None:
        """Limit how much the card receives and sends, from now on; None lifts the limit.

        The host keeps to it: the guest need not know, and can't help it.

        Args:
            limit: a `Bandwidth`, or one number for both ways, in KiB per second.

        Raises:
            InvalidArgument: one of the numbers is not a whole one above zero.
            NoBandwidthLimits: this host's kernel can't limit bandwidth.
            DeviceNotFound: the guest has this card no more.

        Example:
            >>> web.interfaces[0].set_bandwidth(512)
            >>> web.interfaces[0].bandwidth.inbound_kib_s
            512
        """
        cabling.set_bandwidth(self.guest, self.mac, bandwidth_of(limit) or Bandwidth())

    def traffic(self) -> Traffic:
        """Count what has gone through the card.

        Raises:
            GuestNotRunning: the guest is off.
            DeviceNotFound: the guest has this card no more.

        Example:
            >>> before = web.interfaces[0].traffic()
            >>> web.run("ping -c 3 192.168.122.1")
            >>> web.interfaces[0].traffic().sent_packets - before.sent_packets
            3
        """
        guest = self.guest
        if self.target is None:
            raise GuestNotRunning(
                f"the cards of guest {guest.name!r} count only while it runs", seen=guest.state
            )
        with guest._doing("domifstat", guest.name, self.mac, question=True):
            return Traffic(*guest._libvirt.interfaceStats(self.mac))

    def addresses(self) -> list[Address]:
        """Return the card's IP addresses; see `Guest.addresses`.

        Raises:
            GuestNotRunning: the guest is off.

        Example:
            >>> web.interfaces[0].addresses()[0].address
            '192.168.122.57'
        """
        return [each for each in self.guest.addresses() if each.mac == self.mac]

    def wait_address(self, *, timeout_s: float = 60) -> str:
        """Wait until the card has an IPv4 address, and return it.

        Raises:
            GuestNotRunning: the guest is off.
            TimedOut: it has none yet.

        Example:
            >>> web.interfaces.attach("backstage").wait_address()
            '10.10.0.57'
        """
        # Neither libvirt nor the agent has an event for a new address.
        for _ in attempts(timeout_s):
            for found in self.addresses():
                if ":" not in found.address:
                    return found.address
        raise TimedOut(
            f"card {self.mac} of guest {self.guest.name!r} has no IPv4 address after {timeout_s} s"
        )

    def detach(self, *, timeout_s: float = cabling.LETS_GO_S) -> None:
        """Take the card out of the guest, for good.

        Args:
            timeout_s: how long a running guest may take to let go of it.

        Raises:
            DeviceNotFound: the guest has this card no more.
            TimedOut: the running guest does not let go of it; it may be booting.

        Example:
            >>> web.interfaces[0].detach()
            >>> len(web.interfaces)
            0
        """
        cabling.detach(self.guest, self.mac, timeout_s)

    def _look(self) -> InterfaceSpec:
        guest = self.guest
        with guest._explained(f"look at a card of {guest.name}"):
            found = next((each for each in guest._spec().interfaces if each.mac == self.mac), None)
            if found is None:
                raise cabling.gone(guest, self.mac)
        return found

    def __repr__(self) -> str:
        try:
            spec = self._look()
        except DeviceNotFound:
            return f"<Interface {self.mac} of {self.guest.name}: gone>"
        where = f"plugged into {spec.network or spec.bridge}"
        return f"<Interface {self.mac} of {self.guest.name}: {where}>"
