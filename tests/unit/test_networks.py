"""Networks without a network: what is wished for becomes XML, or is refused with nothing made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmlab import Bandwidth, Lab, errors
from kvmlab.networks import surroundings
from kvmlab.networks.cabling import tune_options
from kvmlab.networks.changes import entry_for
from kvmlab.networks.topology import read_topology
from kvmlab.networks.wish import NetworkWish, bandwidth_of, specify
from kvmlab.specs import DhcpHost, NetworkSpec


class TestAWish:
    def test_is_like_the_default_network_where_nothing_is_said(self) -> None:
        spec = specify(NetworkWish("lan", cidr="10.10.0.0/24"))
        assert (spec.forward, spec.stp, spec.delay, spec.options) == (
            "nat",
            "off",
            "0",
            ("no-ping",),
        )
        (ip,) = spec.ips
        assert (ip.address, ip.prefix, ip.ranges[0].end) == ("10.10.0.1", 24, "10.10.0.254")

    @pytest.mark.parametrize(
        ("mode", "forward"),
        [("nat", "nat"), ("routed", "route"), ("isolated", None), ("open", "open")],
    )
    def test_of_each_mode_is_written_in_libvirts_word(self, mode: Any, forward: str | None) -> None:
        assert specify(NetworkWish("lan", mode, "10.10.0.0/24")).forward == forward

    def test_of_two_families(self) -> None:
        spec = specify(NetworkWish("lan", cidr=["10.10.0.0/24", "fd00:10::/64"]))
        assert [ip.family for ip in spec.ips] == ["ipv4", "ipv6"]
        assert spec.nat_ipv6 == "yes"
        assert specify(NetworkWish("lan", "routed", "fd00:10::/64")).nat_ipv6 is None

    def test_of_a_bridge_leaves_everything_to_it(self) -> None:
        spec = specify(NetworkWish("street", "bridge", bridge="br0"))
        assert spec == NetworkSpec(name="street", forward="bridge", bridge="br0")

    def test_of_a_switch_alone(self) -> None:
        spec = specify(NetworkWish("wire", "isolated"))
        assert (spec.ips, spec.options) == ((), ())

    def test_gathers_the_names_of_an_address(self) -> None:
        dns = {"db": "10.10.0.5", "web": "fd00::7", "sql": "10.10.0.5"}
        spec = specify(NetworkWish("lan", cidr="10.10.0.0/24", dns=dns, domain="lan.test"))
        assert [host.hostnames for host in spec.dns] == [("db", "sql"), ("web",)]
        assert (spec.domain, spec.domain_is_local) == ("lan.test", "yes")

    def test_puts_what_is_kept_into_its_subnet(self) -> None:
        hosts = [DhcpHost(name="web", ip="10.11.0.5")]
        spec = specify(NetworkWish("lan", cidr=["10.10.0.0/24", "10.11.0.0/24"], hosts=hosts))
        assert [ip.hosts for ip in spec.ips] == [(), (hosts[0],)]

    @pytest.mark.parametrize(
        ("choices", "kind", "seen"),
        [
            ({"mode": "wireless"}, errors.InvalidArgument, "wireless"),
            ({"mode": "bridge"}, errors.InvalidArgument, "needs a bridge"),
            ({"mode": "bridge", "bridge": "a/b"}, errors.InvalidArgument, "a/b"),
            ({"mode": "bridge", "bridge": "b" * 16}, errors.InvalidArgument, "b" * 16),
            ({"mode": "bridge", "bridge": "br0", "cidr": "10.0.0.0/8"},
             errors.InvalidArgument, "cidr"),
            ({"mode": "bridge", "bridge": "br0", "dhcp": False}, errors.InvalidArgument, "dhcp"),
            ({"mode": "bridge", "bridge": "br0", "mtu": 9000}, errors.InvalidArgument, "mtu"),
            ({"bridge": "-x"}, errors.InvalidArgument, "-x"),
            ({"domain": "no dots ."}, errors.InvalidName, "no dots"),
            ({"dns": {"bad name": "10.10.0.5"}}, errors.InvalidName, "bad name"),
            ({"dns": {"x" * 64: "10.10.0.5"}}, errors.InvalidName, "x" * 64),
            ({"dns": {"db": "ten"}}, errors.InvalidArgument, "ten"),
            ({"mtu": 67}, errors.InvalidArgument, "67"),
            ({"mtu": 10**6}, errors.InvalidArgument, "1000000"),
            ({"mtu": "9000"}, errors.InvalidArgument, "9000"),
            ({"mtu": 1279, "cidr": "fd00:10::/64"}, errors.InvalidArgument, "1280"),
            ({"bandwidth": 0}, errors.InvalidArgument, "0"),
            ({"bandwidth": True}, errors.InvalidArgument, "True"),
            ({"bandwidth": "fast"}, errors.InvalidArgument, "fast"),
            ({"bandwidth": Bandwidth(inbound_peak_kib_s=9)},
             errors.InvalidArgument, "inbound_kib_s"),
            ({"hosts": [DhcpHost(name="a", ip="10.9.0.5")]}, errors.InvalidArgument, "10.9.0.5"),
            ({"hosts": [DhcpHost(name="a", ip="10.10.0.1")]}, errors.InvalidArgument, "gateway"),
            ({"hosts": [DhcpHost(name="a", ip="fd00::5")]}, errors.InvalidArgument, "IPv6"),
            ({"hosts": [DhcpHost(name="a", ip="10.10.0.5")], "dhcp": False},
             errors.InvalidArgument, "without DHCP"),
            ({"hosts": [DhcpHost(name=n, ip="10.10.0.5") for n in "ab"]},
             errors.InvalidArgument, "for two"),
            ({"hosts": [DhcpHost(mac="52:54:00:aa:00:01", ip=f"10.10.0.{n}") for n in (5, 6)]},
             errors.InvalidArgument, "one card"),
            ({"dns": {"db": "fe80::1%eth0"}}, errors.InvalidArgument, "fe80::1%eth0"),
        ],
    )  # fmt: skip
    def test_that_makes_no_sense_is_refused(
        self, choices: dict[str, Any], kind: type[errors.KvmlabError], seen: str
    ) -> None:
        wish = {"mode": "nat", "cidr": "" if choices.get("mode") == "bridge" else "10.10.0.0/24"}
        if choices.get("mode") == "bridge":
            wish.pop("cidr")
        with pytest.raises(kind) as raised:
            specify(NetworkWish("lan", **{**wish, **choices}))
        assert seen in str(raised.value)
        assert raised.value.next_step

    def test_one_number_limits_both_ways(self) -> None:
        assert bandwidth_of(512) == Bandwidth(inbound_kib_s=512, outbound_kib_s=512)
        assert bandwidth_of(Bandwidth()) is None


class TestWhoAnAddressIsKeptFor:
    def test_a_card_by_its_address(self) -> None:
        assert entry_for("52:54:00:AB:CD:EF", "10.0.0.5", [], "lan").mac == "52:54:00:ab:cd:ef"

    def test_a_guest_by_its_card_if_it_has_one(self) -> None:
        with_card = entry_for("web", "10.0.0.5", ["52:54:00:00:00:01"], "lan")
        assert (with_card.mac, with_card.name) == ("52:54:00:00:00:01", "web")
        assert entry_for("web", "10.0.0.5", [], "lan").mac is None

    def test_a_guest_with_two_cards_must_say_which(self) -> None:
        with pytest.raises(errors.InvalidArgument, match="52:54:00:00:00:02"):
            entry_for("web", "10.0.0.5", ["52:54:00:00:00:01", "52:54:00:00:00:02"], "lan")

    def test_not_what_can_be_no_name(self) -> None:
        with pytest.raises(errors.InvalidName):
            entry_for("a b", "10.0.0.5", [], "lan")


class TestCreating:
    def test_starts_it_and_has_it_start_with_libvirt(self, test_lab: Lab) -> None:
        lan = test_lab.networks.create("lan", mode="isolated", cidr="10.10.0.0/24")
        assert [line.split()[3] for line in lan.virsh.splitlines() if "virsh" in line] == [
            "net-define",
            "net-autostart",
            "net-start",
        ]
        assert lan.is_active
        assert lan.autostart
        assert (lan.mode, lan.subnets) == ("isolated", ("10.10.0.0/24",))
        assert test_lab.networks["lan"].guests() == []
        lan.delete()
        assert list(test_lab.networks) == ["default"]

    def test_only_as_far_as_wished(self, test_lab: Lab) -> None:
        lan = test_lab.networks.create("lan", start=False, autostart=False)
        assert not lan.is_active
        assert not lan.autostart
        assert lan.virsh.count("virsh") == 1

    def test_finds_addresses_of_its_own(self, test_lab: Lab) -> None:
        names = ["one", "two"]
        found = [test_lab.networks.create(name).subnets[0] for name in names]
        assert len(set(found)) == 2
        assert all(each.startswith("192.168.") for each in found)

    @pytest.mark.parametrize(
        ("choices", "kind", "seen"),
        [
            ({"name": "default"}, errors.NetworkAlreadyExists, "default"),
            ({"name": "a/b"}, errors.InvalidName, "a/b"),
            ({"name": "x" * 64}, errors.InvalidName, "xxx"),
            ({"cidr": "192.168.122.0/24"}, errors.InUse, "default"),
            ({"cidr": "192.168.0.0/16"}, errors.InUse, "default"),
            ({"cidr": ["10.10.0.0/24", "192.168.122.128/25"]}, errors.InUse, "default"),
            ({"cidr": "10.10.0.0"}, errors.InvalidArgument, "10.10.0.0"),
            ({"cidr": "10.10.0.0/24", "gateway": "10.0.0.1"}, errors.InvalidArgument, "10.0.0.1"),
            ({"cidr": "10.10.0.0/24", "hosts": {"web": "10.0.0.9"}},
             errors.InvalidArgument, "10.0.0.9"),
            ({"cidr": 5}, errors.InvalidArgument, "5"),
            ({"cidr": "10.10.0.0/24", "gateway": 5}, errors.InvalidArgument, "5"),
            ({"hosts": ["web"]}, errors.InvalidArgument, "hosts={'web': '10.10.0.5'}"),
            ({"dns": "db"}, errors.InvalidArgument, "saw 'db'"),
            ({"dns": {"db": None}}, errors.InvalidArgument, "None"),
        ],
    )  # fmt: skip
    def test_is_refused_before_anything_is_made(
        self, test_lab: Lab, choices: dict[str, Any], kind: type[errors.KvmlabError], seen: str
    ) -> None:
        before = test_lab.networks["default"].xml
        with pytest.raises(kind) as raised:
            test_lab.networks.create(**{"name": "lan", **choices})
        assert seen in str(raised.value)
        assert list(test_lab.networks) == ["default"]
        assert test_lab.networks["default"].xml == before

    def test_what_libvirt_refuses_at_the_last_step_is_undone(
        self, test_lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Any) -> None:
            error = libvirt.libvirtError("no")
            text = "Child process (tc qdisc add dev virbr1) unexpected exit status 2"
            error.err = (1, libvirt.VIR_FROM_NETWORK, text, 2, "", "", "", 0, 0)
            raise error

        monkeypatch.setattr(libvirt.virNetwork, "create", refuse)
        with pytest.raises(errors.NotSupported, match="tc qdisc"):
            test_lab.networks.create("lan", bandwidth=512)
        assert list(test_lab.networks) == ["default"]

    def test_a_preview_makes_nothing(self, test_lab: Lab) -> None:
        shown = test_lab.networks.preview("lan", mode="routed", cidr="10.10.0.0/24", start=False)
        assert "net-define" in shown
        assert "net-start" not in shown
        assert "lan" not in test_lab.networks


class TestTheCollection:
    def test_shows_a_table_by_two_calls(self, test_lab: Lab) -> None:
        test_lab.networks.create("lan", start=False)
        assert test_lab.networks.states() == {"default": "active", "lan": "inactive"}
        assert repr(test_lab.networks) == "default  active\nlan      inactive"
        assert "<td>lan</td><td>inactive</td>" in test_lab.networks._repr_html_()


@pytest.mark.parametrize(
    ("limit", "options"),
    [
        (Bandwidth(), ["--inbound", "0", "--outbound", "0"]),
        (Bandwidth(inbound_kib_s=5), ["--inbound", "5", "--outbound", "0"]),
        (Bandwidth(inbound_kib_s=5, inbound_peak_kib_s=9, outbound_kib_s=7, outbound_burst_kib=3),
         ["--inbound", "5,9", "--outbound", "7,0,3"]),
    ],
)  # fmt: skip
def test_a_limit_is_written_as_virsh_wants_it(limit: Bandwidth, options: list[str]) -> None:
    assert tune_options(limit) == options


class TestTheHost:
    def test_tells_where_its_interfaces_lead(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "route").write_text(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
            "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
            "down\t0000A8C0\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        )
        zero = "0" * 32
        (tmp_path / "ipv6_route").write_text(
            f"fd000010{zero[8:]} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 virbr1\n"
            f"fe800000{zero[8:]} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n"
            f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        )
        monkeypatch.setattr(surroundings, "_PROC", tmp_path)
        assert [(str(block), who) for block, who in surroundings.routes()] == [
            ("10.0.2.0/24", "this host's interface eth0"),
            ("fd00:10::/64", "this host's interface virbr1"),
        ]

    def test_is_looked_at_only_where_libvirt_is(self, test_lab: Lab) -> None:
        assert not surroundings.is_here(test_lab)
        surroundings.check_bridge(test_lab, "nowhere")


def test_a_topology_is_read_in_few_calls(test_lab: Lab) -> None:
    test_lab.networks.create("lan", mode="isolated", cidr="10.10.0.0/24", start=False)
    found = read_topology(test_lab)
    assert [(switch.name, switch.is_active) for switch in found.switches] == [
        ("default", True),
        ("lan", False),
    ]
    assert [(guest.name, guest.state, guest.cables) for guest in found.guests] == [
        ("old", "running", ())
    ]
