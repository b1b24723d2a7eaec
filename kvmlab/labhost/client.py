"""The way into the lab host: start it or join it, run commands, leave.

    with client.enter("exec ls") as seat:
        seat.run(["virsh", "list", "--all"])

A seat is one open connection to the supervisor. While one is open the lab host
runs; closing the last one ends it.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kvmlab.errors import LabHostError
from kvmlab.labhost import requirements, wire
from kvmlab.labhost.commands import PLAIN_SIGNALS, run, search_path
from kvmlab.labhost.folders import Folders

Tell = Callable[[str], None]


class Seat:
    """A place in a running lab host.

    Args:
        sock: a connection to the control socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._environment: dict[str, str] = {}
        # The kernel tells, in our PID namespace's numbers, who listens (unix(7)).
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]
        self._life = os.pidfd_open(_outermost(self.pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, op: str, tell: Tell | None = None, **arguments: Any) -> wire.Message:
        """Send a request and return its reply; raises LabHostError."""
        try:
            self._sock.sendall(wire.encode({"op": op, **arguments}))
        except OSError as error:
            raise _gone() from error
        return self._reply(tell)

    def _reply(self, tell: Tell | None) -> wire.Message:
        while line := self._read_line():
            message = wire.decode(line)
            if "step" in message:
                if tell:
                    tell(message["step"])
            elif "error" in message:
                happened, seen, next_step = message["error"]
                raise LabHostError(happened, seen=seen, next_step=next_step)
            else:
                return message
        raise _gone()

    def _read_line(self) -> bytes:
        try:
            return self._lines.readline()
        except OSError:
            return b""

    def join(self, what: str) -> None:
        """Become a user of the lab host: from now on it runs at least as long as we do."""
        self._environment = self.ask("join", what=what)["environment"]

    def run(self, command: Sequence[str]) -> int:
        """Run a command in the lab host and return its exit status.

        Standard input, output and error, the terminal and the working folder are
        ours. As a shell does, a command ended by signal N gives 128 + N, one that
        is not found 127, one that can't be executed 126.
        """
        return run(self.entering(command), self.environment())

    def entering(self, command: Sequence[str]) -> list[str]:
        """Return ``command`` made to run in the lab host, in this working folder."""
        into = ["--mount", "--uts", "--pid", f"--target={self.pid}"]
        into.append(f"--net=/proc/{self.pid}/root{Folders.default().netns}")
        if os.geteuid() != 0:
            into += ["--user", "--preserve-credentials"]
        return ["nsenter", *into, *PLAIN_SIGNALS, "-C", os.getcwd(), "--", *command]

    def environment(self) -> dict[str, str]:
        """Return the environment of a command in the lab host."""
        return {**os.environ, **self._environment, "PATH": search_path()}

    def wait_until_over(self, tell: Tell | None = None) -> None:
        """Wait for the end of the lab host, with every process in it."""
        while line := self._read_line():
            if tell and "step" in (message := wire.decode(line)):
                tell(message["step"])
        select.select([self._life], [], [])

    def leave(self, tell: Tell | None = None) -> None:
        """Say goodbye; when we were the last, wait for the lab host's end."""
        try:
            last = self.ask("bye").get("last", True)
        except LabHostError:
            last = True
        if last:
            self.wait_until_over(tell)

    def close(self) -> None:
        """Let go of the lab host."""
        self._lines.close()
        self._sock.close()
        os.close(self._life)


def find() -> Seat | None:
    """Return a seat in the running lab host (not joined yet), or None when none runs."""
    try:
        sock = wire.connect(Folders.default().control)
    except OSError:
        return None
    try:
        return Seat(sock)
    except (ProcessLookupError, FileNotFoundError):
        sock.close()
        return None


def enter(what: str, tell: Tell | None = None) -> Seat:
    """Join the running lab host, or start one; return a joined seat.

    Args:
        what: what it is for, as ``./lab status`` shows it.
        tell: called with each step that takes a moment.

    Raises:
        HostRequirementError: this machine lacks something; the error names the
            command that mends it.
        LabHostError: anything else that keeps the lab host from starting.

    Example:
        >>> with enter("exec virsh") as seat:       # doctest: +SKIP
        ...     seat.run(["virsh", "list", "--all"])
    """
    if seat := _join(what):
        return seat
    requirements.demand()
    folders = Folders.default()
    folders.make()
    with folders.start_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another launcher may have started it while we waited for the lock.
        return _join(what) or _start(what, folders, tell)


def _join(what: str) -> Seat | None:
    seat = find()
    if seat is None:
        return None
    try:
        seat.join(what)
    except LabHostError:
        # It was about to end; it answers nobody any more.
        seat.close()
        return None
    return seat


def _start(what: str, folders: Folders, tell: Tell | None) -> Seat:
    ours, theirs = socket.socketpair()
    # Locked by the supervisor; unshare, which outlives every process of the lab
    # host, has the same open file and so keeps the lock until all are gone.
    lock = os.open(folders.run_lock, os.O_RDWR | os.O_CREAT, 0o600)
    namespaces = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespaces = ["--user", "--map-root-user", "--map-auto", *namespaces]
    supervisor = [
        sys.executable,
        "-m",
        "kvmlab.labhost.supervisor",
        str(theirs.fileno()),
        str(lock),
    ]
    with (folders.logs / "start.log").open("wb") as log, ours:
        subprocess.Popen(
            ["unshare", *namespaces, *supervisor],
            env={**os.environ, "KVMLAB_HOME": str(folders.root), "PATH": search_path()},
            pass_fds=[theirs.fileno(), lock],
            # Neither Ctrl-C nor a closed terminal is for the lab host: it has
            # other users, or guests to save.
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
        )
        theirs.close()
        os.close(lock)
        with ours.makefile("rb") as lines:
            for line in lines:
                message = wire.decode(line)
                if "step" in message and tell:
                    tell(message["step"])
                if "error" in message:
                    happened, seen, next_step = message["error"]
                    raise LabHostError(happened, seen=seen, next_step=next_step)
                if "ready" in message:
                    if seat := _join(what):
                        return seat
                    break
    raise LabHostError(
        "the lab host ended while it started",
        seen=(folders.logs / "start.log").read_text(errors="replace").strip()[-500:],
        next_step=f"Run ./lab doctor; the log is {folders.logs}/labhost.log",
    )


def _outermost(supervisor: int) -> int:
    """Return the process that ends last: the unshare that waits for the supervisor."""
    status = Path(f"/proc/{supervisor}/status").read_text()
    parent = int(status.partition("\nPPid:")[2].split()[0])
    return parent or supervisor  # 0 when we are in its PID namespace ourselves


def _gone() -> LabHostError:
    return LabHostError(
        "the lab host is gone", next_step=f"Start it again; its log is in {Folders.default().logs}"
    )


def shut_down(tell: Tell | None = None) -> bool:
    """End the running lab host for all its users; tell whether there was one."""
    folders = Folders.default()
    seat = find()
    if seat is None and folders.start_lock.exists():
        # One that is just being started can be asked once it has.
        with folders.start_lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            seat = find()
    if seat is None:
        # One that takes no more requests may still be saving its guests.
        if folders.run_lock.exists():
            with folders.run_lock.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
        return False
    with seat:
        with suppress(LabHostError):  # it was ending already
            seat.ask("down", tell)
        seat.wait_until_over(tell)
    return True
