"""What the create form knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from kvmlab.errors import KvmlabError
from kvmlab.guests.guest import Guest
from kvmlab.images import Catalogue, Image
from kvmlab.lab import Lab
from kvmlab.widgets.create_order import Note, Order, judge, look

DISK_GIB = 1.0
MEMORY_MIB = 256  # for an operating system that is yet to be built, and has not said


class CreateModel:
    """An order for a guest: what is wrong with it, what it is in Python and in virsh's words.

    Args:
        lab: where the guest shall be made.
        name: what it shall be called at first; by default a name that is free.
        image: its operating system at first.
        catalogue: the operating systems to choose from.

    Attributes:
        order: what is filled in now.
        notes: what is to be said on each field of it.
        virsh: the commands that make this guest; empty as long as something is wrong.
        problem: why the order can't be carried out, where no single field is to blame, or
            why the last guest was not made.
        doing: what is being done while a guest is made, and how much of it (0 to 1).
        guest: the guest that was made last.

    Raises:
        ImageNotFound: there is no such operating system.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> model = CreateModel(lab, "web")
        >>> model.set(memory_mib=10**9)
        >>> model.notes["memory_mib"].kind
        'error'
        >>> model.set(memory_mib=256)
        >>> model.create()
        <Guest web: shut off>
    """

    def __init__(
        self,
        lab: Lab,
        name: str | None = None,
        *,
        image: str = "tiny",
        catalogue: Catalogue | None = None,
    ) -> None:
        self._lab = lab
        self._catalogue = Catalogue() if catalogue is None else catalogue
        self._catalogue.is_built(image)
        self._making = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self.notes: dict[str, Note] = {}
        self.virsh = self.problem = ""
        self.doing: tuple[str, float] | None = None
        self.guest: Guest | None = None
        self._made: Order | None = None
        self.systems = self._find_systems()
        self.around = look(lab)
        networks = self.around.networks
        self.order = Order(
            name=self._free_name() if name is None else name,
            image=image,
            memory_mib=self._suits(image),
            vcpus=1,
            disk_gib=DISK_GIB,
            network="default" if "default" in networks else next(iter(networks), None),
        )
        self._judge()

    # ---- what there is to see

    @property
    def system_choices(self) -> list[tuple[str, str]]:
        """The operating systems: what a person reads, and the image's name."""
        return [
            (image.title if image else f"{name} (yet to be built)", name)
            for name, image in self.systems.items()
        ]

    @property
    def network_choices(self) -> list[tuple[str, str | None]]:
        """The networks: what a person reads, and the network's name."""
        return [*((name, name) for name in self.around.networks), ("none", None)]

    @property
    def can_create(self) -> bool:
        """Whether all is well, and nothing is under way."""
        return self.doing is None and bool(self.virsh)

    # ---- what can be done

    def set(self, **values: Any) -> None:
        """Fill in some fields of the order.

        Args:
            values: by the names of `Order`'s attributes.

        Example:
            >>> model.set(vcpus=2, disk_gib=4.0)
        """
        before = self.order
        self.order = replace(before, **values)
        # Who has not touched the memory goes with what suits the operating system.
        if "image" in values and before.memory_mib == self._suits(before.image):
            self.order = replace(self.order, memory_mib=self._suits(self.order.image))
        self.problem = ""
        self._judge()
        self.on_change()

    def create(self) -> Guest:
        """Make the guest and wait for it.

        Where the button was pressed for the same order, that guest is the one.

        Raises:
            KvmlabError: it can't be made.

        Example:
            >>> model.create()
            <Guest web: shut off>
        """
        with self._making:
            if self.guest and self._made == self.order and self.order.name in self._lab.guests:
                return self.guest
            self.problem = ""
            self._progress("", 0.0)
            order = self.order
            try:
                self.guest = self._lab.guests.create(
                    order.name, **order.arguments, progress=self._progress
                )
                self._made = order
            except KvmlabError as error:
                self.problem = str(error)
                raise
            finally:
                self.doing = None
                self.systems = self._find_systems()
                self._judge()
                self.on_change()
            return self.guest

    def press(self) -> None:
        """Make the guest in a thread of its own, so that whoever pressed need not wait."""
        if self.can_create:
            self._progress("", 0.0)
            threading.Thread(target=self._try, name="kvmlab-create", daemon=True).start()

    # ---- how it is done

    def _try(self) -> None:
        with suppress(KvmlabError):  # `problem` tells
            self.create()

    def _judge(self) -> None:
        """Look again at what there is, and compare the order with it."""
        self.virsh = ""
        try:
            self.around = look(self._lab)
            self.notes = judge(
                self.order,
                self.around,
                self.systems[self.order.image],
                self.guest.name if self.guest else None,
            )
            if not any(note.is_obstacle for note in self.notes.values()):
                with self._lab.virsh_log.action():  # keeps its questions out of the log
                    self.virsh = self._lab.guests.preview(self.order.name, **self.order.arguments)
        except KvmlabError as error:
            self.problem = self.problem or str(error)

    def _progress(self, text: str, fraction: float) -> None:
        """Pass progress on: a new word, or another hundredth."""
        before, self.doing = self.doing, (text, fraction)
        if before is None or before[0] != text or int(before[1] * 100) != int(fraction * 100):
            self.on_change()

    def _find_systems(self) -> dict[str, Image | None]:
        images = self._catalogue
        return {
            name: images[name] if images.is_built(name) else None
            for name in images
            if not images.is_medium(name)
        }

    def _suits(self, image: str) -> int:
        found = self.systems[image]
        return found.memory_mib if found else MEMORY_MIB

    def _free_name(self) -> str:
        return next(
            name for name in (f"guest{n}" for n in count(1)) if name not in self.around.guests
        )
