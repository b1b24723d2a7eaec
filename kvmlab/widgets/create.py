"""The create form: a new guest by five choices, and the same as Python and in a terminal.

`kvmlab.widgets.create_model.CreateModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab.guests.guest import Guest
from kvmlab.lab import Lab
from kvmlab.widgets.create_model import CreateModel
from kvmlab.widgets.create_order import Note
from kvmlab.widgets.form import Form, dark_arrows

# JupyterLab's own colours, so that the form follows its theme; the fallbacks are for other
# front ends. No meaning hangs on a colour alone.
STYLE = (
    f"<style>{dark_arrows('.kvmlab-create')}"
    """
.kvmlab-create { max-width: 980px; color: var(--jp-ui-font-color1, #1f2933); }
.kvmlab-create .widget-label { color: inherit; }
.kvmlab-create .widget-html-content { min-width: 0; }
.kvmlab-create button:focus-visible, .kvmlab-create pre:focus-visible {
  outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.kvmlab-note { line-height: 1.35; padding: 4px 0; color: var(--jp-ui-font-color2, #55606e); }
.kvmlab-note.kvmlab-error, .kvmlab-note.kvmlab-warning {
  padding-left: 8px; color: var(--jp-ui-font-color1, #1f2933); }
.kvmlab-error { border-left: 4px solid var(--jp-error-color1, #d32f2f); }
.kvmlab-warning { border-left: 4px solid var(--jp-warn-color1, #f57c00); }
.kvmlab-past { opacity: 0.4; }
.kvmlab-same { margin: 10px 0 2px; font-weight: bold; }
.kvmlab-create pre { margin: 0; padding: 8px 0; overflow: auto; max-height: 330px;
  color: var(--jp-content-font-color1, #1f2933);
  background: var(--jp-cell-editor-background, #f5f5f5);
  border: 1px solid var(--jp-border-color2, #bdbdbd);
  font-family: var(--jp-code-font-family, monospace);
  font-size: var(--jp-code-font-size, 13px); line-height: 1.45; }
.kvmlab-create pre span { display: block; padding: 0 10px; width: max-content; min-width: 100%;
  box-sizing: border-box; border-left: 4px solid transparent; }
.kvmlab-create pre .kvmlab-changed { font-weight: bold;
  border-left-color: var(--jp-brand-color1, #1976d2); }
</style>"""
)
# What is in the fields, in the words of libvirt and QEMU.
TERMS = {
    "Name": "The name by which libvirt knows the guest",
    "Operating system": "The image that the guest's disk is an overlay on",
    "Memory in MiB": "RAM: what the guest takes for its memory chips",
    "CPU cores": "Virtual CPUs (vCPUs): each one is a thread of the guest's QEMU process",
    "Storage in GiB": "The size of the guest's disk, a volume in the storage pool 'default'",
    "Network": "The virtual network that the guest's network card is plugged into",
}
WORDS = {"hint": "", "warning": "Mind: ", "error": "Not possible: ", "done": ""}


class CreateForm(Form):
    """The widgets of a create form; `create_form` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.

    Example:
        >>> CreateForm(CreateModel(lab)).model.order.vcpus
        1
    """

    def __init__(self, model: CreateModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        self._shown: dict[str, tuple[str, str]] = {}
        order, number = model.order, {"continuous_update": True}
        self.fields = {
            "name": _field(widgets.Text, "Name", order.name, continuous_update=True),
            "image": _field(
                widgets.Dropdown, "Operating system", order.image, options=model.system_choices
            ),
            "memory_mib": _field(
                widgets.IntText, "Memory in MiB", order.memory_mib, step=64, **number
            ),
            "vcpus": _field(widgets.IntText, "CPU cores", order.vcpus, **number),
            "disk_gib": _field(
                widgets.FloatText, "Storage in GiB", order.disk_gib, step=0.5, **number
            ),
            "network": _field(
                widgets.Dropdown, "Network", order.network or "", options=_networks(model)
            ),
        }
        self._notes = {name: widgets.HTML(layout={"flex": "1 1 300px"}) for name in self.fields}
        for name, field in self.fields.items():
            field.observe(partial(self._filled_in, name), names="value")
        self.button = widgets.Button(
            description="Create", icon="plus", button_style="primary", layout={"width": "170px"}
        )
        self.button.on_click(lambda _: model.press())
        self._bar = widgets.FloatProgress(max=1.0, layout={"width": "300px"})
        self._doing, self._result = widgets.HTML(), widgets.HTML()
        self._python, self._virsh = widgets.HTML(), widgets.HTML()
        row = widgets.Layout(flex_flow="row wrap", grid_gap="0 16px", align_items="center")
        rows = [
            widgets.Box([field, self._notes[name]], layout=row)
            for name, field in self.fields.items()
        ]
        super().__init__(
            [
                widgets.HTML(STYLE),
                *rows,
                widgets.Box([self.button, self._bar, self._doing], layout=row),
                self._result,
                self._python,
                self._virsh,
            ],
            what="the five choices that make a guest",
        )
        self.add_class("kvmlab-create")
        self._show()
        model.on_change = self._show

    @property
    def guest(self) -> Guest | None:
        """The guest that the button has made; None as long as there is none."""
        return self.model.guest

    def create(self) -> Guest:
        """Press the button, and wait for the guest.

        Raises:
            KvmlabError: it can't be made.

        Example:
            >>> form.create()
            <Guest web: shut off>
        """
        return self.model.create()

    # ---- showing what there is

    def _filled_in(self, name: str, change: dict[str, Any]) -> None:
        value = change["new"]
        self.model.set(**{name: (value or None) if name == "network" else value})

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            for name, field in self.fields.items():
                self._notes[name].value = _note(model.notes.get(name, Note("")))
                field.disabled = model.doing is not None
            self.fields["memory_mib"].value = model.order.memory_mib
            self.button.disabled = not model.can_create
            self.button.tooltip = f"Create {model.order.name}, switched off"
            text, fraction = model.doing or ("", 0.0)
            self._bar.value = fraction
            self._bar.layout.visibility = "visible" if model.doing else "hidden"
            self._doing.value = f'<span role="status">{escape(text)}</span>'
            self._result.value = _result(model)
            self._python.value = self._same("The same in Python", model.order.python)
            if model.virsh:
                self._virsh.value = self._same("The same in a terminal", model.virsh)
            # What can't be made has no commands: the last ones stay, and look out of date.
            (self._virsh.remove_class if model.virsh else self._virsh.add_class)("kvmlab-past")

    def _same(self, heading: str, code: str) -> str:
        """A piece of code under its heading; lines that the last change brought are marked."""
        before, html = self._shown.get(heading, (code, ""))
        if code != before or not html:
            known = before.splitlines()
            html = "".join(
                f'<span class="{"" if line in known else "kvmlab-changed"}">{escape(line)}</span>'
                for line in code.splitlines()
            )
            self._shown[heading] = (code, html)
        return (
            f'<div class="kvmlab-same">{heading}</div>'
            f'<pre tabindex="0" role="region" aria-label="{heading}">{html}</pre>'
        )


def create_form(lab: Lab, name: str | None = None, *, image: str = "tiny") -> CreateForm:
    """Show a form that makes a guest: its operating system, memory, cores, storage, network.

    What is filled in is checked at once against what the host has, and shown as the Python
    call and as the commands that do the same.

    Args:
        lab: where the guest shall be made.
        name: what it shall be called at first; by default a name that is free.
        image: its operating system at first.

    Raises:
        ImageNotFound: there is no such operating system.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> form = create_form(lab, "web")
        >>> form
        A form with the five choices that make a guest: run this cell to see it.
        >>> web = form.guest or form.create()
    """
    return CreateForm(CreateModel(lab, name, image=image))


def _networks(model: CreateModel) -> list[tuple[str, str]]:
    # ipywidgets shows an option whose value is None as an empty field: "" stands for it.
    return [(label, name or "") for label, name in model.network_choices]


def _field(kind: type[widgets.Widget], label: str, value: Any, **traits: Any) -> widgets.Widget:
    return kind(
        value=value,
        description=label,
        tooltip=TERMS[label],
        style={"description_width": "130px"},
        layout=widgets.Layout(flex="0 1 430px"),
        **traits,
    )


def _note(note: Note) -> str:
    # An error is read out at once, what is merely good to know when there is time.
    role = "alert" if note.kind == "error" else "note"
    word = f"<b>{WORDS[note.kind]}</b>" if WORDS[note.kind] else ""
    return (
        f'<div role="{role}" class="kvmlab-note kvmlab-{note.kind}">{word}{escape(note.text)}</div>'
    )


def _result(model: CreateModel) -> str:
    if model.problem:
        return (
            f'<div role="alert" class="kvmlab-note kvmlab-error"><b>Not made.</b> '
            f"{escape(model.problem)}</div>"
        )
    if model.guest is None or model.doing:
        return ""
    name = escape(model.guest.name)
    return (
        f'<div role="status">Guest <b>{name}</b> is made, and switched off. '
        f"<code>lab.guests[&quot;{name}&quot;].start()</code> switches it on.</div>"
    )
