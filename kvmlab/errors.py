"""Everything that can go wrong in kvmlab, as one tree of exceptions.

Every error says three things: what happened, the value that was seen, and the
next step a person can take.

    KvmlabError
    ├── LabHostError              the lab host can't start, or went away
    │   └── HostRequirementError  this machine lacks something the lab host needs
    ├── ImageError                a guest image can't be built, found or trusted
    └── VmmError                  our own virtual machine monitor can't run its guest
        ├── KvmUnavailable        /dev/kvm is missing, forbidden or refuses
        ├── QemuMissing           there is no QEMU to emulate with
        ├── VmmValueError         a number or program that does not fit the machine
        └── GuestProgramError     the guest's program did what the monitor can't answer
"""

from __future__ import annotations

_UNSEEN = object()


class KvmlabError(Exception):
    """Base of every exception kvmlab raises on purpose.

    Args:
        happened: one sentence on what happened, without a full stop.
        seen: the offending value; shown with ``repr`` when given.
        next_step: one sentence telling the reader what to do now.

    Example:
        >>> str(KvmlabError("the name is empty", seen="", next_step="Give the guest a name"))
        "the name is empty (saw ''). Give the guest a name."
    """

    def __init__(self, happened: str, *, seen: object = _UNSEEN, next_step: str = "") -> None:
        self.happened = happened.rstrip(".")
        self.seen = None if seen is _UNSEEN else seen
        self.next_step = next_step.rstrip(".")
        text = self.happened
        if seen is not _UNSEEN:
            text += f" (saw {seen!r})"
        text += "."
        if self.next_step:
            text += f" {self.next_step}."
        super().__init__(text)


class LabHostError(KvmlabError):
    """The lab host could not start, or is not there any more."""


class HostRequirementError(LabHostError):
    """This machine lacks something the lab host needs; ``next_step`` mends it."""


class ImageError(KvmlabError):
    """A guest image could not be built, found or trusted."""


class VmmError(KvmlabError):
    """The virtual machine monitor of `kvmlab.vmm` could not run its guest."""


class KvmUnavailable(VmmError):
    """/dev/kvm is missing, forbidden, or refuses to make a machine."""


class QemuMissing(VmmError):
    """There is no QEMU on this machine to emulate a guest with."""


class VmmValueError(VmmError, ValueError):
    """A number does not fit its register, or a program its memory."""


class GuestProgramError(VmmError):
    """The guest's program did something the small monitor has no answer to."""
