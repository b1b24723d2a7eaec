"""Watching packets go by on this host's interfaces, in the order in which they pass.

The lines are tcpdump's own (https://www.tcpdump.org/manpages/tcpdump.1.html). One tcpdump
listens on all interfaces, so that a packet on its way through several of them is seen on
one after the other.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from kvmlab.errors import DeviceNotFound, InvalidArgument, NotSupported, TimedOut
from kvmlab.virsh import Commands
from kvmlab.waiting import attempts

_READY_S, _LAST_S, _STILL_S = 20.0, 5.0, 0.3

_COMMAND = ("tcpdump", "-n", "-i", "any")
# What a person at a terminal does not need: the time as a number, every line at once.
_OURS = ("-tt", "-l", "--immediate-mode")

# What it says on its standard error when it begins, and when it is asked how far it is.
_LISTENS = re.compile(r"listening on ")
_COUNTS = re.compile(r"(\d+) packets? captured, (\d+) packets? received by filter")
# Time, interface, direction (In, Out; B, M and P for what is for all, for some, for others).
_LINE = re.compile(r"(\d+\.\d+) (\S+) +(In|Out|B|M|P) +(.*)")


@dataclass(frozen=True)
class Packet:
    """A packet, as it was seen on one interface.

    Attributes:
        where: the interface.
        time_s: when, in seconds since 1970.
        text: what tcpdump says of it.

    Example:
        >>> Packet("virbr0", 1.0, "IP 192.168.122.57 > 192.168.122.1: ICMP echo request").where
        'virbr0'
    """

    where: str
    time_s: float
    text: str


class Capture(Sequence[Packet]):
    """The packets that passed, one after the other; `capture` makes one, ``with`` runs it.

    Example:
        >>> with capture("virbr0", "icmp") as seen:
        ...     web.run("ping -c 1 192.168.122.1")
        >>> len(seen)
        2
    """

    def __init__(self, interfaces: Sequence[str], what: str) -> None:
        self._interfaces, self._what = interfaces, what
        self._packets: list[Packet] = []
        self._seen: list[str] = []
        self._said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []

    @property
    def command(self) -> Commands:
        """What to type in a terminal to see the same.

        Example:
            >>> capture("virbr0", "icmp").command
            tcpdump -n -i any icmp
        """
        return Commands(shlex.join([*_COMMAND, *self._filter]))

    @property
    def _filter(self) -> list[str]:
        # What begins like an option is none.
        option = ["--"] if self._what.startswith("-") else []
        return [*option, self._what] if self._what else []

    def __enter__(self) -> Self:
        for name in self._interfaces:
            if not Path("/sys/class/net", name).exists():
                raise DeviceNotFound(
                    "this host has no such interface",
                    seen=name,
                    next_step="`ip -br link` lists them; a guest's cable has one while it runs",
                )
        process = self._process = subprocess.Popen(
            [*_COMMAND, *_OURS, *self._filter],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C of the notebook's is not for it
        )
        self._threads = [
            threading.Thread(target=_collect, args=pair, daemon=True)
            for pair in ((process.stdout, self._seen), (process.stderr, self._said))
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._wait_until_it_listens(process)
        except BaseException:
            self._end(process)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if process := self._process:
            if error is None:
                self._catch_up(process)
            self._end(process)
            self._process = None
        for line in self._seen:
            found = _LINE.match(line)
            if found and (found[2] in self._interfaces or not self._interfaces):
                self._packets.append(Packet(found[2], float(found[1]), found[4].strip()))
        self._seen.clear()

    def _wait_until_it_listens(self, process: subprocess.Popen[str]) -> None:
        for _ in attempts(_READY_S):
            said = "".join(self._said)
            if _LISTENS.search(said):
                return
            if process.poll() is not None:
                self._end(process)  # now all that it had to say is there
                said = "".join(self._said).strip()
                if "syntax error" in said or "can't parse" in said:
                    raise InvalidArgument(
                        "tcpdump does not understand which packets",
                        seen=self._what,
                        next_step="pcap-filter(7) tells how to say it: 'icmp', 'port 80'",
                    )
                raise NotSupported("tcpdump can't listen here", seen=said)
        raise TimedOut("tcpdump did not begin to listen", seen="".join(self._said))

    def _catch_up(self, process: subprocess.Popen[str]) -> None:
        """Wait until all packets that the kernel has seen by now are among its lines."""
        before, since_s = "", time.monotonic()
        for _ in attempts(_LAST_S):
            if process.poll() is not None:
                return
            process.send_signal(signal.SIGUSR1)
            counts = _COUNTS.findall("".join(self._said))
            if counts and counts[-1][0] == counts[-1][1]:
                return
            # A packet to the host itself is received twice, and captured once: there it is
            # the numbers standing still that tells.
            if (now := str(counts[-1:])) != before:
                before, since_s = now, time.monotonic()
            elif counts and time.monotonic() - since_s > _STILL_S:
                return

    def _end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def __getitem__(self, index: int) -> Packet:  # type: ignore[override]
        return self._packets[index]

    def __len__(self) -> int:
        return len(self._packets)

    def __repr__(self) -> str:
        width = max((len(packet.where) for packet in self), default=0)
        lines = [f"{packet.where:{width}}  {packet.text}" for packet in self]
        return "\n".join(lines) or "<no packets>"


def capture(interfaces: str | Sequence[str], what: str = "") -> Capture:
    """Watch interfaces of this host, for as long as a ``with`` lasts.

    Args:
        interfaces: their names: a bridge ("virbr0"), the host's end of a guest's cable
            ("vnet0"), or others; with ``[]``, all.
        what: which packets, in tcpdump's words (pcap-filter(7)): "icmp", "port 80".

    Raises:
        NotSupported: this host has no tcpdump.
        DeviceNotFound: it has no such interface, when the ``with`` begins.
        InvalidArgument: tcpdump does not understand which packets, when the ``with`` begins.

    Example:
        >>> with capture([web.interfaces[0].target, "virbr0"], "icmp") as seen:
        ...     web.run("ping -c 1 192.168.122.1")
        >>> seen
        vnet0   IP 192.168.122.57 > 192.168.122.1: ICMP echo request, id 7, seq 0, length 64
        virbr0  IP 192.168.122.57 > 192.168.122.1: ICMP echo request, id 7, seq 0, length 64
        ...
    """
    if not shutil.which("tcpdump"):
        raise NotSupported(
            "this host has no tcpdump", next_step="Install it: the package is called tcpdump"
        )
    return Capture([interfaces] if isinstance(interfaces, str) else list(interfaces), what)


def _collect(stream: IO[str], lines: list[str]) -> None:
    lines.extend(iter(stream.readline, ""))
