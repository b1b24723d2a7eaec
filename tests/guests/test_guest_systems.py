"""Guests of other systems than tiny: started, logged into, stopped; and told by cloud-init.

The images are built here where that has not been done: `debian` takes a minute.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from made import PREFIX, Make

from kvmlab import CloudInit, Console, Guest, Lab, errors
from kvmlab.host import domain_type, has_uefi

PATIENCE_S = 120


def login(console: Console, user: str, password: str) -> None:
    console.expect("login: ", timeout_s=PATIENCE_S)
    console.send(f"{user}\n")
    console.expect("Password: ", timeout_s=PATIENCE_S)
    console.send(f"{password}\n")
    console.expect(re.compile(r"[#$] "), timeout_s=PATIENCE_S)


def ask(console: Console, command: str) -> str:
    """Type a command; return what it printed."""
    console.send(f"{command}; echo '<'$?'>'\n")
    said = console.expect(re.compile(r"<0>"), timeout_s=PATIENCE_S)
    return said.partition("'>'")[2]


def started(guest: Guest) -> Console:
    """Start a guest; return its console, from its first word on."""
    guest.start(paused=True)
    console = guest.console()
    guest.resume()
    return console


def over_ssh(address: str, command: str) -> str:
    """Log in from the lab host, whose own settings know the lab's key."""
    done = subprocess.run(
        ["ssh", "-o", "BatchMode=yes", address, command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestDebian:
    """Without a word from cloud-init: no CD, no work for it."""

    @pytest.fixture(scope="class")
    def debian(self, lab: Lab) -> Iterator[Guest]:
        guest = lab.guests.create(f"{PREFIX}debian", image="debian", disk_gib=2)
        with started(guest) as console:
            login(console, "root", "kvmlab")
            ask(console, "true")
        guest.wait_ready(timeout_s=PATIENCE_S)
        yield guest
        with suppress(errors.GuestNotFound):
            guest.delete()

    def test_is_what_it_says(self, debian: Guest, lab: Lab) -> None:
        assert "ID=debian" in debian.run("cat /etc/os-release").stdout
        assert debian.run("hostname").stdout.strip() == debian.name
        assert debian.run("systemctl --failed --quiet").stdout == ""
        assert debian.run("systemctl is-active cloud-init").stdout.strip() == "inactive"

    def test_belongs_to_whom_it_should(self, debian: Guest) -> None:
        paths = "/etc/shadow /usr/bin/passwd /var/mail /tmp /dev/null /usr/bin/ssh-agent /root"
        told = debian.run(f"stat -c '%U:%G %a' {paths}").stdout.splitlines()
        assert told == [
            *("root:shadow 640", "root:root 4755", "root:mail 2775", "root:root 1777"),
            *("root:root 666", "root:_ssh 2755", "root:root 700"),
        ]
        assert "cap_net_raw" in debian.run("/sbin/getcap /usr/bin/ping").stdout

    def test_fills_its_disk(self, debian: Guest) -> None:
        debian.run("systemctl start grow-root", check=True, timeout_s=PATIENCE_S)
        assert int(debian.run("df --output=size -m / | tail -1").stdout) > 1700

    def test_lets_the_lab_in(self, debian: Guest) -> None:
        address = debian.wait_address(timeout_s=PATIENCE_S)
        assert over_ssh(address, "id -un; getent hosts $(hostname)").startswith("root\n")

    def test_shuts_down(self, debian: Guest) -> None:
        debian.shutdown(timeout_s=PATIENCE_S)
        assert debian.state == "shut off"


def test_cloud_init_does_what_it_is_told(make: Make, lab: Lab) -> None:
    init = CloudInit(
        user="ada",
        password="eng:ine",
        hostname="analytical",
        write_files={"/etc/note": "it's\n  a note: #1\n"},
        runcmd=["echo done by $(id -un) > /root/ran", ["touch", "/root/a b"]],
    )
    guest = make("cloud", image="debian", cloud_init=init)
    seed = f"{guest.name}-seed.iso"
    assert seed in lab.pools["default"].volumes
    guest.start()
    guest.wait_ready(timeout_s=PATIENCE_S)
    guest.run("cloud-init status --wait", timeout_s=PATIENCE_S)
    with guest.console() as console:
        console.send("\n")
        login(console, "ada", "eng:ine")
    assert guest.run("hostname").stdout == "analytical\n"
    assert guest.run("cat /etc/note").stdout == "it's\n  a note: #1\n"
    assert guest.run("cat /root/ran; ls /root").stdout == "done by root\na b\nran\n"
    address = guest.wait_address(timeout_s=PATIENCE_S)
    assert over_ssh(f"ada@{address}", "id -un; sudo -n id -un") == "ada\nroot\n"
    guest.shutdown(timeout_s=PATIENCE_S)
    guest.delete()
    assert seed not in lab.pools["default"].volumes


def test_alpine_has_a_console_and_a_power_button(make: Make) -> None:
    guest = make("alpine", image="alpine", disk_gib=1.5)
    with started(guest) as console:
        login(console, "root", "kvmlab")
        assert guest.name in ask(console, "hostname")
        assert "ID=alpine" in ask(console, "cat /etc/os-release")
        assert "/sbin/init" in ask(console, "cat /proc/1/cmdline")
        assert "1.4G" in ask(console, "df -h /")
        (address,) = guest.addresses("lease")
        assert address.address in ask(console, "ip -4 address show dev eth0")
    guest.shutdown(mode="acpi", timeout_s=PATIENCE_S)
    assert guest.state == "shut off"


def test_tiny_starts_by_uefi(make: Make, lab: Lab) -> None:
    """Firmware that starts only what Microsoft has signed would refuse it."""
    if not has_uefi(lab.connection, domain_type(lab.connection, lab.host.acceleration)):
        with pytest.raises(errors.NotSupported, match="no UEFI firmware"):
            make("uefi", image="tiny", firmware="uefi")
        return
    guest = make("uefi", image="tiny", firmware="uefi")
    guest.start()
    guest.wait_ready(timeout_s=PATIENCE_S)
    assert guest.run("ls -d /sys/firmware/efi").stdout == "/sys/firmware/efi\n"
    guest.shutdown()


def test_cloud_init_is_refused_where_there_is_none(make: Make, lab: Lab, tmp_path: Path) -> None:
    before = list(lab.pools["default"].volumes)
    for image in ("tiny", "alpine"):
        with pytest.raises(errors.NotSupported, match="no cloud-init in this image"):
            make("none", image=image, cloud_init=CloudInit())
    assert list(lab.pools["default"].volumes) == before
