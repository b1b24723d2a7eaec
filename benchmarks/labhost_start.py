"""How long a lab host takes to start, until the first command in it is answered.

Ours is ``kvmlab.labhost.client.enter`` and ``virsh list`` in there. Beside it, for
scale: the same namespaces by ``unshare``, empty folders over libvirt's own,
``libvirtd -d`` and ``virsh list``. That has no default network and no storage pool, no
NAT to the outside and no supervisor; so no limit is promised.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.environment import as_installed
from benchmarks.pairs import Comparison, Step, timed
from kvmlab.home import home
from kvmlab.labhost import client
from kvmlab.labhost.client import Seat

COMPARISON = Comparison(
    question="a lab host, enter to virsh list",
    against="unshare, libvirtd -d, virsh list",
    limit=None,
)

_NAMESPACES = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
_VIRSH = ["virsh", "--connect", "qemu:///system", "list"]
_SCRIPT = f"""\
set -e
mount -t tmpfs tmpfs /run
mkdir /run/lock /run/libvirt
for name in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt; do
    mkdir -p "$1/$name"
    mount --bind "$1/$name" "/$name"
done
mount -t sysfs sysfs /sys
ip link set lo up
libvirtd -d
exec {" ".join(_VIRSH)}
"""


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    # In our own lab, which is removed as root of its user namespace: libvirtd gives some
    # of its folders to other users.
    folder = home() / "bare"
    folder.mkdir()
    # Of both the first start is special: libvirt gets to know QEMU.
    _ours(), _theirs(folder)
    return [COMPARISON.measure(_ours, lambda: _theirs(folder), pairs, step)]


def _ours() -> float:
    seats: list[Seat] = []

    def start() -> None:
        seats.append(client.enter("bench"))
        subprocess.run(
            seats[0].entering(_VIRSH),
            check=True,
            capture_output=True,
            env=seats[0].environment(),
        )

    seconds = timed(start)
    with seats[0] as seat:
        seat.leave()
    return seconds


def _theirs(folder: Path) -> float:
    namespaces = _NAMESPACES
    if os.geteuid() != 0:
        namespaces = ["--user", "--map-root-user", "--map-auto", *namespaces]
    command = ["unshare", *namespaces, "sh", "-c", _SCRIPT, "sh", str(folder)]

    def start() -> None:
        # In a session of its own, as the lab host: see `benchmarks.bare`.
        subprocess.run(
            command, check=True, capture_output=True, env=as_installed(), start_new_session=True
        )

    return timed(start)
