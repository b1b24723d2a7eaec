"""What the snapshot form knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from kvmlab.errors import KvmlabError
from kvmlab.lab import Lab
from kvmlab.snapshots.tree import Children, SnapshotNode
from kvmlab.widgets.snapshots_wish import THEN, Message, Question, Wish, in_a_thread, spelt


class SnapshotsModel:
    """The snapshots of a guest, one of them chosen, and the next one to be taken.

    What is pressed is done in a thread of its own, so that whoever pressed need not wait.

    Args:
        lab: where the guest is.
        guest: its name.
        run: what does the work of a press.

    Attributes:
        nodes: the snapshots, as a tree.
        wish: what is filled in for the next one.
        chosen: the name of the one that is chosen; empty where there is none.
        problem: why what is filled in can't be done; empty where it can.
        virsh: the command that would take the next one.
        asking: what waits to be confirmed.
        doing: what is going on.
        message: what came of the last press.

    Raises:
        KvmlabError: libvirt can't be asked, or there is no such guest.

    Example:
        >>> model = SnapshotsModel(lab, "web")
        >>> model.python
        'lab.guests["web"].snapshots.create("snapshot1")'
    """

    def __init__(
        self,
        lab: Lab,
        guest: str,
        *,
        run: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._lab, self._run = lab, run
        self._guest = lab.guests[guest]
        self._lock = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None
        self.nodes: tuple[SnapshotNode, ...] = ()
        self.wish = Wish("")
        self.chosen = self.problem = self.virsh = self.doing = ""
        self.asking: Question | None = None
        self.message: Message | None = None
        self._look()

    @property
    def guest(self) -> str:
        """The guest's name."""
        return self._guest.name

    @property
    def names(self) -> list[str]:
        """The snapshots' names, the oldest first on each way."""
        return [node.name for node in _all(self.nodes)]

    @property
    def python(self) -> str:
        """The Python call that takes the next snapshot."""
        arguments = [json.dumps(self.wish.name, ensure_ascii=False)]
        arguments += [f"{name}={spelt(value)}" for name, value in self.wish.choices.items()]
        return f"{self._object}.create({', '.join(arguments)})"

    @property
    def can_take(self) -> bool:
        """Whether a snapshot can be taken as filled in."""
        return not (self.problem or self.doing)

    @property
    def can_act(self) -> bool:
        """Whether something can be done with the chosen snapshot."""
        return bool(self.chosen) and not self.doing

    # ---- what can be done

    def set(self, **filled_in: Any) -> None:
        """Fill something in: fields of `Wish`.

        Example:
            >>> model.set(name="clean", kind="external")
        """
        with self._lock:
            self.wish = replace(self.wish, **filled_in)
            self._judge()
        self.on_change()

    def choose(self, name: str) -> None:
        """Choose the snapshot that the next press is for.

        Example:
            >>> model.choose("clean")
        """
        with self._lock:
            self.chosen, self.asking = name, None
        self.on_change()

    def look_again(self) -> None:
        """Look again at what there is: libvirt has no event for snapshots.

        Example:
            >>> model.look_again()
        """
        with self._lock:
            self._look()
        self.on_change()

    def take(self) -> None:
        """Take the snapshot that is filled in."""
        if self.can_take:
            wish = self.wish
            self._begin(
                f"taking snapshot {wish.name}",
                lambda: self._guest.snapshots.create(wish.name, **wish.choices),
                f"{wish.name} is taken.",
                next_wish=Wish(""),
            )

    def ask_revert(self, then: str = "as it was") -> None:
        """Ask whether to go back to the chosen snapshot.

        Args:
            then: what the guest shall do then: one of `THEN`.
        """
        arguments = THEN[then]
        name = self.chosen
        self._ask(
            lambda: self._guest.snapshots[name],
            "revert",
            arguments,
            f"What {self.guest}'s disks and memory have become since the last snapshot is lost, "
            "unless you take another one first. All snapshots stay.",
            f"Revert to {name}",
            f"{self.guest} is what it was at {name}.",
        )

    def ask_delete(self, children: Children = "keep") -> None:
        """Ask whether to forget the chosen snapshot.

        Args:
            children: what becomes of those that were taken after it.
        """
        name = self.chosen
        below = f"all that were taken after {name}"
        text, label, done = {
            "keep": (
                f"The way back to {name} is lost. "
                "All others stay, and so does the guest as it is now.",
                f"Delete {name}",
                f"{name} is forgotten.",
            ),
            "remove": (
                f"The way back to {name} is lost, and to {below}. The guest stays as it is now.",
                f"Delete {name} and later ones",
                f"{name} is forgotten, and {below}.",
            ),
            "only": (
                f"The way back to {below} is lost. "
                f"{name} itself stays, and so does the guest as it is now.",
                f"Delete all after {name}",
                f"{name} is kept; {below} are forgotten.",
            ),
        }[children]
        self._ask(
            lambda: self._guest.snapshots[name],
            "delete",
            {} if children == "keep" else {"children": children},
            text,
            label,
            done,
        )

    def confirm(self) -> None:
        """Do what was asked for."""
        with self._lock:
            question, self.asking = self.asking, None
        if question and not self.doing:
            self._begin(question.label, question.do, question.done)
        else:
            self.on_change()

    def cancel(self) -> None:
        """Leave it."""
        with self._lock:
            self.asking = None
        self.on_change()

    # ---- how it is done

    @property
    def _object(self) -> str:
        return f"lab.guests[{json.dumps(self.guest)}].snapshots"

    def _ask(
        self,
        find: Callable[[], Any],
        verb: str,
        arguments: dict[str, Any],
        text: str,
        label: str,
        done: str,
    ) -> None:
        if not self.can_act:
            return
        words = ", ".join(f"{name}={spelt(value)}" for name, value in arguments.items())
        python = f"{self._object}[{json.dumps(self.chosen)}].{verb}({words})"
        try:
            snapshot = find()
            virsh = str(getattr(snapshot, f"preview_{verb}")(**arguments))
        except KvmlabError as error:
            self.message, self.asking = Message(str(error), failed=True), None
        else:
            do = getattr(snapshot, verb)
            self.message = None
            self.asking = Question(text, label, python, virsh, lambda: do(**arguments), done)
        self.on_change()

    def _begin(
        self, doing: str, do: Callable[[], object], done: str, next_wish: Wish | None = None
    ) -> None:
        with self._lock:
            self.doing, self.message = doing, None
        self.on_change()
        self._run(lambda: self._perform(do, done, next_wish))

    def _perform(self, do: Callable[[], object], done: str, next_wish: Wish | None) -> None:
        try:
            do()
            message = Message(done)
        except KvmlabError as error:
            message, next_wish = Message(str(error), failed=True), None
        with self._lock:
            self.doing, self.message = "", message
            if next_wish:
                self.wish = next_wish
            self._look()
        self.on_change()

    def _look(self) -> None:
        with self._lab.virsh_log.action():  # it is none of the learner's doing
            try:
                self.nodes = self._guest.snapshots.tree()
            except KvmlabError as error:
                self.message = Message(str(error), failed=True)
        names = self.names
        if self.chosen not in names:
            self.chosen = names[-1] if names else ""
        if not self.wish.name:
            free = (f"snapshot{number}" for number in count(1))
            self.wish = replace(self.wish, name=next(name for name in free if name not in names))
        self._judge()

    def _judge(self) -> None:
        try:
            preview = self._guest.snapshots.preview
            self.virsh, self.problem = str(preview(self.wish.name, **self.wish.choices)), ""
        except KvmlabError as error:
            self.virsh, self.problem = "", str(error)


def _all(nodes: Sequence[SnapshotNode]) -> Iterator[SnapshotNode]:
    for node in nodes:
        yield node
        yield from _all(node.children)
