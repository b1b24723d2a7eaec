"""The network form: a new network, where it would be on the map, and the same in a terminal.

`kvmlab.widgets.network_model.NetworkModel` knows what there is; this only shows it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab.errors import KvmlabError
from kvmlab.lab import Lab
from kvmlab.networks.network import Network
from kvmlab.networks.topology import Topology
from kvmlab.networks.wish import MODES
from kvmlab.plots import network_map
from kvmlab.widgets.create import STYLE, WORDS
from kvmlab.widgets.create_order import Note
from kvmlab.widgets.form import Form
from kvmlab.widgets.network_model import NetworkModel

# What is in the fields, in the words of libvirt.
TERMS = {
    "Name": "The name by which libvirt knows the network",
    "Mode": "How packets leave the network: libvirt's <forward mode=...>",
    "Addresses": "The network's subnets in CIDR notation, with commas between them",
    "Give out addresses": "DHCP: the host answers guests that ask for an address",
    "Keep guests apart": "Port isolation: guests can't reach each other",
    "Bridge": "For mode bridge: the bridge of the host that guests are plugged into",
}


class NetworkForm(Form):
    """The widgets of a network form; `network_form` makes one.

    Args:
        model: what to show.

    Attributes:
        model: the same.

    Example:
        >>> NetworkForm(NetworkModel(lab)).model.order.mode
        'nat'
    """

    def __init__(self, model: NetworkModel) -> None:
        self.model = model
        self._lock = threading.RLock()
        self._drawn: Topology | None = None
        order = model.order
        self.fields = {
            "name": _field(widgets.Text, "Name", order.name, continuous_update=True),
            "mode": _field(widgets.Dropdown, "Mode", order.mode, options=MODES),
            "cidr": _field(widgets.Text, "Addresses", order.cidr, continuous_update=True),
            "dhcp": _field(widgets.Checkbox, "Give out addresses", order.dhcp),
            "isolated_ports": _field(widgets.Checkbox, "Keep guests apart", order.isolated_ports),
            "bridge": _field(
                widgets.Dropdown, "Bridge", order.bridge or "", options=_bridges(model)
            ),
        }
        self._notes = {name: widgets.HTML(layout={"flex": "1 1 300px"}) for name in self.fields}
        for name, field in self.fields.items():
            field.observe(partial(self._filled_in, name), names="value")
        self.button = widgets.Button(
            description="Create", icon="plus", button_style="primary", layout={"width": "170px"}
        )
        self.button.on_click(self._pressed)
        self.again = widgets.Button(
            description="Look again", icon="refresh", tooltip="Draw the map as it is now"
        )
        self.again.on_click(lambda _: model.refresh())
        self._result, self._map = widgets.HTML(), widgets.HTML()
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
                widgets.Box([self.button, self.again], layout=row),
                self._result,
                self._map,
                self._python,
                self._virsh,
            ],
            what="a new network and a map of all networks",
        )
        self.add_class("kvmlab-create")
        self._show()
        model.on_change = self._show

    @property
    def network(self) -> Network | None:
        """The network that the button has made; None as long as there is none."""
        return self.model.network

    def create(self) -> Network:
        """Press the button.

        Raises:
            KvmlabError: it can't be made.

        Example:
            >>> form.create()
            <Network backstage>
        """
        return self.model.create()

    def close(self) -> None:
        """Follow no more events, and go.

        Example:
            >>> form.close()
        """
        self.model.close()
        super().close()

    # ---- showing what there is

    def _filled_in(self, name: str, change: dict[str, Any]) -> None:
        value = change["new"]
        self.model.set(**{name: (value or None) if name == "bridge" else value})

    def _pressed(self, _: widgets.Button) -> None:
        with suppress(KvmlabError):  # `problem` tells
            self.model.create()

    def _show(self) -> None:
        """Bring every part up to date; called from whichever thread changed something."""
        with self._lock:
            model = self.model
            is_bridged = model.order.mode == "bridge"
            for name, field in self.fields.items():
                self._notes[name].value = _note(model.notes.get(name, Note("")))
                if name in ("cidr", "dhcp", "isolated_ports"):
                    field.disabled = is_bridged
            self.fields["bridge"].disabled = not is_bridged
            self.button.disabled = not model.can_create
            self.button.tooltip = f"Create {model.order.name}, and start it"
            self._result.value = _result(model)
            self._python.value = _same("The same in Python", model.order.python)
            if model.virsh:
                self._virsh.value = _same("The same in a terminal", model.virsh)
            # What can't be made has no commands: the last ones stay, and look out of date.
            (self._virsh.remove_class if model.virsh else self._virsh.add_class)("kvmlab-past")
            if (there := model.topology) != self._drawn:
                self._drawn = there
                self._map.value = network_map(there)._repr_mimebundle_()["text/html"]


def network_form(lab: Lab, name: str | None = None) -> NetworkForm:
    """Show a form that makes a network, and the map with it before it is made.

    What is filled in is checked at once against what there is, and shown as the Python call
    and as the commands that do the same. The map also follows what guests do.

    Args:
        lab: where the network shall be made.
        name: what it shall be called at first; by default a name that is free.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> form = network_form(lab, "backstage")
        >>> form
        A form with a new network and a map of all networks: run this cell to see it.
        >>> backstage = form.network or form.create()
    """
    return NetworkForm(NetworkModel(lab, name))


def _bridges(model: NetworkModel) -> list[tuple[str, str]]:
    return [(each, each) for each in model.around.bridges] or [("none", "")]


def _field(kind: type[widgets.Widget], label: str, value: Any, **traits: Any) -> widgets.Widget:
    if kind is widgets.Checkbox:
        traits |= {"indent": True}
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


def _same(heading: str, code: str) -> str:
    lines = "".join(f"<span>{escape(line) or ' '}</span>" for line in code.splitlines())
    return (
        f'<div class="kvmlab-same">{heading}</div>'
        f'<pre tabindex="0" role="region" aria-label="{heading}">{lines}</pre>'
    )


def _result(model: NetworkModel) -> str:
    if model.problem:
        return (
            f'<div role="alert" class="kvmlab-note kvmlab-error"><b>Not made.</b> '
            f"{escape(model.problem)}</div>"
        )
    if model.network is None:
        return ""
    name = escape(model.network.name)
    return (
        f'<div role="status">Network <b>{name}</b> is made, and started. '
        f"<code>guest.interfaces.attach(&quot;{name}&quot;)</code> plugs a guest into it.</div>"
    )
