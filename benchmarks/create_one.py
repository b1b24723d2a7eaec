"""How long a guest takes from nothing to an answer of its agent, beside bare QEMU.

Ours is ``lab.guests.create``, ``start`` and ``wait_ready``; the other way is
``qemu-img create``, a tap on the same bridge and the ``qemu-system-x86_64`` command of
`benchmarks.bare`, until ``guest-ping`` comes back. Both boot the tiny image through
firmware and boot loader. What the library adds is checks, libvirt's own work and the
PCIe ports libvirt gives its guests.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import bare
from benchmarks.guests import delete_guests, lab_for_guests
from benchmarks.pairs import Comparison, Step, timed
from kvmlab.images import Catalogue

MEMORY_MIB = 128

COMPARISON = Comparison(
    question="a guest, create to agent-ready",
    against="bare qemu-system-x86_64",
    limit=1.3,
)


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    image = Catalogue()["tiny"]
    with lab_for_guests() as lab, tempfile.TemporaryDirectory() as folder:
        host = lab.host

        def create() -> None:
            guest = lab.guests.create("bench-one", image=image, memory_mib=MEMORY_MIB)
            guest.start()
            guest.wait_ready(timeout_s=600)

        def ours() -> float:
            seconds = timed(create)
            delete_guests(lab)
            return seconds

        def theirs() -> float:
            start_s = time.perf_counter()
            with bare.start(0, image, MEMORY_MIB, host, Path(folder)) as guest:
                guest.wait_ready()
                return time.perf_counter() - start_s

        # The first guest brings the image into the storage pool and the page cache.
        ours()
        return [COMPARISON.measure(ours, theirs, pairs, step)]
