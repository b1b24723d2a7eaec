"""Making the file systems in a guest as large as the disk that they are on has become."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmlab.errors import NotSupported

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

# What each kind of file system is made larger with, while it is mounted; {} is its device,
# [] where it is mounted.
_GROW = {
    "ext2": "resize2fs {}",
    "ext3": "resize2fs {}",
    "ext4": "resize2fs {}",
    "xfs": "xfs_growfs []",
    "btrfs": "btrfs filesystem resize max []",
}
_PARTITION = re.compile(r"(?P<disk>[a-z]+|nvme\d+n\d+(?=p))p?(?P<number>\d+)")


def grow_file_systems(guest: GuestHandle, target: str) -> tuple[str, ...]:
    """Let the mounted file systems of one disk grow; return where they are mounted.

    Raises:
        AgentUnavailable: the guest's agent does not answer.
        NotSupported: there is nothing that can grow, or a tool is missing in the guest.
        CommandFailed: the tool failed.

    Example:
        >>> grow_file_systems(web, "vdb")
        ('/mnt',)
    """
    mounted = [each for each in file_systems(guest) if target in each[3] and each[2] in _GROW]
    if not mounted:
        raise NotSupported(
            f"no file system on {target} of guest {guest.name!r} is mounted that can grow",
            next_step=f"Mount one in the guest first; these can: {', '.join(_GROW)}",
        )
    for place, device, kind, _ in mounted:
        if partition := _PARTITION.fullmatch(device):
            _run(guest, f"growpart /dev/{partition['disk']} {partition['number']}")
        _run(guest, _GROW[kind].replace("{}", f"/dev/{device}").replace("[]", place))
    return tuple(dict.fromkeys(each[0] for each in mounted))


def file_systems(guest: GuestHandle) -> list[tuple[str, str, str, list[str]]]:
    """Return the guest's mounted file systems: where, device, kind and libvirt's disks.

    libvirt finds out which of its disks the guest means by comparing PCI addresses.

    Example:
        >>> file_systems(web)
        [('/', 'vda2', 'ext4', ['vda'])]
    """
    with guest._doing("domfsinfo", guest.name, question=True):
        told: list[Any] = guest._libvirt.fsInfo()
    return [(place, device, kind, list(disks)) for place, device, kind, disks in told]


def _run(guest: Any, command: str) -> None:
    tool = command.split()[0]
    if guest.run(f"command -v {tool}").exit_status:
        raise NotSupported(
            f"guest {guest.name!r} has no {tool}",
            next_step="Install it there; growpart is in cloud-guest-utils on Debian",
        )
    guest.run(command, check=True)
