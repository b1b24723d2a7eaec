"""How long it takes to clone a volume, beside ``qemu-img convert`` of the same file.

Ours is ``volume.clone`` in the default storage pool; the other way is the command a person
would type for a copy in the same folder. Both copy a qcow2 image of 4 GiB in which 256 MiB
are written, with what no compression or search for zeros makes shorter, and end with an
image that depends on nothing. Copies are removed aside.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.guests import lab_for_guests
from benchmarks.pairs import Comparison, Step, timed

WRITTEN_MIB, CAPACITY = 256, "4G"
SOURCE, COPY = "bench-source.qcow2", "bench-copy.qcow2"

COMPARISON = Comparison(
    question="a clone of a volume with 256 MiB in it",
    against="`qemu-img convert` of the same file",
    limit=1.2,
)


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    with lab_for_guests() as lab:
        pool = lab.pools["default"]
        source, copy = Path(pool.path or "", SOURCE), Path(pool.path or "", COPY)
        write_source(source)
        pool.refresh()
        volume = pool.volumes[SOURCE]

        def measured(do: Callable[[], object]) -> Callable[[], float]:
            def measure() -> float:
                try:
                    return timed(do)
                finally:
                    copy.unlink(missing_ok=True)
                    pool.refresh()

            return measure

        ours = measured(lambda: volume.clone(COPY))
        theirs = measured(
            lambda: qemu_img("convert", "-f", "qcow2", "-O", "qcow2", str(source), str(copy))
        )
        try:
            ours()  # caches
            return [COMPARISON.measure(ours, theirs, pairs, step)]
        finally:
            volume.delete()


def write_source(source: Path) -> None:
    """Write the image that is copied."""
    with tempfile.NamedTemporaryFile() as raw:
        for _ in range(WRITTEN_MIB):
            raw.write(os.urandom(2**20))
        raw.flush()
        qemu_img("convert", "-f", "raw", "-O", "qcow2", raw.name, str(source))
    qemu_img("resize", "-q", str(source), CAPACITY)


def qemu_img(*words: str) -> None:
    """Run qemu-img."""
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)
