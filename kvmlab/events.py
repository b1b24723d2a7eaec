"""What happens to guests, as it happens: libvirt's events as callbacks or as a queue."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import libvirt

from kvmlab.errors import ConnectionLost, TimedOut
from kvmlab.libvirt_errors import translated

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # nothing is ever printed from libvirt's thread

_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


def start_event_loop() -> None:
    """Run libvirt's event loop in one daemon thread; must precede the first connection.

    Example:
        >>> start_event_loop()
        >>> connection = libvirt.open("qemu:///system")
    """
    global _loop
    with _loop_lock:
        if _loop is None:
            libvirt.virEventRegisterDefaultImpl()
            _loop = threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True)
            _loop.start()


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _words(prefix: str) -> dict[int, str]:
    """Return libvirt's own words for the values of one of its enums."""
    return {
        value: name.removeprefix(prefix).lower().replace("_", " ")
        for name, value in vars(libvirt).items()
        if name.startswith(prefix)
    }


_KINDS = {
    getattr(libvirt, f"VIR_DOMAIN_EVENT_{kind.upper()}"): kind
    for kind in (
        "defined",
        "undefined",
        "started",
        "suspended",
        "resumed",
        "stopped",
        "shutdown",
        "pmsuspended",
        "crashed",
    )
}
_DETAILS = {value: _words(f"VIR_DOMAIN_EVENT_{kind.upper()}_") for value, kind in _KINDS.items()}
_JOB_STATES = {
    getattr(libvirt, f"VIR_DOMAIN_BLOCK_JOB_{state.upper()}"): state
    for state in ("completed", "failed", "canceled", "ready")
}
_TRAY_STATES = _words("VIR_DOMAIN_EVENT_TRAY_CHANGE_")
_AGENT_STATES = _words("VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_")


@dataclass(frozen=True)
class Event:
    """One thing that happened to one guest.

    Attributes:
        guest: the guest's name.
        kind: "defined", "undefined", "started", "suspended", "resumed", "stopped",
            "shutdown" (it is on its way down), "pmsuspended", "crashed", "reboot",
            "agent", "balloon", "device removed", "device removal failed", "tray" or
            "block job".
        detail: libvirt's closer word: "booted", "destroyed", "saved", "connected", ...;
            for the balloon, the guest's memory now, in MiB; for a device, its alias, with
            "open" or "close" for a tray; for a block job, the disk's target and what
            became of it: "vda ready", "vda completed", "vda failed", "vda canceled".

    Example:
        >>> Event("web", "started", "booted")
        Event(guest='web', kind='started', detail='booted')
    """

    guest: str
    kind: str
    detail: str = ""


