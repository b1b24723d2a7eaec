"""The rooms of the lab host: its mounts and its network namespace.

The supervisor already has a user (unless it is the real root), mount, UTS and
PID namespace of its own, but still the network of the machine outside. That is
on purpose: from there it runs pasta, the NAT to the outside, and opens the ports
that the learner's browser connects to, while all of it ends with its PID
namespace. libvirtd and everything the learner runs live in a further, private
network namespace.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

from kvmlab.errors import LabHostError
from kvmlab.labhost.folders import COVERED, Folders

HOSTNAME = "kvmlab"

# The inside of pasta's NAT. Fixed, so that it is the same on every machine and
# never the network the learner's machine happens to be in (a laptop that is
# itself a libvirt guest is in 192.168.122.0/24). The numbers are the ones QEMU's
# own user-mode network has.
ADDRESS, PREFIX, GATEWAY, NAMESERVER = "10.0.2.15", "24", "10.0.2.2", "10.0.2.3"

HOSTS = f"""\
127.0.0.1\tlocalhost {HOSTNAME}
::1\tlocalhost ip6-localhost ip6-loopback
"""

# libvirt's two modules (package libnss-libvirt) answer for guests: by the host
# name a guest gave to DHCP, and by its name in libvirt.
HOSTS_LOOKUP = "hosts: files libvirt libvirt_guest dns"

# Guests come and go and names are used again: their host keys mean nothing here,
# and the network they are on is the learner's own.
# (A name without a dot is a guest's.)
SSH_CONFIG = """\
Host {hosts}
    User root
    IdentityFile "{key}"
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""

# Private addresses (RFC 1918, RFC 4193) are guests' as well.
_GUESTS = "192.168.* 10.* 172.?.* 172.??.* fd*:*"

# On a terminal virsh starts it, and it complains that there is no polkit to ask;
# in a lab host nobody needs to be asked.
POLKIT_AGENT = Path("/usr/bin/pkttyagent")

# These need modules that only the distribution's own Python has, but since Debian 13 they
# ask for the first python3 in PATH, which is that of our virtual environment.
PYTHON_TOOLS = ("virt-install", "virt-clone", "virt-xml", "virt-manager")
ANY_PYTHON, OWN_PYTHON = b"#!/usr/bin/env python3\n", Path("/usr/bin/python3")


def is_machine_root() -> bool:
    """Tell whether we are root of the machine, not only of a user namespace."""
    if os.geteuid() != 0:
        return False
    inside, outside, length = Path("/proc/self/uid_map").read_text().split()[:3]
    return (inside, outside, length) == ("0", "0", "4294967295")


def furnish(folders: Folders) -> None:
    """Mount the lab host's own /run, libvirt folders and files over the system's.

    Call it in a mount namespace of its own. Raises LabHostError.
    """
    socket.sethostname(HOSTNAME)
    # What of /run belongs to a lab host that ended must not be taken for ours.
    shutil.rmtree(folders.covering("run"), ignore_errors=True)
    folders.make()
    _cover_run(folders)
    for name, place in COVERED.items():
        target = Path(place)
        if target.is_relative_to("/run"):
            target.mkdir(parents=True, exist_ok=True)
        if not target.is_dir():
            raise LabHostError(
                "a folder of libvirt is missing on this machine",
                seen=place,
                next_step="Install libvirt: run ./lab again, it installs what is missing",
            )
        _mount("--bind", folders.covering(name), target)
    _replace(folders, "hosts", HOSTS)
    _replace(folders, "nsswitch.conf", _nsswitch())
    _replace(folders, "resolv.conf", f"nameserver {NAMESERVER}\n")
    _cover_ssh_config(folders)
    _cover_python_tools(folders)
    if POLKIT_AGENT.exists():
        _mount("--bind", "/dev/null", POLKIT_AGENT)


