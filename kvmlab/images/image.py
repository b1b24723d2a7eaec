"""What a guest image is, and what a recipe for one must offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Progress = Callable[[str, float], None]
"""Told what is being done and the fraction done, 0 to 1."""


@dataclass(frozen=True)
class Content:
    """What a recipe made: file names inside the folder it was given, and their use.

    The fields have the same meaning as in :class:`Image`.
    """

    title: str
    disk: str
    disk_format: str
    virtual_size: int
    memory_mib: int
    min_memory_mib: int
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    os_id: str | None = None
    has_agent: bool = False
    boot: str = "disk"
    disk_gib: float | None = None
    has_cloud_init: bool | None = None


@dataclass(frozen=True)
class Image:
    """A guest image in the cache: read-only files a guest's disk is an overlay of.

    Attributes:
        name: what ``Catalogue[name]`` calls it.
        title: one line for people.
        digest: sha256 of the image's ``SHA256SUMS`` file, in hex.
        disk: the disk to boot from.
        disk_format: ``"qcow2"``, ``"raw"`` or ``"iso"``.
        virtual_size: the size of the disk a guest sees, in bytes.
        kernel: for direct kernel boot, else None; so ``initrd`` and ``cmdline``.
        memory_mib: a comfortable amount of memory.
        min_memory_mib: the least it was seen to boot with.
        os_id: the operating system's URL in the libosinfo database.
        has_agent: whether the QEMU guest agent runs in it.
        boot: the device it boots from: ``"disk"``, or ``"cdrom"`` for an installation medium.
        disk_gib: how large a disk suits what is installed from it, if that is known.
        has_cloud_init: whether cloud-init runs in it; None if nobody knows.
    """

    name: str
    title: str
    digest: str
    disk: Path
    disk_format: str
    virtual_size: int
    kernel: Path | None
    initrd: Path | None
    cmdline: str | None
    memory_mib: int
    min_memory_mib: int
    os_id: str | None
    has_agent: bool
    boot: str
    disk_gib: float | None = None
    has_cloud_init: bool | None = None

    @property
    def is_medium(self) -> bool:
        """Whether it is a medium to install from, rather than a disk with a system on it."""
        return self.boot == "cdrom"


class Recipe(Protocol):
    """Knows how to make one image."""

    def fingerprint(self) -> str:
        """Return text that changes whenever the recipe would make another image."""

    def build(self, folder: Path, progress: Progress) -> Content:
        """Make the image's files in the empty ``folder``.

        Raises:
            ImageError: it can't be made; the next step is in the message.
        """
