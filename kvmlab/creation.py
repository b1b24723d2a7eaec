"""Making a guest, all or nothing: its disk, its kernel, its definition."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.backing import ensure_volume
from kvmlab.errors import NotSupported
from kvmlab.host import domain_type, has_uefi
from kvmlab.libvirt_errors import translated
from kvmlab.storage import Pool, Progress, Volume
from kvmlab.virsh import Commands
from kvmlab.virtinstall import define_commands
from kvmlab.wish import Wish, check, disk_bytes, specify

if TYPE_CHECKING:
    from kvmlab.images import Image
    from kvmlab.lab import Lab


def make(lab: Lab, wish: Wish, pool: Pool, progress: Progress | None) -> tuple[Any, Commands]:
    """Make what was wished for; return libvirt's domain, and the commands that do the same.

    Raises:
        KvmlabError: it can't be made; then nothing of it is left, but for the image,
            which stays in the pool for other guests.

    Example:
        >>> domain, commands = make(lab, wish, lab.pools["default"], None)
    """
    host = lab.host
    check(wish, host)
    log = lab.virsh_log
    with log.action() as action, translated(f"create {wish.name}"), ExitStack() as undo:
        kind = domain_type(lab.connection, wish.accel or host.acceleration)
        if wish.firmware == "uefi" and not has_uefi(lab.connection, kind):
            raise NotSupported(
                "this host has no UEFI firmware for guests",
                seen=wish.firmware,
                next_step="Install it: the package is ovmf on Debian, edk2-ovmf on Fedora",
            )
        kernel = initrd = None
        if wish.direct_kernel and wish.image:
            kernel = _upload(wish.image, wish.image.kernel, pool, progress)
            initrd = _upload(wish.image, wish.image.initrd, pool, progress)
        disk = _make_disk(wish, pool, progress)
        if disk:
            undo.callback(disk.delete)
        spec = specify(wish, host, domain_type=kind, disk=disk, kernel=kernel, initrd=initrd)
        validate = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        domain = lab.connection.defineXMLFlags(spec.to_xml(), validate)
        undo.pop_all()
        action.note(define_commands(spec, log))
    return domain, action.commands


def _make_disk(wish: Wish, pool: Pool, progress: Progress | None) -> Volume | None:
    size = disk_bytes(wish)
    if size is None:
        return None
    backing = _upload(wish.image, wish.image.disk, pool, progress) if wish.image else None
    # A renamed guest keeps its disk's name, so that the obvious one may be taken.
    names = chain([wish.name], (f"{wish.name}-{number}" for number in count(1)))
    free = next(name for name in names if f"{name}.qcow2" not in pool.volumes)
    return pool.volumes.create_bytes(f"{free}.qcow2", size, "qcow2", backing)


def _upload(
    image: Image, file: Path | None, pool: Pool, progress: Progress | None
) -> Volume | None:
    """Bring one of an image's files into the pool, under a name that tells what it is."""
    if file is None:
        return None
    kind = image.disk_format if file == image.disk else file.stem
    return ensure_volume(pool, f"kvmlab-{image.name}-{image.digest[:12]}.{kind}", file, progress)
