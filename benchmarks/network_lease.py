"""How long from no network to the first lease of a guest in it, beside raw libvirt calls.

One guest runs all the time, without a network card. Ours is ``lab.networks.create``,
``guest.interfaces.attach`` and waiting for the address; the other way is the same XML
through libvirt-python: define, autostart, start, attach, and asking for leases. What the
library adds is looking at everything the new network could run into, the choice of a MAC
address, and its words. The guest's own part, to see the card and to ask for an address, is
the same for both and the greater part of it.
"""

from __future__ import annotations

import time

import libvirt

from benchmarks.guests import PREFIX, lab_for_guests
from benchmarks.pairs import Comparison, Step, timed

NAME = f"{PREFIX}lan"
CIDR, BRIDGE = "10.99.0.0/24", "bench-lan"
MACS = ("52:54:00:be:ac:01", "52:54:00:be:ac:02")
PAUSE_S = 0.01  # between two questions for leases
FLAGS = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG

NETWORK = f"""<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>{NAME}</name><forward mode='nat'/><bridge name='{BRIDGE}' stp='off' delay='0'/>
  <ip address='10.99.0.1' prefix='24'>
    <dhcp><range start='10.99.0.2' end='10.99.0.254'/></dhcp></ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>"""
CARD = f"""<interface type='network'><source network='{NAME}'/><model type='virtio'/>
  <mac address='{MACS[1]}'/></interface>"""

COMPARISON = Comparison(
    question="a network, create to a guest's lease",
    against="the same libvirt calls",
    limit=1.2,
)


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    with lab_for_guests() as lab:
        if NAME in lab.networks:
            lab.networks[NAME].delete(force=True)
        guest = lab.guests.create(f"{PREFIX}lease", image="tiny", networks=[])
        guest.start()
        guest.wait_ready(timeout_s=600)
        raw, domain = lab.connection, lab.connection.lookupByName(guest.name)

        def tidy() -> None:
            for card in list(guest.interfaces.values()):
                card.detach()
            lab.networks[NAME].delete()

        def create() -> None:
            lan = lab.networks.create(NAME, cidr=CIDR, bridge=BRIDGE)
            guest.interfaces.attach(lan, mac=MACS[0])
            guest.wait_address(source="lease")

        def create_raw() -> None:
            network = raw.networkDefineXML(NETWORK)
            network.setAutostart(1)
            network.create()
            domain.attachDeviceFlags(CARD, FLAGS)
            while not network.DHCPLeases():
                time.sleep(PAUSE_S)

        def ours() -> float:
            seconds = timed(create)
            tidy()
            return seconds

        def theirs() -> float:
            seconds = timed(create_raw)
            tidy()
            return seconds

        ours(), theirs()
        return [COMPARISON.measure(ours, theirs, pairs, step)]
