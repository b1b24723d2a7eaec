"""Networks that carry real packets: who reaches whom, by which address and by which name.

Two guests, ann and bob, live in one network of IPv4 and IPv6; for everything else they get
a second card for as long as it takes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import libvirt
import pytest
from made import PREFIX

from kvmlab import Bandwidth, Guest, Interface, Lab, Network, errors, plots
from kvmlab.networks.capture import capture
from kvmlab.networks.topology import read_topology
from kvmlab.waiting import attempts

PATIENCE_S = 60
ANN, BOB = f"{PREFIX}ann", f"{PREFIX}bob"
LAN, LAN6 = "10.77.0.0/24", "fd00:77::/64"
ANNS, BOBS, STATIC = "10.77.0.5", "10.77.0.6", "10.77.0.77"

# A page of the guest's web server that tells who has asked for it.
WHO = r"""mkdir -p /tmp/who/cgi-bin; cd /tmp/who/cgi-bin
printf '#!/bin/sh\necho; echo $REMOTE_ADDR\n' >who; chmod +x who
busybox httpd -p 8080 -h /tmp/who"""


@dataclass
class Home:
    """Two guests in one network."""

    lan: Network
    ann: Guest
    bob: Guest


@pytest.fixture(scope="module")
def home(lab: Lab) -> Iterator[Home]:
    lan = lab.networks.create(
        f"{PREFIX}lan",
        cidr=[LAN, LAN6],
        hosts={ANN: ANNS},  # before there is a guest of that name
        dns={"printer": "10.77.0.99"},
        domain="lan.test",
        mtu=1400,
    )
    made: list[Guest] = []
    try:
        for name in (ANN, BOB):
            made.append(lab.guests.create(name, image="tiny", direct_kernel=True, networks=[lan]))
        lan.add_host(BOB, BOBS)  # which is off, and has a card in it
        for guest in made:
            guest.start()
        for guest in made:
            guest.wait_ready()
            guest.wait_address(source="lease", timeout_s=PATIENCE_S)
        made[1].run(WHO, check=True)
        yield Home(lan, *made)
    finally:
        for guest in made:
            guest.delete()
        lan.delete()


@contextmanager
def network(lab: Lab, name: str, **choices: Any) -> Iterator[Network]:
    made = lab.networks.create(PREFIX + name, **choices)
    try:
        yield made
    finally:
        made.delete(force=True)


@contextmanager
def plugged(guest: Guest, where: Network, *, dhcp: bool = True) -> Iterator[tuple[str, Interface]]:
    """Give a guest a second card; yield its address and the card."""
    card = guest.interfaces.attach(where)
    try:
        address = ""
        if dhcp:
            address = eventually(lambda: next(each.address for each in where.leases()
                                              if each.mac == card.mac))  # fmt: skip
        # The guest has its address a moment after the server has given it out.
        eventually(lambda: guest.run(f"ip addr show dev eth1 | grep -q '{address}'", check=True))
        yield address, card
    finally:
        card.detach()


def eventually(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer: packets and guests take their time."""
    for _ in attempts(PATIENCE_S):
        with suppress(errors.CommandFailed, StopIteration, AssertionError):
            return ask()
    return ask()


def reaches(guest: Guest, address: str, options: str = "", *, tries: int = 3) -> bool:
    return not guest.run(f"ping -c 1 -W {tries} {options} {address}").exit_status


def host_reaches(address: str) -> bool:
    done = subprocess.run(["ping", "-c", "1", "-W", "5", address], capture_output=True, check=False)
    return not done.returncode


def who_asked(asker: Guest, address: str) -> str:
    """Return under which address a guest is seen by the one that it asks."""
    command = f"timeout 10 wget -qO- http://{address}:8080/cgi-bin/who"
    told = asker.run(command, check=True).stdout
    return told.strip().strip("[]").removeprefix("::ffff:")


