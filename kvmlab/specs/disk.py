"""A guest's disks and CD-ROM drives (https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms)."""

# ruff: noqa: RUF009 - the calls in the defaults declare places in the XML.

from __future__ import annotations

from dataclasses import dataclass, fields

from kvmlab.specs.xml import Element, child, number, present, text, told


@dataclass(frozen=True)
class Throttle(Element, tag="iotune"):
    """How fast a disk may be: QEMU slows down what goes beyond; ``None`` is no limit.

    A limit on the total and one on reads or writes exclude each other.

    Attributes:
        total_bytes_sec: bytes in a second, read and written.
        read_bytes_sec: bytes read in a second.
        write_bytes_sec: bytes written in a second.
        total_iops_sec: requests in a second, of both kinds.
        read_iops_sec: reads in a second.
        write_iops_sec: writes in a second.

    Example:
        >>> Throttle(read_bytes_sec=10 * 2**20)
        Throttle(read_bytes_sec=10485760)
    """

    total_bytes_sec: int | None = number("total_bytes_sec", None)
    read_bytes_sec: int | None = number("read_bytes_sec", None)
    write_bytes_sec: int | None = number("write_bytes_sec", None)
    total_iops_sec: int | None = number("total_iops_sec", None)
    read_iops_sec: int | None = number("read_iops_sec", None)
    write_iops_sec: int | None = number("write_iops_sec", None)

    @property
    def limits(self) -> dict[str, int]:
        """The limits there are, by libvirt's names."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value}

    def __repr__(self) -> str:
        return f"Throttle({', '.join(f'{name}={value}' for name, value in self.limits.items())})"


@dataclass(frozen=True)
class Passphrase(Element, tag="encryption", fixed={"secret/@type": "passphrase"}):
    """How a volume is encrypted, and which of libvirt's secrets opens it.

    Example:
        >>> Passphrase(secret="8ac3f3e5-6f43-4fb0-9c6c-f0f5c4d11f0d").format
        'luks'
    """

    format: str | None = text("@format", "luks")
    secret: str | None = text("secret/@uuid", None)


@dataclass(frozen=True)
class Disk(Element, tag="disk"):
    """A disk or CD-ROM drive, whatever it is kept in.

    Where ``type`` is "file" it is kept in the file ``path``, where "block" in the host's
    block device ``device_path``, where "volume" in the ``volume`` of a storage ``pool``,
    where "network" it is reached by a ``protocol``; an empty drive has none of these.

    Attributes:
        type: "file", "block", "volume", "network", ...
        path: the file.
        target: libvirt's name for it; the guest may call it otherwise.
        bus: "virtio", "scsi", "sata", ...
        device: "disk", "cdrom", "floppy" or "lun".
        format: of what it is kept in: "raw", "qcow2", ...
        cache: how the host's page cache is used: "none", "writeback", "writethrough", ...
        discard: "unmap" gives room that the guest discards back to the host.
        serial: the serial number that the guest sees.
        alias: libvirt's name for the device, once the guest runs; it is never written.
        backing: the files below ``path`` that a running guest has open; never written either.

    Example:
        >>> Disk(path="/var/lib/libvirt/images/web.qcow2", target="vda").bus
        'virtio'
    """

    type: str | None = text("@type", "file")
    device: str | None = text("@device", "disk")
    format: str | None = text("driver/@type", "qcow2")
    cache: str | None = text("driver/@cache", None)
    discard: str | None = text("driver/@discard", None)
    path: str | None = text("source/@file", None)
    device_path: str | None = text("source/@dev", None)
    pool: str | None = text("source/@pool", None)
    volume: str | None = text("source/@volume", None)
    protocol: str | None = text("source/@protocol", None)
    remote_name: str | None = text("source/@name", None)
    encryption: Passphrase | None = child(Passphrase, "source")
    target: str = text("target/@dev")
    bus: str | None = text("target/@bus", "virtio")
    throttle: Throttle | None = child(Throttle)
    serial: str | None = text("serial", None)
    readonly: bool = present("readonly", default=False)
    shareable: bool = present("shareable", default=False)
    alias: tuple[str, ...] = told("alias/@name")
    backing: tuple[str, ...] = told(".//backingStore/source/@file")

    @property
    def source(self) -> str | None:
        """What it is kept in, in one word: a path, "pool/volume" or "protocol:name"."""
        if self.volume:
            return f"{self.pool}/{self.volume}"
        if self.protocol:
            return f"{self.protocol}:{self.remote_name or ''}"
        return self.path or self.device_path

    @property
    def is_private(self) -> bool:
        """Whether only one guest can be writing to it."""
        return self.device == "disk" and not self.readonly and not self.shareable


@dataclass(frozen=True)
class ScsiController(Element, tag="controller", fixed={"@type": "scsi"}):
    """What SCSI disks hang on. This one is virtio's; many disks need one slot only.

    Example:
        >>> ScsiController().model
        'virtio-scsi'
    """

    model: str | None = text("@model", "virtio-scsi")
