"""A guest under plain QEMU, without libvirt: to test an image, and nothing but the image."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvmlab.images import Image

# Of a guest under emulation, on a machine that has other things to do.
PATIENCE_S = 120


class Line:
    """One end of a unix socket QEMU listens on; reads wait for what they look for."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._seen = b""

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def expect(self, pattern: bytes, timeout_s: float = PATIENCE_S) -> re.Match[bytes]:
        """Read until ``pattern`` matches; what comes after the match stays for the next call."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self._seen)):
            ready, _, _ = select.select([self._socket], [], [], max(0, deadline - time.monotonic()))
            data = self._socket.recv(65536) if ready else b""
            if not data:
                raise AssertionError(f"{pattern!r} did not come; saw {self._seen[-2000:]!r}")
            self._seen += data
        self._seen = self._seen[found.end() :]
        return found


class Machine:
    """A running QEMU with a serial console, an agent channel, a screen and a monitor."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder
        self.disk = folder / "disk.qcow2"
        self.serial = Line(folder / "serial")
        self._agent = Line(folder / "agent")
        self._monitor = Line(folder / "qmp")
        self.qmp("qmp_capabilities")

    def login(self, name: str) -> None:
        """Wait for the shell's prompt."""
        self.serial.expect(rf"root@{name}:~# ".encode())

    def sh(self, command: str) -> str:
        """Type a command on the serial console; return what it printed."""
        self.serial.write(f"stty -echo\n{command}\necho \"~$?\"'~'; stty echo\n".encode())
        found = self.serial.expect(rb"(?s)stty -echo\r\n.*?# (.*)~(\d+)~\r\n")
        self.serial.expect(rb"# ")
        printed = re.sub(r"root@\S+:\S+# ", "", found[1].decode()).replace("\r\n", "\n").strip()
        assert found[2] == b"0", f"{command!r} ended with {found[2]!r}: {printed}"
        return printed

    def wait_for(self, condition: str) -> None:
        """Wait in the guest until a shell condition holds; it is asked every tenth of a second."""
        self.sh(f"for _ in $(seq {PATIENCE_S * 10}); do {condition} && break; sleep 0.1; done")
        self.sh(condition)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Give QEMU's monitor a command; return its answer."""
        return _answer(self._monitor, command, arguments)

    def event(self, name: str) -> None:
        """Wait for an event from QEMU's monitor."""
        self._monitor.expect(rf'"event": "{name}"[^\n]*\n'.encode())

    def agent(self, command: str, **arguments: Any) -> Any:
        """Give the guest agent a command; return its answer."""
        return _answer(self._agent, command, arguments)

    def tell_agent(self, command: str, **arguments: Any) -> None:
        """Give the guest agent a command that has no answer."""
        self._agent.write(_message(command, arguments))

    def run(self, *command: str) -> tuple[int, bytes]:
        """Have the guest agent run a program; return its status and what it printed."""
        pid = self.agent("guest-exec", path=command[0], arg=command[1:], **{"capture-output": True})
        while not (status := self.agent("guest-exec-status", pid=pid["pid"]))["exited"]:
            pass
        return status["exitcode"], base64.b64decode(status.get("out-data", ""))

    def screen(self) -> bytes:
        """Return the pixels of the screen, three bytes each."""
        picture = self._folder / "screen.ppm"
        self.qmp("screendump", filename=str(picture))
        return picture.read_bytes().split(b"\n", 3)[3]

    def wait_off(self) -> None:
        """Wait for QEMU to end, as it does when the guest switches itself off."""
        assert self.process.wait(PATIENCE_S) == 0


def _message(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


def _answer(line: Line, command: str, arguments: dict[str, Any]) -> Any:
    line.write(_message(command, arguments))
    answer = json.loads(line.expect(rb'\{"(?:return|error)":.*\n')[0])
    assert "return" in answer, f"{command}: {answer['error']}"
    return answer["return"]


@contextmanager
def machine(image: Image, folder: Path, *options: str, size: str = "") -> Iterator[Machine]:
    """Run a guest from a new overlay on an image; it is gone afterwards, whatever happens.

    Args:
        image: what to boot.
        folder: an empty folder, for the disk and the sockets.
        options: more options for QEMU.
        size: of the disk, as qemu-img takes it; by default the image's.
    """
    backing = ["-b", str(image.disk), "-F", image.disk_format]
    overlay = folder / "disk.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *backing, overlay, *filter(None, [size])],
        check=True,
    )
    sockets = {}
    for name in ("serial", "agent", "qmp"):
        # Opened here and handed over, so that there is something to connect to at once.
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / name))
        listener.listen()
        sockets[name] = listener
    command = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-nodefaults"),
        *("-display", "none", "-vga", "std", "-device", "virtio-rng-pci"),
        *("-blockdev", f"driver=file,filename={overlay},node-name=file"),
        *("-blockdev", "driver=qcow2,file=file,node-name=disk"),
        *("-device", "virtio-serial-pci", "-serial", "chardev:serial"),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        *("-mon", "chardev=qmp,mode=control"),
    ]
    for name, listener in sockets.items():
        fd = listener.fileno()
        command += ["-chardev", f"socket,id={name},fd={fd},server=on,wait=off"]
    process = subprocess.Popen(
        [*command, *options], pass_fds=[listener.fileno() for listener in sockets.values()]
    )
    for listener in sockets.values():
        listener.close()
    try:
        yield Machine(process, folder)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def with_key(key: Path, port: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a guest over ssh, letting nothing but ``key`` open the door."""
    options = (
        "BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={os.devnull}", f"ConnectTimeout={PATIENCE_S}", "LogLevel=ERROR",
    )  # fmt: skip
    flags = [part for option in options for part in ("-o", option)]
    return subprocess.run(
        ["ssh", *flags, "-F", os.devnull, "-i", key, "-p", str(port), "root@127.0.0.1", *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
