"""How long a snapshot of a running guest takes, and the way back, beside virsh.

Ours are ``guest.snapshots.create`` and ``snapshot.revert``; the other ways are
``virsh snapshot-create-as`` and ``virsh snapshot-revert`` on the same guest, and, stricter,
the bare libvirt calls on the same connection: virsh is a process that has to start. All keep
the memory of the guest within its disk. What the library adds is a look at the guest first:
whether such a snapshot can work, and what it would harm. Snapshots are deleted aside.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.guests import lab_for_guests
from benchmarks.pairs import Comparison, Step, timed
from kvmlab import Guest
from kvmlab.specs import SnapshotSpec

NAME = "bench"
LIMIT = 1.2
QUESTIONS = ("a snapshot of a running guest", "back to a snapshot of a running guest")


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    with lab_for_guests() as lab:
        guest = lab.guests.create("bench-shot", image="tiny")
        guest.start()
        guest.wait_ready(timeout_s=600)
        domain, xml = guest._libvirt, SnapshotSpec(name=NAME).to_xml()

        def create(do: Callable[[], object]) -> Callable[[], float]:
            def measured() -> float:
                with ExitStack() as after:
                    after.callback(lambda: guest.snapshots[NAME].delete())
                    return timed(do)

            return measured

        def revert(do: Callable[[], object]) -> Callable[[], float]:
            def measured() -> float:
                seconds = timed(do)
                guest.wait_ready(timeout_s=600)  # so that all begin alike
                return seconds

            return measured

        taking = (
            create(lambda: guest.snapshots.create(NAME)),
            create(lambda: virsh(guest, "snapshot-create-as")),
            create(lambda: domain.snapshotCreateXML(xml)),
        )
        going_back = (
            revert(lambda: guest.snapshots[NAME].revert()),
            revert(lambda: virsh(guest, "snapshot-revert")),
            revert(lambda: domain.revertToSnapshot(domain.snapshotLookupByName(NAME))),
        )
        found = []
        for question, (ours, *theirs) in zip(QUESTIONS, (taking, going_back), strict=True):
            if question == QUESTIONS[1]:
                guest.snapshots.create(NAME)
            ours()  # caches, and the disk's room for the memory
            for against, other in zip(("virsh", "the bare libvirt call"), theirs, strict=True):
                comparison = Comparison(question, against, LIMIT)
                found.append(comparison.measure(ours, other, pairs, step))
        return found


def virsh(guest: Guest, command: str) -> None:
    """Run a virsh command about the snapshot of a guest."""
    subprocess.run(["virsh", command, guest.name, NAME], check=True, stdout=subprocess.DEVNULL)
