"""Installing an operating system from a CD: a true installation, and what comes of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from made import PREFIX, Make
from test_guest_systems import PATIENCE_S, ask, login, started
from test_guest_virsh import TWIN, alike, for_twin, shell

from kvmlab import Guest, Lab, errors
from kvmlab.host import domain_type, has_uefi
from kvmlab.images import private_key_path


def test_by_dialogue_on_the_console(make: Make) -> None:
    box = make("box", iso="installer", boot=("cdrom", "hd"))
    assert [disk.device for disk in box.spec.disks] == ["disk", "cdrom"]
    with started(box) as console:
        console.expect("boot:", timeout_s=PATIENCE_S)
        console.send("install\n")
        console.expect("Host name [tiny]: ", timeout_s=PATIENCE_S)
        console.send("no good\n")
        console.expect("A host name has letters", timeout_s=PATIENCE_S)
        console.expect("Host name [tiny]: ")
        console.send("inner\n")
        for password in ("one", "two", "se cret", "se cret"):
            console.expect(": ")
            console.send(f"{password}\n")
        said = console.expect("Type yes to install: ")
        assert "se cret" not in said
        box.screenshot()
        console.send("yes\n")
        said = console.expect("inner is installed.", timeout_s=PATIENCE_S)
        assert [f"[{step}/5]" in said for step in range(1, 6)] == [True] * 5
        # The CD comes first, and is still there; its boot loader can go on to the disk.
        console.expect("et al\r\n", timeout_s=PATIENCE_S)  # isolinux says who made it
        console.expect("boot:", timeout_s=PATIENCE_S)
        console.send("disk\n")
        login(console, "root", "se cret")
        assert "inner" in ask(console, "hostname")
        assert "vda2" in ask(console, "grep -o vda2 /proc/partitions")
        assert "/dev/vda1" in ask(console, "findfs LABEL=BOOT")
    box.wait_ready()
    box.shutdown()


def test_by_the_screen_and_the_keyboard(make: Make, lab: Lab) -> None:
    """The same dialogue is on the screen; whoever answers first has answered."""
    box = make("box", iso="installer")
    keys = {" ": "spc", "\n": "enter"}

    def type_in(text: str) -> None:
        for key in text:
            name = f"KEY_{keys.get(key, key).upper()}".replace("KEY_SPC", "KEY_SPACE")
            shell(lab.virsh_log.virsh("send-key", box.name, name))

    with started(box) as console:
        console.expect("boot:", timeout_s=PATIENCE_S)
        console.send("\n")
        for question, answer in (
            ("Host name [tiny]: ", "box\n"),
            ("Password for root: ", "secret\n"),
            ("The same again: ", "secret\n"),
            ("Type yes to install: ", "no\n"),
        ):
            console.expect(question, timeout_s=PATIENCE_S)
            type_in(answer)
        console.expect("The installation has failed: it was not wanted", timeout_s=PATIENCE_S)
    box.destroy()


def test_unattended(make: Make, lab: Lab) -> None:
    box = make("one", iso="installer")
    steps: list[tuple[str, float]] = []
    definition = box.xml
    box.install("hostname=inner password=secret", progress=lambda *step: steps.append(step))
    assert [text for text, _ in steps][-3:] == [
        "Installing the boot loader",
        "Settings",
        "installed",
    ]
    assert steps[-1] == ("installed", 1.0)
    assert box.state == "shut off"
    assert box.xml == definition  # what was for the installation only is gone
    with started(box) as console:
        login(console, "root", "secret")
        assert "inner" in ask(console, "hostname")
    address = box.wait_address(timeout_s=PATIENCE_S)
    refused = subprocess.run(
        ["ssh", "-o", "BatchMode=yes", "-i", private_key_path(), f"root@{address}", "true"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "Permission denied" in refused.stderr  # it is no lab's guest, but has its own door
    with pytest.raises(errors.GuestAlreadyRunning):
        box.install("hostname=inner password=secret")
    box.shutdown(timeout_s=PATIENCE_S)


def test_that_fails_says_why(make: Make) -> None:
    box = make("box", iso="installer", disk_gib=0.1)
    with pytest.raises(errors.InstallationFailed, match="disk vda has 102 MiB, and 200 are needed"):
        box.install("hostname=inner password=secret", timeout_s=PATIENCE_S)
    box.destroy()


def test_creating_by_the_commands(make: Make, lab: Lab) -> None:
    """What the preview shows makes the same guest, with a CD to install from."""
    wish = {"iso": "installer", "disk_gib": 1}
    one = make("one", **wish)
    try:
        shell(for_twin(lab.guests.preview("other", **wish).replace("other", TWIN)))
        mine, theirs = alike(one, lab.guests[TWIN])
        assert mine == theirs
        twin = lab.guests[TWIN]
        one.install("hostname=inner password=secret")
        shell(for_twin(one.virsh))  # starts it; it goes off by itself
        with lab.events.watch(guest=TWIN) as watch:
            if twin.state == "running":
                watch.wait_for("stopped", timeout_s=PATIENCE_S)
        mine, theirs = alike(one, twin)
        assert mine == theirs
        with started(twin) as console:
            login(console, "root", "secret")
    finally:
        if TWIN in lab.guests:
            lab.guests[TWIN].delete()


def test_creating_for_uefi_by_the_commands(make: Make, lab: Lab) -> None:
    if not has_uefi(lab.connection, domain_type(lab.connection, lab.host.acceleration)):
        with pytest.raises(errors.NotSupported, match="no UEFI firmware"):
            lab.guests.preview("other", firmware="uefi")
        return
    one = make("one", firmware="uefi")
    try:
        shell(for_twin(lab.guests.preview("other", firmware="uefi").replace("other", TWIN)))
        mine, theirs = alike(one, lab.guests[TWIN])
        assert mine.firmware_features == theirs.firmware_features
        assert replace(mine, nvram=None) == replace(theirs, nvram=None)
    finally:
        if TWIN in lab.guests:
            lab.guests[TWIN].delete()


def test_creating_with_cloud_init_by_the_commands(make: Make, lab: Lab, tmp_path: Path) -> None:
    from kvmlab import CloudInit

    wish = {"image": "debian", "cloud_init": CloudInit(hostname="same", runcmd=["echo 'a b'"])}
    one = make("one", **wish)
    try:
        shell(for_twin(lab.guests.preview("other", **wish).replace("other", TWIN)), tmp_path)
        mine, theirs = alike(one, lab.guests[TWIN])
        assert mine == theirs
    finally:
        if TWIN in lab.guests:
            lab.guests[TWIN].delete()


def test_images_of_ones_own(make: Make, lab: Lab, tmp_path: Path) -> None:
    """A disk that was installed, as an image for others; and the CD, as somebody's own."""
    installer = lab.images["installer"]
    own_cd, own_disk = f"{PREFIX}cd", f"{PREFIX}disk"
    try:
        assert lab.images.add(installer.disk, name=own_cd).is_medium
        box = make("box", iso=own_cd, disk_gib=0.5)
        with started(box) as console:
            console.expect("boot:", timeout_s=PATIENCE_S)
            console.send("install hostname=own password=secret\n")
            login(console, "root", "secret")
        box.shutdown(timeout_s=PATIENCE_S)
        file = tmp_path / "own.qcow2"
        path = lab.pools["default"].volumes[f"{box.name}.qcow2"].path
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", path, file], check=True)
        image = lab.images.add(file, name=own_disk)
        assert image.title == "kvmlab tiny (Debian kernel, BusyBox)"
        twin = make("twin", image=own_disk, memory_mib=128)
        with started(twin) as console:
            login(console, "root", "secret")
            assert "own" in ask(console, "hostname")
    finally:
        for name in (own_cd, own_disk):
            if name in lab.images:
                lab.images.remove(name)


def test_nothing_is_left_of_a_guest_whose_cd_finds_no_room(lab: Lab, small_pool: object) -> None:
    name = f"{PREFIX}none"
    with pytest.raises(errors.NotEnoughDisk):
        lab.guests.create(name, iso="installer", disk_gib=0.001, pool=f"{PREFIX}small")
    assert name not in lab.guests
    assert list(lab.pools[f"{PREFIX}small"].volumes) == []


def test_guest_without_a_cd_has_nothing_to_install(make: Make) -> None:
    guest: Guest = make("driveless", image="hello")
    with pytest.raises(errors.NotSupported, match="kernel is known"):
        guest.install("hostname=box")
