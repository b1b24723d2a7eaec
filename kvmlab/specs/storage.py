"""Storage pools and volumes as libvirt's XML (https://libvirt.org/formatstorage.html)."""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.specs.xml import Element, size, text


@dataclass(frozen=True)
class VolumeSpec(Element, tag="volume"):
    """A file that can be a guest's disk.

    With ``backing_path`` the volume is an overlay: it holds only what differs
    from the backing image, which is never written to.

    Example:
        >>> VolumeSpec(name="data.qcow2", capacity_bytes=2**30).format
        'qcow2'
    """

    name: str = text("name")
    capacity_bytes: int = size("capacity", "bytes")
    allocation_bytes: int | None = size("allocation", "bytes", 0)
    format: str | None = text("target/format/@type", "qcow2")
    backing_path: str | None = text("backingStore/path", None)
    backing_format: str | None = text("backingStore/format/@type", None)


@dataclass(frozen=True)
class PoolSpec(Element, tag="pool"):
    """A place on the host where volumes are kept.

    Example:
        >>> PoolSpec(name="data", path="/srv/data").type
        'dir'
    """

    type: str = text("@type", "dir")
    name: str = text("name")
    path: str | None = text("target/path")
