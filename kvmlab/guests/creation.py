"""Making a guest, all or nothing: first a plan of all there is to make, then the making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import libvirt

from kvmlab.errors import NotSupported
from kvmlab.guests.backing import ensure_volume, upload_commands
from kvmlab.guests.seed import Seed
from kvmlab.guests.virtinstall import define_commands
from kvmlab.guests.wish import Wish, check, disk_bytes, specify
from kvmlab.host import domain_type, has_uefi
from kvmlab.libvirt_errors import translated
from kvmlab.specs import GuestSpec, VolumeSpec
from kvmlab.storage.pools import Pool
from kvmlab.storage.volumes import Progress, words_to_create
from kvmlab.virsh import Commands


@dataclass(frozen=True)
class Upload:
    """One of an image's files that must be in the pool.

    Attributes:
        use: "disk", "kernel" or "initrd"; "medium" is a CD to install from, and
            "installer-kernel" and "installer-initrd" are the kernel and its initrd from it.
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
        seed: the CD for its cloud-init, if it gets one.
        guest: its definition.

    Example:
        >>> plan = draw_up(Wish("web", image), lab.pools["default"])
        >>> print(plan.commands())
        virsh vol-create-as default web.qcow2 ...
    """

    pool: Pool
    uploads: tuple[Upload, ...]
    disk: VolumeSpec | None
    seed: Seed | None
    guest: GuestSpec

    def commands(self) -> Commands:
        """Return the commands that carry the plan out."""
        log = self.pool.lab.virsh_log
        lines: list[str] = []
        for upload in self.uploads:
            lines += upload_commands(self.pool, upload.name, upload.file)
        if self.disk:
            lines.append(log.virsh(*words_to_create(self.disk, self.pool.name)))
        if self.seed:
            lines.append(self.seed.commands(self.pool))
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
            if self.seed:
                undo.callback(self.seed.carry_out(self.pool).delete)
                action.note(self.seed.commands(self.pool))
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
    seed = _seed(wish, pool)
    guest = specify(
        wish,
        host,
        domain_type=kind,
        disk=f"{pool.path}/{disk.name}" if disk else None,
        kernel=paths.get("kernel"),
        initrd=paths.get("initrd"),
        medium=paths.get("medium"),
        seed=f"{pool.path}/{seed.volume}" if seed else None,
    )
    return Plan(pool, uploads, disk, seed, guest)


def _uploads(wish: Wish) -> Iterator[Upload]:
    if image := wish.image:
        begin = pool_name(image.name, image.digest)
        yield Upload("disk", f"{begin}.{image.disk_format}", image.disk)
        if wish.direct_kernel and image.kernel:
            yield Upload("kernel", f"{begin}.kernel", image.kernel)
            if image.initrd:
                yield Upload("initrd", f"{begin}.initrd", image.initrd)
    if medium := wish.medium:
        begin = pool_name(medium.name, medium.digest)
        yield Upload("medium", f"{begin}.iso", medium.disk)
        # For Guest.install: the medium's kernel can be started without its boot loader.
        if medium.kernel and medium.initrd:
            yield Upload("installer-kernel", f"{begin}.kernel", medium.kernel)
            yield Upload("installer-initrd", f"{begin}.initrd", medium.initrd)


def pool_name(image: str, digest: str) -> str:
    """Return what the names of an image's files in a pool begin with.

    Example:
        >>> pool_name("tiny", "3fa9c2d17b60" + 52 * "0")
        'kvmlab-tiny-3fa9c2d17b60'
    """
    return f"kvmlab-{image}-{digest[:12]}"


def _disk(wish: Wish, pool: Pool, backing: str | None) -> VolumeSpec | None:
    size = disk_bytes(wish)
    if size is None:
        return None
    return VolumeSpec(
        name=_free_name(wish.name, ".qcow2", pool),
        capacity_bytes=size,
        backing_path=backing,
        backing_format=wish.image.disk_format if wish.image else None,
    )


def _seed(wish: Wish, pool: Pool) -> Seed | None:
    if not wish.cloud_init:
        return None
    # Imported late, as in wish.py.
    from kvmlab.images import public_key

    return Seed(_free_name(f"{wish.name}-seed", ".iso", pool),
                wish.cloud_init.files(wish.name, public_key()))  # fmt: skip


def _free_name(name: str, ending: str, pool: Pool) -> str:
    """Return a volume's name: a renamed guest keeps those of its own, and has taken them."""
    names = chain([name], (f"{name}-{number}" for number in count(1)))
    taken = set(pool.volumes)
    return next(f"{each}{ending}" for each in names if f"{each}{ending}" not in taken)
