"""A guest's network cards: plugging them in and out, while the guest runs or not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kvmlab.errors import DeviceNotFound, InUse, InvalidArgument
from kvmlab.networks.cabling import flags_and_options, reach, tune_options
from kvmlab.networks.interface import Interface
from kvmlab.networks.network import Network
from kvmlab.networks.plugs import plugs
from kvmlab.networks.surroundings import check_bridge
from kvmlab.networks.wish import MAC, bandwidth_of
from kvmlab.specs import Bandwidth
from kvmlab.specs import Interface as InterfaceSpec
from kvmlab.specs.xml import one_line

if TYPE_CHECKING:
    from kvmlab.guests.agent import Inside

# QEMU's network cards, as libvirt knows them (conf/domain_conf.c, virDomainNetModel), that
# a PC can have.
MODELS = ("virtio", "e1000e", "e1000", "rtl8139", "igb", "pcnet", "ne2k_pci", "vmxnet3", "usb-net")

_QEMU_PREFIX = "52:54:00"


class Interfaces(Mapping[str, Interface]):
    """A guest's network cards by their MAC address, in the order of the guest's definition.

    A card is found by its MAC address, by its place (0 is the first), or by the host's name
    for the other end of its cable ("vnet0"), which it has while the guest runs. Of a running
    guest, these are the cards it has now.

    Example:
        >>> list(web.interfaces)
        ['52:54:00:5b:1c:0e']
        >>> web.interfaces[0].network
        'default'
    """

    def __init__(self, guest: Inside) -> None:
        self._guest = guest

    def attach(
        self,
        network: str | Network | None = None,
        *,
        bridge: str | None = None,
        model: str = "virtio",
        mac: str | None = None,
        bandwidth: Bandwidth | int | None = None,
    ) -> Interface:
        """Give the guest another network card, plugged in at once; it stays its own.

        A running guest has it now, and has to set it up itself, as for any new card.

        Args:
            network: one of libvirt's networks; without a word, and without a bridge,
                "default".
            bridge: instead of a network, a bridge of the host.
            model: what card it is: "virtio" is the fastest; "e1000e", "rtl8139" and others are
                for systems without a driver for it.
            mac: its address; without it, one of QEMU's that no guest has.
            bandwidth: how much it may receive and send: a `Bandwidth`, or one number for
                both, in KiB per second.

        Raises:
            InvalidArgument: one of the values makes no sense.
            NetworkNotFound: there is no such network.
            NetworkNotActive: the guest runs, and the network is not started.
            DeviceNotFound: the host has no such bridge.
            InUse: another card has that MAC address.
            NotEnough: the running guest has no slot left for a card.
            NoBandwidthLimits: this host's kernel can't limit bandwidth.

        Example:
            >>> web.interfaces.attach("backstage", bandwidth=512)
            <Interface 52:54:00:8a:11:9c of web: plugged into backstage>
        """
        guest = self._guest
        kind, source = self._source(network, bridge)
        if model not in MODELS:
            raise InvalidArgument(
                "no such model of a network card",
                seen=model,
                next_step=f"There is: {', '.join(MODELS)}",
            )
        limit = bandwidth_of(bandwidth)
        with guest._together("attach-interface"):
            spec = InterfaceSpec(
                type=kind,
                network=source if kind == "network" else None,
                bridge=source if kind == "bridge" else None,
                model=model,
                mac=self._mac(mac),
                bandwidth=limit,
            )
            flags, options = flags_and_options(reach(guest))
            words = [guest.name, kind, source, "--model", model, "--mac", spec.mac]
            words += tune_options(limit) if limit else []
            with guest._doing("attach-interface", *words, *options):
                guest._libvirt.attachDeviceFlags(one_line(spec), flags)
        return Interface(guest, str(spec.mac))

    def _source(self, network: str | Network | None, bridge: str | None) -> tuple[str, str]:
        lab = self._guest.lab
        if bridge is None:
            name = network.name if isinstance(network, Network) else network or "default"
            return "network", lab.networks[name].name
        if network is not None:
            raise InvalidArgument(
                "a card has one cable: into one of libvirt's networks or a bridge of the host",
                seen={"network": network, "bridge": bridge},
                next_step="Give one of the two: attach('default'), or attach(bridge='br0')",
            )
        check_bridge(lab, bridge)
        return "bridge", bridge

    def _mac(self, wanted: str | None) -> str:
        """Return the MAC address a new card gets."""
        there = {plug.interface.mac: plug.guest for plug in plugs(self._guest.lab)}
        if wanted is None:
            while (mac := _random_mac()) in there:
                pass
            return mac
        mac = wanted.lower() if isinstance(wanted, str) else ""
        # The lowest bit of the first byte marks what is addressed to several.
        if not MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
            raise InvalidArgument(
                "that can't be the MAC address of a card",
                seen=wanted,
                next_step=f"Give six bytes, such as '{_QEMU_PREFIX}:12:34:56', or none",
            )
        if mac in there:
            raise InUse(
                f"guest {there[mac]!r} has a card of that MAC address",
                seen=mac,
                next_step="Give another one, or none",
            )
        return mac

    def _cards(self) -> list[InterfaceSpec]:
        guest = self._guest
        with guest._doing("domiflist", guest.name, question=True):
            return self._look()

    def _look(self) -> list[InterfaceSpec]:
        return [each for each in self._guest._spec().interfaces if each.mac]

    def __getitem__(self, key: str | int) -> Interface:
        cards = self._cards()
        if isinstance(key, int) and -len(cards) <= key < len(cards):
            return Interface(self._guest, str(cards[key].mac))
        for card in cards:
            if isinstance(key, str) and key.lower() in (card.mac, card.target):
                return Interface(self._guest, str(card.mac))
        there = ", ".join(str(card.mac) for card in cards)
        raise DeviceNotFound(
            f"guest {self._guest.name!r} has no such network card",
            seen=key,
            next_step=f"It has: {there or 'none'}",
        )

    def __iter__(self) -> Iterator[str]:
        return iter([str(card.mac) for card in self._cards()])

    def __len__(self) -> int:
        return len(self._cards())

    def __repr__(self) -> str:
        with self._guest._explained(f"domiflist {self._guest.name}"):
            cards = self._look()
        rows = [
            (str(card.mac), card.model or "", card.network or card.bridge or "", card.target or "-",
             "unplugged" if card.link == "down" else "plugged in")
            for card in cards
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines) or "<no network cards>"


def _random_mac() -> str:
    return ":".join([_QEMU_PREFIX, *(f"{random.randrange(256):02x}" for _ in range(3))])
