"""What the network form knows and does; there is no ipywidgets in here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from kvmlab.errors import KvmlabError
from kvmlab.events import Event
from kvmlab.lab import Lab
from kvmlab.networks.cidr import free_block
from kvmlab.networks.network import Network
from kvmlab.networks.topology import Switch, Topology, read_topology
from kvmlab.widgets.create_order import Note
from kvmlab.widgets.network_order import NetworkOrder, judge, look

# After these a guest's place on the map may be another one.
_MOVES = {"defined", "undefined", "started", "stopped", "agent", "device removed"}


class NetworkModel:
    """An order for a network: what is wrong with it, and where it would be on the map.

    The map follows the guests' events, whoever caused them, until the model is closed.

    Args:
        lab: where the network shall be made.
        name: what it shall be called at first; by default a name that is free.

    Attributes:
        order: what is filled in now.
        notes: what is to be said on each field of it.
        virsh: the commands that make this network; empty as long as something is wrong.
        problem: why the order can't be carried out, where no single field is to blame, or
            why the last network was not made.
        network: the network that was made last.
        topology: the map as it is, with the network that is ordered on it.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> model = NetworkModel(lab, "backstage")
        >>> model.set(cidr="192.168.122.0/24")
        >>> model.notes["cidr"].kind
        'error'
        >>> model.set(cidr="10.10.0.0/24")
        >>> model.create()
        <Network backstage>
    """

    def __init__(self, lab: Lab, name: str | None = None) -> None:
        self._lab = lab
        self._lock = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None
        self.virsh = self.problem = ""
        self.notes: dict[str, Note] = {}
        self.network: Network | None = None
        self._made: NetworkOrder | None = None
        # Subscribe first, look then: nothing that happens between the two is missed.
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._unsubscribe = lab.events.subscribe(self._inbox.put)
        try:
            self.around = look(lab)
            self._there = read_topology(lab)
        except KvmlabError:
            self._unsubscribe()
            raise
        self.order = NetworkOrder(
            name=self._free_name() if name is None else name,
            mode="nat",
            cidr=str(free_block(self.around.taken)),
            bridge=next(iter(self.around.bridges), None),
        )
        self._judge()
        self._follower = threading.Thread(
            target=self._follow, name="kvmlab-network-form", daemon=True
        )
        self._follower.start()

    def close(self) -> None:
        """Follow no more events."""
        self.on_change = lambda: None
        self._unsubscribe()
        self._inbox.put(None)
        if threading.current_thread() is not self._follower:
            self._follower.join()

    # ---- what there is to see

    @property
    def can_create(self) -> bool:
        """Whether all is well."""
        return bool(self.virsh)

    @property
    def topology(self) -> Topology:
        """The map: what there is, and, if it can be made, the network that is ordered."""
        if not self.can_create:
            return self._there
        order = self.order
        draft = Switch(
            order.name,
            order.mode,
            order.bridge if order.mode == "bridge" else None,
            () if order.mode == "bridge" else tuple(order.cidrs),
            is_active=False,
            isolated_ports=order.isolated_ports and order.mode != "bridge",
            is_draft=True,
        )
        return replace(self._there, switches=(*self._there.switches, draft))

    # ---- what can be done

    def set(self, **values: Any) -> None:
        """Fill in some fields of the order.

        Args:
            values: by the names of `NetworkOrder`'s attributes.

        Example:
            >>> model.set(mode="isolated", dhcp=False)
        """
        with self._lock:
            self.order = replace(self.order, **values)
            self.problem = ""
            self._judge()
        self.on_change()

    def refresh(self) -> None:
        """Look at the lab again.

        Example:
            >>> model.refresh()
        """
        with self._lock:
            self._judge()
        self.on_change()

    def create(self) -> Network:
        """Make the network, and start it.

        Where the button was pressed for the same order, that network is the one.

        Raises:
            KvmlabError: it can't be made.

        Example:
            >>> model.create()
            <Network backstage>
        """
        with self._lock:
            order = self.order
            if self.network and self._made == order and order.name in self._lab.networks:
                return self.network
            self.problem = ""
            try:
                self.network = self._lab.networks.create(order.name, **order.arguments)
                self._made = order
            except KvmlabError as error:
                self.problem = str(error)
                raise
            finally:
                self._judge()
                self.on_change()
            return self.network

    # ---- how it is done

    def _judge(self) -> None:
        """Look again at what there is, and compare the order with it."""
        self.virsh = ""
        try:
            self.around = look(self._lab)
            self._there = read_topology(self._lab)
            made = self.network.name if self.network else None
            self.notes = judge(self.order, self.around, made)
            if not any(note.is_obstacle for note in self.notes.values()):
                with self._lab.virsh_log.action():  # keeps its questions out of the log
                    self.virsh = self._lab.networks.preview(self.order.name, **self.order.arguments)
        except KvmlabError as error:
            self.problem = self.problem or str(error)

    def _follow(self) -> None:
        while event := self._inbox.get():
            if event.kind in _MOVES:
                self.refresh()

    def _free_name(self) -> str:
        return next(
            name for name in (f"net{n}" for n in count(1)) if name not in self.around.networks
        )
