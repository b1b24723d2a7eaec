"""The virsh commands that do the same as what was just done through the library.

Every call of the library that reaches libvirt is an *action*; it notes the
shell commands that would have done it. Actions nest: creating a guest creates
its volume, and the volume's command becomes part of the guest's.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

# virsh's own default: the system libvirt for root, a private one for others
# (https://libvirt.org/uri.html, "Default URI choice").
_ROOT_DEFAULT, _USER_DEFAULT = "qemu:///system", "qemu:///session"


class Commands(str):
    """Shell commands, one per line; shown in a notebook as they are typed.

    Example:
        >>> Commands("virsh start web")
        virsh start web
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shell(*words: str | None) -> str:
    """Return one shell command from its words, quoted where needed; ``None`` is left out.

    Example:
        >>> shell("virsh", "start", "web", None)
        'virsh start web'
    """
    return shlex.join(word for word in words if word is not None)


def feed(command: str, text: str) -> str:
    """Return a shell command that is given a text to read: virsh takes XML from /dev/stdin.

    Example:
        >>> feed("virsh secret-define /dev/stdin", "<secret/>")
        "virsh secret-define /dev/stdin <<'XML'\\n<secret/>\\nXML"
    """
    return f"{command} <<'XML'\n{text}\nXML"


class Action:
    """What is being done, as the commands noted so far.

    Example:
        >>> with lab.virsh_log.action() as action:
        ...     action.note("virsh start web")
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, command: str) -> None:
        """Add a command that has been done."""
        self._lines.append(command)

    @property
    def commands(self) -> Commands:
        """The commands noted so far."""
        return Commands("\n".join(self._lines))


class VirshLog:
    """What was done in a lab, as commands to copy: print it, or iterate over it.

    A question that was asked already since the last change is not noted again,
    so that a display that refreshes itself does not drown what the learner did.

    Args:
        uri: the libvirt that the commands are for.
        length: how many actions are kept.

    Example:
        >>> lab.guests["web"].start()
        >>> lab.virsh_log
        virsh start web
    """

    def __init__(self, uri: str, length: int = 1000) -> None:
        default = _ROOT_DEFAULT if os.geteuid() == 0 else _USER_DEFAULT
        self.uri = uri
        self.is_default_uri = uri == os.environ.get("LIBVIRT_DEFAULT_URI", default)
        self._done: deque[Commands] = deque(maxlen=length)
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._open = threading.local()

    def virsh(self, *words: str | None) -> str:
        """Return a virsh command for this lab's libvirt."""
        return self.tool("virsh", *words)

    def tool(self, program: str, *words: str | None) -> str:
        """Return a command of virsh, virt-install or virt-xml for this lab's libvirt."""
        return shell(program, *(() if self.is_default_uri else ("--connect", self.uri)), *words)

    @contextmanager
    def action(self, *, question: bool = False) -> Iterator[Action]:
        """Collect the commands of one action, and log them when it has succeeded.

        Args:
            question: nothing changes by it.
        """
        outer: Action | None = getattr(self._open, "action", None)
        self._open.action = action = Action()
        try:
            yield action
        finally:
            self._open.action = outer
        if outer is not None:
            if not question:  # what was only looked up on the way needs no command
                outer.note(action.commands)
        elif action.commands:
            self._log(action.commands, question)

    def _log(self, commands: Commands, question: bool) -> None:
        with self._lock:
            if not question:
                self._asked.clear()
            elif commands in self._asked:
                return
            else:
                self._asked.add(commands)
            self._done.append(commands)

    def clear(self) -> None:
        """Forget what was logged."""
        with self._lock:
            self._done.clear()
            self._asked.clear()

    def __iter__(self) -> Iterator[Commands]:
        with self._lock:
            return iter(tuple(self._done))

    def __len__(self) -> int:
        return len(self._done)

    def __str__(self) -> str:
        return "\n".join(self)

    __repr__ = __str__
