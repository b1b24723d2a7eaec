"""What libvirt has no call for, by ``qemu-img``: only where libvirt's files are this machine's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kvmlab.errors import (
    BackingMissing,
    Forbidden,
    InUse,
    KvmlabError,
    LibvirtFailed,
    NotEnoughDisk,
    NotSupported,
)
from kvmlab.specs import Passphrase, VolumeSpec
from kvmlab.virsh import shell

if TYPE_CHECKING:
    from kvmlab.lab import Lab

Progress = Callable[[str, float], None]

_PERCENT = re.compile(rb"\(\s*([0-9.]+)/100%\)")
# What QEMU says (block/file-posix.c, qemu-img.c), and what it means.
_SAID: tuple[tuple[str, type[KvmlabError]], ...] = (
    (r"Failed to get .* lock", InUse),
    (r"Could not open .*backing.*No such file|Could not open backing file", BackingMissing),
    (r"No space left on device", NotEnoughDisk),
    (r"Permission denied|Operation not permitted", Forbidden),
)


def is_local(lab: Lab) -> bool:
    """Whether the files that libvirt speaks of are files of this machine.

    Example:
        >>> is_local(lab)
        True
    """
    return urlsplit(lab.uri).hostname is None


def real_path(lab: Lab, path: str) -> str:
    """Return the one path of a file, whatever links and dots lead there.

    On another machine, links can't be looked at.

    Example:
        >>> real_path(lab, "/var/lib/libvirt/images/../images/web.qcow2")
        '/var/lib/libvirt/images/web.qcow2'
    """
    return os.path.realpath(path) if is_local(lab) else os.path.normpath(path)


def read(lab: Lab, path: str) -> VolumeSpec:
    """Return what ``qemu-img info`` tells of a file, also while a guest uses it.

    Raises:
        NotSupported: libvirt is on another machine, or there is no ``qemu-img``.
        Forbidden: we may not read it.

    Example:
        >>> read(lab, "/srv/disk.qcow2").format
        'qcow2'
    """
    told = run(lab, "info", "--force-share", "--output=json", path)
    found: dict[str, Any] = json.loads(told)
    encrypted = found.get("encrypted", False)
    return VolumeSpec(
        name=Path(path).name,
        capacity_bytes=found["virtual-size"],
        allocation_bytes=found["actual-size"],
        format=found["format"],
        encryption=Passphrase() if encrypted else None,
        backing_path=found.get("full-backing-filename", found.get("backing-filename")),
        backing_format=found.get("backing-filename-format"),
    )


def run(lab: Lab, *words: str, doing: str = "", progress: Progress | None = None) -> str:
    """Run ``qemu-img`` and return what it printed; it is noted as a command of the lab.

    Args:
        lab: whose files are worked on.
        words: its command and arguments.
        doing: what is done, in words.
        progress: is called with that, and how much of it is done (0 to 1).

    Raises:
        NotSupported: libvirt is on another machine, or there is no ``qemu-img``.
        InUse: a guest has one of the files open.
        BackingMissing: a file below is not there.
        NotEnoughDisk: the file system is full.
        Forbidden: we may not read or write one of the files.

    Example:
        >>> run(lab, "rebase", "-b", "", "top.qcow2", doing="flatten top.qcow2")
    """
    if not is_local(lab):
        raise NotSupported(
            "libvirt has no call for that, and its files are on another machine",
            seen=lab.uri,
            next_step="Run it there, or do it while a guest runs with the disk: guest.disks[...]",
        )
    program = shutil.which("qemu-img")
    if program is None:
        raise NotSupported(
            "there is no qemu-img on this machine", next_step="On Debian: apt install qemu-utils"
        )
    command = ["qemu-img", words[0], *(["-p"] if progress else []), *words[1:]]
    with lab.virsh_log.action(question=words[0] == "info") as action:
        with subprocess.Popen(
            [program, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                told = _follow(process, doing, progress)
            except BaseException:
                process.kill()
                raise
            complaint = (process.stderr.read() if process.stderr else b"").decode().strip()
        if process.returncode:
            raise _problem(complaint, doing or f"qemu-img {words[0]}")
        action.note(shell("qemu-img", *words))
    return told.decode()


def _follow(process: subprocess.Popen[bytes], doing: str, progress: Progress | None) -> bytes:
    told = bytearray()
    assert process.stdout is not None
    while more := process.stdout.read1(4096):  # type: ignore[attr-defined]
        told += more
        if progress and (percent := _PERCENT.findall(told[-64:])):
            progress(doing, float(percent[-1]) / 100)
    return bytes(told)


def _problem(complaint: str, doing: str) -> KvmlabError:
    said = complaint.removeprefix("qemu-img: ").splitlines()
    what = f"{doing}: {said[0] if said else 'qemu-img failed'}"
    for pattern, kind in _SAID:
        if re.search(pattern, complaint):
            return kind(what)
    return LibvirtFailed(what, next_step="That was qemu-img's own word; man qemu-img")
