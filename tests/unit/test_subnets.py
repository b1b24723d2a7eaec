"""Blocks of addresses and subnets: what fits where, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from kvmlab import errors
from kvmlab.networks.cidr import check_free, free_block, overlap, parse_block
from kvmlab.networks.subnets import Subnet, check_reserved, subnets


class TestBlocks:
    @pytest.mark.parametrize(
        ("cidr", "said"),
        [
            ("10.10.0.0", "no subnet"),
            ("ten/24", "no subnet"),
            ("10.10.0.0/33", "no subnet"),
            ("10.10.300.0/24", "no subnet"),
            (None, "no subnet"),
            (10, "no subnet"),
            ("10.10.0.5/24", "Write 10.10.0.0/24"),
            ("fd00:10::1/64", "Write fd00:10::/64"),
            ("10.10.0.0/31", "no room"),
            ("10.10.0.1/32", "no room"),
            ("fd00::/127", "no room"),
            ("127.0.0.0/8", "not for guests"),
            ("169.254.0.0/16", "not for guests"),
            ("224.0.0.0/8", "not for guests"),
            ("0.0.0.0/0", "not for guests"),
            ("240.0.0.0/8", "not for guests"),
            ("fe80::/64", "not for guests"),
            ("ff02::/64", "not for guests"),
        ],
    )
    def test_that_make_no_sense_are_refused(self, cidr: Any, said: str) -> None:
        with pytest.raises(errors.InvalidArgument, match=said) as raised:
            parse_block(cidr)
        assert raised.value.seen == cidr

    def test_of_two_families_never_overlap(self) -> None:
        assert not overlap(parse_block("10.0.0.0/8"), parse_block("fd00::/8"))
        assert overlap(parse_block("10.0.0.0/8"), parse_block("10.255.0.0/16"))

    def test_that_are_taken_name_who_has_them(self) -> None:
        there = [(parse_block("10.0.0.0/16"), "network 'lan'")]
        check_free(parse_block("10.1.0.0/16"), there)
        with pytest.raises(errors.InUse, match=r"network 'lan' has 10\.0\.0\.0/16.*10\.0\.3\.0/24"):
            check_free(parse_block("10.0.3.0/24"), there)

    def test_the_first_free_one_is_found(self) -> None:
        there = [(parse_block(f"192.168.{n}.0/24"), "somebody") for n in (122, 123, 125)]
        assert str(free_block(there)) == "192.168.124.0/24"
        with pytest.raises(errors.InUse, match=r"192\.168\.123\.0/24 to 192\.168\.254\.0/24"):
            free_block([(parse_block("192.168.0.0/16"), "somebody")])


class TestASubnet:
    def test_gives_out_all_but_the_gateway(self) -> None:
        assert Subnet.of("10.10.0.0/24").ranges == (("10.10.0.2", "10.10.0.254"),)
        assert Subnet.of("10.10.0.0/24", "10.10.0.254").ranges == (("10.10.0.1", "10.10.0.253"),)
        assert Subnet.of("10.10.0.0/30").ranges == (("10.10.0.2", "10.10.0.2"),)
        assert Subnet.of("10.10.0.0/24", dhcp=False).ranges == ()

    def test_gives_out_no_more_than_libvirt_can(self) -> None:
        assert Subnet.of("10.0.0.0/8").ranges == (("10.0.0.2", "10.0.255.255"),)

    def test_of_ipv6_lets_guests_choose(self) -> None:
        assert Subnet.of("fd00:10::/64").ranges == ()
        with pytest.raises(errors.InvalidArgument, match="/64"):
            Subnet.of("fd00:10::/80")
        assert Subnet.of("fd00:10::/80", dhcp=False).ranges == ()

    @pytest.mark.parametrize(
        ("cidr", "gateway", "dhcp", "said"),
        [
            ("10.10.0.0/24", "10.11.0.1", True, "gateway is outside"),
            ("10.10.0.0/24", "10.10.0.0", True, "subnet as a whole"),
            ("10.10.0.0/24", "10.10.0.255", True, "subnet as a whole"),
            ("10.10.0.0/24", "gate", True, "gateway is no IP address"),
            ("10.10.0.0/24", "fd00::1", True, "gateway is outside"),
            ("10.10.0.0/24", None, ("10.10.0.5", "10.10.1.5"), "range of addresses is outside"),
            ("10.10.0.0/24", None, ("10.10.1.5", "10.10.1.9"), "range of addresses is outside"),
            ("10.10.0.0/24", None, ("10.10.0.9", "10.10.0.5"), "no range"),
            ("10.10.0.0/24", None, ("10.10.0.9", "fd00::5"), "no range"),
            ("10.10.0.0/24", None, ("10.10.0.9",), "no range"),
            ("10.10.0.0/24", None, "10.10.0.9", "no range"),
            ("10.10.0.0/24", None, 7, "no range"),
            ("10.10.0.0/24", None, ("a", "b"), "no IP address"),
            ("10.0.0.0/8", None, ("10.0.0.2", "10.9.0.2"), "65534 addresses at most"),
        ],
    )
    def test_refuses_what_does_not_fit(
        self, cidr: str, gateway: str | None, dhcp: Any, said: str
    ) -> None:
        with pytest.raises(errors.InvalidArgument, match=said) as raised:
            subnets([cidr], [gateway] if gateway else (), dhcp)
        assert raised.value.next_step

    @pytest.mark.parametrize("address", ["10.10.0.1", "10.10.1.5", "10.10.0.255", "nowhere"])
    def test_keeps_only_addresses_that_are_a_guests(self, address: str) -> None:
        with pytest.raises(errors.InvalidArgument, match=address):
            check_reserved(address, Subnet.of("10.10.0.0/24"))


class TestSeveral:
    def test_get_each_its_own(self) -> None:
        found = subnets(
            ["10.10.0.0/24", "fd00:10::/64"],
            ["fd00:10::ff"],
            [("10.10.0.100", "10.10.0.199"), ("10.10.0.50", "10.10.0.59")],
        )
        assert [str(each.gateway) for each in found] == ["10.10.0.1", "fd00:10::ff"]
        assert found[0].ranges == (("10.10.0.100", "10.10.0.199"), ("10.10.0.50", "10.10.0.59"))
        assert found[1].ranges == ()

    def test_must_lie_apart(self) -> None:
        with pytest.raises(errors.InvalidArgument, match="in common"):
            subnets(["10.10.0.0/16", "10.10.3.0/24"])

    def test_have_one_gateway_each(self) -> None:
        with pytest.raises(errors.InvalidArgument, match="has one gateway"):
            subnets(["10.10.0.0/24"], ["10.10.0.1", "10.10.0.2"])
