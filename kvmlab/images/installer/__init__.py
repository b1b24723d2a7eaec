"""``installer``: a CD of our own that installs a small Linux on a disk, as real ones do.

isolinux starts our kernel from the CD, with an initrd that is the installer: a text dialogue
on the screen and on the serial line. What it installs is the system of the image ``tiny``,
with a login in place of the open door.

What runs in the guest stands beside this file: ``cd/`` is what else is on the CD,
``initrd/`` what the kernel starts, ``root/`` what goes over tiny's files.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from pathlib import Path

from kvmlab.images import mbr, packages, picking, tiny
from kvmlab.images import tree as trees
from kvmlab.images.image import Content, Progress
from kvmlab.images.iso import write_iso
from kvmlab.images.tree import FILE, FOLDER, Node, Tree

PACKAGES = (
    *tiny.PACKAGES,
    "isolinux",
    "syslinux-common",
    "extlinux",
    "fdisk",
    "dosfstools",
)
# What the installer itself needs beside BusyBox.
PROGRAMS = (
    "usr/bin/sfdisk", "usr/bin/mkfs.fat", "usr/bin/mke2fs", "usr/bin/extlinux",
)  # fmt: skip
MODULES = (*tiny.BOOT_MODULES, "sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_utf8")
LOADER = {
    "isolinux/isolinux.bin": "usr/lib/ISOLINUX/isolinux.bin",
    "isolinux/ldlinux.c32": "usr/lib/syslinux/modules/bios/ldlinux.c32",
}
LABEL = "KVMLAB_INSTALL"

# A kernel with a root of its own in the initrd needs no root=.
CMDLINE = tiny.CMDLINE.partition(" ")[2]


class Installer:
    """The recipe for the image ``installer``."""

    is_medium = True

    def fingerprint(self) -> str:
        """Return a digest of all that decides what is on the CD, but Debian's updates."""
        digest = hashlib.sha256(tiny.Tiny().fingerprint().encode())
        for source in ("iso.py", "installer/__init__.py"):
            digest.update(files("kvmlab.images").joinpath(source).read_bytes())
        for part in ("cd", "initrd", "root"):
            digest.update(trees.cpio(trees.from_package(files(__name__) / part)))
        return digest.hexdigest()

    def build(self, folder: Path, progress: Progress) -> Content:
        """Make the CD in ``folder``, and kernel and initrd beside it."""
        unpacked = packages.fetch(
            tiny.SUITE, PACKAGES, _wanted, lambda text, done: progress(text, done * 0.7)
        )
        progress("putting the CD together", 0.7)
        kernel, initrd = tiny.kernel(unpacked), trees.cpio(_initrd(unpacked))
        system = _system(unpacked)
        disc = {path: node.content for path, node in _cd().items()}
        disc |= {path: unpacked[source].content for path, source in LOADER.items()}
        disc |= {
            "isolinux/vmlinuz": kernel,
            "isolinux/initrd": initrd,
            "system/initrd": trees.cpio(tiny.initrd(unpacked)),
            "system/root.tar.gz": gzip.compress(trees.tar(system, tiny.TIME), 6, mtime=tiny.TIME),
            "system/files": f"{len(trees.with_folders(system))}\n".encode(),
        }
        progress("writing the CD", 0.9)
        write_iso(folder / "installer.iso", disc, label=LABEL, bootable=True)
        (folder / "vmlinuz").write_bytes(kernel)
        (folder / "initrd").write_bytes(initrd)
        return Content(
            title="Tiny Linux, to install from a CD",
            disk="installer.iso",
            disk_format="iso",
            virtual_size=(folder / "installer.iso").stat().st_size,
            memory_mib=256,
            min_memory_mib=160,
            kernel="vmlinuz",
            initrd="initrd",
            cmdline=CMDLINE,
            os_id="http://debian.org/debian/12",
            boot="cdrom",
            disk_gib=0.5,
            has_cloud_init=False,
        )


def _wanted(path: str) -> bool:
    return tiny.wanted(path) or path in (*PROGRAMS, *LOADER.values())


def _cd() -> Tree:
    tree = trees.from_package(files(__name__) / "cd")
    return {
        path: Node(node.mode, node.content.replace(b"@CMDLINE@", CMDLINE.encode()))
        for path, node in tree.items()
    }


def _initrd(unpacked: Tree) -> Tree:
    """Return the installer: BusyBox, the programs that make a disk bootable, and the dialogue."""
    tree = tiny.system(unpacked, ("usr/bin/busybox", *PROGRAMS), MODULES)
    tree |= picking.libraries(unpacked, tree)
    tree["usr/lib64"] = trees.link("lib/x86_64-linux-gnu")
    tree |= {"mbr.bin": Node(FILE, mbr.first_sector()[:440])}
    tree |= {name: Node(FOLDER) for name in ("cdrom", "target")}
    return tree | trees.from_package(files(__name__) / "initrd")


def _system(unpacked: Tree) -> Tree:
    """Return what is installed: tiny, as it is on its own disk, but for a login."""
    return tiny.root(unpacked) | trees.from_package(files(__name__) / "root")
