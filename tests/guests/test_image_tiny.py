"""The images ``tiny`` and ``hello``, booted under plain QEMU."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_machine import PATIENCE_S, Machine, free_port, machine, with_key

from kvmlab.images import Catalogue, Image
from kvmlab.images.hello import MESSAGE

WEB_PORT, SSH_PORT = "web", "ssh"


@pytest.fixture(scope="module")
def image() -> Image:
    return Catalogue()["tiny"]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in (WEB_PORT, SSH_PORT)}


@pytest.fixture(scope="module")
def guest(
    image: Image, key: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """One guest for all the looking around: of the modern machine type, with room to plug in."""
    public = key.with_suffix(".pub").read_text().strip()
    forward = f"hostfwd=tcp:127.0.0.1:{ports[SSH_PORT]}-:22"
    forward += f",hostfwd=tcp:127.0.0.1:{ports[WEB_PORT]}-:80"
    options = (
        *("-machine", "q35", "-m", "128,slots=1,maxmem=512M", "-smp", "1,maxcpus=2"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1", "-device", "virtio-balloon-pci"),
        *("-netdev", f"user,id=net0,{forward}", "-device", "virtio-net-pci,netdev=net0"),
        *("-device", "pcie-root-port,id=port1,slot=1", "-device", "pcie-root-port,id=port2,slot=2"),
        *("-smbios", "type=11,value=io.systemd.credential:system.hostname=web,"
          f"value=io.systemd.credential:ssh.authorized_keys.root={public}"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("guest")
    with machine(image, folder, *options, size="2G") as guest:
        guest.login("web")
        yield guest


class TestInside:
    """What a learner finds in a guest named "web"."""

    def test_has_its_name_from_its_host(self, guest: Machine) -> None:
        assert guest.sh("hostname") == "web"
        assert guest.sh("ping -c 1 web | head -1").startswith("PING web (127.0.1.1)")

    def test_says_what_it_is(self, guest: Machine) -> None:
        assert "This is tiny" in guest.sh("cat /etc/motd")
        assert guest.agent("guest-get-osinfo")["id"] == "tiny"

    def test_runs_commands_for_the_agent(self, guest: Machine) -> None:
        status, printed = guest.run("sh", "-c", "echo $HOME; exit 3")
        assert (status, printed) == (3, b"/root\n")

    def test_has_the_real_tools(self, guest: Machine) -> None:
        assert "iproute2" in guest.sh("ip -V")
        assert "vda2" in guest.sh("lsblk")
        assert "Virtio" in guest.sh("lspci")
        assert "CPU(s):" in guest.sh("lscpu")

    def test_fills_the_disk_it_was_given(self, guest: Machine) -> None:
        assert int(guest.sh("df -k / | tail -1 | awk '{ print $2 }'")) > 1_800_000

    def test_serves_a_page_that_names_it(self, guest: Machine, ports: dict[str, int]) -> None:
        assert "port 80" in guest.sh("httpd")
        with urllib.request.urlopen(
            f"http://127.0.0.1:{ports[WEB_PORT]}/", timeout=PATIENCE_S
        ) as page:
            assert b"Hello from web" in page.read()

    def test_lets_the_lab_in_by_its_key(
        self, guest: Machine, key: Path, ports: dict[str, int]
    ) -> None:
        assert with_key(key, ports[SSH_PORT], "hostname").stdout == "web\n"

    def test_lets_nobody_else_in(
        self, guest: Machine, ports: dict[str, int], tmp_path: Path
    ) -> None:
        stranger = tmp_path / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
        refused = with_key(stranger, ports[SSH_PORT], "hostname")
        assert refused.returncode == 255
        assert "(publickey)" in refused.stderr  # and no password either

    def test_shows_a_login_on_its_screen(self, guest: Machine) -> None:
        assert len(set(guest.screen())) > 1

    def test_answers_what_libvirt_asks_the_agent(self, guest: Machine) -> None:
        cards = {card["name"]: card for card in guest.agent("guest-network-get-interfaces")}
        addresses = [address["ip-address"] for address in cards["eth0"]["ip-addresses"]]
        assert "10.0.2.15" in addresses
        assert guest.agent("guest-get-host-name")["host-name"] == "web"
        assert [each["mountpoint"] for each in guest.agent("guest-get-fsinfo")] == ["/"]
        guest.agent("guest-set-time")
        assert guest.agent("guest-fsfreeze-freeze") == 1
        assert guest.agent("guest-fsfreeze-thaw") == 1


class TestPluggingIn:
    """Devices that come while the guest runs."""

    def test_disk(self, guest: Machine, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        with disk.open("wb") as file:
            file.truncate(64 << 20)
        guest.qmp("blockdev-add", **{"driver": "file", "filename": str(disk), "node-name": "more"})
        guest.qmp("device_add", driver="virtio-blk-pci", drive="more", id="more", bus="port1")
        guest.wait_for("[ -b /dev/vdb ]")
        guest.sh("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && touch /mnt/file && umount /mnt")

    def test_network_card_gets_an_address(self, guest: Machine) -> None:
        guest.qmp("netdev_add", type="user", id="net1", net="10.9.9.0/24")
        guest.qmp("device_add", driver="virtio-net-pci", netdev="net1", id="net1", bus="port2")
        guest.wait_for("ip address show dev eth1 | grep -q 10.9.9.15")
        assert "10.0.2.15" in guest.sh("ip address show dev eth0")  # which is left alone

    def test_processor(self, guest: Machine) -> None:
        slots = guest.qmp("query-hotpluggable-cpus")
        slot = next(slot for slot in slots if "qom-path" not in slot)
        guest.qmp("device_add", driver=slot["type"], id="cpu1", **slot["props"])
        guest.wait_for("[ $(nproc) = 2 ]")

    def test_memory(self, guest: Machine) -> None:
        guest.qmp("object-add", **{"qom-type": "memory-backend-ram", "id": "ram1", "size": 1 << 27})
        guest.qmp("device_add", driver="pc-dimm", memdev="ram1", id="dimm1")
        guest.wait_for(r"[ $(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) -gt 180000 ]")

    def test_balloon(self, guest: Machine) -> None:
        guest.qmp("balloon", value=160 << 20)
        guest.wait_for(r"[ $(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) -lt 150000 ]")


class TestEndings:
    """Restarting and switching off; last, as the guest is gone afterwards."""

    def test_agent_reboots_it_and_files_stay(self, guest: Machine, key: Path) -> None:
        guest.sh("echo kept > /root/file")
        guest.tell_agent("guest-shutdown", mode="reboot")
        guest.event("RESET")
        guest.login("web")
        assert guest.sh("cat /root/file") == "kept"
        assert guest.sh("wc -l < /root/.ssh/authorized_keys") == "1"

    def test_power_button_switches_it_off_cleanly(self, guest: Machine) -> None:
        guest.qmp("system_powerdown")
        guest.wait_off()
        assert _root_is_clean(guest.disk)


def test_smallest_guest(image: Image, tmp_path: Path) -> None:
    """The old machine type, booted without firmware and loader, with no name and little memory."""
    assert image.kernel
    assert image.initrd
    assert image.cmdline
    options = (
        *("-machine", "pc", "-m", str(image.min_memory_mib)),
        *("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", image.cmdline),
    )
    with machine(image, tmp_path, *options) as guest:
        guest.login("tiny")
        assert guest.sh("ls /root/.ssh") == ""
        assert guest.agent("guest-ping") == {}
        guest.tell_agent("guest-shutdown")
        guest.wait_off()
        assert _root_is_clean(guest.disk)


def test_starts_from_uefi_firmware(image: Image, tmp_path: Path) -> None:
    options = ("-bios", "/usr/share/ovmf/OVMF.fd", "-m", "256", "-machine", "q35")
    with machine(image, tmp_path, *options, "-device", "virtio-blk-pci,drive=disk") as guest:
        guest.login("tiny")
        assert guest.sh("ls -d /sys/firmware/efi") == "/sys/firmware/efi"


def test_hello_says_its_line_on_screen_and_serial_port(tmp_path: Path) -> None:
    image = Catalogue()["hello"]
    options = ("-m", str(image.min_memory_mib), "-device", "virtio-blk-pci,drive=disk")
    with machine(image, tmp_path, *options) as guest:
        guest.serial.expect(f"{MESSAGE}\r\n".encode())
        assert len(set(guest.screen())) > 1


def test_images_are_what_was_built(image: Image) -> None:
    verdicts = {verdict.expected: verdict.ok for verdict in Catalogue().verify()}
    assert verdicts[image.digest[:16]]
    sums = (image.disk.parent / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == image.digest


def _root_is_clean(disk: Path) -> bool:
    """Tell whether the ext4 on the second partition was unmounted, by its superblock.

    https://docs.kernel.org/filesystems/ext4/super.html: s_state at 0x3a, s_feature_incompat
    at 0x60, where bit 2 says that the journal has work to do.
    """
    raw = disk.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    with raw.open("rb") as file:
        file.seek(446 + 16 + 8)
        (start,) = struct.unpack("<I", file.read(4))
        file.seek(start * 512 + 1024)
        superblock = file.read(1024)
    state, incompat = (
        struct.unpack_from("<H", superblock, 0x3A),
        struct.unpack_from("<I", superblock, 0x60),
    )
    return state == (1,) and not incompat[0] & 4
