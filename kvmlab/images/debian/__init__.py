"""``debian``: Debian as it is, with systemd, cloud-init, ssh and the guest agent.

mmdebstrap installs it, which takes root: that of a user namespace, as the owners of files
and the scripts of packages need many user ids, and nothing outside is touched. So it works
for an ordinary user, in the lab host (where we are such a root already), and as real root.

What goes into it stands beside this file: ``early/`` before the packages are installed,
``root/`` afterwards; ``finish`` is run in it at the end, and ``build`` is all of it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

from kvmlab.images import disk
from kvmlab.images import tree as trees
from kvmlab.images.hosttools import discard, environment, failure, namespace_root, require
from kvmlab.images.image import Content, Progress
from kvmlab.images.packages import SUPERVISE, Downloads
from kvmlab.images.tree import FILE, PROGRAM, Node, Tree

SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64", "initramfs-tools", "lz4", "systemd-sysv", "systemd-resolved", "dbus",
    "libpam-systemd", "cloud-init", "cloud-guest-utils", "qemu-guest-agent", "openssh-server",
    "sudo", "iproute2", "iputils-ping", "netbase", "ca-certificates", "less", "nano", "procps",
    "bash-completion", "systemd-boot-efi", "fdisk",
)  # fmt: skip

UUID = "6b766d6c-6162-4000-8000-646562690001"
# As for tiny: both consoles, and nothing tried out that costs an emulated guest dearly.
CMDLINE = (
    f"root=UUID={UUID} ro console=tty0 console=ttyS0,115200 quiet nokaslr "
    "cryptomgr.notests init_on_alloc=0"
)
BOOT_MIB, ROOT_MIB = 128, 1408
TIME = 1686355200  # Debian 12's release

# What mmdebstrap says it does, and the fraction done when it begins.
_STAGES = {
    "I: running apt-get update": ("asking Debian what there is", 0.0),
    "I: downloading packages": ("downloading Debian's core", 0.05),
    "I: extracting archives": ("unpacking Debian's core", 0.1),
    "I: installing essential packages": ("installing Debian's core", 0.15),
    "I: installing remaining packages": ("installing Debian", 0.25),
    "I: making the file system": ("making the file system", 0.85),
}
# About as many packages are set up, which tells how far it is.
_COUNT = 230


class Debian:
    """The recipe for the image ``debian``."""

    def fingerprint(self) -> str:
        """Return a digest of all that decides what is in the image, but Debian's updates."""
        digest = hashlib.sha256()
        for source in ("disk.py", "mbr.py", "tree.py", "debian/__init__.py"):
            digest.update(files("kvmlab.images").joinpath(source).read_bytes())
        for part in ("build", "finish"):
            digest.update((files(__name__) / part).read_bytes())
        for part in ("early", "root"):
            digest.update(trees.cpio(trees.from_package(files(__name__) / part)))
        return digest.hexdigest()

    def build(self, folder: Path, progress: Progress) -> Content:
        """Make disk, kernel and initrd in ``folder``."""
        disk.require_tools()
        require("mmdebstrap", "unshare", "setpriv", "dd")
        work = folder.parent
        for part, tree in _parts().items():
            (work / f"{part}.tar").write_bytes(trees.tar(tree, TIME))
        _install(work, progress)
        progress("putting the disk together", 0.9)
        for name in ("vmlinuz", "initrd"):
            (work / name).rename(folder / name)
        boot = {name: Node(FILE, (folder / name).read_bytes()) for name in ("vmlinuz", "initrd")}
        boot["EFI/BOOT/BOOTX64.EFI"] = Node(FILE, (work / "efi").read_bytes())
        boot |= disk.loader_files("debian", CMDLINE)
        size = disk.assemble(
            folder / "disk.qcow2", boot, work / "root.ext4",
            boot_mib=BOOT_MIB, root_mib=ROOT_MIB, uuid=UUID, time=TIME,
        )  # fmt: skip
        return Content(
            title="Debian 12",
            disk="disk.qcow2",
            disk_format="qcow2",
            virtual_size=size,
            memory_mib=512,
            min_memory_mib=256,
            kernel="vmlinuz",
            initrd="initrd",
            cmdline=CMDLINE,
            os_id="http://debian.org/debian/12",
            has_agent=True,
            has_cloud_init=True,
        )


def _parts() -> dict[str, Tree]:
    """Return what goes into the tree, and when: "early" before the packages, "root" after."""
    room = files(__name__)
    root = {
        path: node._replace(content=node.content.replace(b"@UUID@", UUID.encode()))
        for path, node in trees.from_package(room / "root").items()
    }
    root["root/finish"] = Node(PROGRAM, (room / "finish").read_bytes())
    return {"early": trees.from_package(room / "early"), "root": root}


def _install(work: Path, progress: Progress) -> None:
    """Have the script ``build`` make root.ext4, vmlinuz, initrd and efi in ``work``.

    Raises:
        ImageError: it failed; nothing but its log is left in ``work``.
    """
    # Of a namespace of its own, everything ends with the first process, and every mount.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    as_root = namespace_root()
    with as_file(files(__name__) / "build") as script:
        command = [
            *("setpriv", "--pdeathsig", "TERM", "sh", "-c", SUPERVISE, "sh"),
            *(*as_root, *alone, "sh", str(script), str(work)),
            *(SUITE, ",".join(PACKAGES), str(ROOT_MIB), UUID),
        ]
        log: list[str] = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
            env=environment(),
        ) as process:
            assert process.stderr
            try:
                _follow(process.stderr, log, progress)
                process.wait()
            except BaseException:  # Ctrl-C, say: leave nothing running
                process.terminate()
                raise
            finally:
                process.wait()
                discard(work / "tree")
    if process.returncode:
        raise failure("mmdebstrap", process.returncode, "".join(log))


def _follow(lines: Iterable[bytes], log: list[str], progress: Progress) -> None:
    """Keep mmdebstrap's words in ``log`` and turn them into progress."""
    downloads, done, stage, start = Downloads(), 0, "", 0.0
    for raw in lines:
        line = raw.decode(errors="replace")
        log.append(line)
        for begin, (text, fraction) in _STAGES.items():
            if line.startswith(begin):
                stage, start = text, fraction
                progress(stage, start)
        if (told := downloads.read(line)) and stage:
            progress(f"{stage}: {told}", start)
        elif found := re.match(r"Setting up ([^ :]+)", line):
            done += 1
            progress(f"setting up {found[1]}", start + 0.6 * min(done / _COUNT, 1))
