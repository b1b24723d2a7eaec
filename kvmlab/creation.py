"""Making a guest, all or nothing: first a plan of all there is to make, then the making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import libvirt

from kvmlab.backing import ensure_volume, upload_commands
from kvmlab.errors import NotSupported
from kvmlab.host import domain_type, has_uefi
from kvmlab.libvirt_errors import translated
from kvmlab.specs import GuestSpec, VolumeSpec
from kvmlab.storage import Pool
from kvmlab.virsh import Commands
from kvmlab.virtinstall import define_commands
from kvmlab.volumes import Progress, words_to_create
from kvmlab.wish import Wish, check, disk_bytes, specify


@dataclass(frozen=True)
class Upload:
    """One of an image's files that must be in the pool.

    Attributes:
        use: "disk", "kernel" or "initrd".
        name: the name of its volume, which tells what is in it.
        file: where it is on this machine.

    Example:
        >>> Upload("disk", "kvmlab-tiny-3fa9c2d17b60.qcow2", image.disk).use
        'disk'
    """

    use: str
    name: str
    file: Path


@dataclass(frozen=True)
class Plan:
    """All there is to make for one guest; nothing of it is made yet.

    Attributes:
        pool: where its volumes shall be.
        uploads: the image's files that the guest needs.
        disk: the guest's own disk, if it has one.
        guest: its definition.

    Example:
        >>> plan = draw_up(Wish("web", image), lab.pools["default"])
        >>> print(plan.commands())
        virsh vol-create-as default web.qcow2 ...
    """

    pool: Pool
    uploads: tuple[Upload, ...]
    disk: VolumeSpec | None
    guest: GuestSpec

    def commands(self) -> Commands:
        """Return the commands that carry the plan out."""
        log = self.pool.lab.virsh_log
        lines: list[str] = []
        for upload in self.uploads:
            lines += upload_commands(self.pool, upload.name, upload.file)
        if self.disk:
            lines.append(log.virsh(*words_to_create(self.disk, self.pool.name)))
        return Commands("\n".join([*lines, define_commands(self.guest, log)]))

    def carry_out(self, progress: Progress | None) -> tuple[Any, Commands]:
        """Make the guest; return libvirt's domain, and the commands that do the same.

        Raises:
            KvmlabError: it can't be made; then nothing of it is left, but for the
                image's files, which stay in the pool for other guests.
        """
        lab = self.pool.lab
        with (
            lab.virsh_log.action() as action,
            translated(f"create {self.guest.name}"),
            ExitStack() as undo,
        ):
            for upload in self.uploads:
                ensure_volume(self.pool, upload.name, upload.file, progress)
            if self.disk:
                undo.callback(self.pool.volumes.create_from(self.disk).delete)
            validate = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
            domain = lab.connection.defineXMLFlags(self.guest.to_xml(), validate)
            undo.pop_all()
            action.note(define_commands(self.guest, lab.virsh_log))
        return domain, action.commands


def draw_up(wish: Wish, pool: Pool) -> Plan:
    """Plan what a wish takes; only reads.

    Raises:
        KvmlabError: the wish can't come true on this host.

    Example:
        >>> draw_up(Wish("web", image), lab.pools["default"]).guest.name
        'web'
    """
    lab = pool.lab
    host = lab.host
    check(wish, host)
    with translated(f"create {wish.name}"):
        kind = domain_type(lab.connection, wish.accel or host.acceleration)
        if wish.firmware == "uefi" and not has_uefi(lab.connection, kind):
            raise NotSupported(
                "this host has no UEFI firmware for guests",
                seen=wish.firmware,
                next_step="Install it: the package is ovmf on Debian, edk2-ovmf on Fedora",
            )
    uploads = tuple(_uploads(wish))
    paths = {upload.use: f"{pool.path}/{upload.name}" for upload in uploads}
    disk = _disk(wish, pool, paths.get("disk"))
    guest = specify(
        wish,
        host,
        domain_type=kind,
        disk=f"{pool.path}/{disk.name}" if disk else None,
        kernel=paths.get("kernel"),
        initrd=paths.get("initrd"),
    )
    return Plan(pool, uploads, disk, guest)


def _uploads(wish: Wish) -> Iterator[Upload]:
    if image := wish.image:
        begin = f"kvmlab-{image.name}-{image.digest[:12]}"
        yield Upload("disk", f"{begin}.{image.disk_format}", image.disk)
        if wish.direct_kernel and image.kernel:
            yield Upload("kernel", f"{begin}.kernel", image.kernel)
            if image.initrd:
                yield Upload("initrd", f"{begin}.initrd", image.initrd)


def _disk(wish: Wish, pool: Pool, backing: str | None) -> VolumeSpec | None:
    size = disk_bytes(wish)
    if size is None:
        return None
    # A renamed guest keeps its disk's name, so that the obvious one may be taken.
    names = chain([wish.name], (f"{wish.name}-{number}" for number in count(1)))
    taken = set(pool.volumes)
    return VolumeSpec(
        name=next(f"{name}.qcow2" for name in names if f"{name}.qcow2" not in taken),
        capacity_bytes=size,
        backing_path=backing,
        backing_format=wish.image.disk_format if wish.image else None,
    )
