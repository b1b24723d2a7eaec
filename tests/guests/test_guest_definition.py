"""Defining, changing and removing guests: what is left in libvirt and on the disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, errors
from kvmlab.host import domain_type, has_uefi

PATIENCE_S = 120
SAVES = Path("/var/lib/libvirt/qemu/save")


class TestCreated:
    def test_with_an_overlay_on_the_image(self, make: Make, lab: Lab) -> None:
        guest = make(image="tiny", disk_gib=2)
        assert guest.state == "shut off"
        (disk,) = guest.spec.disks
        volume = lab.pools["default"].volumes[f"{guest.name}.qcow2"]
        assert disk.path == volume.path
        assert volume.spec.capacity_bytes == 2 * 2**30
        assert "/kvmlab-tiny-" in (volume.spec.backing_path or "")

    def test_the_image_is_shared_and_stays(self, make: Make, lab: Lab) -> None:
        one, two = make("one", image="tiny"), make("two", image="tiny")
        volumes = lab.pools["default"].volumes
        backing = {volumes[f"{guest.name}.qcow2"].spec.backing_path for guest in (one, two)}
        assert len(backing) == 1
        one.delete()
        two.delete()
        assert Path(backing.pop() or "").exists()
        assert not [name for name in volumes if name.startswith(PREFIX + "one")]

    def test_as_libvirt_understands_it(self, make: Make) -> None:
        guest = make(
            image="tiny", memory_mib=200, max_memory_mib=256, vcpus=2, boot=["network", "hd"]
        )
        spec = guest.spec
        assert (spec.memory_mib, spec.current_memory_mib) == (256, 200)
        assert (spec.vcpus, spec.max_vcpus) == (2, 4)
        assert spec.boot == ("network", "hd")
        assert spec.os
        assert "debian" in (spec.os.id or "")
        assert spec.rng
        assert spec.graphics[0].type == "vnc"
        assert spec.cpu
        assert spec.cpu.mode == {"qemu": "maximum", "kvm": "host-passthrough"}[spec.type]

    def test_of_a_name_as_long_as_may_be(self, make: Make, lab: Lab) -> None:
        name = "x" * (63 - len(PREFIX))
        guest = make(name, image="hello")
        guest.start()
        assert guest.state == "running"

    def test_with_emulation_where_asked(self, make: Make) -> None:
        assert make(accel="tcg").spec.type == "qemu"

    def test_with_uefi_where_the_host_has_it(self, make: Make, lab: Lab) -> None:
        if not has_uefi(lab.connection, domain_type(lab.connection, lab.host.acceleration)):
            with pytest.raises(errors.NotSupported, match="ovmf"):
                make(firmware="uefi")
            assert f"{PREFIX}guest" not in lab.guests
            return
        guest = make(firmware="uefi")
        guest.start()
        nvram = Path(guest.spec.nvram or "")
        assert nvram.is_file()
        guest.delete()
        assert not nvram.exists()

    def test_again_is_refused(self, make: Make, lab: Lab) -> None:
        guest = make(image="tiny")
        before = list(lab.pools["default"].volumes)
        with pytest.raises(errors.GuestAlreadyExists, match=guest.name):
            make(image="tiny")
        assert list(lab.pools["default"].volumes) == before


class TestBooting:
    def test_directly_with_the_images_kernel(self, make: Make) -> None:
        guest = make(image="tiny", direct_kernel=True)
        guest.start()
        guest.wait_ready(timeout_s=PATIENCE_S)
        assert "console=ttyS0" in guest.run("cat /proc/cmdline").stdout

    def test_watched_from_the_first_byte(self, make: Make) -> None:
        guest = make(image="tiny")
        guest.start(paused=True)
        assert guest.state == "paused"
        with guest.console() as console:
            guest.resume()
            assert "This is tiny" in console.expect(f"root@{guest.name}:~# ", timeout_s=PATIENCE_S)
        guest.wait_ready(timeout_s=PATIENCE_S)
        guest.shutdown(mode="acpi", timeout_s=PATIENCE_S)
        assert guest.state == "shut off"

    def test_the_smallest_operating_system(self, make: Make) -> None:
        guest = make(image="hello")
        guest.start()
        with pytest.raises(errors.GuestNotReady, match=r"did not answer in 0.5 s.*screenshot"):
            guest.wait_ready(timeout_s=0.5)
        with pytest.raises(errors.AgentUnavailable, match="wait_ready"):
            guest.run("true")
        guest.set_vcpus(2)
        assert guest.stats().vcpus == 2
        with pytest.raises(errors.AgentUnavailable, match="switch CPUs off"):
            guest.set_vcpus(1)
        with pytest.raises(errors.TimedOut, match="balloon driver"):
            guest.set_memory(8, timeout_s=0.5)
        with pytest.raises(errors.TimedOut, match=r"guest.destroy\(\)"):
            guest.shutdown(timeout_s=0.5)
        guest.destroy()
        assert guest.state == "shut off"

    def test_a_guest_that_goes_off_is_not_waited_for(self, make: Make) -> None:
        guest = make(image="hello")
        guest.start()
        threading.Timer(0.2, guest.destroy).start()
        with pytest.raises(errors.GuestNotRunning):
            guest.wait_ready(timeout_s=PATIENCE_S)


class TestOff:
    @pytest.fixture
    def off(self, make: Make) -> Guest:
        return make(image="hello")

    @pytest.mark.parametrize(
        "deed",
        [
            *("suspend", "resume", "destroy", "reboot", "reset", "shutdown", "managed_save"),
            *("screenshot", "console", "wait_ready", "addresses"),
        ],
    )
    def test_most_can_not_be_done(self, off: Guest, deed: str) -> None:
        with pytest.raises(errors.GuestNotRunning, match=off.name) as raised:
            getattr(off, deed)()
        assert raised.value.next_step

    def test_nor_can_a_command_be_run(self, off: Guest) -> None:
        with pytest.raises(errors.GuestNotRunning):
            off.run("true")
        with pytest.raises(errors.GuestNotRunning):
            off.set_memory(16, live=True)

    def test_autostart(self, off: Guest) -> None:
        assert off.autostart is False
        off.autostart = True
        assert off.autostart is True
        off.autostart = False
        assert off.autostart is False

    def test_size(self, off: Guest) -> None:
        off.set_memory(300)
        off.set_vcpus(3)
        spec = off.spec
        assert (spec.memory_mib, spec.current_memory_mib, spec.vcpus) == (300, 300, 3)

    def test_renaming_takes_the_hostname_along(self, off: Guest, lab: Lab) -> None:
        old, new = off.name, f"{PREFIX}shop"
        disks = off.spec.disks
        off.rename(new)
        assert (old in lab.guests, new in lab.guests, off.name) == (False, True, new)
        spec = off.spec
        assert spec.disks == disks
        assert spec.smbios
        assert spec.smbios.entries[0].endswith(f"={new}")
        off.start()
        with pytest.raises(errors.GuestAlreadyRunning):
            off.rename(old)
        with pytest.raises(errors.GuestAlreadyExists):
            off.rename(new)


class TestRemoved:
    def test_while_it_runs_and_was_saved_before(self, make: Make, lab: Lab) -> None:
        guest = make(image="hello")
        guest.start()
        guest.managed_save()
        assert (SAVES / f"{guest.name}.save").exists()
        guest.delete()
        assert guest.name not in lab.guests
        assert not (SAVES / f"{guest.name}.save").exists()
        assert f"{guest.name}.qcow2" not in lab.pools["default"].volumes
        assert guest.virsh.splitlines()[-1] == f"virsh undefine {guest.name} --managed-save"

    def test_from_libvirt_only(self, make: Make, lab: Lab) -> None:
        guest = make(image="hello")
        volumes = lab.pools["default"].volumes
        guest.undefine()
        assert guest.name not in lab.guests
        volumes[f"{guest.name}.qcow2"].delete()

    def test_twice(self, make: Make) -> None:
        guest = make(image="hello")
        guest.delete()
        with pytest.raises(errors.GuestNotFound, match="no longer there"):
            guest.delete()
