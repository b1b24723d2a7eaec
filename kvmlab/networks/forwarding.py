"""From a port of this machine to a port of a guest: relaying TCP connections."""

from __future__ import annotations

import asyncio
import errno
import html
import os
import socket
import threading
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvmlab.errors import InUse, InvalidArgument, LabHostError
from kvmlab.labhost import ports

if TYPE_CHECKING:
    from kvmlab.events import Watch
    from kvmlab.handle import GuestHandle

_CONNECT_S = 10.0  # a guest in the same host answers at once, or is not there
_CHUNK = 64 * 1024
_TRIES = 20  # to find a port that is free both within the lab host and outside

# What a browser calls the service; anything else is shown as plain HTTP, too.
_SCHEMES = {443: "https", 8443: "https"}


class Forward(str):
    """An open way to a guest's service; as text, its address for a browser.

    It is closed by `close`, as a context manager, when the guest stops, and with the
    Python process that opened it.

    Attributes:
        guest: the guest's name.
        address: the guest's address.
        port: the guest's port.
        local_port: the port on 127.0.0.1.

    Example:
        >>> with web.forward(80) as site:
        ...     urllib.request.urlopen(site).read()
        b'Hello\\n'
    """

    guest: str
    address: str
    port: int
    local_port: int
    _relay: _Relay
    _watch: Watch

    @property
    def is_open(self) -> bool:
        """Whether one still gets through.

        Example:
            >>> web.forward(80).is_open
            True
        """
        return self._relay.is_alive()

    def close(self) -> None:
        """Close it, with the connections that go through it; closing again does nothing.

        Example:
            >>> site.close()
        """
        self._watch.close()
        self._relay.stop()
        self._relay.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<a href="{html.escape(self)}" target="_blank">{html.escape(self)}</a>'


def check_ports(port: int, local_port: int | None) -> None:
    """Refuse what can't be a TCP port.

    Raises:
        InvalidArgument: it is not.

    Example:
        >>> check_ports(80, None)
    """
    _check_port("port", port, 1)
    if local_port is not None:
        # Lower ones are for root, on the machine that the learner sits at.
        _check_port("local_port", local_port, 1024)


def open_forward(
    guest: GuestHandle, address: str, port: int, local_port: int | None = None
) -> Forward:
    """Open a way to a guest; errors are those of `Guest.forward`.

    Args:
        guest: whose service it is.
        address: where it is reached.
        port: there.
        local_port: on 127.0.0.1; None for any.

    Example:
        >>> open_forward(web, "192.168.122.57", 80)
        http://127.0.0.1:42807/
    """
    with ExitStack() as undo:
        sockets = _listen(local_port)
        for sock in sockets:
            undo.callback(sock.close)
        number = sockets[0].getsockname()[1]
        watch = guest.lab.events.watch(guest=guest.name)
        undo.callback(watch.close)
        relay = _Relay(sockets, address, port)
        relay.start()
        relay.running.wait()
        undo.pop_all()
    forward = Forward(f"{_SCHEMES.get(port, 'http')}://127.0.0.1:{number}/")
    forward.guest, forward.address, forward.port = guest.name, address, port
    forward.local_port, forward._relay, forward._watch = number, relay, watch
    threading.Thread(
        target=_close_with_guest, args=(watch, relay), name=f"kvmlab-forward-{number}", daemon=True
    ).start()
    return forward


def _close_with_guest(watch: Watch, relay: _Relay) -> None:
    for event in watch:
        if event.kind == "stopped":
            break
    # Else the watch was closed: by `Forward.close`, or because the lab was.
    watch.close()
    relay.stop()


class _Relay(threading.Thread):
    """Accepts connections and passes on what they say, in a thread of its own."""

    def __init__(self, sockets: list[socket.socket], address: str, port: int) -> None:
        super().__init__(name=f"kvmlab-relay-{address}:{port}", daemon=True)
        self.running = threading.Event()
        self._sockets, self._target = sockets, (address, port)
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()

    def run(self) -> None:
        with suppress(RuntimeError):  # of a loop that ends with the interpreter
            self._loop.run_until_complete(self._serve())
        self._loop.close()

    def stop(self) -> None:
        """Have the thread end soon."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._over.set)

    async def _serve(self) -> None:
        servers = [await asyncio.start_server(self._accept, sock=sock) for sock in self._sockets]
        self.running.set()
        await self._over.wait()
        for server in servers:
            server.close()
        await asyncio.sleep(0)  # who was let in by now has a task
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Where nobody answers it is as if whoever asked had asked the guest itself.
            async with asyncio.timeout(_CONNECT_S):
                there, theirs = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(_pump(reader, theirs), _pump(there, writer))
            finally:
                theirs.transport.abort()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # broken off at either end, or by `stop`; Python's streams want no word of it
        finally:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and then that there is no more."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    await writer.drain()


def _listen(port: int | None) -> list[socket.socket]:
    """Open a port on 127.0.0.1: outside of the lab host we are in, if we are, and here.

    Raises:
        InUse: the port is taken.
        LabHostError: the lab host does not answer.
    """
    if "KVMLAB_LABHOST" not in os.environ or os.environ.get("KVMLAB_URI"):
        return [_listen_here(port or 0)]
    for _ in range(_TRIES):
        try:
            outside = ports.listen_outside(port or 0)
        except OSError as error:
            raise _taken(error, port, "127.0.0.1 of this machine") from error
        try:
            return [outside, _listen_here(outside.getsockname()[1])]
        except InUse:
            outside.close()
            if port is not None:
                raise
    raise LabHostError("no port was found that is free within the lab host and outside")


def _listen_here(port: int) -> socket.socket:
    try:
        return ports.open_port(port)
    except OSError as error:
        raise _taken(error, port, "127.0.0.1 here") from error


def _taken(error: OSError, port: int | None, where: str) -> InUse:
    why = "is taken" if error.errno == errno.EADDRINUSE else f"can't be opened: {error.strerror}"
    return InUse(
        f"that port of {where} {why}", seen=port, next_step="Give another local_port, or none"
    )


def _check_port(what: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 65535:
        raise InvalidArgument(
            f"{what} must be a whole number from {least} to 65535",
            seen=value,
            next_step=f"Give one, such as {what}={max(80, least)}",
        )
