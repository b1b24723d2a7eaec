"""Everything that can go wrong in kvmlab, as one tree of exceptions.

Every error says three things: what happened, the value that was seen, and the
next step a person can take.

    KvmlabError
    ├── InvalidArgument           a value that can't be right anywhere
    │   ├── InvalidName           a name libvirt, a file system or DNS would refuse
    │   └── InvalidXml            libvirt does not accept the definition
    ├── NotFound                  there is no such thing here
    │   ├── GuestNotFound
    │   ├── NetworkNotFound
    │   ├── PoolNotFound
    │   ├── VolumeNotFound
    │   │   └── BackingMissing    a file that an overlay stands on is gone
    │   ├── SnapshotNotFound
    │   ├── DeviceNotFound
    │   └── ImageNotFound         (an ImageError too)
    ├── AlreadyExists             the name is taken
    │   ├── GuestAlreadyExists
    │   ├── NetworkAlreadyExists
    │   ├── PoolAlreadyExists
    │   ├── VolumeAlreadyExists
    │   ├── SnapshotAlreadyExists
    │   └── ImageAlreadyExists    (an ImageError too)
    ├── WrongState                it exists, but can't do that as it is now
    │   ├── GuestAlreadyRunning
    │   ├── GuestNotRunning
    │   ├── InUse                 something else still depends on it
    │   ├── ConsoleBusy           somebody else has the guest's console open
    │   ├── PoolBusy              a volume is being made in the storage pool
    │   ├── PoolNotActive
    │   └── NetworkNotActive
    ├── NotEnough                 the host has less than was asked for
    │   ├── NotEnoughMemory
    │   ├── NotEnoughCpus
    │   └── NotEnoughDisk
    ├── TimedOut                  what was waited for did not happen in time
    │   └── GuestNotReady         the agent did not answer in time
    ├── AgentUnavailable          no guest agent answers in the guest
    ├── CommandFailed             a command ran in the guest and failed
    ├── InstallationFailed        an installer gave up
    ├── ConsoleClosed             the guest's console went away
    ├── ConnectionFailed          libvirt can't be reached
    │   └── ConnectionLost        libvirt was reached, and went away
    ├── Forbidden                 libvirt refuses this user that action
    ├── NotSupported              this libvirt, QEMU or host can't do that
    │   └── NoBandwidthLimits     its kernel has no traffic control
    ├── LibvirtFailed             anything else libvirt reports
    ├── LabHostError              the lab host can't start, or went away
    │   └── HostRequirementError  this machine lacks something the lab host needs
    ├── ImageError                a guest image can't be built, found or trusted
    └── VmmError                  our own virtual machine monitor can't run its guest
        ├── KvmUnavailable        /dev/kvm is missing, forbidden or refuses
        ├── QemuMissing           there is no QEMU to emulate with
        └── GuestProgramError     the guest's program did what the monitor can't answer
"""

# ruff: noqa: N818 - the names say what happened; "Error" at the end would add nothing.

from __future__ import annotations

import traceback
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import libvirt

    from kvmlab.guests.agent import CommandResult

_UNSEEN = object()


class KvmlabError(Exception):
    """Base of every exception kvmlab raises on purpose.

    Args:
        happened: one sentence on what happened, without a full stop.
        seen: the offending value; shown with ``repr`` when given.
        next_step: one sentence telling the reader what to do now; without it,
            the ``advice`` of the class.

    Example:
        >>> str(KvmlabError("the name is empty", seen="", next_step="Give the guest a name"))
        "the name is empty (saw ''). Give the guest a name."
    """

    advice: ClassVar[str] = ""

    def __init__(self, happened: str, *, seen: object = _UNSEEN, next_step: str = "") -> None:
        self.happened = happened.rstrip(".")
        self.seen = None if seen is _UNSEEN else seen
        self.next_step = (next_step or self.advice).rstrip(".")
        text = self.happened
        if seen is not _UNSEEN:
            text += f" (saw {seen!r})"
        text += "."
        if self.next_step:
            text += f" {self.next_step}."
        super().__init__(text)

    def __str__(self) -> str:
        # KeyError, a base of NotFound, would show the repr of the message.
        return str(self.args[0])

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the learner's own line, and what happened.

        IPython asks an exception for this. The way through the library says nothing to a
        learner; its developers find it in ``__traceback__``.
        """
        package = str(Path(__file__).parent)
        way = traceback.extract_tb(self.__traceback__)
        theirs = list(takewhile(lambda step: not step.filename.startswith(package), way))
        where = [f"line {step.lineno}: {step.line}" for step in theirs[-1:] if step.line]
        return [*where, f"{type(self).__name__}: {self}"]


class InvalidArgument(KvmlabError, ValueError):
    """A value that can't be right on any host."""


