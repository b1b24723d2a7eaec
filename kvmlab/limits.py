"""What a guest may be called and how large it may be: checked before anything is made."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from kvmlab.errors import InvalidArgument, InvalidName, NotEnoughCpus, NotEnoughMemory

if TYPE_CHECKING:
    from kvmlab.host import Host

# What is safe as a hostname, as a file name and as a word on the command line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_HOSTNAME = 63  # one label of a DNS name, RFC 1123
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_DNS_NAME = 253  # RFC 1035, without the length bytes
_LONGEST_FILE_NAME = 255  # bytes, on every file system of Linux

# A lesson on virtual CPUs needs a few, even where the host has two.
_VCPUS_ANYWHERE = 4

_SECTOR = 4096  # of today's disks; older ones have 512 bytes

# The largest file ext4 can hold is 16 TiB.
_MOST_GIB = 16 * 1024


def check_name(name: str) -> None:
    """Refuse a guest's name that libvirt, a file system, DNS or a shell would stumble over.

    A guest's name is its hostname, and begins the name of its disk's file.

    Raises:
        InvalidName: it is not 1 to 63 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first.

    Example:
        >>> check_name("web")
        >>> check_name("../etc")
        Traceback (most recent call last):
        kvmlab.errors.InvalidName: that can't be the name of a guest (saw '../etc'). ...
    """
    _check_name(name, "guest", _LONGEST_HOSTNAME)


def check_volume_name(name: str) -> None:
    """Refuse a volume's name as `check_name` does, but for its length.

    Raises:
        InvalidName: it is not 1 to 255 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first.

    Example:
        >>> check_volume_name("web.qcow2")
    """
    _check_name(name, "volume", _LONGEST_FILE_NAME)


def check_network_name(name: str) -> None:
    """Refuse a network's name as `check_name` does.

    Raises:
        InvalidName: it is not 1 to 63 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first.

    Example:
        >>> check_network_name("backstage")
    """
    _check_name(name, "network", _LONGEST_HOSTNAME)


def check_dns_name(name: str, what: str = "name in DNS") -> None:
    """Refuse what can't be a name in DNS (RFC 1123, section 2.1).

    Args:
        name: one or more labels with dots between them.
        what: what it is, for the error.

    Raises:
        InvalidName: another character, or too long.

    Example:
        >>> check_dns_name("db.backstage.lab")
    """
    if not isinstance(name, str) or not _DNS_NAME.fullmatch(name) or len(name) > _LONGEST_DNS_NAME:
        raise InvalidName(
            f"that can't be a {what}",
            seen=name,
            next_step="Use letters, digits and '-', with dots in between: 'db', 'db.lab'",
        )


def check_snapshot_name(name: str) -> None:
    """Refuse a snapshot's name as `check_name` does, and one of digits alone.

    QEMU numbers the snapshots in a disk, and told to go back to "2" takes the second one,
    whatever that is called.

    Raises:
        InvalidName: it is not 1 to 63 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first, or it is a number.

    Example:
        >>> check_snapshot_name("clean")
    """
    _check_name(name, "snapshot", _LONGEST_HOSTNAME)
    if name.isdigit():
        raise InvalidName(
            "a number can't be the name of a snapshot: QEMU counts them by numbers",
            seen=name,
            next_step="Put a word before it, such as 'try-1'",
        )


def check_pool_name(name: str) -> None:
    """Refuse a storage pool's name as `check_name` does: it names a folder, too.

    Raises:
        InvalidName: it is not 1 to 63 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first.

    Example:
        >>> check_pool_name("data")
    """
    _check_name(name, "storage pool", _LONGEST_HOSTNAME)


def check_memory(memory_mib: int, host: Host, *, least_mib: int = 1) -> None:
    """Refuse a memory size that is no number of MiB, or that the host hasn't got.

    Args:
        memory_mib: what is asked for.
        host: where it shall come from.
        least_mib: what the image needs.

    Raises:
        InvalidArgument: not a whole number above zero.
        NotEnoughMemory: less than the image needs, or more than the host has.

    Example:
        >>> check_memory(256, lab.host)
    """
    _check_count("memory_mib", memory_mib, 256)
    if memory_mib < least_mib:
        raise NotEnoughMemory(
            f"this image needs at least {least_mib} MiB of memory",
            seen=memory_mib,
            next_step=f"Ask for memory_mib={least_mib} or more",
        )
    if memory_mib > host.memory_mib:
        raise NotEnoughMemory(
            f"this host has {host.memory_mib} MiB of memory, {host.free_memory_mib} MiB free",
            seen=memory_mib,
            next_step="Ask for a smaller memory_mib",
        )


def max_vcpus(host: Host) -> int:
    """Return how many virtual CPUs a guest may have on that host.

    Example:
        >>> max_vcpus(lab.host)
        4
    """
    return max(host.vcpus, _VCPUS_ANYWHERE)


def check_vcpus(vcpus: int, host: Host) -> None:
    """Refuse a number of virtual CPUs that makes no sense on that host.

    Raises:
        InvalidArgument: not a whole number above zero.
        NotEnoughCpus: more than `max_vcpus`.

    Example:
        >>> check_vcpus(2, lab.host)
    """
    _check_count("vcpus", vcpus, 2)
    if vcpus > max_vcpus(host):
        raise NotEnoughCpus(
            f"this host has {host.vcpus} CPUs, enough for {max_vcpus(host)} virtual ones a guest",
            seen=vcpus,
            next_step=f"Ask for vcpus={max_vcpus(host)} or fewer",
        )


def bytes_of_gib(what: str, size_gib: float) -> int:
    """Return a size in bytes, in whole sectors; refuse what is no number above zero.

    Raises:
        InvalidArgument: it is not.

    Example:
        >>> bytes_of_gib("disk_gib", 0.5)
        536870912
    """
    if isinstance(size_gib, bool) or not isinstance(size_gib, int | float):
        raise InvalidArgument(
            f"{what} must be a number", seen=size_gib, next_step=f"Give GiB, such as {what}=10"
        )
    if not 0 < size_gib < _MOST_GIB:
        raise InvalidArgument(
            f"{what} must be above zero and below {_MOST_GIB} GiB",
            seen=size_gib,
            next_step=f"Give GiB, such as {what}=10",
        )
    # QEMU writes to no raw file that ends within a sector of the disk below (cache="none").
    return math.ceil(size_gib * 2**30 / _SECTOR) * _SECTOR


def _check_count(what: str, value: int, example: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(
            f"{what} must be a whole number above zero",
            seen=value,
            next_step=f"Give one, such as {what}={example}",
        )


def _check_name(name: str, noun: str, longest: int) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > longest:
        raise InvalidName(
            f"that can't be the name of a {noun}",
            seen=name,
            next_step=f"Use 1 to {longest} letters, digits, '-', '_' and '.', "
            "a letter or digit first",
        )
