"""The storage form: a guest's disks, the next one, and growing and unplugging them.

`kvmlab.widgets.storage_model.StorageModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab.lab import Lab
from kvmlab.plots.chains import size_in_words
from kvmlab.widgets.form import Form, dark_arrows
from kvmlab.widgets.storage_model import StorageModel

# JupyterLab's own colours, so that the form follows its theme; the fallbacks are for other
# front ends. No meaning hangs on a colour alone.
STYLE = (
    f"<style>{dark_arrows('.kvmlab-storage')}"
    """
.kvmlab-storage { max-width: 980px; color: var(--jp-ui-font-color1, #1f2933); }
.kvmlab-storage .widget-label, .kvmlab-storage .widget-label-basic { color: inherit; }
.kvmlab-storage .widget-html-content { line-height: 1.45; }
.kvmlab-storage h4 { margin: 8px 0 4px; }
.kvmlab-storage th, .kvmlab-storage td { text-align: left; padding: 2px 18px 2px 0; }
.kvmlab-storage button:focus-visible, .kvmlab-storage pre:focus-visible {
  outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.kvmlab-storage .kvmlab-note { padding: 2px 0 2px 8px; }
.kvmlab-storage .kvmlab-failed { border-left: 4px solid var(--jp-error-color1, #d32f2f); }
.kvmlab-storage .kvmlab-asked { border-left: 4px solid var(--jp-warn-color1, #f57c00); }
.kvmlab-storage pre { margin: 2px 0 8px; padding: 8px 10px; overflow: auto; max-height: 240px;
  color: var(--jp-content-font-color1, #1f2933);
  background: var(--jp-cell-editor-background, #f5f5f5);
  border: 1px solid var(--jp-border-color2, #bdbdbd);
  font-family: var(--jp-code-font-family, monospace);
  font-size: var(--jp-code-font-size, 13px); line-height: 1.45; }
</style>"""
)
FORMATS = [("qcow2: thin, and can do more", "qcow2"), ("raw: plain and fast", "raw")]
TERMS = {
    "Name": "The file name of the new volume: letters, digits, '-', '_' and '.'",
    "Size (GiB)": "How large a disk the guest sees; it takes room only as it is written to",
    "Format": "How the disk is laid into its file",
    "Disk": "The disk to grow or to unplug",
    "New size (GiB)": "How large the chosen disk shall become",
}


class StorageForm(Form):
    """The widgets of a storage form; `storage_form` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.
        fields: what can be filled in for a new disk, by name.

    Example:
        >>> StorageForm(StorageModel(lab, "web")).model.targets
        ['vda']
    """

    def __init__(self, model: StorageModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        order = model.order
        self.fields = {
            "name": _field(widgets.Text, "Name", value=order.name, continuous_update=True),
            "size_gib": _field(
                widgets.BoundedFloatText,
                "Size (GiB)",
                value=order.size_gib,
                min=0.01,
                max=2**20,
                step=0.25,
            ),
            "format": _field(widgets.Dropdown, "Format", options=FORMATS, value=order.format),
        }
        for name, field in self.fields.items():
            field.observe(partial(self._filled_in, name), names="value")
        self._chosen = _field(widgets.Dropdown, "Disk", options=[])
        self._chosen.observe(self._choose, names="value")
        self.size = _field(
            widgets.BoundedFloatText, "New size (GiB)", value=1, min=0.01, max=2**20, step=0.25
        )
        self.size.observe(lambda _: model.cancel(), names="value")
        self.buttons = {
            "plug": _button("Make and plug in", "plus", "primary", model.plug),
            "grow": _button("Grow…", "expand", "", lambda: model.ask_grow(self.size.value)),
            "unplug": _button("Unplug…", "eject", "", model.ask_unplug),
            "look": _button("Look again", "refresh", "", model.look_again),
            "yes": _button("", "check", "danger", model.confirm),
            "no": _button("Leave it", "", "", model.cancel),
        }
        self._table, self._asked, self._status, self._code = (widgets.HTML() for _ in range(4))
        row = widgets.Layout(flex_flow="row wrap", grid_gap="8px", align_items="center")
        self._question = widgets.VBox(
            [self._asked, widgets.Box([self.buttons["yes"], self.buttons["no"]], layout=row)]
        )
        column = {"flex": "1 1 400px", "grid_gap": "2px"}
        make = [widgets.HTML("<h4>A new disk</h4>"), *self.fields.values(), self.buttons["plug"]]
        change = [
            *(widgets.HTML("<h4>One that is there</h4>"), self._chosen, self.size),
            widgets.Box([self.buttons[name] for name in ("grow", "unplug", "look")], layout=row),
        ]
        columns = widgets.Layout(
            flex_flow="row wrap", grid_gap="8px 28px", align_items="flex-start"
        )
        super().__init__(
            [
                widgets.HTML(STYLE),
                self._table,
                widgets.Box(
                    [widgets.VBox(make, layout=column), widgets.VBox(change, layout=column)],
                    layout=columns,
                ),
                *(self._question, self._status, self._code),
            ],
            what="the disks of a guest, and buttons to make, plug in, grow and unplug them",
        )
        self.add_class("kvmlab-storage")
        self._show()
        model.on_change = self._show

    # ---- what is done with it

    def _filled_in(self, name: str, change: dict[str, Any]) -> None:
        if getattr(self.model.order, name) != change["new"]:
            self.model.set(**{name: change["new"]})

    def _choose(self, change: dict[str, Any]) -> None:
        if change["new"] and change["new"] != self.model.chosen:
            self.model.choose(change["new"])

    # ---- showing what there is

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            self._table.value = self._rows()
            for name, field in self.fields.items():
                field.value = getattr(model.order, name)
            chosen = model.chosen  # new options choose the first of them
            if list(self._chosen.options) != model.targets:
                self._chosen.options = model.targets
            model.chosen = chosen
            self._chosen.value = chosen or None
            self.buttons["plug"].disabled = not model.can_plug
            self.buttons["grow"].disabled = not model.can_grow
            self.buttons["unplug"].disabled = not model.can_unplug
            self._show_question()
            self._status.value = self._status_text()
            python, virsh = model.python, model.virsh
            if model.asking:
                python, virsh = model.asking.python, model.asking.virsh
            self._code.value = _same("The same in Python", python) + (
                _same("The same in a terminal", virsh) if virsh else ""
            )

    def _rows(self) -> str:
        head = "".join(
            f'<th scope="col">{each}</th>' for each in ("Disk", "File", "Capacity", "Allocation")
        )
        rows = "".join(
            f'<tr><th scope="row">{escape(row.target)}</th><td>{escape(row.source)}</td>'
            f"<td>{size_in_words(row.capacity_bytes)}</td>"
            f"<td>{size_in_words(row.allocation_bytes)}</td></tr>"
            for row in self.model.rows
        )
        return f"<table><caption>Disks of {escape(self.model.guest)}</caption>{head}{rows}</table>"

    def _show_question(self) -> None:
        asking, was_shown = self.model.asking, self._question.layout.display == "flex"
        self._question.layout.display = "flex" if asking else "none"
        if asking:
            self._asked.value = (
                f'<div role="alert" class="kvmlab-note kvmlab-asked">{escape(asking.text)}</div>'
            )
            self.buttons["yes"].description = asking.label
            if not was_shown:
                self.buttons["no"].focus()

    def _status_text(self) -> str:
        model = self.model
        if model.doing:
            return f'<div role="status">{escape(model.doing)} …</div>'
        if model.message and model.message.failed:
            return _failed(model.message.text)
        if model.problem and not model.asking:
            return _failed(model.problem)
        return f'<div role="status">{escape(model.message.text)}</div>' if model.message else ""


def storage_form(lab: Lab, guest: str, pool: str = "default") -> StorageForm:
    """Show a guest's disks, with a form to make one and buttons to grow and unplug them.

    Args:
        lab: where the guest is.
        guest: its name.
        pool: the storage pool that new disks are made in.

    Raises:
        GuestNotFound: there is no guest of that name.
        PoolNotFound: there is no such storage pool.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> form = storage_form(lab, "web")
        >>> form
        A form with the disks of a guest, and buttons to make, plug in, grow and unplug them: ...
    """
    return StorageForm(StorageModel(lab, guest, pool))


def _field(kind: type[widgets.Widget], label: str, **traits: Any) -> widgets.Widget:
    return kind(
        description=label,
        tooltip=TERMS[label],
        style={"description_width": "110px"},
        layout=widgets.Layout(width="auto"),
        **traits,
    )


def _button(label: str, icon: str, style: str, press: Any) -> widgets.Button:
    button = widgets.Button(
        description=label, icon=icon, button_style=style, layout=widgets.Layout(width="auto")
    )
    button.on_click(lambda _: press())
    return button


def _same(heading: str, code: str) -> str:
    return (
        f"<b>{heading}</b>"
        f'<pre tabindex="0" role="region" aria-label="{heading}">{escape(code)}</pre>'
    )


def _failed(text: str) -> str:
    return f'<div role="alert" class="kvmlab-note kvmlab-failed">{escape(text)}</div>'
