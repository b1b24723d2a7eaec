"""The snapshot form: a guest's tree of snapshots, the next one, and the way back.

`kvmlab.widgets.snapshots_model.SnapshotsModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab import plots
from kvmlab.lab import Lab
from kvmlab.snapshots.tree import Children, SnapshotNode
from kvmlab.widgets.form import Form, dark_arrows
from kvmlab.widgets.snapshots_model import SnapshotsModel
from kvmlab.widgets.snapshots_wish import THEN

# JupyterLab's own colours, so that the form follows its theme; the fallbacks are for other
# front ends. No meaning hangs on a colour alone.
STYLE = (
    f"<style>{dark_arrows('.kvmlab-snapshots')}"
    """
.kvmlab-snapshots { max-width: 980px; color: var(--jp-ui-font-color1, #1f2933); }
.kvmlab-snapshots .widget-label, .kvmlab-snapshots .widget-label-basic { color: inherit; }
.kvmlab-snapshots .widget-html-content { line-height: 1.45; }
.kvmlab-snapshots h4 { margin: 8px 0 4px; }
.kvmlab-snapshots button:focus-visible, .kvmlab-snapshots pre:focus-visible {
  outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.kvmlab-snapshots .kvmlab-note { padding: 2px 0 2px 8px; }
.kvmlab-snapshots .kvmlab-failed { border-left: 4px solid var(--jp-error-color1, #d32f2f); }
.kvmlab-snapshots .kvmlab-asked { border-left: 4px solid var(--jp-warn-color1, #f57c00); }
.kvmlab-snapshots pre { margin: 2px 0 8px; padding: 8px 10px; overflow: auto; max-height: 240px;
  color: var(--jp-content-font-color1, #1f2933);
  background: var(--jp-cell-editor-background, #f5f5f5);
  border: 1px solid var(--jp-border-color2, #bdbdbd);
  font-family: var(--jp-code-font-family, monospace);
  font-size: var(--jp-code-font-size, 13px); line-height: 1.45; }
</style>"""
)
# ipywidgets shows an option whose value is None as an empty field: "" stands for it.
KINDS = [
    ("the one that fits", ""),
    ("internal: in the disk's own file", "internal"),
    ("external: in files beside it", "external"),
]
MEMORY = [("if the guest runs", ""), ("yes", True), ("no, disks alone", False)]
CHILDREN: list[tuple[str, Children]] = [
    ("stay", "keep"),
    ("are deleted, too", "remove"),
    ("alone are deleted", "only"),
]
TERMS = {
    "Name": "The name of the snapshot: letters, digits, '-', '_' and '.'",
    "Description": "One line on what it is for; the tree shows it",
    "Kind": "Where it is kept: inside the qcow2 file, or by having the guest write to a new file",
    "With memory": "Whether programs that run go on after a revert",
    "Quiesce": "The guest agent writes everything out and holds the file systems still",
    "Snapshot": "The snapshot to revert to or to delete",
    "The guest then": "Whether the guest runs after the revert",
    "Later ones": "What becomes of the snapshots that were taken after the one that is deleted",
}


class SnapshotForm(Form):
    """The widgets of a snapshot form; `snapshot_form` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.
        fields: what can be filled in, by name.

    Example:
        >>> SnapshotForm(SnapshotsModel(lab, "web")).model.names
        ['clean']
    """

    def __init__(self, model: SnapshotsModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        self._picture = widgets.HTML()
        self._drawn: tuple[SnapshotNode, ...] | None = None
        wish = model.wish
        self.fields = {
            "name": _field(widgets.Text, "Name", value=wish.name, continuous_update=True),
            "description": _field(widgets.Text, "Description", value="", continuous_update=True),
            "kind": _field(widgets.Dropdown, "Kind", options=KINDS, value=""),
            "memory": _field(widgets.Dropdown, "With memory", options=MEMORY, value=""),
            "quiesce": _field(widgets.Checkbox, "Quiesce", value=False),
        }
        for name, field in self.fields.items():
            field.observe(partial(self._filled_in, name), names="value")
        self._chosen = _field(widgets.Dropdown, "Snapshot", options=[])
        self._chosen.observe(self._choose, names="value")
        self._then = _field(widgets.Dropdown, "The guest then", options=list(THEN))
        self._children = _field(widgets.Dropdown, "Later ones", options=CHILDREN)
        self.buttons = {
            "take": _button("Take", "camera", "primary", model.take),
            "revert": _button("Revert…", "undo", "", lambda: model.ask_revert(self._then.value)),
            "delete": _button(
                "Delete…", "trash", "", lambda: model.ask_delete(self._children.value)
            ),
            "look": _button("Look again", "refresh", "", model.look_again),
            "yes": _button("", "check", "danger", model.confirm),
            "no": _button("Leave it", "", "", model.cancel),
        }
        self._asked, self._status, self._code = (widgets.HTML() for _ in range(3))
        row = widgets.Layout(flex_flow="row wrap", grid_gap="8px", align_items="center")
        self._question = widgets.VBox(
            [self._asked, widgets.Box([self.buttons["yes"], self.buttons["no"]], layout=row)]
        )
        column = {"flex": "1 1 400px", "grid_gap": "2px"}
        take = [widgets.HTML("<h4>Take one</h4>"), *self.fields.values(), self.buttons["take"]]
        back = [
            *(widgets.HTML("<h4>Go back, or forget one</h4>"), self._chosen, self._then),
            *(self.buttons["revert"], self._children, self.buttons["delete"]),
            self.buttons["look"],
        ]
        columns = widgets.Layout(
            flex_flow="row wrap", grid_gap="8px 28px", align_items="flex-start"
        )
        super().__init__(
            [
                widgets.HTML(STYLE),
                self._picture,
                widgets.Box(
                    [widgets.VBox(take, layout=column), widgets.VBox(back, layout=column)],
                    layout=columns,
                ),
                self._question,
                self._status,
                self._code,
            ],
            what="the snapshots of a guest, and buttons to take, revert to and delete them",
        )
        self.add_class("kvmlab-snapshots")
        self._show()
        model.on_change = self._show

    # ---- what is done with it

    def _filled_in(self, name: str, change: dict[str, Any]) -> None:
        value = change["new"]
        if name in ("kind", "memory") and value == "":
            value = None
        if getattr(self.model.wish, name) != value:
            self.model.set(**{name: value})

    def _choose(self, change: dict[str, Any]) -> None:
        if change["new"] and change["new"] != self.model.chosen:
            self.model.choose(change["new"])

    # ---- showing what there is

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            if model.nodes != self._drawn:  # which takes longer than a keystroke
                picture = plots.snapshot_tree(model.nodes)
                self._picture.value = picture._repr_mimebundle_()["text/html"]
                self._drawn = model.nodes
            for name, field in self.fields.items():
                value = getattr(model.wish, name)
                field.value = "" if value is None else value
            self._chosen.options = model.names
            self._chosen.value = model.chosen or None
            self.buttons["take"].disabled = not model.can_take
            for name in ("revert", "delete"):
                self.buttons[name].disabled = not model.can_act
            self._show_question()
            self._status.value = self._status_text()
            python, virsh = model.python, model.virsh
            if model.asking:
                python, virsh = model.asking.python, model.asking.virsh
            self._code.value = _same("The same in Python", python) + (
                _same("The same in a terminal", virsh) if virsh else ""
            )

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


def snapshot_form(lab: Lab, guest: str) -> SnapshotForm:
    """Show a guest's snapshots, with a form to take one and buttons to go back.

    Args:
        lab: where the guest is.
        guest: its name.

    Raises:
        GuestNotFound: there is no guest of that name.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> form = snapshot_form(lab, "web")
        >>> form
        A form with the snapshots of a guest, and buttons to take, revert to and delete them: ...
    """
    return SnapshotForm(SnapshotsModel(lab, guest))


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
