"""An order for a guest, and what is to be said on each of its parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kvmlab.errors import KvmlabError
from kvmlab.host import Host
from kvmlab.images import Image
from kvmlab.lab import Lab
from kvmlab.limits import bytes_of_gib, check_memory, check_name, check_vcpus, max_vcpus

POOL = "default"
_GIB = 2**30


@dataclass(frozen=True)
class Order:
    """What is filled in: the name, and the book's five choices.

    Attributes:
        name: what the guest shall be called.
        image: the operating system, by the name of its image.
        memory_mib: its memory.
        vcpus: its CPU cores.
        disk_gib: the size of its disk.
        network: the network it is plugged into; None for none.

    Example:
        >>> Order("web", "tiny", 256, 1, 1.0, "default").arguments["disk_gib"]
        1
    """

    name: str
    image: str
    memory_mib: int
    vcpus: int
    disk_gib: float
    network: str | None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `lab.guests.create` after the name."""
        whole = self.disk_gib == int(self.disk_gib)
        return {
            "image": self.image,
            "memory_mib": self.memory_mib,
            "vcpus": self.vcpus,
            "disk_gib": int(self.disk_gib) if whole else self.disk_gib,
            "networks": [self.network] if self.network else [],
        }

    @property
    def python(self) -> str:
        """The Python call that makes this guest."""
        # Text, numbers and lists of text are spelt alike in JSON and in Python.
        lines = [json.dumps(self.name)]
        lines += [f"{name}={json.dumps(value)}" for name, value in self.arguments.items()]
        return "lab.guests.create(\n" + "".join(f"    {line},\n" for line in lines) + ")"


@dataclass(frozen=True)
class Surroundings:
    """What there is to order from, at the moment it was looked at.

    Attributes:
        host: the host's CPUs and memory.
        guests: the names that are taken.
        networks: the networks, and whether each is started.
        free_bytes: the room in the storage pool.
    """

    host: Host
    guests: frozenset[str]
    networks: Mapping[str, bool]
    free_bytes: int


def look(lab: Lab) -> Surroundings:
    """Look what there is to order from.

    It is not in the lab's log of commands: it is none of the learner's doing.

    Raises:
        KvmlabError: libvirt can't be asked, or has no storage pool of that name.

    Example:
        >>> look(lab).networks
        {'default': True}
    """
    with lab.virsh_log.action():  # takes up the questions asked within, and drops them
        return Surroundings(
            host=lab.host,
            guests=frozenset(lab.guests),
            networks={name: network.is_active for name, network in lab.networks.items()},
            free_bytes=lab.pools[POOL].available_bytes,
        )


@dataclass(frozen=True)
class Note:
    """What is said beside a field.

    Attributes:
        text: the sentence.
        kind: "hint" when all is well, "warning" for what can be made and may surprise,
            "error" for what can't, "done" for what has been made from this very form.
    """

    text: str
    kind: Literal["hint", "warning", "error", "done"] = "hint"

    @property
    def is_obstacle(self) -> bool:
        """Whether nothing can be made as it is."""
        return self.kind in ("error", "done")


def judge(
    order: Order, around: Surroundings, image: Image | None, made: str | None = None
) -> dict[str, Note]:
    """Return what is to be said on each field of an order.

    Args:
        order: what is filled in.
        around: what there is.
        image: the operating system; None when it is yet to be built.
        made: the name of the guest that was made last.

    Example:
        >>> judge(order, look(lab), image)["vcpus"]
        Note(text='1 to 4; this host has 2.', kind='hint')
    """
    return {
        "name": _on_name(order.name, around, made),
        "image": _on_image(image),
        "memory_mib": _on_memory(order.memory_mib, around.host, image),
        "vcpus": _on_vcpus(order.vcpus, around.host),
        "disk_gib": _on_disk(order.disk_gib, around.free_bytes, image),
        "network": _on_network(order.network, around.networks),
    }


def _on_name(name: str, around: Surroundings, made: str | None) -> Note:
    if error := _refusal(lambda: check_name(name)):
        return error
    if name not in around.guests:
        return Note("It will also be the guest's hostname.")
    if name == made:
        return Note("This guest is made. Choose another name to make another one.", "done")
    return Note("there is a guest of this name already. Choose another one.", "error")


def _on_image(image: Image | None) -> Note:
    if image is None:
        return Note("it is built first, once; that can take a minute.", "warning")
    return Note(f"It needs {image.min_memory_mib} MiB of memory, and likes {image.memory_mib}.")


def _on_memory(memory_mib: int, host: Host, image: Image | None) -> Note:
    least_mib = image.min_memory_mib if image else 1
    if error := _refusal(lambda: check_memory(memory_mib, host, least_mib=least_mib)):
        return error
    if memory_mib > host.free_memory_mib:
        return Note(
            f"of this host's memory, {host.free_memory_mib} MiB are free now. With more than "
            "that, everything gets slow.",
            "warning",
        )
    return Note(f"{least_mib} to {host.memory_mib}; {host.free_memory_mib} are free now.")


def _on_vcpus(vcpus: int, host: Host) -> Note:
    if error := _refusal(lambda: check_vcpus(vcpus, host)):
        return error
    if vcpus > host.vcpus:
        return Note(f"this host has {host.vcpus}, on which the guest's will take turns.", "warning")
    return Note(f"1 to {max_vcpus(host)}; this host has {host.vcpus}.")


def _on_disk(disk_gib: float, free_bytes: int, image: Image | None) -> Note:
    least_gib = image.virtual_size / _GIB if image else 0.0
    if error := _refusal(lambda: bytes_of_gib("disk_gib", disk_gib)):
        return error
    if disk_gib < least_gib:
        return Note(f"the operating system needs {least_gib:.2f} GiB.", "error")
    if disk_gib * _GIB > free_bytes:
        return Note(f"the storage pool has {free_bytes / _GIB:.1f} GiB left.", "error")
    return Note(f"{free_bytes / _GIB:.1f} are free; it takes up only what is written to it.")


def _on_network(network: str | None, networks: Mapping[str, bool]) -> Note:
    if network is None:
        return Note("No network card: nobody gets in, nothing gets out.")
    if not networks.get(network):
        return Note(
            "this network is not started, and the guest can't start before it is.", "warning"
        )
    return Note("A virtual switch; it gives the guest an address.")


def _refusal(check: Callable[[], object]) -> Note | None:
    """Make a note of why a check of the library's refuses a value; the value is in sight."""
    try:
        check()
    except KvmlabError as error:
        advice = f" {error.next_step}." if error.next_step else ""
        return Note(f"{error.happened}.{advice}", "error")
    return None
