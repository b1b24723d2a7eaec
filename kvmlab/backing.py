"""Bringing an image's files into a storage pool, once for all guests made from it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvmlab.home import home
from kvmlab.storage import Pool, Progress, Volume


def ensure_volume(pool: Pool, name: str, source: Path, progress: Progress | None) -> Volume:
    """Return the volume of that name, uploading the file into it unless that was done.

    Works against any libvirt, near or far. What an interrupted upload left is
    thrown away and sent again.

    Raises:
        NotEnoughDisk: the pool has no room for it; nothing of it is left there.

    Example:
        >>> ensure_volume(pool, "kvmlab-tiny-3fa9c2d17b60.qcow2", image.disk, None)
        <Volume kvmlab-tiny-3fa9c2d17b60.qcow2 in default>
    """
    with _one_at_a_time():
        pool.refresh()
        if volume := pool.volumes.get(name):
            if volume.begins_like(source):
                return volume
            volume.delete()
        volume = pool.volumes.create_bytes(name, source.stat().st_size, "raw")
        try:
            volume.upload(source, progress)
        except BaseException:
            volume.delete()
            raise
        # libvirt looks at what was uploaded only when it refreshes the pool.
        pool.refresh()
        return volume


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two notebooks from uploading the same image at once."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "upload.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