class InvalidName(InvalidArgument):
    """A name that libvirt, a file system or DNS would refuse."""


class InvalidXml(InvalidArgument):
    """libvirt does not accept a definition."""

    advice = "Compare the XML with https://libvirt.org/formatdomain.html"


class NotFound(KvmlabError, KeyError):
    """There is no such thing on this host."""


class GuestNotFound(NotFound):
    """There is no guest of that name."""

    advice = "list(lab.guests) names those that exist"


class NetworkNotFound(NotFound):
    """There is no virtual network of that name."""

    advice = "list(lab.networks) names those that exist"


class PoolNotFound(NotFound):
    """There is no storage pool of that name."""

    advice = "list(lab.pools) names those that exist"


class VolumeNotFound(NotFound):
    """There is no volume of that name in the storage pool."""

    advice = "list(pool.volumes) names those that exist"


class BackingMissing(VolumeNotFound):
    """A volume is an overlay on a file that is not there, and can't be read without it."""

    advice = (
        "Put the file back where it was, or point the overlay to its new place: volume.rebase()"
    )


class SnapshotNotFound(NotFound):
    """The guest has no snapshot, checkpoint or backup of that name."""


class DeviceNotFound(NotFound):
    """The guest or the host has no such device."""

    advice = "guest.xml shows the devices of a guest"


class AlreadyExists(KvmlabError):
    """The name is taken."""

    advice = "Choose another name, or delete what has this one"


class GuestAlreadyExists(AlreadyExists):
    """There is a guest of that name already."""


class NetworkAlreadyExists(AlreadyExists):
    """There is a virtual network of that name already."""


class PoolAlreadyExists(AlreadyExists):
    """There is a storage pool of that name already."""


class VolumeAlreadyExists(AlreadyExists):
    """There is a volume of that name in the storage pool already."""


class SnapshotAlreadyExists(AlreadyExists):
    """The guest has a snapshot of that name already."""


class WrongState(KvmlabError):
    """It exists, but can't do that in the state it is in."""


class GuestAlreadyRunning(WrongState):
    """The guest runs, and that needs one that does not."""

    advice = "Shut it down first: guest.shutdown()"


class GuestNotRunning(WrongState):
    """The guest does not run, and that needs one that does."""

    advice = "Start it first: guest.start()"


class InUse(WrongState):
    """Something else still depends on it; the message names what."""

    advice = "Remove what the message names first"


class ConsoleBusy(WrongState):
    """Somebody else has the guest's console open."""

    advice = "Close it there, or take it: guest.console(force=True)"


class PoolBusy(WrongState):
    """A volume is being made in the storage pool, which must not be looked through then."""

    advice = "Try again in a moment"


class PoolNotActive(WrongState):
    """The storage pool is not started."""

    advice = "Start it first: lab.pools[...].start()"


class NetworkNotActive(WrongState):
    """The virtual network is not started."""

    advice = "Start it first: lab.networks[...].start()"


class NotEnough(KvmlabError):
    """The host has less than was asked for."""


class NotEnoughMemory(NotEnough):
    """The host has less memory than that, or the image needs more."""

    advice = "Ask for less, or shut down another guest; lab.host tells what there is"


class NotEnoughCpus(NotEnough):
    """More virtual CPUs than the host can sensibly give."""

    advice = "Ask for fewer; lab.host tells what there is"


class NotEnoughDisk(NotEnough):
    """The storage pool has no room for that."""

    advice = "Delete a guest or a volume, or ask for less"


