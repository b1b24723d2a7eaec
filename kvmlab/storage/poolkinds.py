"""The kinds of storage pool: what each needs, and why one can't be had.

https://libvirt.org/storage.html tells of each.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import libvirt

from kvmlab.errors import (
    DeviceNotFound,
    Forbidden,
    InUse,
    InvalidArgument,
    KvmlabError,
    NotSupported,
)
from kvmlab.libvirt_errors import translated
from kvmlab.specs import PoolSpec
from kvmlab.storage import qemuimg

if TYPE_CHECKING:
    from kvmlab.lab import Lab

Kind = Literal["dir", "fs", "netfs", "logical", "disk"]


@dataclass(frozen=True)
class _Kind:
    """What a kind of pool is, and what it needs.

    Attributes:
        what: in words.
        needs: the arguments of `Pools.create` that it can't do without.
        takes: those that it can do with.
        formats: what can be on it; the first one is the default.
        is_made: whether `make` has something to make.
    """

    what: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    is_made: bool = False


KINDS = {
    "dir": _Kind("a folder of the host", takes=("path",)),
    "fs": _Kind(
        "a file system on a block device of the host, which is mounted",
        needs=("devices",),
        takes=("path",),
        formats=("auto", "ext4", "xfs", "btrfs", "ext3", "ext2", "vfat"),
        is_made=True,
    ),
    "netfs": _Kind(
        "a folder of a file server, which is mounted",
        needs=("host", "directory"),
        takes=("path",),
        formats=("auto", "nfs", "cifs", "glusterfs"),
    ),
    "logical": _Kind(
        "a volume group of LVM, whose logical volumes are the volumes",
        needs=("source_name",),
        takes=("devices",),
        formats=("lvm2",),
        is_made=True,
    ),
    "disk": _Kind(
        "a whole disk of the host, whose partitions are the volumes",
        needs=("devices",),
        formats=("gpt", "dos"),
        is_made=True,
    ),
}

# What libvirt and its helpers (mount, pvs, vgchange, parted) say, and what it means.
_NO_TOOL = re.compile(
    r"(?:[Cc]annot find|[Ff]ailed to find path for|cannot execute binary) '?([\w./+-]+)"
)
_PACKAGES = {"parted": "parted", "mount.nfs": "nfs-common", "mount.cifs": "cifs-utils"}
_LVM = re.compile(r"(?:pv|vg|lv)[a-z]+")
_SAID: tuple[tuple[str, type[KvmlabError], str], ...] = (
    (
        r"unknown filesystem type",
        NotSupported,
        "The kernel of libvirt's host lacks that file system, or mount lacks its helper "
        "(nfs-common, cifs-utils)",
    ),
    (
        r"does(n't| not) exist|No such device|[Vv]olume group \S* not found|wrong fs type"
        r"|not a (valid )?block device|Could not stat device|cannot open '/dev",
        DeviceNotFound,
        "Look at what the host has: lsblk, vgs",
    ),
    (r"Storage source conflict with pool", InUse, "Use that pool"),
    (r"[Ff]ailed to create directory", InvalidArgument, "Choose another path"),
    (
        r"[Pp]ermission denied|must be superuser|not permitted|only root|failed to setup loop",
        Forbidden,
        "The kernel lets only root mount devices and file servers: in a lab host of an ordinary "
        "user nobody can. Use type='dir', or another libvirt",
    ),
)


def specify(
    lab: Lab,
    name: str,
    kind: str,
    *,
    path: str | None,
    devices: Sequence[str],
    host: str | None,
    directory: str | None,
    source_name: str | None,
    format: str | None,
    make: bool,
    beside: str | None,
) -> PoolSpec:
    """Write a wish for a storage pool as libvirt's definition; arguments as `Pools.create`.

    Args:
        beside: the folder of the default pool, beside which new folders are made.

    Raises:
        InvalidArgument: something is missing, or makes no sense for this kind.
        NotSupported: this libvirt has no driver for this kind.

    Example:
        >>> specify(lab, "data", "dir", path="/srv/data", ...)
        PoolSpec(type='dir', name='data', ...)
    """
    if kind not in KINDS:
        raise InvalidArgument(
            "no such type of storage pool",
            seen=kind,
            next_step=f"There is: {', '.join(KINDS)}",
        )
    given = {
        "path": path,
        "devices": tuple(devices),
        "host": host,
        "directory": directory,
        "source_name": source_name,
        "format": format,
    }
    _check(KINDS[kind], kind, given, make=make)
    if not has_driver(lab, kind):
        raise NotSupported(
            f"this libvirt has no driver for storage pools of type {kind!r}",
            seen=kind,
            next_step=f"Look for its package: libvirt-daemon-driver-storage-{kind}",
        )
    found = KINDS[kind]
    if kind != "netfs" and qemuimg.is_local(lab):
        _check_devices(devices)
    if path is None and "path" in found.takes:
        if beside is None:
            raise InvalidArgument(
                "there is no storage pool 'default' to put it beside",
                seen=path,
                next_step="Give a path, such as path='/srv/data'",
            )
        path = str(PurePosixPath(beside).parent / "pools" / name)
    return PoolSpec(
        type=kind,
        name=name,
        hosts=(host,) if host else (),
        devices=tuple(devices),
        directory=directory,
        source_name=source_name,
        format=format or (found.formats[0] if found.formats else None),
        path=path or {"logical": f"/dev/{source_name}", "disk": "/dev"}[kind],
    )


def _check(kind: _Kind, name: str, given: Mapping[str, object], *, make: bool) -> None:
    for argument in kind.needs:
        if not given[argument]:
            raise InvalidArgument(
                f"a pool of type {name!r} is {kind.what}: it needs {argument}",
                seen=given[argument] or None,
                next_step=f"Give {argument}=...",
            )
    allowed = {*kind.needs, *kind.takes, *(["format"] if kind.formats else [])}
    for argument, value in given.items():
        if value and argument not in allowed:
            raise InvalidArgument(
                f"a pool of type {name!r} is {kind.what}: it has no {argument}",
                seen=value,
                next_step=f"Leave {argument} away",
            )
    path, format = given["path"], given["format"]
    if path is not None and not (
        isinstance(path, str) and PurePosixPath(path).is_absolute() and "\0" not in path
    ):
        raise InvalidArgument(
            "a pool needs the whole path of its folder", seen=path, next_step="Begin it with '/'"
        )
    if format and format not in kind.formats:
        raise InvalidArgument(
            f"a pool of type {name!r} can't have that format",
            seen=format,
            next_step=f"There is: {', '.join(kind.formats)}",
        )
    if make and not kind.is_made:
        raise InvalidArgument(
            f"a pool of type {name!r} is {kind.what}: there is nothing to make",
            seen=make,
            next_step="Leave make away",
        )
    if make and format is None and kind.formats[0] == "auto":
        raise InvalidArgument(
            "a new file system is of some kind", seen=format, next_step="Say format='ext4'"
        )


def _check_devices(devices: Sequence[str]) -> None:
    for device in devices:
        if not Path(device).is_block_device():
            raise DeviceNotFound(
                "this host has no such block device",
                seen=device,
                next_step="Look at what it has: lsblk. A file becomes one by losetup, as root",
            )


def has_driver(lab: Lab, kind: str) -> bool:
    """Whether libvirt has a driver for a kind of pool (``virsh pool-capabilities``).

    Example:
        >>> has_driver(lab, "dir")
        True
    """
    with translated("ask for the kinds of storage pools"):
        try:
            told = lab.connection.getStoragePoolCapabilities()
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                return True  # a driver without that question; it will say what it can't
            raise
    for pool in ET.fromstring(told).iterfind("pool"):
        if pool.get("type") == kind:
            return pool.get("supported") == "yes"
    return False


def reason(error: libvirt.libvirtError, doing: str) -> KvmlabError | None:
    """Return why a pool can't be had, where libvirt's helpers have said it.

    Example:
        >>> reason(error, "pool-start data")
        NotSupported("pool-start data: the host has no 'vgs' ...")
    """
    said = error.get_error_message() or ""
    if found := _NO_TOOL.search(said):
        tool = PurePosixPath(found[1]).name
        package = "lvm2" if _LVM.fullmatch(tool) else _PACKAGES.get(tool)
        return NotSupported(
            f"{doing}: libvirt's host has no {tool!r}, which this kind of pool needs",
            next_step=f"Install it there; on Debian, it is in {package}" if package else "",
        )
    for pattern, kind, next_step in _SAID:
        if re.search(pattern, said):
            # Of a helper that failed, what it said itself.
            _, _, own = said.partition("exit status ")
            what = own.partition(": ")[2].splitlines()[0] if own else said
            return kind(f"{doing}: {what}", next_step=next_step)
    return None
