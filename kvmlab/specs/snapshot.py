"""Snapshots of guests as libvirt's XML (https://libvirt.org/formatsnapshot.html)."""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.specs.disk import Disk
from kvmlab.specs.xml import Element, child, children, number, text


@dataclass(frozen=True)
class SnapshotDisk(Element, tag="disk"):
    """What a snapshot does with one disk.

    Attributes:
        name: the disk's target: "vda".
        snapshot: "internal", "external", or "no" for a disk that is left out.
        path: of an external one, the file that is written to from then on.
        format: that file's.

    Example:
        >>> SnapshotDisk(name="vda", snapshot="external").path is None
        True
    """

    name: str = text("@name")
    snapshot: str | None = text("@snapshot", None)
    path: str | None = text("source/@file", None)
    format: str | None = text("driver/@type", None)


@dataclass(frozen=True)
class FrozenGuest(Element, tag="domain"):
    """A guest as it was when a snapshot was taken: where its disks were.

    Example:
        >>> FrozenGuest(disks=(Disk(path="/srv/web.qcow2", target="vda"),)).disks[0].target
        'vda'
    """

    disks: tuple[Disk, ...] = children(Disk, "devices")


@dataclass(frozen=True)
class FrozenDefinition(FrozenGuest, tag="inactiveDomain"):
    """The definition of a guest that ran when a snapshot was taken: its next start.

    Example:
        >>> FrozenDefinition().disks
        ()
    """


@dataclass(frozen=True)
class SnapshotSpec(Element, tag="domainsnapshot"):
    """A snapshot of a guest.

    Attributes:
        name: its name, one of its guest's.
        description: what a person had to say on it.
        state: the guest's state then: "running", "paused", "shutoff"; "disk-snapshot"
            where the guest ran and its memory was left out.
        created_s: when it was taken, in seconds since 1970.
        parent: the name of the snapshot it was taken after.
        memory: where the guest's memory is: "internal", "external", or "no".
        memory_path: the file, if it is external.
        disks: what was done with each disk.
        revert_disks: where the disks went on after the last revert to it, if other snapshots
            were taken after it before; libvirt tells since 9.9.
        guest: the guest then.
        definition: its definition then, if it ran.

    Example:
        >>> SnapshotSpec(name="clean").kind
        'internal'
    """

    name: str = text("name")
    description: str | None = text("description", None)
    state: str | None = text("state", None)
    parent: str | None = text("parent/name", None)
    created_s: int | None = number("creationTime", None)
    memory: str | None = text("memory/@snapshot", None)
    memory_path: str | None = text("memory/@file", None)
    disks: tuple[SnapshotDisk, ...] = children(SnapshotDisk, "disks")
    revert_disks: tuple[SnapshotDisk, ...] = children(SnapshotDisk, "revertDisks")
    guest: FrozenGuest | None = child(FrozenGuest)
    definition: FrozenDefinition | None = child(FrozenDefinition)

    @property
    def kind(self) -> str:
        """Where it is kept: "internal" or "external"."""
        places = {self.memory, *(disk.snapshot for disk in self.disks)}
        return "external" if "external" in places else "internal"

    @property
    def has_memory(self) -> bool:
        """Whether the guest's memory is a part of it."""
        return self.memory in ("internal", "external")

    @property
    def has_definition(self) -> bool:
        """Whether the definition then is told apart from the guest as it ran."""
        return self.definition is not None

    @property
    def points(self) -> dict[str, str]:
        """The files that hold the disks as they were, by target, of those that took part."""
        taken = {disk.name for disk in self.disks if disk.snapshot in ("internal", "external")}
        disks = self.guest.disks if self.guest else ()
        return {disk.target: disk.path for disk in disks if disk.path and disk.target in taken}

    @property
    def held_in(self) -> list[str]:
        """The files that it is kept in together with what the guest writes to."""
        inside = {disk.name for disk in self.disks if disk.snapshot == "internal"}
        return [path for target, path in self.points.items() if target in inside]


@dataclass(frozen=True)
class Firmware(Element, tag="os"):
    """What a guest's firmware keeps its variables in.

    Example:
        >>> Firmware(auto="efi").is_uefi
        True
    """

    auto: str | None = text("@firmware", None)
    loader_type: str | None = text("loader/@type", None)
    variables: str | None = text("nvram", None)
    variables_format: str | None = text("nvram/@format", None)

    @property
    def is_uefi(self) -> bool:
        """Whether it is UEFI, which keeps variables, and not a BIOS."""
        return self.auto == "efi" or self.loader_type == "pflash" or self.variables is not None