class TestOneNetwork:
    def test_gives_the_addresses_that_are_kept(self, home: Home) -> None:
        leases = {lease.mac: lease.address for lease in home.lan.leases()}
        assert leases[home.ann.interfaces[0].mac] == ANNS
        assert leases[home.bob.interfaces[0].mac] == BOBS
        # By name before there was a guest; by the card when there was one.
        kept = {host.ip: host.mac for host in home.lan.spec.ips[0].hosts}
        assert kept == {ANNS: None, BOBS: home.bob.interfaces[0].mac}

    def test_guests_reach_each_other_and_the_host_reaches_them(self, home: Home) -> None:
        assert reaches(home.ann, BOBS)
        assert reaches(home.bob, ANNS)
        assert host_reaches(ANNS)

    def test_guests_go_by_their_names(self, home: Home) -> None:
        """In the network's DNS, and on the host through libvirt's module for names."""
        assert reaches(home.ann, BOB)
        assert reaches(home.ann, f"{BOB}.lan.test")
        assert host_reaches(BOB)
        named = subprocess.run(["ssh", BOB, "hostname"], capture_output=True, text=True, check=True)
        assert named.stdout.strip() == BOB
        by_address = subprocess.run(["ssh", BOBS, "hostname"], capture_output=True, text=True)
        assert by_address.stdout.strip() == BOB, by_address

    def test_guests_reach_each_other_by_ipv6(self, home: Home) -> None:
        def address_of(guest: Guest) -> str:
            found = (each.address for each in guest.interfaces[0].addresses())
            return next(each for each in found if ip_address(each) in ip_network(LAN6))

        anns, bobs = (eventually(lambda g=guest: address_of(g)) for guest in (home.ann, home.bob))
        assert eventually(lambda: reaches(home.ann, bobs, "-6") or pytest.fail("no answer"))
        assert reaches(home.bob, anns, "-6")
        assert host_reaches(anns)

    def test_guests_are_told_how_large_a_packet_may_be(self, home: Home) -> None:
        assert home.ann.run("cat /sys/class/net/eth0/mtu").stdout == "1400\n"
        assert reaches(home.ann, BOBS, "-s 1372")  # 1400 without the headers of IP and ICMP

    def test_a_name_is_known_while_it_is_there(self, home: Home) -> None:
        look = "nslookup {} | grep -A1 '^Name'"
        assert "10.77.0.99" in home.ann.run(look.format("printer.lan.test")).stdout
        home.lan.add_dns("shop.test", BOBS)
        home.lan.add_dns("market.test", BOBS)
        for name in ("shop.test", "market.test"):
            assert BOBS in home.ann.run(look.format(name)).stdout
        with pytest.raises(errors.InUse, match=r"shop\.test"):
            home.lan.add_dns("shop.test", BOBS)
        home.lan.remove_dns("shop.test")
        assert BOBS not in home.ann.run(look.format("shop.test")).stdout
        assert BOBS in home.ann.run(look.format("market.test")).stdout
        home.lan.remove_dns("market.test")
        with pytest.raises(errors.NotFound, match="printer"):
            home.lan.remove_dns("market.test")

    def test_a_static_address_set_inside_is_as_good(self, home: Home, lab: Lab) -> None:
        home.ann.run(f"ip addr add {STATIC}/24 dev eth0", check=True)
        try:
            assert host_reaches(STATIC)
            assert reaches(home.bob, STATIC)
            assert STATIC in {each.address for each in home.ann.interfaces[0].addresses()}
        finally:
            home.ann.run(f"ip addr del {STATIC}/24 dev eth0", check=True)


class TestKeepingAddresses:
    def test_for_a_card_that_comes_later(self, home: Home) -> None:
        mac, address = "52:54:00:77:00:01", "10.77.0.201"
        home.lan.add_host(mac, address)
        try:
            card = home.ann.interfaces.attach(home.lan, mac=mac.upper())
            try:
                eventually(lambda: next(e for e in home.lan.leases() if e.address == address))
            finally:
                card.detach()
        finally:
            home.lan.remove_host(address)
        assert len(home.lan.spec.ips[0].hosts) == 2

    @pytest.mark.parametrize(
        ("host", "address", "kind", "said"),
        [
            (ANN, "10.77.0.50", errors.InUse, ANNS),  # it has one kept
            (BOB, "10.77.0.50", errors.InUse, BOBS),
            ("new", BOBS, errors.InUse, "remove_host"),
            ("new", "10.77.0.1", errors.InvalidArgument, "gateway"),
            ("new", "10.78.0.5", errors.InvalidArgument, LAN),
            ("new", "fd00:77::5", errors.InvalidArgument, "IPv6"),
            ("a b", "10.77.0.50", errors.InvalidName, "a b"),
        ],
    )
    def test_that_cannot_be_kept_is_refused(
        self, home: Home, host: str, address: str, kind: type[errors.KvmlabError], said: str
    ) -> None:
        before = home.lan.xml
        with pytest.raises(kind, match=said):
            home.lan.add_host(host, address)
        assert home.lan.xml == before

    def test_that_another_has_now_is_refused(self, home: Home) -> None:
        home.lan.remove_host(BOB)
        try:
            with pytest.raises(errors.InUse, match="given out to"):
                home.lan.add_host("new", BOBS)
        finally:
            home.lan.add_host(BOB, BOBS)
        for wrong in ("nobody", None, 5):  # some have no name, and none of them is meant
            with pytest.raises(errors.NotFound, match=f"{BOBS} for"):
                home.lan.remove_host(wrong)  # type: ignore[arg-type]

    def test_that_virsh_has_written_large(self, home: Home, lab: Lab) -> None:
        large, kept = "52:54:00:AB:CD:EF", len(home.lan.spec.ips[0].hosts)
        home.lan._libvirt.update(
            libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
            libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
            -1,
            f"<host mac='{large}' ip='10.77.0.60'/>",
            libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG,
        )
        with pytest.raises(errors.InUse, match=r"10\.77\.0\.60"):
            home.lan.add_host(large, "10.77.0.61")
        home.lan.remove_host(large)
        assert len(home.lan.spec.ips[0].hosts) == kept


