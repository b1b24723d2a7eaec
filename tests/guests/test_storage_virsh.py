"""The commands shown for storage are true: a shell that runs them does the same.

Each deed is done to one pool, volume or guest through the library, and the commands it
tells of are run for its twin.
"""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab, Pool, Throttle
from kvmlab.specs import Disk, GuestSpec
from kvmlab.waiting import attempts

PATIENCE_S = 120
ONE, TWIN = f"{PREFIX}one", f"{PREFIX}twin"


def shell(commands: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stderr}"
    return done.stdout


def for_twin(commands: str) -> str:
    return commands.replace(ONE, TWIN)


def test_pools_and_volumes(lab: Lab, tmp_path: Path) -> None:
    one = lab.pools.create(ONE, autostart=False)
    try:
        shell(for_twin(one.virsh))
        twin = lab.pools[TWIN]
        assert for_twin(one.spec.to_xml()) == twin.spec.to_xml()
        assert one.autostart == twin.autostart
        deeds: list[tuple[str, Callable[[Pool], Any]]] = [
            ("create", lambda p: p.volumes.create("a.img", size_gib=0.01, format="raw")),
            ("full", lambda p: p.volumes.create("f.qcow2", size_gib=0.01, preallocation="full")),
            ("ahead", lambda p: p.volumes.create("m", size_gib=0.01, preallocation="metadata")),
            ("overlay", lambda p: p.volumes.create("o.qcow2", backing=p.volumes["a.img"])),
            ("autostart", lambda p: setattr(p, "autostart", True)),
            ("stop", lambda p: p.stop()),
            ("start", lambda p: p.start()),
        ]
        for what, deed in deeds:
            deed(one)
            shell(for_twin(one.virsh))
            assert volumes(one) == volumes(twin), what
            assert (one.is_active, one.autostart) == (twin.is_active, twin.autostart), what
        file = tmp_path / "file"
        file.write_bytes(os.urandom(4096))
        on_volume: list[tuple[str, str, Callable[[Any], Any]]] = [
            ("resize", "a.img", lambda v: v.resize(0.02)),
            ("shrink", "m", lambda v: v.resize(0.005, shrink=True)),
            ("clone", "o.qcow2", lambda v: v.clone("c.qcow2")),
            ("rebase", "o.qcow2", lambda v: v.flatten()),
            ("upload", "a.img", lambda v: v.upload(file)),
            ("wipe", "a.img", lambda v: v.wipe()),
            ("delete", "a.img", lambda v: v.delete()),
        ]
        for what, name, act in on_volume:
            volume = one.volumes[name]
            act(volume)
            shell(for_twin(volume.virsh))
            twin.refresh()
            one.refresh()
            assert volumes(one) == volumes(twin), what
        one.delete(contents=True)
        shell(for_twin(one.virsh))
        assert not {ONE, TWIN} & set(lab.pools)
        assert not Path(f"/var/lib/libvirt/pools/{TWIN}").exists()
    finally:
        for name in {ONE, TWIN} & set(lab.pools):
            lab.pools[name].delete(contents=True)


def volumes(pool: Pool) -> dict[str, Any]:
    """Return what is in a pool, but for how much room it takes by chance."""
    found = {}
    for name, volume in pool.volumes.items() if pool.is_active else ():
        spec = volume.spec
        backing = for_twin(spec.backing_path or "")
        taken = round((spec.allocation_bytes or 0) / 2**20)
        found[name] = replace(spec, allocation_bytes=taken, backing_path=backing)
    return found


def test_encryption(data: Pool, lab: Lab) -> None:
    volume = data.volumes.create(f"{ONE}.qcow2", size_gib=0.01, passphrase="correct horse")
    commands = data.virsh
    secret = volume.spec.encryption and volume.spec.encryption.secret
    # The twin needs a secret of its own: another UUID.
    twin = f"0{str(secret)[1:]}" if str(secret)[0] != "0" else f"1{str(secret)[1:]}"
    define, ask, make = split(for_twin(commands).replace(str(secret), twin))
    assert "correct horse" not in commands
    shell(define)
    answered(ask, "correct horse")
    for _ in attempts(PATIENCE_S):  # QEMU before 9.1 fails now and then: kvmlab.storage.volumes
        with suppress(AssertionError):
            shell(make)
            break
    data.refresh()
    made = data.volumes[f"{TWIN}.qcow2"]
    assert made.spec.encryption
    for each in (volume, made):
        each.delete()
    assert secret not in lab.connection.listSecrets()
    assert twin not in lab.connection.listSecrets()


