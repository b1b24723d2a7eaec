"""What the storage form knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from kvmlab.errors import InvalidArgument, KvmlabError
from kvmlab.lab import Lab
from kvmlab.limits import bytes_of_gib
from kvmlab.storage.disk import Disk
from kvmlab.widgets.snapshots_wish import Message, Question, in_a_thread, spelt
from kvmlab.widgets.storage_order import DiskOrder, DiskRow, in_gib, row_of


class StorageModel:
    """The disks of a guest, one of them chosen, and the next one to be made.

    What is pressed is done in a thread of its own, so that whoever pressed need not wait.

    Args:
        lab: where the guest is.
        guest: its name.
        pool: the storage pool that new disks are made in.
        run: what does the work of a press.

    Attributes:
        rows: the guest's disks.
        order: what is filled in for the next one.
        chosen: the target of the one that is chosen; empty where there is none.
        problem: why what is filled in can't be done; empty where it can.
        virsh: the commands that would make the next one.
        asking: what waits to be confirmed.
        doing: what is going on.
        message: what came of the last press.

    Raises:
        KvmlabError: libvirt can't be asked, or there is no such guest or pool.

    Example:
        >>> StorageModel(lab, "web").chosen
        'vda'
    """

    def __init__(
        self,
        lab: Lab,
        guest: str,
        pool: str = "default",
        *,
        run: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._lab, self._run = lab, run
        self._guest, self._pool = lab.guests[guest], lab.pools[pool]
        self._lock = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None
        self.rows: tuple[DiskRow, ...] = ()
        self.order = DiskOrder("")
        self.chosen = self.problem = self.virsh = self.doing = self._suggested = ""
        self._taken: set[str] = set()
        self.asking: Question | None = None
        self.message: Message | None = None
        self._look()

    @property
    def guest(self) -> str:
        """The guest's name."""
        return self._guest.name

    @property
    def targets(self) -> list[str]:
        """The disks' targets."""
        return [row.target for row in self.rows]

    @property
    def python(self) -> str:
        """The Python calls that make the next disk and plug it in."""
        return self.order.python(self.guest, self._pool.name)

    @property
    def can_plug(self) -> bool:
        """Whether a disk can be made as filled in."""
        return not (self.problem or self.doing)

    @property
    def can_grow(self) -> bool:
        """Whether there is a disk that can grow."""
        return bool(self.chosen) and not self.doing

    @property
    def can_unplug(self) -> bool:
        """Whether the chosen disk can be taken out; the first one has the guest's system."""
        return self.can_grow and self.chosen != self.rows[0].target

    # ---- what can be done

    def set(self, **filled_in: Any) -> None:
        """Fill something in: fields of `DiskOrder`.

        Example:
            >>> model.set(name="data.img", format="raw")
        """
        with self._lock:
            suggested = self.order.name == self._suggested
            self.order = replace(self.order, **filled_in)
            if suggested and "name" not in filled_in:
                self._suggest()
            self.message = None  # it was on what was filled in before
            self._judge()
        self.on_change()

    def choose(self, target: str) -> None:
        """Choose the disk that the next press is for.

        Example:
            >>> model.choose("vdb")
        """
        with self._lock:
            self.chosen, self.asking, self.message = target, None, None
        self.on_change()

    def look_again(self) -> None:
        """Look again at what there is.

        Example:
            >>> model.look_again()
        """
        with self._lock:
            self._look()
        self.on_change()

    def plug(self) -> None:
        """Make the disk that is filled in, and plug it in; all or nothing."""
        if self.can_plug:
            order = self.order
            self._begin(
                f"making {order.name} and plugging it in",
                lambda: self._plug(order),
                f"{order.name} is plugged in. lsblk in the guest shows it.",
                DiskOrder(""),
            )

    def ask_grow(self, size_gib: float) -> None:
        """Ask whether the chosen disk shall grow.

        Args:
            size_gib: how large it shall be.
        """
        try:
            if not self.can_grow:
                return
            disk = self._guest.disks[self.chosen]
            size = bytes_of_gib("size_gib", size_gib)
            now = disk.info().capacity_bytes
            if size <= now:
                raise InvalidArgument(
                    f"disk {self.chosen} has {in_gib(now)} GiB already",
                    seen=size_gib,
                    next_step="Give more than that",
                )
            virsh = self._command_to_grow(disk, size)
        except KvmlabError as error:
            self._failed(error)
            return
        self._ask(
            Question(
                f"{self.chosen} grows from {in_gib(now)} to {size_gib:g} GiB. It can't be made "
                "smaller as easily. The file system on it stays as it is until it is grown, too.",
                f"Grow {self.chosen}",
                f"{self._object}.resize({size_gib:g})",
                virsh,
                lambda: disk.resize(size_gib),
                f"{self.chosen} has {size_gib:g} GiB. Next: grow_file_system(), if one is mounted.",
            )
        )

    def ask_unplug(self) -> None:
        """Ask whether the chosen disk shall be taken out."""
        if not self.can_unplug:
            return
        try:
            disk = self._guest.disks[self.chosen]
            running = disk._is_running()
        except KvmlabError as error:
            self._failed(error)
            return
        words = ["detach-disk", self.guest, self.chosen, *(["--live"] if running else [])]
        self._ask(
            Question(
                f"Unmount {self.chosen} in the guest first: what was not yet written is lost "
                "otherwise. The volume stays, with all that is on it.",
                f"Unplug {self.chosen}",
                f"{self._object}.detach()",
                self._lab.virsh_log.virsh(*words, "--config"),
                disk.detach,
                f"{self.chosen} is unplugged. Its volume is still there.",
            )
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
        """Leave it: what was asked, and what was said last."""
        with self._lock:
            self.asking = self.message = None
        self.on_change()

    # ---- how it is done

    @property
    def _object(self) -> str:
        return f"lab.guests[{spelt(self.guest)}].disks[{spelt(self.chosen)}]"

    def _plug(self, order: DiskOrder) -> None:
        volume = self._pool.volumes.create_from(order.spec())
        try:
            self.chosen = self._guest.disks.attach(volume).target
        except BaseException:
            volume.delete()
            raise

    def _command_to_grow(self, disk: Disk, size: int) -> str:
        log = self._lab.virsh_log
        if disk._is_running():
            return log.virsh("blockresize", self.guest, disk.target, f"{size}B")
        return log.virsh(*disk.volume()._words("vol-resize", f"{size}B"))

    def _ask(self, question: Question) -> None:
        with self._lock:
            self.message, self.asking = None, question
        self.on_change()

    def _failed(self, error: KvmlabError) -> None:
        with self._lock:
            self.message, self.asking = Message(str(error), failed=True), None
        self.on_change()

    def _begin(
        self, doing: str, do: Callable[[], object], done: str, order: DiskOrder | None = None
    ) -> None:
        with self._lock:
            self.doing, self.message = doing, None
        self.on_change()
        self._run(lambda: self._perform(do, done, order))

    def _perform(self, do: Callable[[], object], done: str, order: DiskOrder | None) -> None:
        try:
            do()
            message = Message(done)
        except KvmlabError as error:
            message, order = Message(str(error), failed=True), None
        with self._lock:
            self.doing, self.message = "", message
            if order:
                self.order = order
            self._look()
        self.on_change()

    def _look(self) -> None:
        with self._lab.virsh_log.action():  # it is none of the learner's doing
            try:
                disks = [disk for disk in self._guest.disks.values() if disk.spec.device == "disk"]
                self.rows = tuple(map(row_of, disks))
                taken = set(self._pool.volumes)
            except KvmlabError as error:
                self.message, taken = Message(str(error), failed=True), set()
        if self.chosen not in self.targets:
            self.chosen = self.targets[-1] if self.rows else ""
        self._taken = taken
        if not self.order.name:
            self._suggest()
        self._judge()

    def _suggest(self) -> None:
        """Fill in a name that is free, and fits the format."""
        ending = "qcow2" if self.order.format == "qcow2" else "img"
        names = (f"{self.guest}-disk{number}.{ending}" for number in count(1))
        self._suggested = next(each for each in names if each not in self._taken)
        self.order = replace(self.order, name=self._suggested)

    def _judge(self) -> None:
        with self._lab.virsh_log.action():
            try:
                self._pool.volumes.check_new(
                    spec := self.order.spec(), needs_bytes=spec.capacity_bytes
                )
                self.virsh, self.problem = self.order.virsh(self._guest, self._pool), ""
            except KvmlabError as error:
                self.virsh, self.problem = "", str(error)