class TimedOut(KvmlabError, TimeoutError):
    """What was waited for did not happen in time."""

    advice = "Try again with a longer timeout_s"


class GuestNotReady(TimedOut):
    """The guest runs, but its agent did not answer in time."""

    advice = "Look at guest.screenshot() or guest.console(), or give a longer timeout_s"


class AgentUnavailable(KvmlabError):
    """No guest agent answers in the guest."""

    advice = "Call guest.wait_ready() first; the image must have qemu-guest-agent in it"


class CommandFailed(KvmlabError):
    """A command ran in the guest and ended with an exit status other than zero.

    Attributes:
        result: what it printed and how it ended.
    """

    def __init__(self, result: CommandResult) -> None:
        self.result = result
        ended = f"exit status {result.exit_status}"
        if result.signal is not None:
            ended = f"signal {result.signal}"
        super().__init__(
            f"{result.command!r} ended with {ended}",
            seen=result.stderr or result.stdout,
            next_step="Read what it printed, or run it with check=False",
        )


class InstallationFailed(KvmlabError):
    """An operating system's installer gave up; the message has its reason."""

    advice = "Look at the guest's screen, guest.screenshot(), and at its console"


class ConsoleClosed(KvmlabError):
    """The guest's console went away: it was closed, or the guest stopped."""

    advice = "Start the guest and open its console again: guest.console()"


class ConnectionFailed(KvmlabError):
    """libvirt can't be reached."""

    advice = "Run ./lab, or set KVMLAB_URI to a libvirt you may use"


class ConnectionLost(ConnectionFailed):
    """libvirt was reached, and went away."""

    advice = "Connect again: lab = kvmlab.connect()"


class Forbidden(KvmlabError):
    """libvirt refuses this user that action."""

    advice = "Use the lab host (./lab), or ask for the libvirt group on that machine"


class NotSupported(KvmlabError):
    """This libvirt, QEMU or host can't do that."""

    advice = "./lab doctor tells what this machine can do"


class NoBandwidthLimits(NotSupported):
    """The host's kernel lacks the traffic control that limits bandwidth."""

    advice = (
        "Do without the limit, or load what Linux needs for it on the machine itself: "
        "modprobe -a sch_htb sch_sfq sch_ingress cls_fw cls_u32 act_police"
    )


class LibvirtFailed(KvmlabError):
    """Anything else libvirt reports; its own words are in the message."""

    advice = "libvirt's log is in /var/log/libvirt"


class LabHostError(KvmlabError):
    """The lab host could not start, or is not there any more."""


class HostRequirementError(LabHostError):
    """This machine lacks something the lab host needs; ``next_step`` mends it."""


class ImageError(KvmlabError):
    """A guest image could not be built, found or trusted."""


class ImageNotFound(NotFound, ImageError):
    """There is no guest image of that name in the catalogue."""


class ImageAlreadyExists(AlreadyExists, ImageError):
    """There is a guest image of that name in the catalogue already."""


class VmmError(KvmlabError):
    """The virtual machine monitor of `kvmlab.vmm` could not run its guest."""


class KvmUnavailable(VmmError):
    """/dev/kvm is missing, forbidden, or refuses to make a machine."""


class QemuMissing(VmmError):
    """There is no QEMU on this machine to emulate a guest with."""


class GuestProgramError(VmmError):
    """The guest's program did something the small monitor has no answer to."""


def translate(error: libvirt.libvirtError, *, doing: str = "") -> KvmlabError:
    """Turn an error of libvirt's into one of ours, to be raised ``from`` it.

    Args:
        error: what the libvirt binding raised.
        doing: what was being done, put before libvirt's own words.

    Example:
        >>> try:
        ...     connection.lookupByName("web")
        ... except libvirt.libvirtError as error:
        ...     raise translate(error, doing="look for web") from error
        Traceback (most recent call last):
        kvmlab.errors.GuestNotFound: look for web: Domain not found: ...
    """
    # Imported late: whoever only raises our errors need not wait for libvirt.
    from kvmlab.libvirt_errors import kind_of

    said = (error.get_error_message() or str(error)).strip()
    return kind_of(error)(f"{doing}: {said}" if doing else said)
