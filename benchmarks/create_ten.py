"""How long ten guests at once take until the last one's agent answers, beside bare QEMU.

As `benchmarks.create_one`, in ten threads on either side: it shows whether guests
get in each other's way in the library or in libvirt.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

from benchmarks import bare
from benchmarks.guests import delete_guests, lab_for_guests
from benchmarks.pairs import Comparison, Step, timed
from kvmlab.images import Catalogue

GUESTS = 10
MEMORY_MIB = 128

COMPARISON = Comparison(
    question="ten guests at once, likewise",
    against="ten bare qemu-system-x86_64",
    limit=1.2,
)


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    image = Catalogue()["tiny"]
    with (
        lab_for_guests() as lab,
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(GUESTS) as threads,
    ):
        host = lab.host

        def create(number: int) -> None:
            guest = lab.guests.create(f"bench-{number}", image=image, memory_mib=MEMORY_MIB)
            guest.start()
            guest.wait_ready(timeout_s=600)

        def ours() -> float:
            try:
                return timed(lambda: list(threads.map(create, range(GUESTS))))
            finally:  # broken off, too: a thread that waits for a guest ends with it
                delete_guests(lab)

        def theirs() -> float:
            start_s = time.perf_counter()
            with ExitStack() as running:
                starting = [
                    threads.submit(
                        running.enter_context,
                        bare.start(number, image, MEMORY_MIB, host, Path(folder)),
                    )
                    for number in range(GUESTS)
                ]
                try:
                    guests = [each.result() for each in starting]
                finally:  # broken off, too: only what has started can be ended
                    wait(starting)
                list(threads.map(lambda guest: guest.wait_ready(), guests))
                return time.perf_counter() - start_s

        # The first guest brings the image into the storage pool and the page cache.
        create(0)
        delete_guests(lab)
        return [COMPARISON.measure(ours, theirs, pairs, step)]
