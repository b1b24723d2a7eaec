"""Everything that can go wrong in kvmlab, as one tree of exceptions.

Every error says three things: what happened, the value that was seen, and the
next step a person can take.

    KvmlabError
    ├── LabHostError              the lab host can't start, or went away
    │   └── HostRequirementError  this machine lacks something the lab host needs
    └── ImageError                a guest image can't be built, found or trusted
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
