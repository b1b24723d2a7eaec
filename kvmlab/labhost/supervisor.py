"""The first process of a lab host: it starts everything and outlives nothing.

Run by ``client`` as ``unshare ... python -m kvmlab.labhost.supervisor FD LOCK`` in
new user, mount, UTS and PID namespaces. FD is an end of a socket pair: the progress
of the start is told over it, and when it closes the launcher is gone. LOCK is the
lab's lock file, open: one lab host at a time.

Whoever uses the lab host holds a connection to its control socket. The last one to
let go, however it dies, ends the lab host: guests are saved, and with this process
the kernel ends every other one in its PID namespace, and with them the network.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvmlab.errors import KvmlabError, LabHostError
from kvmlab.labhost import daemon, jupyter, ports, rooms, wire
from kvmlab.labhost.folders import Folders

log = logging.getLogger(__name__)

# What a broken-off command's processes are known by.
LEASE_VARIABLE = "KVMLAB_LEASE"


@dataclass
class Lease:
    """One user of the lab host: a connection, and what it is for."""

    number: int
    writer: asyncio.StreamWriter
    what: str = ""
    joined: bool = False


class Supervisor:
    """Runs one lab host from its first lease to its last.

    Args:
        folders: where the lab host's files are.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.leases: dict[int, Lease] = {}
        self.numbers = 0
        self.loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        self.children: dict[int, Callable[[], None]] = {}
        self.pasta: subprocess.Popen[bytes] | None = None
        self.lab: subprocess.Popen[bytes] | None = None
        self.port: int | None = None
        self.listening: socket.socket | None = None

    # ---- life

    async def run(self, launcher: socket.socket) -> None:
        """Start, serve until the last user has left, save the guests."""
        self.loop.add_signal_handler(signal.SIGTERM, self.over.set)
        reader, writer = await asyncio.open_connection(sock=launcher)
        try:
            self.start(lambda step: writer.write(wire.encode({"step": step})))
        except KvmlabError as error:
            writer.write(wire.encode(_failure(error)))
            await writer.drain()
            raise
        self.loop.add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()
        # Not start_unix_server: from Python 3.13 on that looks for the socket's file by the name
        # it was bound by, which `wire.listen` makes for the moment.
        server = await asyncio.start_server(self.serve, sock=wire.listen(self.folders.control))
        writer.write(wire.encode({"ready": True}))
        starter = asyncio.create_task(self.serve(reader, writer, joined=True))
        await self.over.wait()
        # From here on nobody can join; who comes now waits for the next lab host.
        server.close()
        self.folders.control.unlink(missing_ok=True)
        await self.stop()
        starter.cancel()

    def start(self, tell: Callable[[str], None]) -> None:
        """Furnish the rooms, start libvirtd and pasta, resume guests.

        All at once, not as a coroutine: until it is done there is nobody to serve,
        and ``reap`` must not collect what ``subprocess`` waits for.
        """
        tell("mounting the lab host's own folders")
        rooms.furnish(self.folders)
        daemon.configure(self.folders)
        tell("starting libvirtd in a private network")
        rooms.open_network(self.folders)
        self.children[int(daemon.PID_FILE.read_text())] = self.over.set
        self.pasta = rooms.start_pasta(self.folders)
        tell("starting the default network and storage pool")
        daemon.welcome(self.folders)
        daemon.resume_guests(self.folders, tell)

    async def stop(self) -> None:
        """Save guests, end JupyterLab in its own way; the kernel does the rest."""

        def tell(step: str) -> None:
            self.loop.call_soon_threadsafe(self.broadcast, {"step": step})

        try:
            await asyncio.to_thread(daemon.save_guests, self.folders, tell)
        except Exception:  # whatever it is, the lab host must end
            log.exception("guests were not saved")
        if self.lab and self.lab.poll() is None:
            ended = asyncio.Event()
            self.children[self.lab.pid] = ended.set
            self.lab.terminate()
            try:
                await asyncio.wait_for(ended.wait(), timeout=5)
            except TimeoutError:
                log.warning("JupyterLab did not end by itself")

    def reap(self) -> None:
        """Collect every process that ended; a first process inherits all orphans."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            for popen in (self.pasta, self.lab):
                if popen is not None and popen.pid == ended.si_pid:
                    popen.poll()  # collects its own child, to know the exit status
                    break
            else:
                os.waitpid(ended.si_pid, 0)
            if then := self.children.pop(ended.si_pid, None):
                log.info("process %d ended", ended.si_pid)
                then()

    def broadcast(self, message: wire.Message) -> None:
        """Tell every user something."""
        for lease in self.leases.values():
            lease.writer.write(wire.encode(message))

    # ---- users

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, joined: bool = False
    ) -> None:
        """Answer one connection until it closes."""
        self.numbers += 1
        lease = self.leases[self.numbers] = Lease(self.numbers, writer, joined=joined)
        try:
            while line := await reader.readline():
                message = wire.decode(line)
                if message.get("op") == "listen":
                    await ports.hand_over(writer, message.get("port"))
                else:
                    writer.write(wire.encode(self.answer(lease, message)))
                await writer.drain()
        except (ConnectionError, ValueError):
            log.info("connection %d broke", lease.number)
        finally:
            del self.leases[lease.number]
            writer.close()
            self.left(lease)

    def left(self, lease: Lease) -> None:
        """One connection is gone; a user who did not say goodbye has died."""
        if lease.joined:
            _kill_processes_of(lease)
            self.end_if_deserted()

    def end_if_deserted(self) -> bool:
        """With the last user the lab host ends; tell whether it does."""
        if not any(each.joined for each in self.leases.values()):
            self.over.set()
        return self.over.is_set()

    def answer(self, lease: Lease, message: wire.Message) -> wire.Message:
        """Do what a message asks and return the reply."""
        match message.get("op"):
            case "join" if self.over.is_set():
                return _failure(LabHostError("this lab host is about to end"))
            case "join":
                lease.joined = True
                lease.what = str(message.get("what", ""))
                return {"environment": {**_inside(self.folders), LEASE_VARIABLE: str(lease.number)}}
            case "bye":
                lease.joined = False
                return {"last": self.end_if_deserted()}
            case "status":
                return self.status()
            case "jupyter":
                try:
                    return {"url": self.jupyter_url(message.get("port"))}
                except LabHostError as error:
                    return _failure(error)
            case "down":
                self.over.set()
                return {}
        return _failure(LabHostError("the lab host does not know this request", seen=message))

    def status(self) -> wire.Message:
        """Return who is here and what runs."""
        return {
            "users": [each.what for each in self.leases.values() if each.joined],
            "jupyter": self.url() if self.lab and self.lab.poll() is None else None,
            "internet": self.pasta is not None and self.pasta.poll() is None,
        }

    def url(self) -> str:
        """Return the address of JupyterLab for a browser outside."""
        query = f"token={jupyter.token(self.folders)}"
        return f"http://127.0.0.1:{self.port}{jupyter.start_page()}?{query}"

    def jupyter_url(self, port: int | None) -> str:
        """Start JupyterLab unless it runs; return its address."""
        if self.lab is None or self.lab.poll() is not None:
            self.listening = jupyter.open_port(port)
            self.port = self.listening.getsockname()[1]
            self.lab = jupyter.start(self.folders, self.listening)
            # A server that fails must close the port, so that its client knows.
            self.children[self.lab.pid] = self.listening.close
        return self.url()


def _failure(error: KvmlabError) -> wire.Message:
    return {"error": [error.happened, error.seen, error.next_step]}


def _inside(folders: Folders) -> dict[str, str]:
    """Return what every command in the lab host finds in its environment."""
    return {
        "KVMLAB_HOME": str(folders.root),
        "KVMLAB_LABHOST": str(folders.root),
        "LIBVIRT_DEFAULT_URI": daemon.URI,
    }


def _kill_processes_of(lease: Lease) -> None:
    """End what a user left behind who did not say goodbye (kill -9, closed terminal)."""
    mark = f"{LEASE_VARIABLE}={lease.number}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue  # it ended meanwhile


def _settle(folders: Folders, lock: int) -> None:
    """Take this lab's lock and send our words to its log."""
    os.set_inheritable(lock, False)
    # The one before us may still be saving its guests.
    fcntl.flock(lock, fcntl.LOCK_EX)
    logging.basicConfig(
        filename=folders.logs / "labhost.log",
        filemode="w",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )


async def _main(launcher: socket.socket) -> None:
    await Supervisor(Folders.default()).run(launcher)


def main() -> None:
    """Run a lab host; the arguments are two descriptors, see the module."""
    launcher = socket.socket(fileno=int(sys.argv[1]))
    launcher.set_inheritable(False)
    launcher.setblocking(False)
    folders = Folders.default()
    _settle(folders, int(sys.argv[2]))
    os.environ.update(_inside(folders))
    try:
        asyncio.run(_main(launcher))
    except BaseException:
        log.exception("the lab host ended")
        # As the first process of a PID namespace we take everything with us.
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
