"""``tiny``: a small Linux for the lessons, made of Debian packages in seconds.

A Debian cloud kernel, BusyBox for everything a shell offers, the real ``ip``,
``mkfs.ext4``, ``lsblk`` and ``lspci``, dropbear for ssh, and the QEMU guest agent.
What runs in the guest stands beside this file: ``initrd/`` is what the kernel starts
first, ``root/`` goes over the packages' files in its root file system.
"""

from __future__ import annotations

import hashlib
import re
import stat
from importlib.resources import files
from pathlib import Path

from kvmlab.images import disk, packages, picking
from kvmlab.images import tree as trees
from kvmlab.images.image import Content, Progress
from kvmlab.images.tree import FOLDER, Node, Tree, link

SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64", "busybox-static", "dash", "bash", "qemu-guest-agent", "dropbear-bin",
    "iproute2", "e2fsprogs", "util-linux", "pciutils",
    "systemd-boot-efi",
)  # fmt: skip

# The programs of those packages that go into the guest; libraries follow by need.
PROGRAMS = (
    "usr/bin/busybox", "usr/bin/dash", "usr/bin/bash",
    "usr/bin/qemu-ga",
    "usr/bin/dropbear", "usr/bin/dbclient", "usr/bin/dropbearkey",
    "usr/bin/ip", "usr/bin/ss", "usr/bin/bridge", "usr/bin/tc",
    "usr/bin/mke2fs", "usr/bin/mkfs.ext4", "usr/bin/e2fsck", "usr/bin/fsck.ext4",
    "usr/bin/resize2fs", "usr/bin/tune2fs", "usr/bin/dumpe2fs", "etc/mke2fs.conf",
    "usr/bin/lsblk", "usr/bin/lscpu", "usr/bin/blkid", "usr/bin/lsmem",
    "usr/bin/lspci", "usr/share/misc/pci.ids",
)  # fmt: skip

# Drivers the initrd needs to reach the root file system; ext4 and NVMe are built in.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix")
# Drivers for everything else a lesson may plug in or try.
MODULES = (
    *BOOT_MODULES,
    "virtio_net", "virtio_console", "virtio_balloon", "virtio_rng", "virtio_input", "virtio_mem",
    "virtio_pmem", "virtiofs", "vmw_vsock_virtio_transport", "pvpanic_pci",
    "button", "evdev", "sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_utf8",
    "loop", "overlay", "squashfs", "dm_mod", "dm_snapshot",
    "bridge", "veth", "tun", "dummy", "macvlan", "8021q", "kvm_intel", "kvm_amd",
)  # fmt: skip

UUID = "6b766d6c-6162-4000-8000-74696e790001"
# What the kernel is told:
CMDLINE = " ".join((
    f"root=UUID={UUID}",
    "console=tty0 console=ttyS0,115200",  # the screen, the serial line; the last is /dev/console
    "quiet",
    "memhp_default_state=online",  # memory plugged in later is used at once
    # Where memory may be plugged in above 4 GiB, Linux sets 64 MiB of the first memory aside
    # for devices that can't reach it; 4 MiB (2048 pieces of 2 KiB) leave room for programs.
    "swiotlb=2048",
    # The kernel's place in memory is always the same, for the MBR to clear it.
    "nokaslr",
    # More than half of what the kernel executes before it starts /init is trying out its
    # own cryptography, and every page it hands out is cleared first. Both cost a guest
    # without hardware acceleration dearly, and protect nothing in a lab.
    "cryptomgr.notests init_on_alloc=0",
    # It counts timer interrupts for a moment, and panics when there are too few: an emulated
    # guest on a host whose processors are all busy does not get its turn in time.
    "no_timer_check",
))  # fmt: skip
# All files are dated so, for builds to be the same: Debian 12's release.
TIME = 1686355200

_KERNEL = "boot/vmlinuz-"
UEFI_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


