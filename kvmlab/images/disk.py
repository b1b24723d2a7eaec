"""A bootable disk, put together without root: MBR, a FAT /boot with syslinux, an ext4 root.

The first sector is the MBR: syslinux's first stage and the partition table. At 1 MiB
begins partition 1, FAT, with syslinux, the kernel and the initrd; after it partition 2,
ext4, the root: last, so that it can grow with the disk.
"""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

from kvmlab.errors import ImageError
from kvmlab.images import tree as trees
from kvmlab.images.hosttools import require, run
from kvmlab.images.tree import Tree

MIB = 1 << 20
SECTOR = 512
_BOOT_START = MIB
# Where Debian's and Ubuntu's syslinux-common has the first boot stage.
_MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")


def require_tools() -> None:
    """Make sure that all this machine needs for :func:`assemble` is there.

    Raises:
        ImageError: naming the packages to install.
    """
    require("mke2fs", "debugfs", "mformat", "mcopy", "syslinux", "qemu-img",
            files=[_MBR_CODE], file_package="syslinux-common")  # fmt: skip


def assemble(
    disk: Path, boot: Tree, root: Tree, *, boot_mib: int, root_mib: int, uuid: str, time: int
) -> int:
    """Make ``disk``, a qcow2 that boots ``root`` by way of ``boot``.

    Args:
        disk: the file to make.
        boot: the FAT partition's files, ``syslinux.cfg`` among them.
        root: the root file system's files.
        boot_mib: size of the FAT partition.
        root_mib: size of the root file system.
        uuid: of the root file system.
        time: what all files are dated, in seconds since 1970.

    Returns:
        The disk's virtual size in bytes.

    Raises:
        ImageError: a tool is missing or failed, or a partition is too small.
    """
    root_start = _BOOT_START + boot_mib * MIB
    size = root_start + root_mib * MIB
    with TemporaryDirectory(dir=disk.parent) as temporary:
        raw = Path(temporary, "disk.raw")
        with raw.open("wb") as file:
            fat, linux = (_BOOT_START, boot_mib, 0x0C, True), (root_start, root_mib, 0x83, False)
            file.write(_mbr(fat, linux))
            file.truncate(size)
        _fat(raw, boot, Path(temporary, "boot"), boot_mib, time)
        _ext4(raw, root, Path(temporary, "root"), (root_start, root_mib), uuid, time)
        # Not compressed: the boot loader reads in small pieces, for each of which QEMU would
        # unpack a whole cluster, and a guest would start seconds later to save 35 MB.
        run("qemu-img", "convert", "-O", "qcow2", raw, disk)
    return size


def _mbr(*partitions: tuple[int, int, int, bool]) -> bytes:
    """Return the first sector; partitions are (start, MiB, type, whether to boot from it)."""
    # Each entry: boot flag, where it starts and ends in cylinders, heads and sectors
    # (unused since disks outgrew them: fe ff ff says "see the numbers that follow"),
    # its type, its first sector and its number of sectors.
    table = b"".join(
        struct.pack("<B3sB3sII", 0x80 * boot, b"\xfe\xff\xff", kind, b"\xfe\xff\xff",
                    start // SECTOR, mib * MIB // SECTOR)
        for start, mib, kind, boot in partitions
    )  # fmt: skip
    code = _MBR_CODE.read_bytes()
    return code.ljust(440, b"\0") + b"KVML\0\0" + table.ljust(64, b"\0") + b"\x55\xaa"


def _fat(raw: Path, boot: Tree, folder: Path, mib: int, time: int) -> None:
    """Make the FAT partition and put syslinux on it."""
    dated = {"SOURCE_DATE_EPOCH": str(time), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    partition = f"{raw}@@{_BOOT_START}"
    run("mformat", "-i", partition, "-T", str(mib * MIB // SECTOR), "-H",
        str(_BOOT_START // SECTOR), "-h", "255", "-s", "63", "-N", "4b564d4c", "-v", "BOOT", "::",
        **dated)  # fmt: skip
    folder.mkdir()
    trees.write(boot, folder, time)
    run("mcopy", "-i", partition, "-s", "-m", *sorted(folder.iterdir()), "::", **dated)
    run("syslinux", "--install", "--offset", str(_BOOT_START), raw, **dated)


def _ext4(
    raw: Path, root: Tree, folder: Path, place: tuple[int, int], uuid: str, time: int
) -> None:
    """Make the root file system and fill it.

    Its blocks have the size large file systems use, as it may grow to be one.
    """
    start, mib = place
    folder.mkdir()
    trees.write(root, folder, time)
    fake_time = {"E2FSPROGS_FAKE_TIME": str(time), "SOURCE_DATE_EPOCH": str(time)}
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", uuid, "-m", "0",
        "-b", "4096", "-E", f"offset={start},hash_seed={uuid},lazy_itable_init=0",
        "-d", folder, raw, str(mib * MIB // 4096), **fake_time)  # fmt: skip
    # mke2fs took owners and times from files that are ours and new. In the guest
    # they are root's, and two builds of the same files should be the same.
    fields = {"uid": 0, "gid": 0} | dict.fromkeys(("atime", "ctime", "mtime", "crtime"), f"@{time}")
    commands = "".join(
        f'set_inode_field "/{path}" {field} {value}\n'
        for path in ["", *trees.with_folders(root)]
        for field, value in fields.items()
    )
    image = f"{raw}?offset={start}"
    said = run("debugfs", "-w", "-f", "-", image, input_text=commands, **fake_time)
    complaints = [line for line in said.splitlines() if line and not line.startswith("debugfs")]
    if complaints:
        raise ImageError("debugfs could not set the owners of files", seen=complaints[0],
                         next_step="Report this: the image would not be right")  # fmt: skip