class Watch:
    """The events since this was made, one after the other; close it when done.

    Example:
        >>> with lab.events.watch(guest="web") as watch:
        ...     web.start()
        ...     watch.wait_for("started", timeout_s=10)
        Event(guest='web', kind='started', detail='booted')
    """

    def __init__(self, events: Events, guest: str | None) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._unsubscribe = events.subscribe(self._queue.put, guest=guest)

    def next(self, timeout_s: float | None = None) -> Event:
        """Wait for the next event.

        Raises:
            TimedOut: none came in ``timeout_s`` seconds.
            ConnectionLost: there will be none: libvirt went away, or the watch was closed.
        """
        try:
            event = self._queue.get(timeout=None if timeout_s is None else max(timeout_s, 0))
        except queue.Empty:
            raise TimedOut("no event came", seen=timeout_s) from None
        if event is None:
            self._queue.put(None)  # for whoever waits next
            raise ConnectionLost("no event can come any more")
        return event

    def wait_for(self, *kinds: str, detail: str | None = None, timeout_s: float = 30) -> Event:
        """Wait for the next event of one of these kinds, passing over others.

        Raises:
            TimedOut: none came in ``timeout_s`` seconds.
            ConnectionLost: there will be none: libvirt went away, or the watch was closed.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                event = self.next(deadline - time.monotonic())
            except TimedOut:
                wanted = " or ".join(repr(kind) for kind in kinds)
                raise TimedOut(f"no event {wanted} came in {timeout_s} s") from None
            if event.kind in kinds and detail in (None, event.detail):
                return event

    def close(self) -> None:
        """Stop watching; an iteration that is waiting ends."""
        self._unsubscribe()
        self._queue.put(None)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._queue.get, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Events:
    """The events of all guests of a lab.

    Example:
        >>> stop = lab.events.subscribe(print)
        >>> web.suspend()
        Event(guest='web', kind='suspended', detail='paused')
        >>> stop()
    """

    def __init__(self, lab: Lab) -> None:
        self._connection = lab.connection
        self._lock = threading.Lock()
        self._subscribers: list[tuple[str | None, Callable[[Event], object]]] = []
        self._watches: WeakSet[Watch] = WeakSet()
        self._registered: list[int] = []

    def subscribe(
        self, callback: Callable[[Event], object], *, guest: str | None = None
    ) -> Callable[[], None]:
        """Call ``callback`` with every event from now on, in libvirt's thread.

        It must return soon and must not wait for a guest; for that, `watch`.

        Args:
            callback: is given each `Event`.
            guest: only the events of the guest of this name.

        Returns:
            A function that ends the subscription.
        """
        entry = (guest, callback)
        with self._lock:
            if not self._registered:
                self._register()
            self._subscribers.append(entry)

        def unsubscribe() -> None:
            with self._lock:
                if entry in self._subscribers:
                    self._subscribers.remove(entry)

        return unsubscribe

    def watch(self, *, guest: str | None = None) -> Watch:
        """Collect the events from now on, to be read one after the other.

        Args:
            guest: only the events of the guest of this name.

        Example:
            >>> for event in lab.events.watch():
            ...     print(event)
        """
        watch = Watch(self, guest)
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """End all subscriptions and watches."""
        with self._lock:
            registered, self._registered = self._registered, []
            self._subscribers.clear()
        self._end_watches()
        with suppress(libvirt.libvirtError):  # where libvirt went away, so did these
            for identity in registered:
                self._connection.domainEventDeregisterAny(identity)
            if registered:
                self._connection.unregisterCloseCallback()

    def _end_watches(self) -> None:
        for watch in list(self._watches):
            watch.close()

    def _register(self) -> None:
        def lifecycle(_: Any, domain: Any, event: int, detail: int, __: Any) -> None:
            words = _DETAILS.get(event, {})
            self._publish(Event(domain.name(), _KINDS.get(event, "?"), words.get(detail, "")))

        def agent(_: Any, domain: Any, state: int, __: int, ___: Any) -> None:
            self._publish(Event(domain.name(), "agent", _AGENT_STATES.get(state, "")))

        def reboot(_: Any, domain: Any, __: Any) -> None:
            self._publish(Event(domain.name(), "reboot"))

        def balloon(_: Any, domain: Any, actual_kib: int, __: Any) -> None:
            self._publish(Event(domain.name(), "balloon", str(actual_kib // 1024)))

        def removed(_: Any, domain: Any, alias: str, __: Any) -> None:
            self._publish(Event(domain.name(), "device removed", alias))

        def kept(_: Any, domain: Any, alias: str, __: Any) -> None:
            self._publish(Event(domain.name(), "device removal failed", alias))

        def tray(_: Any, domain: Any, alias: str, reason: int, __: Any) -> None:
            self._publish(Event(domain.name(), "tray", f"{alias} {_TRAY_STATES.get(reason, '')}"))

        def job(_: Any, domain: Any, disk: str, __: int, status: int, ___: Any) -> None:
            self._publish(Event(domain.name(), "block job", f"{disk} {_JOB_STATES.get(status)}"))

        register = self._connection.domainEventRegisterAny
        with translated("listen to events"):
            self._registered = [
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, agent, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, balloon, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, removed, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, kept, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, tray, None),
                register(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, job, None),
            ]
        with suppress(libvirt.libvirtError):  # drivers inside this process can't go away
            self._connection.registerCloseCallback(lambda *_: self._end_watches(), None)

    def _publish(self, event: Event) -> None:
        with self._lock:
            callbacks = [call for guest, call in self._subscribers if guest in (None, event.guest)]
        for callback in callbacks:
            try:
                callback(event)
            except Exception:
                _log.exception("a subscriber failed on %s", event)
