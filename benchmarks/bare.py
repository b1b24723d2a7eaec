"""A guest without libvirt and kvmlab: the QEMU command a person would type for it.

It has what the library's guest has, in kind: the same image under an overlay of its
own, as much memory, as many CPUs, and a network card, serial port, agent port, VNC,
balloon and random number generator. What the library asks for besides, such as fourteen
PCIe ports to plug things into (virt-install's number), it has not: that is in the price.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kvmlab.errors import GuestNotReady
from kvmlab.host import Host
from kvmlab.images import Image
from kvmlab.limits import max_vcpus

BRIDGE = "virbr0"

_PING = json.dumps({"execute": "guest-ping"}).encode() + b"\n"
_TIMEOUT_S = 600


class Guest:
    """A running QEMU whose agent will connect a virtio port with our socket."""

    def __init__(
        self, qemu: subprocess.Popen[bytes], listening: socket.socket, log: IO[bytes]
    ) -> None:
        self._qemu = qemu
        self._listening = listening
        self._log = log

    def wait_ready(self) -> None:
        """Wait until the agent has answered.

        Raises:
            GuestNotReady: QEMU ended, or the agent did not answer in time.

        Example:
            >>> guest.wait_ready()
        """
        if not self._answers():
            self._log.seek(0)
            raise GuestNotReady(
                "the agent of a bare QEMU guest did not answer",
                seen=self._log.read().decode(errors="replace").strip()[-300:],
            )

    def _answers(self) -> bool:
        deadline = time.monotonic() + _TIMEOUT_S
        ended, coming = os.pidfd_open(self._qemu.pid), self._listening.fileno()
        try:
            if select.select([coming, ended], [], [], _TIMEOUT_S)[0] != [coming]:
                return False
        finally:
            os.close(ended)
        connection, _ = self._listening.accept()
        with connection:
            connection.settimeout(max(1.0, deadline - time.monotonic()))
            try:
                # QEMU keeps the word until somebody in the guest opens the port.
                connection.sendall(_PING)
                return b"return" in connection.makefile("rb").readline()
            except OSError:
                return False


@contextmanager
def start(number: int, image: Image, memory_mib: int, host: Host, folder: Path) -> Iterator[Guest]:
    """Make an overlay and a tap, and boot a guest; at the end all of that is gone.

    Args:
        number: tells guests of one time apart: their names and hardware addresses.
        image: what is on its disk.
        memory_mib: its memory.
        host: where it runs.
        folder: where its overlay and its agent's socket are put.

    Example:
        >>> with start(0, image, 128, lab.host, Path("/tmp")) as guest:
        ...     guest.wait_ready()
    """
    name = f"bench-bare{number}"
    overlay, agent = folder / f"{name}.qcow2", folder / f"{name}.agent"
    qemu: subprocess.Popen[bytes] | None = None
    # QEMU connects to our socket: nothing has to be looked for until it is there.
    with socket.socket(socket.AF_UNIX) as listening, (folder / f"{name}.log").open("w+b") as log:
        try:
            listening.bind(str(agent))
            listening.listen(1)
            _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", image.disk_format,
                 "-b", str(image.disk), str(overlay))  # fmt: skip
            _run("ip", "tuntap", "add", "dev", name, "mode", "tap")
            _run("ip", "link", "set", "dev", name, "master", BRIDGE, "up")
            command = _command(number, name, overlay, agent, memory_mib, host)
            # In a session of its own, as libvirt's QEMU: Linux gives each session a fair
            # share of a busy CPU (sched(7), autogroup).
            qemu = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
            yield Guest(qemu, listening, log)
        finally:
            if qemu is not None:
                qemu.kill()
                qemu.wait()
            with suppress(subprocess.CalledProcessError):  # it was never made
                _run("ip", "link", "delete", "dev", name)
            overlay.unlink(missing_ok=True)
            agent.unlink(missing_ok=True)


def _command(
    number: int, name: str, overlay: Path, agent: Path, memory_mib: int, host: Host
) -> list[str]:
    if host.acceleration == "kvm":
        cpu = ",".join(["host", *(f"-{each}" for each in host.disabled_cpu_features)])
    else:
        cpu = "max"
    mac = f"52:54:00:be:ac:{number:02x}"
    return [
        "qemu-system-x86_64", "-name", name, "-nodefaults", "-no-user-config",
        "-machine", "q35", "-accel", host.acceleration, "-cpu", cpu,
        "-m", str(memory_mib), "-smp", f"1,maxcpus={max_vcpus(host)}",
        "-smbios", f"type=11,value=io.systemd.credential:system.hostname={name}",
        "-drive", f"file={overlay},format=qcow2,if=virtio",
        "-netdev", f"tap,id=net,ifname={name},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=net,mac={mac}",
        "-chardev", f"socket,id=agent,path={agent}",
        "-device", "virtio-serial-pci",
        "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-serial", "pty", "-vga", "std", "-vnc", "127.0.0.1:0,to=999",
        "-device", "virtio-balloon-pci", "-device", "virtio-rng-pci",
    ]  # fmt: skip


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
