"""What a machine must offer for a lab host, and the command that mends what it lacks."""

from __future__ import annotations

import getpass
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvmlab.errors import HostRequirementError
from kvmlab.labhost.folders import COVERED, Folders

# Program -> Debian/Ubuntu package.
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ssh-keygen": "openssh-client",
}
MEMORY_MIB = 1024
DISK_MIB = 2048
SUBORDINATE_IDS = 65536
TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Requirement:
    """One thing a lab host needs.

    ``problem`` is None when it is there; else one sentence on what is missing, and
    ``remedy`` the command that mends it.
    """

    name: str
    seen: str
    problem: str | None = None
    remedy: str = ""


def check() -> list[Requirement]:
    """Return every requirement with what was seen on this machine.

    Example:
        >>> [each.name for each in check()][0]
        'processor'
    """
    return [each() for each in _CHECKS]


def demand() -> None:
    """Raise HostRequirementError for the first requirement this machine lacks."""
    for each in _CHECKS:
        found = each()
        if found.problem:
            raise HostRequirementError(
                found.problem, seen=found.seen, next_step=f"Mend it with: {found.remedy}"
            )


def _processor() -> Requirement:
    machine = platform.machine()
    if machine in {"x86_64", "AMD64"}:
        return Requirement("processor", machine)
    problem = "the guest images of this course are for x86-64 processors"
    return Requirement("processor", machine, problem, "use an x86-64 machine, or a rented one")


def _programs() -> Requirement:
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_search_path())]
    if not missing and Path(COVERED["etc"]).is_dir():
        return Requirement("programs", f"all {len(PROGRAMS)} found")
    packages = sorted({PROGRAMS[name] for name in missing} or {"libvirt-daemon-system"})
    return Requirement(
        "programs",
        f"without {', '.join(missing) or COVERED['etc']}",
        "programs that the lab host runs are not installed",
        f"sudo apt-get install {' '.join(packages)}",
    )


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _namespaces() -> Requirement:
    """Try what the lab host will do: a mount of our own needs full rights in a namespace.

    On Ubuntu 23.10 and later AppArmor lets an ordinary program make a user
    namespace and takes the rights in it away, so that making one proves nothing.
    """
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    else:
        command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "true"]
    if not shutil.which("unshare"):
        return Requirement("namespaces", "unshare is missing")  # _programs has said so
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return Requirement("namespaces", "allowed")
    return Requirement(
        "namespaces",
        tried.stderr.strip(),
        "this machine does not allow the namespaces that a lab host is made of",
        _namespaces_remedy(),
    )


def _namespaces_remedy() -> str:
    """Return the command that lifts what forbids namespaces, found by the sysctls."""
    for switch, (forbids, allows) in _SWITCHES.items():
        place = SYSCTLS / switch.replace(".", "/")
        if place.exists() and int(place.read_text()) == forbids:
            return f"sudo sysctl -w {switch}={allows}"
    return "in a container: start it with --privileged; elsewhere: run ./lab outside of a chroot"


SYSCTLS = Path("/proc/sys")

# sysctl -> the value that forbids unprivileged user namespaces, one that allows
# them. The first is Ubuntu's since 23.10, the second an old Debian's, the third
# any kernel's.
_SWITCHES = {
    "kernel.apparmor_restrict_unprivileged_userns": (1, 0),
    "kernel.unprivileged_userns_clone": (0, 1),
    "user.max_user_namespaces": (0, 10000),
}


def _subordinate_ids() -> Requirement:
    if os.geteuid() == 0:
        return Requirement("subordinate ids", "not needed by root")
    user = pwd.getpwuid(os.getuid()).pw_name
    have = {kind: _largest_range(kind, user) for kind in ("subuid", "subgid")}
    seen = ", ".join(f"{count} in /etc/{kind}" for kind, count in have.items())
    free = max(_ends_of_ranges(), default=100000)
    span = f"{free}-{free + SUBORDINATE_IDS - 1}"
    remedy = f"sudo usermod --add-subuids {span} --add-subgids {span} {user}"
    if min(have.values()) < SUBORDINATE_IDS:
        problem = f"user {user} has no range of {SUBORDINATE_IDS} subordinate user and group ids"
        return Requirement("subordinate ids", seen, problem, remedy)
    if not shutil.which("newuidmap"):
        problem = "newuidmap, which hands out the subordinate ids, is not installed"
        return Requirement("subordinate ids", seen, problem, "sudo apt-get install uidmap")
    return Requirement("subordinate ids", seen)


def _ranges(kind: str) -> Iterator[tuple[str, int, int]]:
    """Yield the lines of /etc/subuid or /etc/subgid: owner, first id, count (subuid(5))."""
    place = Path("/etc", kind)
    for line in place.read_text().splitlines() if place.exists() else []:
        owner, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if first.isdigit() and count.isdigit():
            yield owner, int(first), int(count)


def _largest_range(kind: str, user: str) -> int:
    names = {user, str(os.getuid())}
    return max((count for owner, _, count in _ranges(kind) if owner in names), default=0)


def _ends_of_ranges() -> list[int]:
    return [first + count for kind in ("subuid", "subgid") for _, first, count in _ranges(kind)]


def _tun() -> Requirement:
    if not TUN.exists():
        problem = "there is no /dev/net/tun, through which guests reach the network"
        return Requirement("network device", "missing", problem, "sudo modprobe tun")
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        problem = "/dev/net/tun, through which guests reach the network, is not writable"
        return Requirement("network device", str(error.strerror), problem, f"sudo chmod 0666 {TUN}")
    return Requirement("network device", "writable")


def _memory() -> Requirement:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) // 1024
    if free >= MEMORY_MIB:
        return Requirement("memory", f"{free} MiB available")
    problem = f"less than {MEMORY_MIB} MiB of memory is available, too little for guests"
    return Requirement(
        "memory", f"{free} MiB", problem, "end programs that use much: ps aux --sort=-rss | head"
    )


def _nearest(place: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    while not os.path.exists(place):  # False, not an error, where we may not look
        place = place.parent
    return place


def _disk() -> Requirement:
    place = _nearest(Folders.default().root)
    free = shutil.disk_usage(place).free // 2**20
    if free >= DISK_MIB:
        return Requirement("disk", f"{free} MiB free at {place}")
    problem = f"less than {DISK_MIB} MiB of disk is free at {place}"
    remedy = "export KVMLAB_HOME=/a/folder/with/space"
    return Requirement("disk", f"{free} MiB", problem, remedy)


def _owner() -> Requirement:
    place = _nearest(Folders.default().root)
    if os.access(place, os.W_OK | os.X_OK):
        return Requirement("state folder", f"{place} is writable")
    problem = f"the state folder is not writable for {getpass.getuser()}"
    return Requirement("state folder", str(place), problem, "export KVMLAB_HOME=$HOME/kvmlab")


_CHECKS = (
    _processor, _programs, _owner, _disk, _memory, _subordinate_ids, _tun, _namespaces,
)  # fmt: skip
