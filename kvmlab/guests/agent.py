"""Talking to a guest from within: its QEMU guest agent.

The commands are those of https://qemu.readthedocs.io/en/latest/interop/qemu-ga-ref.html.
"""

from __future__ import annotations

import base64
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import libvirt
import libvirt_qemu

from kvmlab.errors import (
    AgentUnavailable,
    CommandFailed,
    GuestNotReady,
    GuestNotRunning,
    InvalidArgument,
    TimedOut,
    translate,
)
from kvmlab.handle import GuestHandle
from kvmlab.waiting import attempts

# How long the agent itself may take to answer; it only starts commands and looks
# after them, so that a slow answer means a slow guest.
_ANSWER_S = 30

# An agent that has just started may miss the first word said to it.
_PING_S = 5

_UNTIL = "until {} 2>/dev/null; do sleep 1; done"
_RUN = '''pid=$({} | grep -o '[0-9]*')
until status=$(%s '{"execute": "guest-exec-status", "arguments": {"pid": '"$pid"'}}')
  echo "$status" | grep -q '"exited":true'; do sleep 1; done; echo "$status"'''

_SOURCES = {
    "agent": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
    "lease": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
    "arp": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
}
Source = Literal["agent", "lease", "arp"]


@dataclass(frozen=True)
class CommandResult:
    """How a command in a guest ended.

    Attributes:
        command: what was run.
        stdout: what it printed.
        stderr: what it complained about.
        exit_status: 0 when it succeeded; 128 + signal when a signal ended it.
        signal: the number of that signal, else None.
        truncated: the agent kept only the first 16 MiB of the output.

    Example:
        >>> web.run("uname -s").stdout
        'Linux\\n'
    """

    command: str
    stdout: str
    stderr: str
    exit_status: int
    signal: int | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Address:
    """An IP address of a guest.

    Attributes:
        interface: the network card: the guest's name for it ("eth0") when the agent
            was asked, else the host's ("vnet0").
        address: the IP address.
        prefix: the length of its network's prefix.
        mac: the card's hardware address.

    Example:
        >>> web.addresses()[0].address
        '192.168.122.57'
    """

    interface: str
    address: str
    prefix: int
    mac: str


