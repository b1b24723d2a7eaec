"""What can be wished for in the snapshot form, and what is asked and said there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvmlab.snapshots.plan import Kind

THEN: dict[str, dict[str, Any]] = {
    "as it was": {},
    "running": {"running": True},
    "paused": {"paused": True},
}


def in_a_thread(work: Callable[[], None]) -> None:
    """Do some work without waiting for it.

    Example:
        >>> in_a_thread(lambda: web.snapshots.create("clean"))
    """
    threading.Thread(target=work, name="kvmlab-snapshots", daemon=True).start()


@dataclass(frozen=True)
class Wish:
    """What is filled in for the next snapshot.

    Attributes:
        name: what it shall be called.
        description: what it is for.
        kind: "internal", "external", or ``None`` for the one that fits.
        memory: whether the guest's memory goes with it; ``None`` for: if it runs.
        quiesce: whether the agent shall hold the file systems still.

    Example:
        >>> Wish("clean").choices
        {}
    """

    name: str
    description: str = ""
    kind: Kind | None = None
    memory: bool | None = None
    quiesce: bool = False

    @property
    def choices(self) -> dict[str, Any]:
        """The arguments of `Snapshots.create` after the name that are not as usual."""
        usual = Wish(self.name)
        names = ("description", "kind", "memory", "quiesce")
        return {
            name: getattr(self, name)
            for name in names
            if getattr(self, name) != getattr(usual, name)
        }


@dataclass(frozen=True)
class Question:
    """Something that is asked before it is done, because something is lost by it.

    Attributes:
        text: what is lost.
        label: what is on the button that does it.
        python: the call that does it.
        virsh: the commands that do the same.
        do: does it.
        done: what has happened then.
    """

    text: str
    label: str
    python: str
    virsh: str
    do: Callable[[], object]
    done: str


@dataclass(frozen=True)
class Message:
    """What came of the last press.

    Attributes:
        text: one line.
        failed: whether it tells of an error.
    """

    text: str
    failed: bool = False


def spelt(value: Any) -> str:
    """Write a value as Python.

    Example:
        >>> spelt("clean")
        '"clean"'
    """
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