class Tiny:
    """The recipe for the image ``tiny``."""

    def fingerprint(self) -> str:
        """Return a digest of all that decides what is in the image, but Debian's updates."""
        digest = hashlib.sha256()
        for source in ("disk.py", "mbr.py", "picking.py", "tree.py", "tiny/__init__.py"):
            digest.update(files("kvmlab.images").joinpath(source).read_bytes())
        for part in ("initrd", "root"):
            digest.update(trees.cpio(trees.from_package(files(__name__) / part)))
        return digest.hexdigest()

    def build(self, folder: Path, progress: Progress) -> Content:
        """Make disk, kernel and initrd in ``folder``."""
        disk.require_tools()
        unpacked = packages.fetch(
            SUITE, PACKAGES, wanted, lambda text, done: progress(text, done * 0.8)
        )
        progress("putting the disk together", 0.8)
        boot = {
            "vmlinuz": Node(trees.FILE, kernel(unpacked)),
            "initrd": Node(trees.FILE, trees.cpio(initrd(unpacked))),
            "EFI/BOOT/BOOTX64.EFI": picking.files(unpacked, (UEFI_LOADER,))[UEFI_LOADER],
        }
        boot |= disk.loader_files("tiny", CMDLINE)
        for name in ("vmlinuz", "initrd"):
            (folder / name).write_bytes(boot[name].content)
        size = disk.assemble(
            folder / "disk.qcow2", boot, root(unpacked),
            boot_mib=32, root_mib=160, uuid=UUID, time=TIME,
        )  # fmt: skip
        return Content(
            title="Tiny Linux (Debian kernel, BusyBox)",
            disk="disk.qcow2",
            disk_format="qcow2",
            virtual_size=size,
            memory_mib=128,
            min_memory_mib=96,
            kernel="vmlinuz",
            initrd="initrd",
            cmdline=CMDLINE,
            os_id="http://debian.org/debian/12",
            has_agent=True,
            has_cloud_init=False,
        )


def wanted(path: str) -> bool:
    """Tell whether a file from the packages may be needed."""
    return (
        path in (*PROGRAMS, UEFI_LOADER)
        or path.startswith(_KERNEL)
        or re.fullmatch(rf"{picking.LIBRARIES}/[^/]+\.so[^/]*", path) is not None
        or (path.startswith("usr/lib/modules/") and path.endswith(".ko"))
    )


def kernel(unpacked: Tree) -> bytes:
    """Return the kernel."""
    path = next((path for path in unpacked if path.startswith(_KERNEL)), _KERNEL)
    return picking.files(unpacked, (path,))[path].content


def root(unpacked: Tree) -> Tree:
    """Return the root file system."""
    tree = system(unpacked, PROGRAMS, MODULES)
    tree |= picking.libraries(unpacked, tree) | {"usr/lib64": link("lib/x86_64-linux-gnu")}
    tree |= {f"usr/bin/{name}": link("shutdown") for name in ("poweroff", "reboot", "halt")}
    tree["usr/bin/sh"] = link("dash")
    tree |= {path: Node(FOLDER) for path in ("boot", "mnt", "var/www", "etc/dropbear")}
    tree |= {"var/run": link("../run"), "root/.ssh": Node(stat.S_IFDIR | 0o700)}
    return tree | trees.from_package(files(__name__) / "root")


def initrd(unpacked: Tree) -> Tree:
    """Return what the kernel starts from memory, before it can see a disk.

    This BusyBox needs no libraries: it is statically linked.
    """
    tree = system(unpacked, ("usr/bin/busybox",), BOOT_MODULES)
    return tree | trees.from_package(files(__name__) / "initrd")


def system(unpacked: Tree, programs: tuple[str, ...], modules: tuple[str, ...]) -> Tree:
    """Return what every Linux needs: programs, kernel modules, and the usual folders."""
    tree = picking.files(unpacked, programs) | picking.modules(unpacked, modules)
    # A name that isn't a program of its own is one of BusyBox's.
    tree = {f"usr/bin/{name}": link("busybox") for name in picking.applets(unpacked)} | tree
    tree |= {name: link(f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")}
    tree["usr/sbin"] = link("bin")
    tree |= {name: Node(FOLDER) for name in ("dev", "proc", "root", "run", "sys", "tmp")}
    return tree
