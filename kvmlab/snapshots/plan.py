"""Taking a snapshot: whether it can work, of which kind it is, and where its files go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import libvirt

from kvmlab.errors import (
    AgentUnavailable,
    GuestNotRunning,
    InvalidArgument,
    NotSupported,
    SnapshotAlreadyExists,
    WrongState,
)
from kvmlab.limits import check_snapshot_name
from kvmlab.specs import Disk, Firmware, SnapshotDisk, SnapshotSpec

Kind = Literal["internal", "external"]

_OTHER = {"internal": "external", "external": "internal"}

# Before, libvirt could take a snapshot of a guest's disk without its firmware's variables
# only, and bring back or delete one of them not at all (release notes of 10.9 and 10.10).
_UEFI_INTERNAL = 10_010_000


@dataclass(frozen=True)
class Subject:
    """A guest, as far as a snapshot of it depends on it.

    Attributes:
        name: the guest's name.
        state: its state, in virsh's word.
        disks: its disks.
        firmware: its firmware.
        has_managed_save: whether its memory is in a file for the next start.
        has_agent: whether its agent listens.
        snapshots: those it has.
        libvirt_version: libvirt's, as libvirt numbers them.
        taken: looks which files there are beside the disks.
    """

    name: str
    state: str
    disks: Sequence[Disk]
    firmware: Firmware
    has_managed_save: bool
    has_agent: bool
    snapshots: Sequence[SnapshotSpec]
    libvirt_version: int
    taken: Callable[[], frozenset[str]]

    @property
    def is_active(self) -> bool:
        """Whether there is memory to take a snapshot of."""
        return self.state not in ("shut off", "crashed")

    @property
    def written(self) -> list[Disk]:
        """The disks that can change: those a snapshot is about."""
        return [disk for disk in self.disks if disk.device == "disk" and not disk.readonly]


@dataclass(frozen=True)
class Plan:
    """A snapshot to be taken.

    Attributes:
        spec: what libvirt is told.
        flags: and how.
        words: the virsh command that does the same.
    """

    spec: SnapshotSpec
    flags: int
    words: tuple[str, ...]


def draw_up(
    subject: Subject,
    name: str,
    *,
    description: str = "",
    kind: Kind | None = None,
    memory: bool | None = None,
    quiesce: bool = False,
    mixed: bool = False,
) -> Plan:
    """Plan a snapshot; its arguments are those of `kvmlab.snapshots.snapshots.Snapshots.create`.

    Raises:
        KvmlabError: it can't be taken, and why.

    Example:
        >>> draw_up(subject, "clean").words
        ('snapshot-create-as', 'web', 'clean')
    """
    check_snapshot_name(name)
    _check_description(description)
    if kind not in (None, "internal", "external"):
        raise InvalidArgument(
            "no such kind of snapshot", seen=kind, next_step="There is: 'internal', 'external'"
        )
    if any(each.name == name for each in subject.snapshots):
        raise SnapshotAlreadyExists(f"guest {subject.name!r} has such a snapshot", seen=name)
    _check_guest(subject)
    kind = _kind(subject, kind, mixed=mixed)
    if kind == "internal" and (why := obstacle(subject)):
        raise why
    if quiesce:
        _check_quiesce(subject, kind, memory)
    memory = _memory(subject, kind, memory, quiesce=quiesce)
    return _write(subject, name, description, kind, memory=memory, quiesce=quiesce)


def obstacle(subject: Subject) -> NotSupported | None:
    """Return why a guest can have no internal snapshot, or ``None`` if it can.

    Example:
        >>> obstacle(subject) is None
        True
    """
    external = "Take an external one: kind='external'"
    for disk in subject.written:
        if disk.format != "qcow2":
            return NotSupported(
                f"an internal snapshot is kept in the disk's own file, and disk {disk.target!r} "
                "is in a format that can hold none",
                seen=disk.format,
                next_step=external,
            )
    if subject.firmware.is_uefi and not (
        subject.libvirt_version >= _UEFI_INTERNAL and subject.firmware.variables_format == "qcow2"
    ):
        return NotSupported(
            "an internal snapshot of a guest with UEFI firmware would leave out the firmware's "
            "variables, unless they are in qcow2 format and libvirt is 10.10 or later",
            seen=_version(subject.libvirt_version),
            next_step=external,
        )
    return None


def file_beside(path: str, name: str, taken: Iterable[str], suffix: str = "") -> str:
    """Return a free file name for a snapshot of a disk, as libvirt would choose it.

    Example:
        >>> file_beside("/images/web.qcow2", "clean", taken=())
        '/images/web.clean'
        >>> file_beside("/images/web.qcow2", "clean", taken={"/images/web.clean"})
        '/images/web.clean-2'
    """
    disk, taken = PurePosixPath(path), set(taken)
    begin = disk.parent / (disk.name.rpartition(".")[0] or disk.name)
    found, number = f"{begin}.{name}{suffix}", 2
    while found in taken:
        found, number = f"{begin}.{name}-{number}{suffix}", number + 1
    return found


def _check_description(description: str) -> None:
    if not isinstance(description, str) or not description.isprintable():
        raise InvalidArgument(
            "a snapshot's description is one line of text",
            seen=description,
            next_step="Leave out line breaks and control characters",
        )


def _check_guest(subject: Subject) -> None:
    if subject.has_managed_save:
        raise WrongState(
            f"guest {subject.name!r} has a managed save: memory that goes with its disks as they "
            "are, and would be lost to them",
            next_step="Start it, or throw its memory away: guest.remove_managed_save()",
        )
    if not subject.written:
        raise NotSupported(
            f"guest {subject.name!r} has no disk that is written to, so that there is nothing "
            "to go back to",
            next_step="Give it a disk first",
        )
    for disk in subject.written:
        if disk.shareable:
            raise NotSupported(
                f"disk {disk.target!r} is shared: another guest may be writing to it, and would "
                "not know of the snapshot",
                seen=disk.path,
                next_step="Detach it first",
            )
        if disk.path is None:
            raise NotSupported(
                f"disk {disk.target!r} is not kept in a file",
                next_step="Take the snapshot with the tools of what it is kept in",
            )


def _kind(subject: Subject, kind: Kind | None, *, mixed: bool) -> Kind:
    kinds = {each.kind for each in subject.snapshots}
    if kind and not mixed and _OTHER[kind] in kinds:
        raise WrongState(
            f"guest {subject.name!r} has {_OTHER[kind]} snapshots. Kinds don't mix: an internal "
            "one is in a file that deleting an external one takes away",
            seen=kind,
            next_step=f"Take kind={_OTHER[kind]!r}, or insist with mixed=True",
        )
    if kind:
        return kind
    if kinds:
        return "internal" if kinds == {"internal"} else "external"
    return "external" if obstacle(subject) else "internal"


def _check_quiesce(subject: Subject, kind: Kind, memory: bool | None) -> None:
    if kind == "internal" or memory:
        raise InvalidArgument(
            "quiescing is for disks alone: with the guest's memory, nothing of it is under way "
            "elsewhere",
            seen=f"kind={kind!r}, memory={memory!r}",
            next_step="Leave quiesce out, or take kind='external', memory=False",
        )
    if not subject.is_active:
        raise GuestNotRunning(
            f"guest {subject.name!r} is off: its file systems are still already",
            seen=subject.state,
            next_step="Leave quiesce out",
        )
    if subject.state == "paused":
        raise WrongState(
            f"guest {subject.name!r} is paused: its agent can't hear that",
            next_step="Resume it first: guest.resume()",
        )
    if not subject.has_agent:
        raise AgentUnavailable(
            f"guest {subject.name!r} has no agent that could hold its file systems still",
            next_step="Wait for it with guest.wait_ready(), or leave quiesce out",
        )


def _memory(subject: Subject, kind: Kind, memory: bool | None, *, quiesce: bool) -> bool:
    if memory and not subject.is_active:
        raise GuestNotRunning(
            f"guest {subject.name!r} is off: it has no memory to keep",
            seen=subject.state,
            next_step="Start it, or leave memory out",
        )
    if memory is False and kind == "internal" and subject.is_active:
        raise NotSupported(
            "QEMU keeps the memory of a running guest in every internal snapshot",
            seen=memory,
            next_step="Shut the guest down first, or take kind='external'",
        )
    return subject.is_active and not quiesce if memory is None else memory


def _write(
    subject: Subject, name: str, description: str, kind: Kind, *, memory: bool, quiesce: bool
) -> Plan:
    words, flags, disks = ["snapshot-create-as", subject.name, name], 0, []
    if description:
        words += ["--description", description]
    path = None
    if kind == "external":
        taken = set(subject.taken())
        if memory:
            path = file_beside(subject.written[0].path or "", name, taken, ".mem")
            words += ["--memspec", f"file={_doubled(path)},snapshot=external"]
        else:
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            words.append("--disk-only")
        for disk in subject.written:
            file = file_beside(disk.path or "", name, taken)
            taken.add(file)
            disks.append(SnapshotDisk(name=disk.target, snapshot="external", path=file))
            words += ["--diskspec", f"{disk.target},snapshot=external,file={_doubled(file)}"]
    if quiesce:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
        words.append("--quiesce")
    spec = SnapshotSpec(
        name=name,
        description=description or None,
        memory="external" if path else None,
        memory_path=path,
        disks=tuple(disks),
    )
    return Plan(spec, flags, tuple(words))


def _doubled(path: str) -> str:
    """Write a path where virsh takes a comma for the end of it."""
    return path.replace(",", ",,")


def _version(number: int) -> str:
    return f"libvirt {number // 1_000_000}.{number // 1000 % 1000}"
