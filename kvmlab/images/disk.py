"""A bootable disk, put together without root: MBR, a FAT /boot with syslinux, an ext4 root.

The first sector is our own MBR (:mod:`kvmlab.images.mbr`). At 1 MiB
begins partition 1, FAT, with syslinux, the kernel and the initrd; after it partition 2,
ext4, the root: last, so that it can grow with the disk.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from kvmlab.errors import ImageError
from kvmlab.images import tree as trees
from kvmlab.images.hosttools import require, run
from kvmlab.images.mbr import BOOT_SECTOR, SECTOR, Partition, first_sector
from kvmlab.images.tree import Node, Tree

MIB = 1 << 20
_RAW = "disk.raw"
# What debugfs says of files that are there already, or not yet.
_HARMLESS = ("Allocated", "rm: ", "mkdir: ", "ext2fs_mkdir: Ext2 directory already exists")
_BOOT_START = BOOT_SECTOR * SECTOR


def require_tools() -> None:
    """Make sure that all this machine needs for :func:`assemble` is there.

    Raises:
        ImageError: naming the packages to install.
    """
    require("mke2fs", "debugfs", "mformat", "mcopy", "syslinux", "qemu-img")


def assemble(
    disk: Path, boot: Tree, root: Tree | Path, *, boot_mib: int, root_mib: int, uuid: str, time: int
) -> int:
    """Make ``disk``, a qcow2 that boots ``root`` by way of ``boot``.

    Args:
        disk: the file to make.
        boot: the FAT partition's files, ``syslinux.cfg`` among them.
        root: the root file system's files, or a ready ext4 file system of ``root_mib``.
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
        folder = Path(temporary)
        with (folder / _RAW).open("wb") as file:
            fat = Partition(0x0C, BOOT_SECTOR, boot_mib * MIB // SECTOR, boot=True)
            linux = Partition(0x83, root_start // SECTOR, root_mib * MIB // SECTOR)
            file.write(first_sector(fat, linux))
            file.truncate(size)
        _fat(folder, boot, boot_mib, time)
        if isinstance(root, Path):
            run("dd", f"if={root.resolve()}", f"of={_RAW}", "bs=1M", f"seek={root_start // MIB}",
                "conv=notrunc,sparse", folder=folder)  # fmt: skip
        else:
            _ext4(folder, root, root_start, root_mib, uuid, time)
        # Not compressed: the boot loader reads in small pieces, for each of which QEMU would
        # unpack a whole cluster, and a guest would start seconds later to save 35 MB.
        run("qemu-img", "convert", "-O", "qcow2", _RAW, disk.name, folder=folder)
        (folder / disk.name).rename(disk)
    return size


def loader_files(name: str, cmdline: str) -> Tree:
    """Return the configuration of both boot loaders: syslinux for a BIOS, systemd-boot for UEFI.

    Args:
        name: what the boot loaders call the system.
        cmdline: the command line of the kernel, which is ``vmlinuz``, with an ``initrd``.
    """
    texts = {
        "syslinux.cfg": f"""\
default {name}
label {name}
    linux vmlinuz
    initrd initrd
    append {cmdline}
""",
        "loader/loader.conf": "timeout 0\n",
        f"loader/entries/{name}.conf": f"""\
title {name}
linux /vmlinuz
initrd /initrd
options {cmdline}
""",
    }
    return {path: Node(trees.FILE, text.encode()) for path, text in texts.items()}


def change(ext4: Path, files: Tree, removed: Iterable[str] = ()) -> None:
    """Put files into a file system, over those that are there, and remove others.

    Args:
        ext4: the file system, in a file of its own.
        files: what to put there, all of it root's.
        removed: paths of files.

    Raises:
        ImageError: debugfs could not do it.
    """
    with TemporaryDirectory(dir=ext4.parent) as temporary:
        commands = [f'rm "/{path}"' for path in (*removed, *files)]
        folders = set(trees.with_folders(files)) - set(files)
        commands += [f'mkdir "/{folder}"' for folder in sorted(folders)]
        for number, (path, node) in enumerate(files.items()):
            parent, _, name = path.rpartition("/")
            commands.append(f'cd "/{parent}"')
            if stat.S_ISLNK(node.mode):
                commands.append(f'symlink "{name}" "{node.content.decode()}"')
                continue
            source = Path(temporary, str(number))
            source.write_bytes(node.content)
            commands.append(f'write "{source.relative_to(ext4.parent)}" "{name}"')
            for field, value in (("mode", f"0{node.mode:o}"), ("uid", 0), ("gid", 0)):
                commands.append(f'set_inode_field "{name}" {field} {value}')
        said = run("debugfs", "-w", "-f", "-", ext4.name,
                   input_text="\n".join(commands) + "\n", folder=ext4.parent)  # fmt: skip
    _complain(line for line in said.splitlines() if not line.startswith(_HARMLESS))
    run("e2fsck", "-f", "-p", ext4.name, folder=ext4.parent)


def _complain(said: Iterable[str]) -> None:
    """Raise what debugfs said, for it succeeds whatever happens."""
    if complaints := [line for line in said if line and not line.startswith("debugfs")]:
        raise ImageError("debugfs could not change a file system", seen=complaints[0],
                         next_step="Report this: the image would not be right")  # fmt: skip


def _fat(folder: Path, boot: Tree, mib: int, time: int) -> None:
    """Make the FAT partition and put syslinux on it."""
    dated = {"SOURCE_DATE_EPOCH": str(time), "TZ": "UTC"}
    partition = f"{_RAW}@@{_BOOT_START}"
    run("mformat", "-i", partition, "-T", str(mib * MIB // SECTOR), "-H", str(BOOT_SECTOR),
        "-h", "255", "-s", "63", "-N", "4b564d4c", "-v", "BOOT", "::",
        folder=folder, **dated)  # fmt: skip
    files = folder / "boot"
    files.mkdir()
    trees.write(boot, files, time)
    names = [f"boot/{path.name}" for path in sorted(files.iterdir())]
    run("mcopy", "-i", partition, "-s", "-m", *names, "::", folder=folder, **dated)
    run("syslinux", "--install", "--offset", str(_BOOT_START), _RAW, folder=folder, **dated)


def _ext4(folder: Path, root: Tree, start: int, mib: int, uuid: str, time: int) -> None:
    """Make the root file system and fill it.

    Its blocks have the size large file systems use, as it may grow to be one.
    """
    files = folder / "root"
    files.mkdir()
    trees.write(root, files, time)
    dated = {"E2FSPROGS_FAKE_TIME": str(time), "SOURCE_DATE_EPOCH": str(time)}
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", uuid, "-m", "0",
        "-b", "4096", "-E", f"offset={start},hash_seed={uuid},lazy_itable_init=0",
        "-d", "root", _RAW, str(mib * MIB // 4096), folder=folder, **dated)  # fmt: skip
    # mke2fs took owners and times from files that are ours and new. In the guest
    # they are root's, and two builds of the same files should be the same.
    fields = {"uid": 0, "gid": 0} | dict.fromkeys(("atime", "ctime", "mtime", "crtime"), f"@{time}")
    commands = "".join(
        f'set_inode_field "/{path}" {field} {value}\n'
        for path in ["", *trees.with_folders(root)]
        for field, value in fields.items()
    )
    said = run("debugfs", "-w", "-f", "-", f"{_RAW}?offset={start}",
               input_text=commands, folder=folder, **dated)  # fmt: skip
    _complain(said.splitlines())
