"""What every noun of the library shares: live handles, and mappings of them by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import libvirt

from kvmlab.errors import (
    GuestAlreadyRunning,
    GuestNotFound,
    GuestNotRunning,
    KvmlabError,
    LibvirtFailed,
    NotFound,
    WrongState,
    translate,
)
from kvmlab.libvirt_errors import translated
from kvmlab.specs import GuestSpec
from kvmlab.states import state_word
from kvmlab.virsh import Action, Commands

if TYPE_CHECKING:
    from kvmlab.lab import Lab

# What only a guest that is off, or only one that runs, can do. Drivers differ in the code
# and in the words by which they refuse.
_NEEDS_OFF = {"start", "domrename"}
_NEEDS_RUNNING = {
    *("suspend", "resume", "destroy", "reboot", "reset", "shutdown", "managedsave"),
    *("setmem", "setvcpus", "screenshot", "console", "qemu-agent-command", "domifaddr"),
}


class Handle:
    """A live handle on something libvirt keeps: its state is read when asked.

    Attributes:
        lab: the lab it is in.
        name: the name libvirt knows it by.
        virsh: the commands that do the same as what was last done through this handle.
    """

    def __init__(self, lab: Lab, found: Any) -> None:
        self.lab = lab
        self.name: str = found.name()
        self._libvirt = found
        self.virsh = Commands()

    @contextmanager
    def _doing(
        self, *words: str | None, question: bool = False, script: str = "{}"
    ) -> Iterator[Action]:
        """Do something to libvirt: note it in virsh's words, translate its errors.

        Args:
            words: the virsh command that does the same.
            question: it changes nothing.
            script: shell text around that command, in the place of ``{}``.
        """
        command = script.replace("{}", self.lab.virsh_log.virsh(*words))
        with self._running(command, f"{words[0]} {self.name}", question=question) as action:
            yield action

    @contextmanager
    def _running(self, command: str, doing: str, *, question: bool = False) -> Iterator[Action]:
        """Do what a shell command would have done, as `_doing` does for a virsh command."""
        with (
            self.lab.virsh_log.action(question=question) as action,
            self._explained(doing),
        ):
            yield action
            action.note(command)
        self.virsh = action.commands

    @contextmanager
    def _together(self, doing: str) -> Iterator[None]:
        """Make one action of all that is done within, through whatever handles."""
        with self.lab.virsh_log.action() as action, self._explained(f"{doing} {self.name}"):
            yield
        self.virsh = action.commands

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError as error:
            raise self._explain(error, doing) from error

    def _explain(self, error: libvirt.libvirtError, doing: str) -> KvmlabError:
        return translate(error, doing=doing)


class GuestHandle(Handle):
    """A handle on a guest: the base of what `kvmlab.guests.guests.Guest` is made of."""

    @property
    def state(self) -> str:
        """The state in libvirt's word: "running", "paused", "shut off", ...

        Example:
            >>> web.state
            'shut off'
        """
        with self._doing("domstate", self.name, question=True):
            return self._state()

    def _state(self) -> str:
        return state_word(self._libvirt.state()[0])

    def _spec(self, flags: int = 0) -> GuestSpec:
        return GuestSpec.from_xml(self._libvirt.XMLDesc(flags))

    def _has_agent(self) -> bool:
        """Whether an agent in the guest has opened its end of the channel."""
        return any(channel.state == "connected" for channel in self._spec().channels)

    def _explain(self, error: libvirt.libvirtError, doing: str) -> KvmlabError:
        """Name the state where it is the reason."""
        problem = super()._explain(error, doing)
        if isinstance(problem, GuestNotFound):
            return GuestNotFound(f"{doing}: the guest is no longer there")
        if type(problem) not in (WrongState, LibvirtFailed):
            return problem
        try:
            state = self._state()
        except libvirt.libvirtError:
            return problem
        verb, running = doing.split()[0], state not in ("shut off", "crashed")
        if verb in _NEEDS_OFF and running:
            return GuestAlreadyRunning(problem.happened, seen=state)
        if verb in _NEEDS_RUNNING and not running:
            return GuestNotRunning(problem.happened, seen=state)
        return problem


def xml_of(those: Iterable[Any], flags: int = 0) -> Iterator[str]:
    """Yield the XML of those that are still there: others may be deleting at the same time.

    Args:
        those: libvirt's objects.
        flags: of their ``XMLDesc``.

    Example:
        >>> next(xml_of(connection.listAllNetworks()))[:9]
        '<network>'
    """
    for each in those:
        try:
            yield each.XMLDesc(flags)
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), NotFound):
                raise


T = TypeVar("T", bound=Handle)


class Collection(Mapping[str, T], Generic[T]):
    """The handles of one kind, by name, in the order of their names.

    Going over a whole collection is one call to libvirt, whatever its size.
    """

    _noun: ClassVar[str]
    _missing: ClassVar[type[NotFound]]

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @abstractmethod
    def _all(self) -> list[Any]:
        """Return libvirt's objects of this kind, by one call."""

    @abstractmethod
    def _lookup(self, name: str) -> Any:
        """Return libvirt's object of that name."""

    @abstractmethod
    def _handle(self, found: Any) -> T:
        """Return our handle on libvirt's object."""

    def _snapshot(self) -> dict[str, T]:
        with translated(f"list every {self._noun}"):
            found = [self._handle(each) for each in self._all()]
        return {each.name: each for each in sorted(found, key=lambda each: each.name)}

    def __getitem__(self, name: str) -> T:
        try:
            return self._handle(self._lookup(name))
        except (TypeError, ValueError, libvirt.libvirtError) as error:
            # The first two: of libvirt's binding, for what can be nothing's name.
            if isinstance(error, libvirt.libvirtError):
                problem = translate(error)
                if not isinstance(problem, self._missing):
                    raise problem from error
            there = ", ".join(self) or "none at all"
            raise self._missing(
                f"there is no {self._noun} of that name",
                seen=name,
                next_step=f"There is: {there}",
            ) from error

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshot())

    def __len__(self) -> int:
        return len(self._snapshot())

    # Mapping's own views look each name up again, which would be a call for each.

    def values(self) -> ValuesView[T]:
        """Return the handles, by one call to libvirt."""
        return self._snapshot().values()

    def items(self) -> ItemsView[str, T]:
        """Return names and handles, by one call to libvirt."""
        return self._snapshot().items()
