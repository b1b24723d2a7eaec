"""What the control panel knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from kvmlab.errors import KvmlabError
from kvmlab.events import Event
from kvmlab.lab import Lab
from kvmlab.widgets.control_actions import (
    ACTIONS,
    ALIVE,
    AUTOSTART,
    OVERTAKEN,
    OVERTAKERS,
    RUNNING,
    Action,
    Message,
    Press,
)
from kvmlab.widgets.rows import Row, lease_of, look

# libvirt has no event for a DHCP lease, so a guest that runs and has no address yet is looked
# at again, at this interval and for as long as a guest may take to boot.
LEASE_INTERVAL_S, LEASE_LIMIT_S = 2.0, 120.0


def in_a_thread(work: Callable[[], None]) -> None:
    """Do some work without waiting for it.

    Example:
        >>> in_a_thread(web.shutdown)
    """
    threading.Thread(target=work, name="kvmlab-control-work", daemon=True).start()


class ControlModel:
    """The guests of a lab, one of them chosen, and what can be done to it.

    It follows libvirt's events, whoever caused them, until it is closed. What is pressed is
    done in a thread of its own, so that whoever pressed need not wait.

    Args:
        lab: whose guests.
        guest: the one to choose at first; without it, the first of all.
        run: what does the work of a press.

    Attributes:
        rows: the guests, in the order of their names.
        chosen: the name of the one that is chosen; empty where there is no guest.
        address: its address, if it has one.
        asking: the action that waits to be confirmed.

    Raises:
        KvmlabError: libvirt can't be asked, or there is no such guest.

    Example:
        >>> model = ControlModel(lab, "web")
        >>> model.press("start")
        >>> model.python_log
        'lab.guests["web"].start()'
    """

    def __init__(
        self,
        lab: Lab,
        guest: str | None = None,
        *,
        run: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._lab = lab
        self._run = run
        self._lock = threading.RLock()
        self._presses: list[Press] = []
        self._under_way: dict[str, Press] = {}
        self._message: Message | None = None
        self._lease_until_s = time.monotonic() + LEASE_LIMIT_S
        self._closed = False
        self.on_change: Callable[[], None] = lambda: None
        self.rows: tuple[Row, ...] = ()
        self.chosen = "" if guest is None else lab.guests[guest].name
        self.address: str | None = None
        self.asking: Action | None = None
        # Subscribe first, look then: nothing that happens between the two is missed.
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._unsubscribe = lab.events.subscribe(self._inbox.put)
        try:
            self._look()
        except KvmlabError:
            self._unsubscribe()
            raise
        self._follower = threading.Thread(
            target=self._follow, name="kvmlab-control-panel", daemon=True
        )
        self._follower.start()

    def close(self) -> None:
        """Follow no more events. What is under way goes on."""
        with self._lock:
            self._closed = True
            self.on_change = lambda: None
        self._unsubscribe()
        self._inbox.put(None)
        if threading.current_thread() is not self._follower:
            self._follower.join()

    # ---- what there is to see

    @property
    def row(self) -> Row | None:
        """The chosen guest."""
        return next((row for row in self.rows if row.name == self.chosen), None)

    @property
    def under_way(self) -> Press | None:
        """What is being done to the chosen guest."""
        return self._under_way.get(self.chosen)

    @property
    def message(self) -> Message | None:
        """What came of the last press, as long as it is true."""
        last = self._message
        return last if last and last.state == self._state_of(last.guest) else None

    @property
    def python_log(self) -> str:
        """What was done, as Python."""
        return "\n".join(press.action.call(press.guest) for press in self._done())

    @property
    def virsh_log(self) -> str:
        """What was done, as virsh commands."""
        return "\n".join(press.virsh for press in self._done())

    def allows(self, name: str) -> bool:
        """Say whether an action makes sense for the chosen guest, as it is now.

        Args:
            name: that of the action, such as "managed_save".

        Example:
            >>> model.allows("resume")
            False
        """
        if self.row is None or self.row.state not in self._action(name).states:
            return False
        return self.under_way is None or (
            name in OVERTAKERS and self.under_way.action.name in OVERTAKEN
        )

    # ---- what can be done

    def choose(self, guest: str) -> None:
        """Choose the guest that the next press is for.

        Args:
            guest: its name.

        Example:
            >>> model.choose("web")
        """
        with self._lock:
            self.chosen, self.asking, self.address = guest, None, None
            self._lease_until_s = time.monotonic() + LEASE_LIMIT_S
        self._inbox.put(None)  # for its address
        self.on_change()

    def press(self, name: str) -> None:
        """Do something to the chosen guest, or ask first when something is lost by it.

        Args:
            name: that of the action. Where it makes no sense now, nothing is done: the
                guest has changed faster than the hand.

        Example:
            >>> model.press("suspend")
        """
        with self._lock:
            if not self.allows(name):
                return
            action = self._action(name)
            if action.confirm:
                self.asking = action
        if action.confirm:
            self.on_change()
        else:
            self._begin(action)

    def confirm(self) -> None:
        """Do what was asked for."""
        with self._lock:
            action, self.asking = self.asking, None
        if action and self.allows(action.name):
            self._begin(action)
        else:
            self.on_change()

    def cancel(self) -> None:
        """Leave it."""
        with self._lock:
            self.asking = None
        self.on_change()

    # ---- how it is done

    def _action(self, name: str) -> Action:
        if name == "autostart":
            return AUTOSTART[not (self.row and self.row.autostart)]
        return ACTIONS[name]

    def _begin(self, action: Action) -> None:
        with self._lock:
            press = Press(self.chosen, action, time.monotonic())
            if before := self._under_way.get(press.guest):
                before.overtaken = True
            self._under_way[press.guest] = press
            self._presses.append(press)
            self._message = None
        self.on_change()
        self._run(lambda: self._perform(press))

    def _perform(self, press: Press) -> None:
        text, failed = f"{press.guest}: {press.action.done}.", False
        try:
            guest = self._lab.guests[press.guest]
            press.action.do(guest)
            press.virsh = str(guest.virsh)
        except KvmlabError as error:
            text, failed = str(error), True
        with self._lock:
            if self._under_way.get(press.guest) is press:
                del self._under_way[press.guest]
            self._look_if_possible()
            if not press.overtaken:
                self._message = Message(text, failed, press.guest, self._state_of(press.guest))
        self.on_change()

    def _done(self) -> list[Press]:
        return [press for press in self._presses if press.virsh]

    def _state_of(self, guest: str | None) -> str | None:
        return next((row.state for row in self.rows if row.name == guest), None)

    # ---- how it follows

    def _follow(self) -> None:
        while not self._closed:
            try:
                event = self._inbox.get(timeout=self._patience_s())
            except queue.Empty:
                event = None
            if event and event.guest == self.chosen:
                self._lease_until_s = time.monotonic() + LEASE_LIMIT_S
            if self._closed or not self._inbox.empty():
                continue  # one look is enough for events that came together
            # All under the lock: else what a press has seen in between would be taken for
            # what was shown before.
            with self._lock:
                before = (self.rows, self.address)
                self._look_if_possible()
                is_new = before != (self.rows, self.address)
            if is_new:
                self.on_change()

    def _patience_s(self) -> float | None:
        waiting = self.row is not None and self.row.state in RUNNING and self.address is None
        return LEASE_INTERVAL_S if waiting and time.monotonic() < self._lease_until_s else None

    def _look_if_possible(self) -> None:
        try:
            self._look()
        except KvmlabError as error:
            self._message = Message(str(error), True, "", self._state_of(""))

    def _look(self) -> None:
        with self._lock:
            self.rows = look(self._lab)
            if self.row is None:
                self.chosen = self.rows[0].name if self.rows else ""
            alive = self.row is not None and self.row.state in ALIVE
            self.address = lease_of(self._lab, self.chosen) if alive else None
            if self.asking and not self.allows(self.asking.name):
                self.asking = None
