"""What a guest goes through: every change of its state, from libvirt's events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import libvirt

from kvmlab.events import Event
from kvmlab.states import state_word

if TYPE_CHECKING:
    from kvmlab.lab import Lab

Transition = tuple[str, str, str]

NO_GUEST, SAVED = "no guest", "saved"

# What an event tells of: the action, in virsh's word, and the state it leads to. Events
# that are only a part of something, such as the "resumed" of a start, are not here.
_MEANINGS = {
    ("defined", "added"): ("define", "shut off"),
    ("undefined", "removed"): ("undefine", NO_GUEST),
    ("started", "booted"): ("start", "running"),
    ("started", "restored"): ("start", "running"),
    ("started", "from snapshot"): ("snapshot-revert", "running"),
    ("stopped", "from snapshot"): ("snapshot-revert", "shut off"),
    ("started", "wakeup"): ("dompmwakeup", "running"),
    ("suspended", "paused"): ("suspend", "paused"),
    ("resumed", "unpaused"): ("resume", "running"),
    ("reboot", ""): ("reboot", "running"),
    ("stopped", "shutdown"): ("shutdown", "shut off"),
    ("stopped", "destroyed"): ("destroy", "shut off"),
    ("stopped", "saved"): ("managedsave", SAVED),
    ("crashed", "panicked"): ("crash", "crashed"),
    ("pmsuspended", "memory"): ("dompmsuspend", "pmsuspended"),
}

_COMES_PAUSED = {"restored", "from snapshot"}


class Transitions:
    """Writes down each change of a guest's state from now on, whoever caused it.

    Iterate over it for what it has seen so far; close it when done.

    Args:
        lab: where the guest is, or will be.
        guest: the guest's name. There need be no such guest yet.

    Example:
        >>> seen = Transitions(lab, "web")
        >>> web.suspend()
        >>> list(seen)
        [('running', 'suspend', 'paused')]
    """

    def __init__(self, lab: Lab, guest: str) -> None:
        self._connection = lab.connection
        self._guest = guest
        self._seen: list[Transition] = []
        self._watch = lab.events.watch(guest=guest)
        self._state = self._read()
        self._suspended_by_hand = self._state == "paused"
        self._follower = threading.Thread(
            target=self._follow, name=f"kvmlab-transitions-{guest}", daemon=True
        )
        self._follower.start()

    def close(self) -> None:
        """Stop watching; what was seen stays."""
        self._watch.close()
        self._follower.join()

    def __iter__(self) -> Iterator[Transition]:
        return iter(tuple(self._seen))

    def _follow(self) -> None:
        # In a thread of our own: libvirt's must not be kept waiting by a question.
        for event in self._watch:
            self._note(event)

    def _note(self, event: Event) -> None:
        if event.kind == "suspended" and event.detail in _COMES_PAUSED and self._seen:
            # What was kept was paused, and it comes back paused.
            self._seen[-1] = (*self._seen[-1][:2], "paused")
            self._state, self._suspended_by_hand = "paused", True
            return
        action, after = _MEANINGS.get((event.kind, event.detail), ("", ""))
        # A start and a restore end with a "resumed" too; that is no step that somebody took.
        if not action or (action == "resume" and self._state != "paused"):
            return
        if action == "suspend":
            self._suspended_by_hand = self._is_suspended_by_hand()
        elif action == "managedsave" and self._state == "paused" and not self._suspended_by_hand:
            # A save suspends the guest itself, at first.
            self._state, _, _ = self._seen.pop()
        self._seen.append((self._state, action, after))
        self._state = after

    def _is_suspended_by_hand(self) -> bool:
        try:
            now = self._connection.lookupByName(self._guest).state()
        except libvirt.libvirtError:
            return False
        return bool(now == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER])

    def _read(self) -> str:
        try:
            domain = self._connection.lookupByName(self._guest)
            return SAVED if domain.hasManagedSaveImage() else state_word(domain.state()[0])
        except libvirt.libvirtError:
            return NO_GUEST
