"""Networks that can't be: each is refused in our words, and nothing of it is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import libvirt
import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, errors
from kvmlab.specs import GuestSpec


def left_behind(lab: Lab) -> dict[str, object]:
    """Return what there is of networks: definitions, bridges, and their servers' files."""
    places = ("etc/libvirt/qemu/networks/*.xml", "etc/libvirt/qemu/networks/autostart/*.xml",
              "var/lib/libvirt/dnsmasq/*.conf")  # fmt: skip
    return {
        "networks": {name: network.xml for name, network in lab.networks.items()},
        "files": sorted(str(file) for place in places for file in Path("/").glob(place)),
        "interfaces": sorted(os.listdir("/sys/class/net")),
    }


@pytest.mark.parametrize(
    ("choices", "kind", "seen"),
    [
        ({"name": "default"}, errors.NetworkAlreadyExists, "default"),
        ({"name": "a/b"}, errors.InvalidName, "a/b"),
        ({"cidr": "10.77.0.0"}, errors.InvalidArgument, "10.77.0.0"),
        ({"cidr": "10.77.0.7/24"}, errors.InvalidArgument, "10.77.0.0/24"),
        ({"cidr": "192.168.122.0/25"}, errors.InUse, "network 'default'"),
        ({"cidr": "10.0.2.0/24"}, errors.InUse, "this host's interface"),
        ({"cidr": "10.0.0.0/8"}, errors.InUse, "this host's interface"),
        ({"cidr": "10.77.0.0/24", "gateway": "10.78.0.1"}, errors.InvalidArgument, "gateway"),
        ({"cidr": "10.77.0.0/24", "dhcp": ("10.78.0.1", "10.78.0.9")}, errors.InvalidArgument,
         "10.77.0.0/24"),
        ({"cidr": "10.77.0.0/24", "hosts": {"web": "10.78.0.1"}}, errors.InvalidArgument,
         "10.78.0.1"),
        ({"mode": "bridge", "bridge": "nowhere0"}, errors.DeviceNotFound, "virbr0"),
        ({"bridge": "virbr0"}, errors.AlreadyExists, "virbr0"),
    ],
)  # fmt: skip
def test_is_said_before_anything_is_made(
    choices: dict[str, Any], kind: type[errors.KvmlabError], seen: str, lab: Lab
) -> None:
    before = left_behind(lab)
    wish = {"name": f"{PREFIX}bad", **choices}
    with pytest.raises(kind) as raised:
        lab.networks.create(**wish)
    assert seen in str(raised.value)
    assert raised.value.next_step
    assert left_behind(lab) == before


def test_what_fails_at_the_last_step_is_undone(lab: Lab) -> None:
    """Somebody answers for DNS at the address already: the network's own server can't start."""
    before = left_behind(lab)
    subprocess.run(["ip", "addr", "add", "10.77.0.1/32", "dev", "lo"], check=True)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("10.77.0.1", 53))
            with pytest.raises(errors.LibvirtFailed, match="in use") as raised:
                lab.networks.create(f"{PREFIX}bad", cidr="10.77.0.0/24")
            assert raised.value.__cause__
    finally:
        subprocess.run(["ip", "addr", "del", "10.77.0.1/32", "dev", "lo"], check=True)
    assert left_behind(lab) == before


class TestCards:
    @pytest.fixture
    def idle(self, make: Make) -> Guest:
        return make("idle", image="hello")

    @pytest.mark.parametrize(
        ("choices", "kind", "seen"),
        [
            ({"network": "nowhere"}, errors.NetworkNotFound, "nowhere"),
            ({"bridge": "nowhere0"}, errors.DeviceNotFound, "nowhere0"),
            ({"network": "default", "bridge": "virbr0"}, errors.InvalidArgument, "one cable"),
            ({"model": "carrier-pigeon"}, errors.InvalidArgument, "carrier-pigeon"),
            ({"mac": "52:54:00"}, errors.InvalidArgument, "52:54:00"),
            ({"mac": "53:54:00:00:00:01"}, errors.InvalidArgument, "53:54:00:00:00:01"),
            ({"bandwidth": -1}, errors.InvalidArgument, "-1"),
        ],
    )
    def test_that_cannot_be_are_refused(
        self, idle: Guest, choices: dict[str, Any], kind: type[errors.KvmlabError], seen: str
    ) -> None:
        before = idle.xml
        with pytest.raises(kind, match=seen):
            idle.interfaces.attach(**choices)
        assert idle.xml == before

    def test_have_each_an_address_of_its_own(self, idle: Guest) -> None:
        with pytest.raises(errors.InUse, match=idle.name):
            idle.interfaces.attach(mac=idle.interfaces[0].mac)
        assert len(idle.interfaces) == 1

    def test_that_are_gone_say_so(self, idle: Guest) -> None:
        card = idle.interfaces[0]
        card.detach()
        assert "gone" in repr(card)
        for deed in (card.unplug, card.detach, lambda: card.model, lambda: card.set_bandwidth(9)):
            with pytest.raises(errors.DeviceNotFound, match=f"{card.mac}.*none"):
                deed()
        with pytest.raises(errors.DeviceNotFound, match="vnet99"):
            idle.interfaces["vnet99"]
        with pytest.raises(errors.DeviceNotFound):
            idle.interfaces[0]
        assert idle.interfaces.get(card.mac) is None
        assert repr(idle.interfaces) == "<no network cards>"

    def test_of_a_guest_that_is_off_count_nothing(self, idle: Guest) -> None:
        with pytest.raises(errors.GuestNotRunning):
            idle.interfaces[0].traffic()

    def test_a_guest_without_slots_left_says_so(self, idle: Guest) -> None:
        def fill() -> None:
            for _ in range(32):
                idle.interfaces.attach()

        idle.start(paused=True)
        with pytest.raises(errors.NotEnough, match="PCI"):
            fill()
        later = GuestSpec.from_xml(idle._libvirt.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        assert {card.mac for card in later.interfaces} == set(idle.interfaces)
