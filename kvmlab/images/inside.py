"""Looking into a disk image without starting it: which system is on it, by its os-release.

libosinfo can recognise a CD by its label, but a disk has none. virt-inspector would start a
small guest to look inside. The commonest case needs no guest: ext2, 3 and 4 are read by
debugfs, from a plain file. What is on other file systems stays unknown, and is said to be.
"""

from __future__ import annotations

import json
import re
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kvmlab.errors import ImageError
from kvmlab.images.hosttools import run

SECTOR = 512
# An image with more than this in it is not unpacked only to have a look.
_MOST_BYTES = 4 << 30
# https://docs.kernel.org/filesystems/ext4/super.html: s_magic
_EXT_MAGIC_AT, _EXT_MAGIC = 1024 + 0x38, b"\x53\xef"
_GPT = 0xEE
# https://www.freedesktop.org/software/systemd/man/latest/os-release.html
_RELEASE_FILES = ("usr/lib/os-release", "etc/os-release")


def describe(disk: Path) -> dict[str, Any]:
    """Return what ``qemu-img info`` tells of a file: format, virtual-size, ...

    Raises:
        ImageError: it can't be read, or is damaged.

    Example:
        >>> describe(Path("disk.qcow2"))["format"]
        'qcow2'
    """
    told = run("qemu-img", "info", "--output=json", disk.resolve(), folder=disk.resolve().parent)
    found = json.loads(told)
    assert isinstance(found, dict)
    return found


def os_release(disk: Path, format: str) -> dict[str, str]:
    """Return what the system on a disk image says of itself; nothing if it can't be found.

    Args:
        disk: the image.
        format: "qcow2" or "raw".

    Example:
        >>> os_release(Path("disk.qcow2"), "qcow2")["ID"]
        'debian'
    """
    if disk.stat().st_blocks * 512 > _MOST_BYTES:
        return {}
    try:
        with TemporaryDirectory(prefix="kvmlab-look-", dir=disk.parent) as temporary:
            folder = Path(temporary)
            raw = disk.resolve()
            if format != "raw":
                run("qemu-img", "convert", "-f", format, "-O", "raw", raw, "raw", folder=folder)
                raw = folder / "raw"
            (folder / "disk").symlink_to(raw)
            for start in _file_systems(raw):
                for path in _RELEASE_FILES:
                    said = run("debugfs", "-R", f"cat /{path}", f"disk?offset={start}",
                               folder=folder)  # fmt: skip
                    if found := read_release(said):
                        return found
    except ImageError:  # a damaged file system, say: nobody promised that there is one
        pass
    return {}


def read_release(text: str) -> dict[str, str]:
    """Read an os-release file: lines of shell variables.

    Example:
        >>> read_release('ID=debian\\nVERSION_ID="12"\\n')
        {'ID': 'debian', 'VERSION_ID': '12'}
    """
    found = {}
    for name, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE):
        try:
            found[name] = "".join(shlex.split(value))
        except ValueError:  # an open quote
            continue
    return found


def _file_systems(raw: Path) -> Iterator[int]:
    """Yield where the ext file systems of a raw disk begin, in bytes."""
    with raw.open("rb") as file:

        def read(place: int, length: int) -> bytes:
            file.seek(place)
            return file.read(length)

        for start in (0, *_partitions(read(0, SECTOR), read(SECTOR, SECTOR), read)):
            if read(start + _EXT_MAGIC_AT, 2) == _EXT_MAGIC:
                yield start


def _partitions(first: bytes, second: bytes, read: Any) -> Iterator[int]:
    """Yield where the partitions begin that the disk's table has, MBR or GPT."""
    if first[510:512] != b"\x55\xaa":
        return
    entries = [struct.unpack_from("<B3xB3xII", first, 446 + 16 * each) for each in range(4)]
    if second[:8] == b"EFI PART" and any(kind == _GPT for _, kind, *_ in entries):
        # https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
        table, count, size = struct.unpack_from("<QII", second, 72)
        for number in range(min(count, 128)):
            entry = read(table * SECTOR + number * size, 40)
            if len(entry) == 40 and any(entry[:16]):
                yield struct.unpack_from("<Q", entry, 32)[0] * SECTOR
        return
    for _, kind, start, sectors in entries:
        if kind and sectors:
            yield start * SECTOR
