"""Bringing an image's files into a storage pool, once for all guests made from it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvmlab.home import home
from kvmlab.specs import VolumeSpec
from kvmlab.storage.pools import Pool
from kvmlab.storage.volumes import Progress, words_to_create


def ensure_volume(pool: Pool, name: str, source: Path, progress: Progress | None) -> None:
    """Upload a file into the volume of that name, unless that was done before.

    Works against any libvirt, near or far. What an interrupted upload left is
    thrown away and sent again.

    Raises:
        NotEnoughDisk: the pool has no room for it; nothing of it is left there.

    Example:
        >>> ensure_volume(pool, "kvmlab-tiny-3fa9c2d17b60.qcow2", image.disk, None)
    """
    with _one_at_a_time():
        volume = pool.volumes.get(name)
        if volume and volume.begins_like(source):
            return
        if volume:
            volume._delete()
        volume = pool.volumes.create_from(_spec(name, source))
        try:
            volume.upload(source, progress)
        except BaseException:
            volume._delete()
            raise


def upload_commands(pool: Pool, name: str, source: Path) -> list[str]:
    """Return the commands that `ensure_volume` would have done now.

    Example:
        >>> upload_commands(pool, "kvmlab-hello-af6127e2af55.raw", image.disk)
        ['virsh vol-create-as default ...', 'virsh vol-upload --pool default ...']
    """
    volume = pool.volumes.get(name)
    if volume and volume.begins_like(source):
        return []
    virsh = pool.lab.virsh_log.virsh
    return [
        virsh(*words_to_create(_spec(name, source), pool.name)),
        virsh("vol-upload", "--pool", pool.name, name, str(source)),
    ]


def _spec(name: str, source: Path) -> VolumeSpec:
    # Raw, whatever is in it: the bytes are sent as they are. All room for them is taken at
    # once: libvirtd (11.3) does not survive a disk that fills up while it receives them.
    size = source.stat().st_size
    return VolumeSpec(name=name, capacity_bytes=size, allocation_bytes=size, format="raw")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two notebooks from uploading the same image at once."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "upload.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