def open_network(folders: Folders) -> None:
    """Make the private network namespace and start libvirtd in it.

    The namespace is mounted at ``folders.netns``; libvirtd has detached and takes
    connections when this returns. Raises LabHostError with its last words.
    """
    folders.netns.touch()
    with as_file(files("kvmlab.labhost") / "network.sh") as script:
        started = subprocess.run(
            ["unshare", "--net", "sh", str(script), str(folders.netns)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if started.returncode:
        raise LabHostError(
            "libvirtd did not start in the lab host",
            seen=(started.stderr or started.stdout).strip()[-500:],
            next_step=f"Look into {folders.covering('log')}/libvirtd.log",
        )


def in_network(folders: Folders, command: list[str]) -> list[str]:
    """Return ``command`` made to run in the private network namespace."""
    return ["nsenter", f"--net={folders.netns}", "--", *command]


def start_pasta(folders: Folders) -> subprocess.Popen[bytes] | None:
    """Start pasta: NAT from the private network to the outside; None without it.

    ``--no-map-gw`` keeps guests away from services on the learner's loopback; no
    port is forwarded by pasta, in either direction.
    """
    if not shutil.which("pasta"):
        return None
    command = ["pasta", "--foreground", "--quiet", "--config-net", "--netns-only"]
    if is_machine_root():
        # Else it would become nobody, who may not enter the namespace.
        command += ["--runas", "0"]
    command += ["--address", ADDRESS, "--netmask", PREFIX, "--gateway", GATEWAY]
    command += ["--no-map-gw", "--dns-forward", NAMESERVER]
    for direction in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
        command += [direction, "none"]
    with (folders.logs / "pasta.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--netns", str(folders.netns)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _mount(*arguments: str | Path) -> None:
    # Without a note in /run/mount, which is about to become another folder.
    command = ["mount", "--no-mtab", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabHostError(
            "a mount in the lab host failed",
            seen=f"{' '.join(command)}: {done.stderr.strip()}",
            next_step="Run ./lab doctor to see what this machine forbids",
        )


def _cover_run(folders: Folders) -> None:
    """Put an empty /run in place, but keep the user's own folder of it.

    /run/lock is where virsh console locks a terminal; /run/user/UID holds the
    sockets of the desktop, which virt-manager needs.
    """
    desktop = Path(os.environ.get("XDG_RUNTIME_DIR", "/run/user/none"))
    new = folders.root / "host" / "new-run"
    new.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", new)
    (new / "lock").mkdir()
    if desktop.is_relative_to("/run") and desktop.is_dir():
        kept = new / desktop.relative_to("/run")
        kept.mkdir(parents=True)
        _mount("--rbind", desktop, kept)
    _mount("--move", new, "/run")


def _replace(folders: Folders, name: str, content: str) -> None:
    """Put a file of our own in place of /etc/NAME."""
    own = folders.replacements / name
    own.write_text(content)
    # /etc/resolv.conf is often a link into /run, which is new and empty by now.
    target = Path("/etc", name).resolve()
    if not target.exists():
        if not target.is_relative_to("/run"):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount("--bind", own, target)


def _nsswitch() -> str:
    present = Path("/etc/nsswitch.conf")
    lines = present.read_text().splitlines() if present.exists() else []
    kept = [line for line in lines if not line.lstrip().startswith("hosts:")]
    return "\n".join([*kept, HOSTS_LOOKUP, ""])


def _cover_ssh_config(folders: Folders) -> None:
    target = Path("/etc/ssh/ssh_config.d")
    if not target.is_dir():
        return
    own = folders.replacements / "ssh_config.d"
    own.mkdir(exist_ok=True)
    settings = own / "kvmlab.conf"
    key = folders.root / "ssh" / "id_ed25519"
    settings.write_text(
        "".join(SSH_CONFIG.format(hosts=hosts, key=key) for hosts in (_GUESTS, "* !*.*"))
    )
    # ssh refuses an included file that others may write to.
    settings.chmod(0o644)
    _mount("--bind", own, target)


def _cover_python_tools(folders: Folders) -> None:
    for tool in (OWN_PYTHON.with_name(name) for name in PYTHON_TOOLS):
        script = tool.read_bytes() if tool.exists() and OWN_PYTHON.exists() else b""
        if script.startswith(ANY_PYTHON):
            own = folders.replacements / tool.name
            own.write_bytes(b"#!%b\n" % bytes(OWN_PYTHON) + script.removeprefix(ANY_PYTHON))
            own.chmod(0o755)
            _mount("--bind", own, tool)
