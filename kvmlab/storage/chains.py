"""Backing chains: an overlay, what it is an overlay on, and so on down to the base."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import BackingMissing, InUse, InvalidArgument, VolumeNotFound, translate
from kvmlab.libvirt_errors import translated
from kvmlab.specs import VolumeSpec
from kvmlab.storage import qemuimg
from kvmlab.storage.usage import Use, refuse, refuse_if_it_holds_snapshots, survey

if TYPE_CHECKING:
    from kvmlab.lab import Lab

# How kvmlab names what it uploads for guests to be made from: kvmlab.guests.creation.
_IMAGE = re.compile(r"kvmlab-.+-[0-9a-f]{12}\.\w+")


@dataclass(frozen=True)
class Link:
    """One file of a backing chain.

    Attributes:
        path: the file.
        format: "qcow2", "raw", ...
        capacity_bytes: how large a disk it is.
        allocation_bytes: how much room it takes on the host.
        backing: the file it is an overlay on, if it is one.
        users: the guests that have it as a disk, as "guest (target)".

    Example:
        >>> [link.name for link in web.disks["vda"].chain()]
        ['web.qcow2', 'kvmlab-tiny-3fa9c2d17b60.qcow2']
    """

    path: str
    format: str
    capacity_bytes: int
    allocation_bytes: int
    backing: str | None = None
    users: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return PurePosixPath(self.path).name


def chain_of(lab: Lab, path: str) -> tuple[Link, ...]:
    """Return a file and what is below it, from the one that is written to down to the base.

    Files of storage pools are asked for from libvirt; others, where this libvirt is on this
    machine, from ``qemu-img``.

    Raises:
        BackingMissing: a file of the chain is not there; the message says which, and of whom.
        VolumeNotFound: ``path`` itself is not there.

    Example:
        >>> chain_of(lab, volume.path)
        (Link(path='/var/lib/libvirt/images/web.qcow2', format='qcow2', ...),)
    """
    users = _users(lab)
    links: list[Link] = []
    wanted: str | None = path
    while wanted is not None:
        if wanted in {link.path for link in links}:
            raise BackingMissing("a chain that bites its own tail has no base", seen=wanted)
        found = _look_up(lab, wanted)
        if found is None and links:
            raise BackingMissing(
                f"{links[-1].name} is an overlay on a file that is not there", seen=wanted
            )
        if found is None:
            raise VolumeNotFound(
                "there is no such file in any storage pool that is started",
                seen=wanted,
                next_step="pool.refresh() looks again",
            )
        links.append(_link(wanted, found, users))
        wanted = found.backing_path
    return tuple(links)


def index_of(chain: Sequence[Link], name: str) -> int:
    """Return which file of a chain is meant by a name or a path.

    Raises:
        InvalidArgument: none of them.

    Example:
        >>> index_of(web.disks["vda"].chain(), "web.qcow2")
        0
    """
    for number, link in enumerate(chain):
        if name in (link.name, link.path):
            return number
    raise InvalidArgument(
        "there is no such file in the chain",
        seen=name,
        next_step=f"There is: {', '.join(link.name for link in chain)}",
    )


def refuse_commit(
    lab: Lab,
    chain: Sequence[Link],
    first: int,
    last: int,
    *,
    guest: str | None = None,
    but: Callable[[Use], bool] = lambda _: False,
) -> None:
    """Refuse a commit that would break something else.

    Args:
        lab: where to look.
        chain: the chain, from the top down.
        first: which of its files is committed.
        last: into which.
        guest: the guest whose chain it is.
        but: tells which uses do not matter.

    Raises:
        InvalidArgument: the one is not below the other.
        InUse: others need what would change.

    Example:
        >>> refuse_commit(lab, volume.chain(), 0, 1)
    """
    if not 0 <= first < last < len(chain):
        raise InvalidArgument(
            f"{chain[first].name} has no such file below it",
            seen=[link.name for link in chain],
            next_step="A commit goes down the chain: from the left to the right here",
        )
    base = chain[last]
    what = f"nothing can be committed into {base.name!r}"
    if _IMAGE.fullmatch(base.name):
        raise InUse(
            f"{what}: it is an image, from which further guests are made",
            next_step="Let the disk stand alone instead: pull or flatten it",
        )
    refuse_if_it_holds_snapshots(
        lab,
        [link.path for link in chain[first:last]],
        f"{chain[first].name!r} can't be committed",
    )
    # Whatever stands on a file that changes, and is not a part of this chain, would change.
    paths = {link.path for link in chain[first + 1 : last + 1]}
    inside = {link.path for link in chain[first:last]}
    uses = [
        use
        for use in survey(lab)
        if use.path in paths
        and use.overlay not in inside
        and not (guest is not None and use.guest == guest and not use.is_snapshot)
        and not but(use)
    ]
    refuse(
        uses,
        what,
        next_step="Delete what is of no more use; or pull, which changes only the file on top",
    )


def every_link(lab: Lab, *, pools: Iterable[str] | None = None) -> tuple[Link, ...]:
    """Return every volume that is an overlay, has one on it, or is a guest's disk.

    Args:
        lab: where to look.
        pools: only the volumes of these storage pools.

    Example:
        >>> plots.backing_chain(every_link(lab))
    """
    users, links = _users(lab), {}
    flags = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
    with translated("look at the backing chains"):
        for pool in lab.connection.listAllStoragePools(flags):
            if pools is None or pool.name() in set(pools):
                for volume in pool.listAllVolumes():
                    links[volume.path()] = _link(
                        volume.path(), VolumeSpec.from_xml(volume.XMLDesc()), users
                    )
    below = {link.backing for link in links.values()}
    return tuple(
        link for path, link in sorted(links.items()) if link.backing or link.users or path in below
    )


def _users(lab: Lab) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for use in survey(lab):
        if use.is_disk:
            found[use.path][f"{use.guest} ({use.target})"] = None
    return {path: tuple(names) for path, names in found.items()}


def _link(path: str, spec: VolumeSpec, users: dict[str, tuple[str, ...]]) -> Link:
    return Link(
        path=path,
        format=spec.format or "raw",
        capacity_bytes=spec.capacity_bytes,
        allocation_bytes=spec.allocation_bytes or 0,
        backing=spec.backing_path,
        users=users.get(path, ()),
    )


def _look_up(lab: Lab, path: str) -> VolumeSpec | None:
    """Ask libvirt for a file, and where it knows none of that path, qemu-img."""
    is_local = qemuimg.is_local(lab)
    try:
        return VolumeSpec.from_xml(lab.connection.storageVolLookupByPath(path).XMLDesc())
    except libvirt.libvirtError as error:
        if is_local and not Path(path).exists():
            return None  # libvirt may still have it in its list
        problem = translate(error, doing=f"look at {path}")
        if not isinstance(problem, VolumeNotFound):
            raise problem from error
    return qemuimg.read(lab, path) if is_local else None