class TestModes:
    def test_nat_hides_who_asks_and_lets_nobody_in(self, home: Home, lab: Lab) -> None:
        """bob, in a routed network, sees the host's address; he can't begin to talk to ann."""
        with (
            network(lab, "street", mode="routed", cidr="10.78.0.0/24") as street,
            plugged(home.bob, street) as (bobs, card),
        ):
            ends = [home.ann.interfaces[0].target, home.lan.bridge, street.bridge, card.target]
            with capture([str(end) for end in ends], "icmp") as seen:
                assert reaches(home.ann, bobs)
            ways = [(packet.where, *packet.text.split(":")[0].split()[1::2]) for packet in seen]
            passed = list(zip(ends, [ANNS, ANNS, "10.78.0.1", "10.78.0.1"], strict=True))
            assert ways[:4] == [(end, asks, bobs) for end, asks in passed]
            # On its way back the answer is rewritten before the bridge or behind it: that
            # depends on the kernel (br_netfilter). At the cables it is the same everywhere.
            assert ways[4] == (card.target, bobs, "10.78.0.1")
            assert ways[-1] == (home.ann.interfaces[0].target, bobs, ANNS)
            assert who_asked(home.ann, bobs) == "10.78.0.1"
            # By way of the street, not by the network both are in.
            home.bob.run(f"ip route add {ANNS}/32 via 10.78.0.1 dev eth1", check=True)
            assert not reaches(home.bob, ANNS, "-I eth1", tries=1)

    def test_routed_and_open_show_who_asks(self, home: Home, lab: Lab) -> None:
        with (
            network(lab, "street", mode="routed", cidr="10.78.0.0/24") as street,
            network(lab, "field", mode="open", cidr="10.79.0.0/24") as field,
            plugged(home.bob, street) as (bobs, _),
            plugged(home.ann, field) as (anns, _),
        ):
            home.ann.run(f"ip route add {bobs}/32 via 10.79.0.1 dev eth1", check=True)
            home.bob.run(f"ip route add {anns}/32 via 10.78.0.1 dev eth1", check=True)
            assert who_asked(home.ann, bobs) == anns
            assert reaches(home.bob, anns)  # both can begin

    def test_isolated_has_no_way_outside(self, home: Home, lab: Lab) -> None:
        with (
            network(lab, "street", mode="routed", cidr="10.78.0.0/24") as street,
            network(lab, "cellar", mode="isolated", cidr="10.79.0.0/24") as cellar,
            plugged(home.bob, street) as (bobs, _),
            plugged(home.ann, cellar),
        ):
            assert reaches(home.ann, "10.79.0.1", "-I eth1")  # the host is in it
            home.ann.run(f"ip route add {bobs}/32 via 10.79.0.1 dev eth1", check=True)
            assert not reaches(home.ann, bobs, tries=1)

    def test_isolated_ports_do_not_hear_each_other(self, home: Home, lab: Lab) -> None:
        with (
            network(
                lab, "hotel", mode="isolated", cidr="10.79.0.0/24", isolated_ports=True
            ) as hotel,
            plugged(home.bob, hotel) as (bobs, _),
            plugged(home.ann, hotel),
        ):
            assert reaches(home.ann, "10.79.0.1", "-I eth1")
            assert reaches(home.bob, "10.79.0.1", "-I eth1")
            assert not reaches(home.ann, bobs, "-I eth1", tries=1)

    def test_a_bridge_of_the_host_is_one_cable_for_all(self, home: Home, lab: Lab) -> None:
        bridge = f"br{PREFIX.strip('-')}"[:15]
        subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
        try:
            subprocess.run(["ip", "addr", "add", "10.78.0.1/24", "dev", bridge], check=True)
            subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
            with (
                network(lab, "street", mode="bridge", bridge=bridge) as street,
                plugged(home.bob, street, dhcp=False) as (_, card),
            ):
                assert (street.mode, street.subnets, street.leases()) == ("bridge", (), [])
                assert (card.network, card.bridge) == (street.name, bridge)
                # libvirt gives out no addresses here: this is for who looks after that bridge.
                eventually(lambda: home.bob.run("ip addr add 10.78.0.7/24 dev eth1", check=True))
                assert host_reaches("10.78.0.7")
                with pytest.raises(errors.InUse, match=BOB):
                    street.stop()
                station = next(g for g in read_topology(lab).guests if g.name == BOB)
                assert station.cables[1].addresses == ("10.78.0.7",)
            # Without a network of libvirt's, straight into the bridge.
            card = home.bob.interfaces.attach(bridge=bridge)
            assert (card.network, card.bridge) == (None, bridge)
            card.detach()
        finally:
            subprocess.run(["ip", "link", "delete", bridge], check=True)


