"""A guest's network cards: in and out, plugged and unplugged, counted, and forwarded to."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, errors
from kvmlab.waiting import attempts

PATIENCE_S = 60
GATEWAY = "192.168.122.1"


def reaches_host(guest: Guest, times: int = 1) -> bool:
    return not guest.run(f"ping -c {times} -W 2 {GATEWAY}").exit_status


def test_are_found_by_address_place_and_cable(web: Guest) -> None:
    (mac,) = web.interfaces
    card = web.interfaces[0]
    assert card.mac == mac == web.interfaces[mac.upper()].mac
    assert web.interfaces[str(card.target)].mac == mac
    assert web.interfaces[-1].mac == mac
    assert (card.network, card.bridge, card.model) == ("default", "virbr0", "virtio")
    assert mac in repr(web.interfaces)
    assert repr(card) == f"<Interface {mac} of {web.name}: plugged into default>"


def test_a_cable_that_is_pulled_carries_nothing(web: Guest) -> None:
    web.wait_address(timeout_s=PATIENCE_S)
    card = web.interfaces[0]
    assert reaches_host(web)
    card.unplug()
    try:
        assert not card.is_plugged_in
        assert not reaches_host(web)
        assert web.run("cat /sys/class/net/eth0/carrier").stdout == "0\n"
    finally:
        card.plug()
    assert card.is_plugged_in
    assert any(reaches_host(web) for _ in attempts(PATIENCE_S))


def test_counters_rise_with_the_packets(web: Guest) -> None:
    web.wait_address(timeout_s=PATIENCE_S)
    before = web.interfaces[0].traffic()
    assert reaches_host(web, times=3)
    after = web.interfaces[0].traffic()
    assert after.sent_packets - before.sent_packets >= 3
    assert after.received_packets - before.received_packets >= 3
    assert after.sent_bytes - before.sent_bytes >= 3 * 84  # IP, ICMP, 56 bytes
    assert (after.sent_errors, after.received_errors) == (0, 0)


def test_come_and_go_while_the_guest_runs(web: Guest) -> None:
    before = web.run("ls /sys/class/net").stdout
    card = web.interfaces.attach("default")
    try:
        inside = f"grep -l {card.mac} /sys/class/net/*/address"
        assert any(not web.run(inside).exit_status for _ in attempts(PATIENCE_S))
        assert len(web.interfaces) == 2
        address = card.wait_address(timeout_s=PATIENCE_S)
        assert address in {each.address for each in card.addresses()}
        assert address not in {each.address for each in web.interfaces[0].addresses()}
    finally:
        card.detach()
    assert any(web.run("ls /sys/class/net").stdout == before for _ in attempts(PATIENCE_S))
    assert len(web.interfaces) == 1


def test_of_a_guest_that_is_off_are_there_at_its_next_start(make: Make, lab: Lab) -> None:
    idle = make("idle", image="hello", networks=[])
    assert len(idle.interfaces) == 0
    card = idle.interfaces.attach(model="rtl8139", mac="52:54:00:00:00:77")
    card.unplug()
    assert (card.target, card.bridge, card.is_plugged_in) == (None, None, False)
    idle.start()
    assert (card.model, card.bridge, card.is_plugged_in) == ("rtl8139", "virbr0", False)
    card.plug()
    idle.destroy()
    assert card.is_plugged_in


class TestForward:
    def test_a_page_of_the_guest_comes_to_a_browser(self, web: Guest) -> None:
        web.wait_address(timeout_s=PATIENCE_S)
        web.run("httpd", check=True)
        try:
            with web.forward(80) as site:
                with urllib.request.urlopen(site, timeout=PATIENCE_S) as answer:
                    assert f"Hello from {web.name}" in answer.read().decode()
                assert site == f"http://127.0.0.1:{site.local_port}/"
            with pytest.raises(OSError, match="refused"):
                urllib.request.urlopen(site, timeout=PATIENCE_S)
        finally:
            web.run("killall httpd; pkill -f 'busybox httpd'")

    def test_it_ends_with_the_guest(self, make: Make) -> None:
        brief = make("brief", image="hello")
        with pytest.raises(errors.GuestNotRunning):
            brief.forward(80)
        brief.start()
        with pytest.raises(errors.WrongState, match="wait_address"):
            brief.forward(80)
        forward = brief.forward(80, address="192.168.122.254")
        brief.delete()
        assert any(not forward.is_open for _ in attempts(PATIENCE_S))

    def test_a_port_that_is_taken_is_refused(self, web: Guest) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(errors.InUse, match=str(port)):
                web.forward(80, local_port=port)
        with pytest.raises(errors.InvalidArgument):
            web.forward(80, local_port=80)
        with pytest.raises(errors.InvalidArgument):
            web.forward(0)


def test_the_names_of_networks_and_cards_are_plain(web: Guest, lab: Lab) -> None:
    assert web.name in lab.networks["default"].guests()
    assert web.name.startswith(PREFIX)
