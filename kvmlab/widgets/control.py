"""The control panel: a lab's guests, and a button for everything that can be done to one.

`kvmlab.widgets.control_model.ControlModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
import time
from html import escape

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab.lab import Lab
from kvmlab.plots.drawing import HARDWARE
from kvmlab.widgets.control_actions import ACTIONS, ALIVE, AUTOSTART, Press
from kvmlab.widgets.control_looks import COLOURS, ICONS, STYLE, WHEREABOUTS
from kvmlab.widgets.control_model import ControlModel
from kvmlab.widgets.form import Form
from kvmlab.widgets.rows import Row


class ControlPanel(Form):
    """The widgets of a control panel; `control_panel` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.

    Example:
        >>> panel = ControlPanel(ControlModel(lab))
        >>> panel.close()
    """

    def __init__(self, model: ControlModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        self._guests: dict[str, widgets.Button] = {}
        self._list = widgets.VBox(layout=widgets.Layout(width="210px", flex="0 0 auto"))
        self._card, self._status = widgets.HTML(), widgets.HTML()
        self._buttons = {name: self._button(name) for name in ACTIONS}
        self._autostart = widgets.Checkbox(
            description="Autostart: start it whenever the host starts",
            tooltip=AUTOSTART[True].tip,
            indent=False,
            layout=widgets.Layout(width="auto"),
        )
        self._autostart.observe(self._autostart_ticked, names="value")
        self._loss = widgets.HTML()
        self._yes = widgets.Button(button_style="danger", icon="plug", layout={"width": "auto"})
        self._no = widgets.Button(description="Keep it as it is", layout={"width": "auto"})
        self._yes.on_click(self._confirmed)
        self._no.on_click(self._cancelled)
        self._question = widgets.VBox([self._loss, widgets.HBox([self._yes, self._no])])
        self._logs = [_log("In Python"), _log("With virsh")]
        row = widgets.Layout(flex_flow="row wrap", grid_gap="4px")
        chosen = widgets.VBox(
            [
                self._card,
                widgets.Box(list(self._buttons.values()), layout=row),
                self._autostart,
                self._question,
                self._status,
            ],
            layout=widgets.Layout(flex="1 1 460px", grid_gap="6px"),
        )
        top = widgets.Layout(flex_flow="row wrap", grid_gap="20px", align_items="flex-start")
        super().__init__(
            [
                widgets.HTML(STYLE),
                widgets.Box([self._list, chosen], layout=top),
                widgets.Box(self._logs, layout=widgets.Layout(flex_flow="row wrap")),
            ],
            what="the guests of the lab and a button for each thing to do to them",
        )
        self.add_class("kvmlab-control")
        self._show()
        model.on_change = self._show

    def close(self) -> None:
        """Take the panel away, and follow no more events."""
        self.model.close()
        super().close()

    # ---- the parts

    def _button(self, name: str) -> widgets.Button:
        action = ACTIONS[name]
        button = widgets.Button(
            description=action.label,
            tooltip=action.tip,
            icon=ICONS[name],
            button_style="danger" if action.confirm else "",
            layout=widgets.Layout(width="auto"),
        )
        button.on_click(lambda _: self.model.press(name))
        return button

    def _guest_button(self, name: str) -> widgets.Button:
        button = widgets.Button(layout=widgets.Layout(width="auto", height="34px"))
        button.add_class("kvmlab-guest")
        button.on_click(lambda _: self.model.choose(name))
        return button

    def _autostart_ticked(self, change: dict[str, bool]) -> None:
        row = self.model.row
        if row and change["new"] != row.autostart:
            self.model.press("autostart")
            self._show()  # where that was not possible, the tick goes back

    # What had the keyboard's attention goes away with the question: it needs a new place.

    def _confirmed(self, _: widgets.Button) -> None:
        if button := self._guests.get(self.model.chosen):
            button.focus()
        self.model.confirm()

    def _cancelled(self, _: widgets.Button) -> None:
        self._buttons["destroy"].focus()
        self.model.cancel()

    # ---- showing what there is

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            self._show_list()
            self._card.value = _card(model)
            for name, button in self._buttons.items():
                button.disabled = not model.allows(name)
            self._autostart.disabled = not model.allows("autostart")
            self._autostart.value = bool(model.row and model.row.autostart)
            self._show_question()
            self._status.value = _status(model)
            for log, text in zip(self._logs, (model.python_log, model.virsh_log), strict=True):
                log.value = text
                log.rows = min(max(4, text.count("\n") + 2), 14)

    def _show_list(self) -> None:
        rows = {row.name: row for row in self.model.rows}
        if list(rows) != list(self._guests):
            self._guests = {
                name: self._guests.get(name) or self._guest_button(name) for name in rows
            }
            heading = widgets.HTML("<b>Guests</b>" if rows else "<b>There is no guest yet</b>")
            self._list.children = (heading, *self._guests.values())
        for name, button in self._guests.items():
            state, chosen = rows[name].state, name == self.model.chosen
            button.description = f"{name}: {state}"
            button.tooltip = f"{name} is chosen" if chosen else f"Choose {name}"
            button.style.button_color, _ = COLOURS.get(state, HARDWARE)
            button.style.text_color = "#1f2933"
            (button.add_class if chosen else button.remove_class)("kvmlab-chosen")

    def _show_question(self) -> None:
        action, asked_before = self.model.asking, self._question.layout.display != "none"
        self._question.layout.display = "flex" if action else "none"
        if action:
            self._loss.value = f'<div role="alert">{escape(action.confirm)}</div>'
            self._yes.description = f"{action.label.rstrip('…')} {self.model.chosen}"
            if not asked_before:
                self._no.focus()


def control_panel(lab: Lab, guest: str | None = None) -> ControlPanel:
    """Show a lab's guests with a button for everything that can be done to one of them.

    The panel follows libvirt's events, so that it shows at once what `virsh` or anybody else
    does. What is pressed it also writes down, as Python and as virsh commands.

    Args:
        lab: whose guests.
        guest: the one to choose at first.

    Raises:
        GuestNotFound: there is no guest of that name.
        KvmlabError: libvirt can't be asked.

    Example:
        >>> panel = control_panel(lab)
        >>> panel
        A form with the guests of the lab and a button for each thing to do to them: ...
        >>> panel.close()
    """
    return ControlPanel(ControlModel(lab, guest))


def _log(heading: str) -> widgets.Textarea:
    """A text to copy from, with its heading above it."""
    return widgets.Textarea(
        description=heading,
        placeholder="What you press is written down here, to be copied",
        rows=4,
        layout=widgets.Layout(flex="1 1 380px", width="auto"),
    )


def _card(model: ControlModel) -> str:
    row = model.row
    if row is None:
        return (
            "<p>Make one, and it shows up here: "
            '<code>lab.guests.create("web", image="tiny")</code></p>'
        )
    fill, border = COLOURS.get(row.state, HARDWARE)
    pill = (
        f"background: {fill}; border: 1px solid {border}; color: #1f2933; border-radius: 10px; "
        "padding: 1px 10px; margin-left: 10px"
    )
    cpus, memory = WHEREABOUTS.get(row.state, ("unknown", "unknown"))
    facts = [("CPUs", cpus), ("Memory", memory), ("Address", _address(model, row))]
    lines = "".join(
        f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in facts
    )
    return (
        f'<div class="kvmlab-card" role="status"><div style="margin-bottom: 6px">'
        f'<b style="font-size: 1.35em">{escape(row.name)}</b>'
        f'<span style="{pill}">{escape(row.state)}</span></div><table>{lines}</table></div>'
    )


def _address(model: ControlModel, row: Row) -> str:
    if model.address:
        return model.address
    return "none yet" if row.state in ALIVE else "none"


def _status(model: ControlModel) -> str:
    if model.under_way:
        return _progress(model.under_way)
    if not model.message:
        return ""
    role = "alert" if model.message.failed else "status"
    mark = "&#9888; " if model.message.failed else ""
    return f'<div role="{role}">{mark}{escape(model.message.text)}</div>'


def _progress(press: Press) -> str:
    """What is being done, with a bar: of the time it may take, where that is known."""
    elapsed_s, limit_s = time.monotonic() - press.started_s, press.action.limit_s
    text = f"{press.guest}: {press.action.under_way}"
    if limit_s is None:
        bar = "width: 30%; animation: kvmlab-sweep 1.2s linear infinite"
        sweep = ' class="kvmlab-sweep"'
    else:
        text += f" (for {limit_s:g} s at most)"
        # The browser moves the bar: nobody here need wake up for that.
        bar = f"animation: kvmlab-fill {limit_s}s linear -{elapsed_s:.1f}s forwards"
        sweep = ""
    return (
        f'<div role="status">{escape(text)} ...</div>'
        f'<div class="kvmlab-bar" aria-hidden="true"><div{sweep} style="{bar}"></div></div>'
    )