class TestInUse:
    def test_a_network_with_guests_stays(self, home: Home) -> None:
        before = home.lan.xml
        for deed in (home.lan.stop, home.lan.delete):
            with pytest.raises(errors.InUse, match=f"{ANN}, {BOB}"):
                deed()
        assert home.lan.is_active
        assert home.lan.xml == before
        assert home.lan.guests() == [ANN, BOB]

    def test_also_one_that_a_guest_will_have_at_its_next_start(self, home: Home, lab: Lab) -> None:
        with network(lab, "later", mode="isolated", cidr="10.79.0.0/24") as later:
            guest = lab.guests.create(f"{PREFIX}idle", image="hello", networks=[later])
            try:
                with pytest.raises(errors.InUse, match=guest.name):
                    later.delete()
                later.stop()  # nobody's cable is cut
                guest.interfaces[0].detach()
                assert later.guests() == []
            finally:
                guest.delete()

    def test_by_force_it_goes_and_guests_lose_their_link(self, home: Home, lab: Lab) -> None:
        later = lab.networks.create(f"{PREFIX}later", mode="isolated", cidr="10.79.0.0/24")
        with plugged(home.ann, later):
            later.delete(force=True)
            assert later.name not in lab.networks
            assert not reaches(home.ann, "10.79.0.1", "-I eth1", tries=1)
            found = {switch.name: switch for switch in read_topology(lab).switches}
            assert not found[later.name].is_active  # the cable leads nowhere


def test_a_limit_is_kept_to_or_refused_as_a_whole(home: Home, lab: Lab) -> None:
    """Kernels differ: some are built without the traffic control that it takes."""
    before, name, refusals = set(lab.networks), f"{PREFIX}slow", []
    try:
        lab.networks.create(name, bandwidth=512)
    except errors.NoBandwidthLimits as error:
        refusals.append(str(error))
        assert set(lab.networks) == before
    else:
        limit = lab.networks[name].spec.bandwidth
        lab.networks[name].delete()
        assert limit == Bandwidth(inbound_kib_s=512, outbound_kib_s=512)
    card = home.ann.interfaces[0]
    wanted = Bandwidth(inbound_kib_s=512, inbound_burst_kib=64, outbound_kib_s=128)
    try:
        card.set_bandwidth(wanted)
    except errors.NoBandwidthLimits as error:
        refusals.append(str(error))
        assert card.bandwidth is None
    else:
        assert card.bandwidth == wanted
        card.set_bandwidth(None)
        assert card.bandwidth is None
    assert all("tc" in each and "modprobe" in each for each in refusals)
    assert reaches(home.ann, BOBS)


def test_the_map_shows_who_is_where(home: Home, lab: Lab) -> None:
    home.bob.interfaces[0].unplug()
    try:
        picture = plots.network_map(lab)
    finally:
        home.bob.interfaces[0].plug()
    assert f"Guest {ANN}, running, is plugged into {home.lan.name} ({ANNS}" in picture.alt
    assert f"Guest {BOB}, running, is plugged into {home.lan.name} (unplugged)" in picture.alt
    assert f"{home.lan.name} ({LAN}, {LAN6}) is nat" in picture.alt


class TestCapture:
    def test_what_is_no_interface_and_no_filter_is_refused(self) -> None:
        for interfaces, what, kind in (
            ("nowhere0", "icmp", errors.DeviceNotFound),
            ("virbr0", "whatever you like", errors.InvalidArgument),
            ("virbr0", "--version", errors.InvalidArgument),
        ):
            with pytest.raises(kind), capture(interfaces, what):
                pytest.fail("it began")

    def test_only_what_was_asked_for_is_seen(self, home: Home) -> None:
        with capture(home.lan.bridge, "arp") as seen:
            assert reaches(home.ann, BOBS)
        assert {packet.where for packet in seen} <= {home.lan.bridge}
        assert seen.command == "tcpdump -n -i any arp"
        with capture([], f"icmp and host {BOBS}") as seen:
            assert reaches(home.ann, BOBS)
        assert seen[0].where == home.ann.interfaces[0].target
        assert "echo request" in seen[0].text
        assert "echo reply" in repr(seen)
