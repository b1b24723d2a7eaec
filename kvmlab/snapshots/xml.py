"""A guest's definition of another day, with its disks in other files."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

# In libvirt's XML, what is known of a disk's backing files stands between its source and its
# target. For another source it is not true; without it, libvirt looks for itself.
_WITHOUT_BACKING = "/<backingStore/,/<target/{/<target/!d}"


@dataclass(frozen=True)
class Move:
    """A disk that shall be in another file.

    Attributes:
        old: the file it is in.
        new: the file it shall be in.
        old_format: the old one's format.
        new_format: the new one's.

    Example:
        >>> Move("/images/web.qcow2", "/images/web.clean").new_format
        'qcow2'
    """

    old: str
    new: str
    old_format: str = "qcow2"
    new_format: str = "qcow2"


def moved(domain: ET.Element, moves: Sequence[Move]) -> ET.Element:
    """Put the disks of a guest into other files.

    Args:
        domain: a ``<domain>`` or ``<inactiveDomain>`` element, changed in place.
        moves: which.

    Example:
        >>> moved(domain, [Move("/images/web.qcow2", "/images/web.clean")]) is domain
        True
    """
    for disk in domain.iterfind("devices/disk"):
        put(disk, moves)
    return domain


def put(disk: ET.Element, moves: Sequence[Move]) -> None:
    """Put one disk into another file, if it is among those that move.

    Args:
        disk: its element, changed in place.
        moves: which.

    Example:
        >>> put(disk, [Move("/images/web.qcow2", "/images/web.clean")])
    """
    driver, source, backing = (disk.find(tag) for tag in ("driver", "source", "backingStore"))
    if backing is not None:
        disk.remove(backing)
    for move in moves:
        if source is not None and source.get("file") == move.old:
            source.set("file", move.new)
            if driver is not None:
                driver.set("type", move.new_format)
            return


def sed(moves: Sequence[Move], *more: str) -> str:
    """Return the shell command that does with XML as libvirt prints it what `moved` does.

    Args:
        moves: which.
        more: what else it shall do.

    Example:
        >>> print(sed([Move("/images/a", "/images/b")]))
        sed -e '/<backingStore/,/<target/{/<target/!d}' -e 's|file=./images/a.|file="/images/b"|'
    """
    scripts = [*more, _WITHOUT_BACKING]
    for move in moves:
        old = "file=." + re.sub(r"[][.*^$|\\]", r"\\\g<0>", move.old) + "."
        new = f'file="{move.new}"'
        if move.old_format == move.new_format:
            scripts.append(f"s|{old}|{new}|")
        else:  # the driver's line is the one before
            types = f"type=.{move.old_format}.", f'type="{move.new_format}"'
            scripts.append(rf"/<driver /{{N;s|{types[0]}\(.*\){old}|{types[1]}\1{new}|}}")
    return "sed " + " ".join(f"-e {shlex.quote(script)}" for script in scripts)


def definition_in(snapshot: ET.Element) -> ET.Element | None:
    """Return the definition that a guest had when a snapshot was taken, if libvirt kept it.

    Args:
        snapshot: a ``<domainsnapshot>`` element.

    Example:
        >>> definition_in(ET.fromstring(xml)).tag
        'domain'
    """
    found = snapshot.find("inactiveDomain")
    if found is None:  # the guest was off: that was its definition
        found = snapshot.find("domain")
    if found is not None:
        found.tag = "domain"
    return found
