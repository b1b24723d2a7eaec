"""The virsh commands that networks and cards show are true: a shell that runs them does the same.

Each deed is done to one network or guest, and the commands that it tells of to its twin.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, Network, errors
from kvmlab.specs import GuestSpec, NetworkSpec

ONE, TWIN = f"{PREFIX}one", f"{PREFIX}twin"
MAC, TWINS = "52:54:00:77:01:01", "52:54:00:77:02:01"


def for_twin(commands: str) -> str:
    for mine, theirs in ((ONE, TWIN), ("10.77.", "10.78."), ("fd00:77:", "fd00:78:"), (MAC, TWINS)):
        commands = commands.replace(mine, theirs)
    return commands


def shell(commands: str) -> str:
    """Run commands as a learner who copies them; fail as they fail."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{commands}\n{done.stderr}"
    return done.stdout


def alike(one: Network, twin: Network) -> tuple[NetworkSpec, NetworkSpec]:
    mine, theirs = (replace(each.spec, uuid=None, bridge=None) for each in (one, twin))
    return NetworkSpec.from_xml(for_twin(mine.to_xml())), theirs


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[Network, Network]]:
    made = []
    try:
        one = lab.networks.create(
            ONE,
            mode="routed",
            cidr=["fd00:77::/64", "10.77.0.0/24"],
            dhcp=("10.77.0.100", "10.77.0.199"),
            hosts={"web": "10.77.0.5", MAC: "10.77.0.7"},
            dns={"db": "10.77.0.9"},
            domain="lan.test",
            isolated_ports=True,
            mtu=1400,
        )
        made.append(one)
        shell(for_twin(one.virsh))
        made.append(lab.networks[TWIN])
        yield one, made[1]
    finally:
        for network in made:
            if network.name in lab.networks:
                network.delete(force=True)


DEEDS: list[tuple[str, Callable[[Network], object]]] = [
    ("keep an address", lambda network: network.add_host(f"{ONE}-guest", "10.77.0.8")),
    ("learn a name", lambda network: network.add_dns("shop", "10.77.0.9")),
    ("forget a name", lambda network: network.remove_dns("db")),
    ("forget the last name", lambda network: network.remove_dns("shop")),
    ("let an address go", lambda network: network.remove_host("10.77.0.5")),
    ("no autostart", lambda network: setattr(network, "autostart", False)),
    ("stop", lambda network: network.stop()),
    ("keep an address while it is off", lambda network: network.add_host("off", "10.77.0.99")),
    ("start", lambda network: network.start()),
]


def test_a_networks_whole_life(pair: tuple[Network, Network], lab: Lab) -> None:
    one, twin = pair
    mine, theirs = alike(one, twin)
    assert mine == theirs
    assert (one.autostart, one.is_active) == (twin.autostart, twin.is_active) == (True, True)
    for what, deed in DEEDS:
        deed(one)
        shell(for_twin(one.virsh))
        mine, theirs = alike(one, twin)
        assert mine == theirs, what
        assert (one.autostart, one.is_active) == (twin.autostart, twin.is_active), what
    one.delete()
    shell(for_twin(one.virsh))
    assert not {ONE, TWIN} & set(lab.networks)


def test_a_preview_is_what_would_be_done(lab: Lab) -> None:
    shown = lab.networks.preview(ONE, mode="isolated", cidr="10.77.0.0/24")
    made = lab.networks.create(ONE, mode="isolated", cidr="10.77.0.0/24")
    done = made.virsh
    made.delete()
    assert shown == done


def test_questions(pair: tuple[Network, Network], web: Guest, lab: Lab) -> None:
    one, _ = pair
    assert one.spec == NetworkSpec.from_xml(shell(one.virsh))
    assert one.bridge in shell(one.virsh)
    web.wait_address(timeout_s=60)
    leases = lab.networks["default"].leases()
    shown = shell(lab.virsh_log.virsh("net-dhcp-leases", "default"))
    assert all(lease.address in shown for lease in leases)
    card = web.interfaces[0]
    assert card.mac in shell(lab.virsh_log.virsh("domiflist", web.name))
    sent = card.traffic().sent_packets
    told = dict(line.split()[1:3] for line in shell(web.virsh).splitlines() if line)
    assert int(told["tx_packets"]) >= sent > 0


def cards(guest: Guest) -> list[object]:
    """Return a guest's cards as they are, and as they will be at its next start."""
    now, later = (guest._spec(flag).interfaces for flag in (0, 2))  # VIR_DOMAIN_XML_INACTIVE
    bare = GuestSpec.from_xml(guest.xml).interfaces
    assert now == bare
    return [
        [replace(card, mac=None, target=None, alias=None) for card in those]
        for those in (now, later)
    ]


def limit(guest: Guest) -> None:
    """Limit a card, or be refused by this host's kernel; the guest is off, so it isn't asked."""
    guest.interfaces[0].set_bandwidth(512)


CARD_DEEDS: list[tuple[str, Callable[[Guest], object]]] = [
    ("limit", limit),
    ("no limit", lambda guest: guest.interfaces[0].set_bandwidth(None)),
    ("attach", lambda guest: guest.interfaces.attach(mac=MAC, model="rtl8139")),
    ("detach", lambda guest: guest.interfaces[MAC].detach()),
    ("unplug", lambda guest: guest.interfaces[0].unplug()),
    ("start", lambda guest: guest.start()),
    ("plug while it runs", lambda guest: guest.interfaces[0].plug()),
    ("unplug while it runs", lambda guest: guest.interfaces[0].unplug()),
    ("attach while it runs", lambda guest: guest.interfaces.attach("default", mac=MAC)),
]


def test_a_cards_whole_life(make: Make) -> None:
    one, twin = make("one", image="hello"), make("twin", image="hello")
    own, theirs = one.interfaces[0].mac, twin.interfaces[0].mac
    for what, deed in CARD_DEEDS:
        deed(one)
        shell(for_twin(one.virsh.replace(own, theirs)))
        assert cards(one) == cards(twin), what


def test_taking_a_card_out_of_a_running_guest(web: Guest) -> None:
    card = web.interfaces.attach(mac=MAC)
    card.detach()
    done = web.virsh
    web.interfaces.attach(mac=MAC)
    shell(done)
    assert list(web.interfaces) == [web.interfaces[0].mac]


def test_a_limit_while_it_runs(web: Guest, lab: Lab) -> None:
    card = web.interfaces[0]
    line = lab.virsh_log.virsh("domiftune", web.name, card.mac, "--inbound", "512", "--live")
    try:
        card.set_bandwidth(512)
    except errors.NoBandwidthLimits:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert done.returncode  # virsh can't do it on this host either
        assert card.bandwidth is None
    else:
        shell(web.virsh)
        card.set_bandwidth(None)
        assert card.bandwidth is None