def split(commands: str) -> tuple[str, str, str]:
    define, _, rest = commands.partition("\nXML\n")
    ask, _, make = rest.partition("\n")
    return f"{define}\nXML", ask, make


def answered(command: str, answer: str) -> None:
    """Run a command that asks for something on its terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "-c", command])
    # Asked is not yet listening: what is typed before it hides the answer is thrown away.
    for _ in attempts(PATIENCE_S):
        if not termios.tcgetattr(terminal)[3] & termios.ECHO:
            break
    os.write(terminal, f"{answer}\n".encode())
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:  # the end of a terminal
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert status == 0


def disks(guest: Guest) -> tuple[Disk, ...]:
    return GuestSpec.from_xml(for_twin(guest.xml)).disks


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_disks(running: bool, data: Pool, make: Make) -> None:
    one, twin = make("one", image="hello"), make("twin", image="hello")
    if running:
        one.start()
        twin.start()
    own = {ONE: "", TWIN: ""}
    for name in own:
        data.volumes.create(f"{name}.img", size_gib=0.01, format="raw")
        data.volumes.create(f"{name}-b.qcow2", size_gib=0.01)
    volume, other = data.volumes[f"{ONE}.img"], data.volumes[f"{ONE}-b.qcow2"]
    limits = Throttle(total_bytes_sec=2**20)
    deeds: list[tuple[str, Callable[[], Any]]] = [
        ("plain", lambda: one.disks.attach(volume, cache="none", serial="A-1")),
        ("rich", lambda: one.disks.attach(other, bus="scsi", discard="unmap", throttle=limits)),
    ]
    for what, deed in deeds:
        deed()
        shell(for_twin(one.virsh))
        assert disks(one) == twin.spec.disks, what
    on_disk: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("throttle", "vdb", lambda disk: setattr(disk, "throttle", limits)),
        ("resize", "vdb", lambda disk: disk.resize(0.02)),
    ]
    if not running:  # this guest's system never lets go of a disk, and has no CD-ROM driver
        on_disk.append(("detach", "vdb", lambda disk: disk.detach()))
    for what, target, act in on_disk:
        disk = one.disks[target]
        act(disk)
        shell(for_twin(disk.virsh))
        assert disks(one) == twin.spec.disks, what
        if target in one.disks:
            assert one.disks[target].info() == twin.disks[target].info(), what
    for guest in (one, twin):
        guest.delete()


def test_drives(make: Make, tmp_path: Path) -> None:
    one, twin = make("one", networks=[]), make("twin", networks=[])
    disc = tmp_path / "disc.iso"
    disc.write_bytes(bytes(2048))
    one.disks.attach(None, device="cdrom")
    shell(for_twin(one.virsh))
    for start in (False, True):
        if start:
            for guest in (one, twin):  # paused: its firmware would look for a disc meanwhile
                guest._libvirt.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        drive = one.disks["sda"]
        for deed in (lambda drive=drive: drive.insert(str(disc)), drive.eject):
            deed()
            shell(for_twin(drive.virsh))
            assert disks(one) == twin.spec.disks


def test_chains(data: Pool, make: Make) -> None:
    one = make("one", disk_gib=0.0625, networks=[], pool=data.name)
    twin = make("twin", disk_gib=0.0625, networks=[], pool=data.name)
    for running in (False, True):
        for deed in ("commit", "flatten", "copy"):
            for guest in (one, twin):
                base = guest.disks["vda"].volume()
                name = f"{guest.name}-{deed}-{running}.qcow2"
                overlay = data.volumes.create(name, backing=base)
                guest.disks["vda"]._write_to(overlay.path, "qcow2")
                if running:
                    guest.start()
            disk = one.disks["vda"]
            if deed == "copy":
                disk.copy(f"{ONE}-moved-{running}.qcow2", pivot=True)
            else:
                getattr(disk, deed)()
            shell(for_twin(disk.virsh))
            data.refresh()
            assert disks(one) == twin.spec.disks
            mine = [for_twin(link.name) for link in disk.chain()]
            assert mine == [link.name for link in twin.disks["vda"].chain()]
            if running:
                one.destroy()
                twin.destroy()
            for guest in (one, twin):
                for name in list(data.volumes):
                    if name.startswith(guest.name) and not data.volumes[name].users():
                        data.volumes[name].delete()
    one.delete()
    twin.delete()
