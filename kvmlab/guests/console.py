"""A guest's serial console as a stream of bytes, read the way a script reads a dialogue."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import libvirt

from kvmlab.errors import ConsoleClosed, TimedOut
from kvmlab.libvirt_errors import translated

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_CHUNK = 4096
_READ = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_HANGUP
    | libvirt.VIR_STREAM_EVENT_ERROR
)
_TRY_AGAIN = -2  # what a non-blocking stream returns when there is nothing to do now


class Console:
    """An open serial console. Made by ``guest.console()``; close it, or use a ``with``.

    Bytes are taken from the guest as they come, in libvirt's thread, and wait
    here until they are read.

    Example:
        >>> with web.console() as console:
        ...     console.send("uname -s\\n")
        ...     print(console.expect("Linux"))
        uname -s
        Linux
    """

    def __init__(self, lab: Lab, domain: Any, *, force: bool = False) -> None:
        self._name = domain.name()
        self._changed = threading.Condition()
        self._received = bytearray()
        self._outgoing = bytearray()
        self._open = True
        self._stream = lab.connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0)
        self._stream.eventAddCallback(_READ, self._on_event, None)

    def _on_event(self, stream: Any, events: int, _: Any) -> None:
        """Move bytes; called in libvirt's thread."""
        with self._changed:
            try:
                if events & libvirt.VIR_STREAM_EVENT_WRITABLE:
                    self._drain()
                if events & _READ:
                    self._fill()
            except libvirt.libvirtError:
                self._end()
            self._changed.notify_all()

    def _fill(self) -> None:
        while self._open:
            data = self._stream.recv(_CHUNK)
            if data == _TRY_AGAIN:
                return
            if not data:
                self._end()
            else:
                self._received += data

    def _drain(self) -> None:
        while self._outgoing:
            sent = self._stream.send(bytes(self._outgoing))
            if sent == _TRY_AGAIN:
                return
            del self._outgoing[:sent]
        self._stream.eventUpdateCallback(_READ)

    def _end(self) -> None:
        """Let the stream go; its callback must go first. A broken stream refuses even that."""
        if self._open:
            self._open = False
            for let_go in (self._stream.eventRemoveCallback, self._stream.abort):
                with suppress(libvirt.libvirtError):
                    let_go()

    @property
    def is_open(self) -> bool:
        """Whether the guest is still at the other end.

        Example:
            >>> console.is_open
            True
        """
        return self._open

    def send(self, data: str | bytes) -> None:
        """Type into the console; returns before the guest has read it.

        Raises:
            ConsoleClosed: the guest has gone.

        Example:
            >>> console.send("root\\n")
        """
        with self._changed:
            if not self._open:
                raise self._closed()
            self._outgoing += data.encode() if isinstance(data, str) else data
            with translated(f"console {self._name}"):
                self._stream.eventUpdateCallback(_READ | libvirt.VIR_STREAM_EVENT_WRITABLE)

    def read(self, *, timeout_s: float | None = None) -> bytes:
        """Return what has come; wait for something if nothing has.

        Args:
            timeout_s: how long to wait; ``None`` waits as long as the guest is there.

        Returns:
            At least one byte; ``b""`` when the console is closed.

        Raises:
            TimedOut: nothing came in time.

        Example:
            >>> console.read(timeout_s=5)
            b'login: '
        """
        with self._changed:
            there = self._changed.wait_for(lambda: self._received or not self._open, timeout_s)
            if not there:
                raise TimedOut(f"the console of guest {self._name!r} stays silent", seen=timeout_s)
            data = bytes(self._received)
            self._received.clear()
            return data

    def expect(self, wanted: str | re.Pattern[str], *, timeout_s: float = 30) -> str:
        """Read until something appears; return all that was read, up to and with it.

        Args:
            wanted: text, or a compiled regular expression.
            timeout_s: how long it may take.

        Raises:
            TimedOut: it did not appear in time; what came is left to be read.
            ConsoleClosed: the guest went away before it appeared.

        Example:
            >>> console.expect(re.compile(r"login: $"))
            '...\\r\\nDebian GNU/Linux 12 web ttyS0\\r\\n\\r\\nweb login: '
        """
        if isinstance(wanted, re.Pattern):
            pattern = re.compile(wanted.pattern.encode(), wanted.flags & ~re.UNICODE)
        else:
            pattern = re.compile(re.escape(wanted.encode()))
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (found := pattern.search(self._received)):
                tail = bytes(self._received[-200:]).decode(errors="replace")
                if not self._open:
                    raise self._closed(tail)
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimedOut(
                        f"{wanted!r} did not appear on the console of guest {self._name!r} "
                        f"in {timeout_s} s",
                        seen=tail,
                    )
            data = bytes(self._received[: found.end()])
            del self._received[: found.end()]
            return data.decode(errors="replace")

    def _closed(self, tail: str = "") -> ConsoleClosed:
        return ConsoleClosed(f"the console of guest {self._name!r} is closed", seen=tail)

    def close(self) -> None:
        """Let the console go; the guest runs on.

        Example:
            >>> console.close()
        """
        with self._changed:
            self._end()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
