"""What the form that installs from a CD knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from kvmlab.errors import InstallationFailed, KvmlabError
from kvmlab.gallery import Images
from kvmlab.guests.guest import Guest
from kvmlab.lab import Lab
from kvmlab.widgets.create_order import Note, Order, judge, look

# As the installer takes it: a word of the kernel's command line, and a label of DNS.
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PASSWORD = re.compile(r"[!-~]+")
_HIDDEN = "..."


@dataclass(frozen=True)
class Answers:
    """What is filled in: the guest, the CD, and what its installer would ask.

    Attributes:
        name: what the guest shall be called.
        iso: the medium, by the name of its image.
        memory_mib: the guest's memory.
        disk_gib: the size of its disk.
        hostname: what the installed system shall call itself.
        password: for its root.

    Example:
        >>> Answers("box", "installer", 256, 0.5, "box", "secret").kernel_args
        'hostname=box password=secret'
    """

    name: str
    iso: str
    memory_mib: int
    disk_gib: float
    hostname: str
    password: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `lab.guests.create` after the name."""
        return {"iso": self.iso, "memory_mib": self.memory_mib, "disk_gib": self.disk_gib}

    @property
    def kernel_args(self) -> str:
        """The answers, as `Guest.install` takes them."""
        return f"hostname={self.hostname} password={self.password}"

    @property
    def python(self) -> str:
        """The Python that does it; the password is not shown."""
        shown = replace(self, password=_HIDDEN).kernel_args
        arguments = ", ".join(f"{key}={json.dumps(each)}" for key, each in self.arguments.items())
        return (
            f"guest = lab.guests.create({json.dumps(self.name)}, {arguments})\n"
            f"guest.install({json.dumps(shown)})\n"
            "guest.start()"
        )


class InstallModel:
    """An unattended installation: what is wrong with the answers, and how far it is.

    Args:
        lab: where the guest shall be made.
        name: what it shall be called at first; by default a name that is free.
        iso: the medium at first.
        images: the images to choose media from.

    Attributes:
        answers: what is filled in now.
        notes: what is to be said on each field.
        virsh: the commands that make the guest; empty as long as something is wrong.
        steps: what the installer has said it does, in its words.
        doing: what is being done now, and how much of it (0 to 1).
        problem: why the last installation failed, or none can begin.
        guest: the guest that was installed last.

    Raises:
        ImageNotFound: there is no such medium.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> model = InstallModel(lab, "box")
        >>> model.set(password="secret")
        >>> model.install()
        <Guest box: running>
    """

    def __init__(
        self, lab: Lab, name: str | None = None, *, iso: str = "installer",
        images: Images | None = None,
    ) -> None:  # fmt: skip
        self._lab = lab
        catalogue = (images or lab.images).catalogue
        self.media = [each for each in catalogue if catalogue.is_medium(each)]
        self._built = {each: catalogue[each] for each in self.media if catalogue.is_built(each)}
        catalogue.is_medium(iso)
        self._working = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self.notes: dict[str, Note] = {}
        self.virsh = self.problem = ""
        self.steps: list[str] = []
        self.doing: tuple[str, float] | None = None
        self.guest: Guest | None = None
        chosen = name or self._free_name()
        medium = self._built.get(iso)
        self.answers = Answers(
            name=chosen,
            iso=iso,
            memory_mib=medium.memory_mib if medium else 256,
            disk_gib=(medium and medium.disk_gib) or 0.5,
            hostname=chosen,
            password="",
        )
        self._judge()

    @property
    def can_install(self) -> bool:
        """Whether all is well, and nothing is under way."""
        return self.doing is None and bool(self.virsh)

    def set(self, **values: Any) -> None:
        """Fill in some of the answers.

        Args:
            values: by the names of `Answers`' attributes.

        Example:
            >>> model.set(hostname="box", password="secret")
        """
        before = self.answers
        self.answers = replace(before, **values)
        # Who has not chosen a host name goes with the guest's.
        if "name" in values and before.hostname == before.name:
            self.answers = replace(self.answers, hostname=self.answers.name)
        self.problem = ""
        self._judge()
        self.on_change()

    def install(self) -> Guest:
        """Make the guest, install, start it from its disk; return it.

        Raises:
            KvmlabError: it can't be done; then no guest is left of it.

        Example:
            >>> model.install()
            <Guest box: running>
        """
        with self._working:
            answers, self.problem, self.steps = self.answers, "", []
            self._progress("", 0.0)
            try:
                guest = self._lab.guests.create(
                    answers.name, **answers.arguments, progress=self._progress
                )
                try:
                    self._progress("starting the CD's kernel", 0.0)
                    guest.install(answers.kernel_args, progress=self._step)
                    guest.start()
                except BaseException:
                    guest.delete()
                    raise
                self.guest = guest
            except InstallationFailed as error:
                # What the error advises is to look at the guest, which is gone.
                self.problem = f"{error.happened}: {error.seen}. The guest is removed again."
                raise
            except KvmlabError as error:
                self.problem = str(error)
                raise
            finally:
                self.doing = None
                self._judge()
                self.on_change()
            return guest

    def press(self) -> None:
        """Install in a thread of its own, so that whoever pressed need not wait."""
        if self.can_install:
            self._progress("", 0.0)
            threading.Thread(target=self._try, name="kvmlab-install", daemon=True).start()

    def _try(self) -> None:
        with suppress(KvmlabError):  # `problem` tells
            self.install()

    def _judge(self) -> None:
        self.virsh = ""
        answers = self.answers
        try:
            order = Order(answers.name, answers.iso, answers.memory_mib, 1, answers.disk_gib, None)
            made = self.guest.name if self.guest else None
            said = judge(order, look(self._lab), self._built.get(answers.iso), made)
            self.notes = {
                "name": said["name"] if said["name"].kind != "hint" else Note(""),
                "iso": Note("The CD in the guest's drive. Its kernel must be known to kvmlab."),
                "memory_mib": said["memory_mib"],
                "disk_gib": said["disk_gib"],
                "hostname": _on(answers.hostname, _HOSTNAME, "letters, digits and '-'"),
                "password": _on(answers.password, _PASSWORD, "letters, digits and signs, no space"),
            }
            if not any(note.is_obstacle for note in self.notes.values()):
                with self._lab.virsh_log.action():  # keeps its questions out of the log
                    self.virsh = self._lab.guests.preview(answers.name, **answers.arguments)
        except KvmlabError as error:
            self.problem = self.problem or str(error)

    def _step(self, text: str, fraction: float) -> None:
        if fraction < 1 and self.steps[-1:] != [text]:  # at the end, it is no step any more
            self.steps.append(text)
        self._progress(text, fraction)

    def _progress(self, text: str, fraction: float) -> None:
        before, self.doing = self.doing, (text, fraction)
        if before is None or before[0] != text or int(before[1] * 100) != int(fraction * 100):
            self.on_change()

    def _free_name(self) -> str:
        taken = set(self._lab.guests)
        return next(name for name in (f"box{n}" for n in count(1)) if name not in taken)


def _on(value: str, rule: re.Pattern[str], what: str) -> Note:
    if rule.fullmatch(value):
        return Note("")
    if not value:
        return Note(f"it is not filled in yet; it takes {what}.", "error")
    return Note(f"it takes {what}.", "error")
