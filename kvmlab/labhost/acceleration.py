"""Whether KVM can really run a Linux guest here: found by booting one.

That /dev/kvm opens proves little. There are machines, nested ones mostly, where a
virtual machine can be created, a few instructions of real mode run, and a Linux
kernel never gets past its first ones; others crash QEMU over a CPU feature that the
outer hypervisor promises and does not keep. So the probe boots the tiny image's
kernel with a deadline and listens for a word on the serial line.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kvmlab.home import home

KVM = Path("/dev/kvm")

# The kernel prints it right before the first program runs; until then it has used
# interrupts, timers, protected mode and paging.
WORD = b"Run /init as init process"

# A healthy KVM needs well under a second for it, pure emulation about three.
DEADLINE_S = 10.0


@dataclass(frozen=True)
class Acceleration:
    """The verdict of the probe.

    Attributes:
        kind: "kvm" when a Linux guest runs under KVM, else "tcg", QEMU's emulation.
        reason: one sentence on why.
        disabled_cpu_features: CPU features to take from a guest so that KVM works.
    """

    kind: Literal["kvm", "tcg"]
    reason: str
    disabled_cpu_features: tuple[str, ...] = ()


def cached() -> Acceleration | None:
    """Return the verdict of an earlier probe on this kernel, QEMU and processor.

    Example:
        >>> verdict = cached()
        >>> verdict is None or verdict.kind in ("kvm", "tcg")
        True
    """
    try:
        known = json.loads(_cache().read_text())
    except (FileNotFoundError, PermissionError, ValueError):
        return None
    if known.pop("machine") != _machine():
        return None
    known["disabled_cpu_features"] = tuple(known["disabled_cpu_features"])
    return Acceleration(**known)


def probe(kernel: Path, initrd: Path) -> Acceleration:
    """Boot a Linux kernel under KVM; remember and return the verdict.

    Args:
        kernel: a bzImage; the tiny image's.
        initrd: its initial RAM disk.
    """
    verdict = _probe(kernel, initrd)
    place = _cache()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"machine": _machine(), **asdict(verdict)}))
    return verdict


def _probe(kernel: Path, initrd: Path) -> Acceleration:
    if not KVM.exists():
        return Acceleration("tcg", "there is no /dev/kvm: guests are emulated")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Acceleration(
            "tcg",
            "/dev/kvm is not open to you: guests are emulated"
            " (sudo usermod -aG kvm $USER and a new login would change that)",
        )
    if not _reaches_guests():
        return Acceleration(
            "tcg",
            "/dev/kvm is open to you through your group only, which does not count in a lab"
            " host: guests are emulated (sudo setfacl -m u:$USER:rw /dev/kvm would change that)",
        )
    # Some nested hosts crash QEMU on MSR 0x10a, IA32_ARCH_CAPABILITIES.
    for disabled in ((), ("arch-capabilities",)):
        said = _boot(kernel, initrd, disabled)
        if said is None:
            without = f" without the CPU feature {disabled[0]}" if disabled else ""
            return Acceleration("kvm", f"a Linux kernel booted under KVM{without}", disabled)
    return Acceleration("tcg", f"KVM can't run Linux here ({said}): guests are emulated")


def _reaches_guests() -> bool:
    """Tell whether QEMU in the lab host may open /dev/kvm.

    libvirt gives QEMU the groups of its user alone, and in a user namespace the
    machine's group kvm can't be one of them.
    """
    if os.geteuid() == 0:
        return True
    into = ["unshare", "--user", "--map-root-user", "--map-auto", "setpriv", "--clear-groups"]
    tried = subprocess.run([*into, "test", "-w", str(KVM)], capture_output=True, check=False)
    return tried.returncode == 0


def _boot(kernel: Path, initrd: Path, disabled: tuple[str, ...]) -> str | None:
    """Boot once; return None when the word came, else what happened instead."""
    cpu = ",".join(["host", *(f"{feature}=off" for feature in disabled)])
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"]
    command += ["-machine", "q35", "-accel", "kvm", "-cpu", cpu, "-m", "256"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel)]
    command += ["-initrd", str(initrd), "-append", "console=ttyS0 panic=-1"]
    qemu = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert qemu.stdout is not None
    serial = qemu.stdout.fileno()
    heard = b""
    end = time.monotonic() + DEADLINE_S
    try:
        while (left := end - time.monotonic()) > 0 and WORD not in heard:
            if select.select([serial], [], [], left)[0]:
                if not (piece := os.read(serial, 65536)):
                    break
                heard += piece
    finally:
        qemu.kill()
        qemu.wait()
        qemu.stdout.close()
    if WORD in heard:
        return None
    if left > 0:
        last = heard.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        return f"QEMU ended: {last[0][-160:]}"
    spoken = "after its first lines" if heard else "before it said a word"
    return f"a guest hung for {DEADLINE_S:.0f} s {spoken}"


def _cache() -> Path:
    return home() / "acceleration.json"


def _machine() -> str:
    """Return what the verdict depends on: kernel, QEMU, processor, our access."""
    release = os.uname().release
    processor = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    # An upgrade changes the program's file; asking it for its version takes longer.
    found = shutil.which("qemu-system-x86_64")
    qemu = os.stat(found) if found else None
    identity = (qemu.st_size, qemu.st_mtime_ns) if qemu else None
    access = KVM.exists() and os.access(KVM, os.R_OK | os.W_OK)
    return hashlib.sha256(f"{release}\n{identity}\n{processor}\n{access}".encode()).hexdigest()
