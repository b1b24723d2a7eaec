"""What can be done to a guest by one press, in virsh's words and in plain ones."""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab import Guest

RUNNING = frozenset({"running", "idle"})
ALIVE = RUNNING | {"paused", "in shutdown", "pmsuspended"}
OFF = frozenset({"shut off", "saved", "crashed"})

ANSWER_LIMIT_S = 60.0  # for a guest that is asked to shut down or to reboot


@dataclass(frozen=True)
class Action:
    """Something that can be done to a guest by one press.

    Attributes:
        name: the method of `kvmlab.guests.guests.Guest`.
        label: what is on the button: virsh's word.
        tip: what it does, in plain words.
        states: the states in which it makes sense.
        under_way: what is going on while it lasts.
        done: what has happened then.
        limit_s: the longest it may take, in seconds, where that is known.
        confirm: what is lost by it, if it must be asked for first.
    """

    name: str
    label: str
    tip: str
    states: frozenset[str]
    under_way: str
    done: str
    limit_s: float | None = None
    confirm: str = ""

    def call(self, guest: str) -> str:
        """Return the Python call for a guest."""
        return f'lab.guests["{guest}"].{self.name}()'

    def do(self, guest: Guest) -> None:
        """Do it."""
        if self.limit_s is None:
            getattr(guest, self.name)()
        else:
            getattr(guest, self.name)(timeout_s=self.limit_s)


@dataclass(frozen=True)
class Autostart(Action):
    """Autostart switched on, or off."""

    on: bool = True

    def call(self, guest: str) -> str:
        """Return the Python statement for a guest."""
        return f'lab.guests["{guest}"].autostart = {self.on}'

    def do(self, guest: Guest) -> None:
        """Do it."""
        guest.autostart = self.on


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "start",
            "Start",
            "Switch the guest on; if it was saved, it carries on where it was",
            OFF,
            "starting",
            "started",
        ),
        Action(
            "shutdown",
            "Shutdown",
            "Ask the guest to shut itself down, and wait until it has",
            RUNNING,
            "asked to shut down; the guest does it in its own time",
            "it has shut itself down",
            ANSWER_LIMIT_S,
        ),
        Action(
            "reboot",
            "Reboot",
            "Ask the guest to restart itself, and wait until it does",
            RUNNING,
            "asked to reboot; the guest does it in its own time",
            "it restarts",
            ANSWER_LIMIT_S,
        ),
        Action(
            "suspend",
            "Suspend",
            "Stop the guest's CPUs; its memory stays where it is",
            RUNNING,
            "suspending",
            "suspended: CPUs stopped, memory kept",
        ),
        Action(
            "resume",
            "Resume",
            "Let the guest's CPUs run on",
            frozenset({"paused"}),
            "resuming",
            "resumed",
        ),
        Action(
            "managed_save",
            "Managed save",
            "Write the guest's memory to a file and stop it; Start carries on there",
            RUNNING | {"paused"},
            "writing its memory to a file",
            "saved: its memory is in a file",
        ),
        Action(
            "destroy",
            "Destroy…",
            "Pull the plug: the guest is off at once; nothing of it is deleted",
            ALIVE,
            "pulling the plug",
            "the plug is pulled; its disk and its definition are still there",
            confirm="This pulls the plug. What its programs have in memory, and what they have "
            "not yet written to disk, is lost. Disk and definition stay.",
        ),
    )
}
AUTOSTART = {
    on: Autostart(
        "autostart",
        "Autostart",
        "Start the guest whenever the host starts",
        ALIVE | OFF,
        "changing autostart",
        f"autostart is {'on' if on else 'off'}",
        on=on,
    )
    for on in (True, False)
}
# What may be pressed while a guest is still busy with something else: a guest that does not
# obey is what pulling the plug is for.
OVERTAKERS, OVERTAKEN = {"destroy"}, {"shutdown", "reboot"}


@dataclass(frozen=True)
class Message:
    """One line on what came of a press.

    Attributes:
        text: the line.
        failed: whether it tells of an error.
        guest: which guest it is about.
        state: the state of the guest then; in another one, the line is out of date.
    """

    text: str
    failed: bool
    guest: str
    state: str | None


@dataclass
class Press:
    """One press of a button: under way at first, then done or failed.

    Attributes:
        guest: the guest's name.
        action: what is being done.
        started_s: when, on the clock of `time.monotonic`.
        virsh: the virsh commands that do the same; empty until it is done.
        overtaken: another press has taken its place.
    """

    guest: str
    action: Action
    started_s: float
    virsh: str = ""
    overtaken: bool = False