class Inside(GuestHandle):
    """The part of a guest that its agent answers for."""

    def wait_ready(self, *, timeout_s: float = 120) -> None:
        """Wait until the guest has booted so far that its agent answers.

        Raises:
            GuestNotRunning: it is off, or goes off while it is waited for.
            GuestNotReady: its agent did not answer in time.

        Example:
            >>> web.start()
            >>> web.wait_ready()
        """
        deadline = time.monotonic() + timeout_s
        ping = _spell("guest-ping")
        with (
            self._doing("qemu-agent-command", self.name, ping, question=True, script=_UNTIL),
            self.lab.events.watch(guest=self.name) as watch,
        ):
            while (left_s := deadline - time.monotonic()) > 0:
                if not self._libvirt.isActive():
                    raise GuestNotRunning(
                        f"guest {self.name!r} can't get ready", seen=self._state()
                    )
                # Asking an agent that is not there would take libvirt's word for seconds.
                if not self._has_agent():
                    with suppress(TimedOut):
                        watch.wait_for("agent", "stopped", timeout_s=left_s)
                elif self._agent_answers(min(left_s, _PING_S)):
                    return
            raise GuestNotReady(
                f"the agent of guest {self.name!r} did not answer in {timeout_s} s",
                seen=self._state(),
            )

    def _agent_answers(self, within_s: float) -> bool:
        try:
            self._agent("guest-ping", within_s=within_s)
        except libvirt.libvirtError as error:
            if isinstance(translate(error), AgentUnavailable):
                return False
            raise
        return True

    def _agent(self, command: str, *, within_s: float = _ANSWER_S, **arguments: Any) -> Any:
        spelt = _spell(command, **arguments)
        answer = libvirt_qemu.qemuAgentCommand(self._libvirt, spelt, max(1, int(within_s)), 0)
        return json.loads(answer)["return"]

    def run(
        self,
        command: str | Sequence[str],
        *,
        input: str | bytes | None = None,
        timeout_s: float = 60,
        check: bool = False,
    ) -> CommandResult:
        """Run a command in the guest, as root, through the guest agent.

        Args:
            command: a line for the guest's shell, or a program and its arguments.
            input: what the command can read from its standard input.
            timeout_s: how long it may take; then it and its children are killed.
            check: raise when the exit status is not 0.

        Raises:
            InvalidArgument: the command is empty.
            GuestNotRunning: the guest is off.
            AgentUnavailable: its agent does not answer.
            TimedOut: the command took too long.
            CommandFailed: ``check`` was given, and the exit status is not 0.

        Example:
            >>> web.run("uname -s").stdout
            'Linux\\n'
            >>> web.run("false").exit_status
            1
        """
        if not command:
            raise InvalidArgument(
                "there is no command to run", seen=command, next_step="Give one, such as 'uname -r'"
            )
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        arguments: dict[str, Any] = {"path": words[0], "arg": words[1:], "capture-output": True}
        if input is not None:
            data = input.encode() if isinstance(input, str) else input
            arguments["input-data"] = base64.b64encode(data).decode()
        spelt = command if isinstance(command, str) else shlex.join(command)
        start = _spell("guest-exec", **arguments)
        script = _RUN % self.lab.virsh_log.virsh("qemu-agent-command", self.name)
        with self._doing("qemu-agent-command", self.name, start, script=script):
            try:
                pid = self._agent("guest-exec", **arguments)["pid"]
            except libvirt.libvirtError as error:
                if "Failed to execute child process" not in error.get_error_message():
                    raise
                # What a shell says of a program that it can't start.
                result = CommandResult(spelt, "", error.get_error_message(), exit_status=127)
            else:
                result = self._wait_for_exit(pid, spelt, timeout_s)
        if check and result.exit_status:
            raise CommandFailed(result)
        return result

    def _wait_for_exit(self, pid: int, command: str, timeout_s: float) -> CommandResult:
        # The agent has no event for "the command has ended".
        for _ in attempts(timeout_s):
            status = self._agent("guest-exec-status", pid=pid)
            if status["exited"]:
                return _result(command, status)
        kill = f"kill -9 {pid} $(pgrep -P {pid})"
        self._agent("guest-exec", path="/bin/sh", arg=["-c", kill])
        raise TimedOut(
            f"{command!r} ran longer than {timeout_s} s in guest {self.name!r}, and was killed"
        )

    def addresses(self, source: Source | None = None) -> list[Address]:
        """Return the guest's IP addresses, without its loopback ones.

        Args:
            source: "agent" asks the guest, "lease" the DHCP server of libvirt's network,
                "arp" the host's neighbour table. Without it: the agent if there is one,
                else the DHCP server.

        Raises:
            GuestNotRunning: the guest is off.
            AgentUnavailable: source is "agent" and it does not answer.

        Example:
            >>> [address.address for address in web.addresses()]
            ['192.168.122.57']
        """
        if source is None:
            with self._explained(f"domifaddr {self.name}"):
                source = "agent" if self._has_agent() else "lease"
        if source not in _SOURCES:
            raise InvalidArgument(
                "no such source of addresses",
                seen=source,
                next_step=f"There is: {', '.join(_SOURCES)}",
            )
        with self._doing("domifaddr", self.name, "--source", source, question=True):
            found = self._libvirt.interfaceAddresses(_SOURCES[source])
        return [
            Address(interface, each["addr"], each["prefix"], card["hwaddr"])
            for interface, card in found.items()
            for each in card["addrs"] or []
            if interface != "lo"
        ]

    def wait_address(self, *, source: Source | None = None, timeout_s: float = 60) -> str:
        """Wait until the guest has an IPv4 address, and return it.

        Args:
            source: as for `addresses`.
            timeout_s: how long it may take.

        Raises:
            GuestNotRunning: the guest is off.
            TimedOut: it has none yet.

        Example:
            >>> web.wait_address()
            '192.168.122.57'
        """
        # Neither libvirt nor the agent has an event for a new address.
        for _ in attempts(timeout_s):
            for found in self.addresses(source):
                if ":" not in found.address:
                    return found.address
        raise TimedOut(f"guest {self.name!r} has no IPv4 address after {timeout_s} s")


def _spell(command: str, **arguments: Any) -> str:
    """Write an agent command as the JSON it is."""
    message = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
    return json.dumps(message)


def _result(command: str, status: dict[str, Any]) -> CommandResult:
    signal = status.get("signal")
    return CommandResult(
        command=command,
        stdout=_text(status.get("out-data")),
        stderr=_text(status.get("err-data")),
        exit_status=status["exitcode"] if signal is None else 128 + signal,
        signal=signal,
        truncated=status.get("out-truncated", False) or status.get("err-truncated", False),
    )


def _text(data: str | None) -> str:
    return base64.b64decode(data).decode(errors="replace") if data else ""
