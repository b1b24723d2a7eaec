"""Storage pools, volumes and their secrets as libvirt's XML.

Elements and attributes are those of https://libvirt.org/formatstorage.html and
https://libvirt.org/formatsecret.html.
"""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.specs.disk import Passphrase
from kvmlab.specs.xml import Element, child, size, text, texts


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
    encryption: Passphrase | None = child(Passphrase, "target")
    backing_path: str | None = text("backingStore/path", None)
    backing_format: str | None = text("backingStore/format/@type", None)


@dataclass(frozen=True)
class PoolSpec(Element, tag="pool"):
    """A place on the host where volumes are kept.

    What is needed beside type and name depends on the type; see
    `kvmlab.storage.pools.Pools.create`.

    Example:
        >>> PoolSpec(name="data", path="/srv/data").type
        'dir'
    """

    type: str = text("@type", "dir")
    name: str = text("name")
    hosts: tuple[str, ...] = texts("source/host/@name")
    devices: tuple[str, ...] = texts("source/device/@path")
    directory: str | None = text("source/dir/@path", None)
    source_name: str | None = text("source/name", None)
    format: str | None = text("source/format/@type", None)
    path: str | None = text("target/path", None)


@dataclass(frozen=True)
class SecretSpec(
    Element, tag="secret", fixed={"@ephemeral": "no", "@private": "yes", "usage/@type": "volume"}
):
    """A passphrase that libvirt keeps for a volume, and tells nobody but QEMU.

    Example:
        >>> SecretSpec(volume="/var/lib/libvirt/images/safe.qcow2").description
        'opens a volume'
    """

    uuid: str | None = text("uuid", None)
    description: str | None = text("description", "opens a volume")
    volume: str = text("usage/volume")
