"""The form that installs from a CD, unattended, and shows the installer's steps.

`kvmlab.widgets.install_model.InstallModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab.guests.guest import Guest
from kvmlab.lab import Lab
from kvmlab.widgets.create import STYLE
from kvmlab.widgets.create_order import Note
from kvmlab.widgets.form import Form
from kvmlab.widgets.install_model import InstallModel

WORDS = {"hint": "", "warning": "Mind: ", "error": "Not possible: ", "done": ""}


class InstallForm(Form):
    """The widgets of a form that installs; `install_form` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.

    Example:
        >>> InstallForm(InstallModel(lab)).model.answers.iso
        'installer'
    """

    def __init__(self, model: InstallModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        answers = model.answers
        self.fields = {
            "name": _field(widgets.Text, "Name", answers.name, "What libvirt calls the guest"),
            "iso": _field(
                widgets.Dropdown, "CD", answers.iso, "The medium to install from",
                options=model.media,
            ),
            "memory_mib": _field(
                widgets.IntText, "Memory in MiB", answers.memory_mib, "The guest's RAM", step=64
            ),
            "disk_gib": _field(
                widgets.FloatText, "Disk in GiB", answers.disk_gib, "The guest's disk", step=0.5
            ),
            "hostname": _field(
                widgets.Text, "Host name", answers.hostname, "What the system calls itself"
            ),
            "password": _field(
                widgets.Password, "Password", answers.password, "For root of the system"
            ),
        }  # fmt: skip
        self._notes = {name: widgets.HTML(layout={"flex": "1 1 300px"}) for name in self.fields}
        for name, field in self.fields.items():
            field.observe(partial(self._filled_in, name), names="value")
        self.button = widgets.Button(
            description="Install", icon="download", button_style="primary",
            tooltip="Make the guest, install, and start it", layout={"width": "170px"},
        )  # fmt: skip
        self.button.on_click(lambda _: model.press())
        self._bar = widgets.FloatProgress(max=1.0, layout={"width": "300px"})
        self._steps, self._python, self._virsh = (widgets.HTML() for _ in range(3))
        row = widgets.Layout(flex_flow="row wrap", grid_gap="0 16px", align_items="center")
        super().__init__(
            [
                widgets.HTML(STYLE),
                *(
                    widgets.Box([field, self._notes[name]], layout=row)
                    for name, field in self.fields.items()
                ),
                widgets.Box([self.button, self._bar], layout=row),
                self._steps,
                self._python,
                self._virsh,
            ],
            what="the answers to an installer's questions",
        )
        self.add_class("kvmlab-create")
        self._show()
        model.on_change = self._show

    @property
    def guest(self) -> Guest | None:
        """The guest that the button has installed; None as long as there is none."""
        return self.model.guest

    def install(self) -> Guest:
        """Press the button, and wait for the guest.

        Raises:
            KvmlabError: it can't be installed.

        Example:
            >>> form.install()
            <Guest box: running>
        """
        return self.model.install()

    def _filled_in(self, name: str, change: dict[str, Any]) -> None:
        self.model.set(**{name: change["new"]})

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            for name, field in self.fields.items():
                self._notes[name].value = _note(model.notes.get(name, Note("")))
                field.disabled = model.doing is not None
            self.fields["hostname"].value = model.answers.hostname
            self.button.disabled = not model.can_install
            self._bar.value = model.doing[1] if model.doing else 0.0
            self._bar.layout.visibility = "visible" if model.doing else "hidden"
            self._steps.value = _steps(model)
            self._python.value = _code("The same in Python", model.answers.python)
            if model.virsh:
                commands = f"{model.virsh}\n{_then(model)}"
                self._virsh.value = _code("The same in a terminal", commands)
            (self._virsh.remove_class if model.virsh else self._virsh.add_class)("kvmlab-past")


def install_form(lab: Lab, name: str | None = None, *, iso: str = "installer") -> InstallForm:
    """Show a form that installs an operating system from a CD without being asked.

    Args:
        lab: where the guest shall be made.
        name: what it shall be called at first; by default a name that is free.
        iso: the medium at first.

    Raises:
        ImageNotFound: there is no such medium.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> form = install_form(lab, "box")
        >>> form
        A form with the answers to an installer's questions: run this cell to see it.
    """
    return InstallForm(InstallModel(lab, name, iso=iso))


def _field(
    kind: type[widgets.Widget], label: str, value: Any, tooltip: str, **traits: Any
) -> widgets.Widget:
    if issubclass(kind, widgets.Text | widgets.IntText | widgets.FloatText):
        traits["continuous_update"] = True
    return kind(
        value=value,
        description=label,
        tooltip=tooltip,
        style={"description_width": "130px"},
        layout=widgets.Layout(flex="0 1 430px"),
        **traits,
    )


def _note(note: Note) -> str:
    role = "alert" if note.kind == "error" else "note"
    word = f"<b>{WORDS[note.kind]}</b>" if WORDS[note.kind] else ""
    return (
        f'<div role="{role}" class="kvmlab-note kvmlab-{note.kind}">{word}{escape(note.text)}</div>'
    )


def _code(heading: str, code: str) -> str:
    lines = "".join(f"<span>{escape(line)}</span>" for line in code.splitlines())
    return (
        f'<div class="kvmlab-same">{heading}</div>'
        f'<pre tabindex="0" role="region" aria-label="{heading}">{lines}</pre>'
    )


def _then(model: InstallModel) -> str:
    """What follows once the guest is there; the whole of it is in ``guest.virsh`` afterwards."""
    name = model.answers.name
    return (
        f"virsh dumpxml --inactive {name} | virt-xml --edit --boot kernel=…,kernel_args=… |"
        f" virt-xml --edit --events on_reboot=destroy | virsh create /dev/stdin\nvirsh start {name}"
    )


def _steps(model: InstallModel) -> str:
    """The installer's steps as a list: those that are done, and the one under way."""
    if model.problem:
        return (
            '<div role="alert" class="kvmlab-note kvmlab-error"><b>Not installed.</b> '
            f"{escape(model.problem)}</div>"
        )
    now = model.doing[0] if model.doing else ""
    before = f'<div role="status">{escape(now)}</div>' if now and not model.steps else ""
    items = "".join(
        f"<li>{escape(step)}{' …' if model.doing and step == now else ''}</li>"
        for step in model.steps
    )
    done = ""
    if model.guest and not model.doing:
        name = escape(model.guest.name)
        done = f'<div role="status">Guest <b>{name}</b> starts from its disk.</div>'
    return f"{before}<ol>{items}</ol>{done}" if items else before + done
