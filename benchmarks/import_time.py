"""What ``import kvmlab`` costs beside ``import libvirt``.

Each is measured within a fresh interpreter, whose own start would flatter the ratio.
kvmlab loads its modules when they are first used; the second comparison, without a
limit, uses ``kvmlab.connect``, which needs most of them, and libvirt too.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.environment import as_installed
from benchmarks.pairs import Comparison, Step

COMPARISONS = (
    Comparison("import kvmlab", "import libvirt", 3.0),
    Comparison("from kvmlab import connect", "import libvirt", None),
)

_PROGRAM = """\
import time
start_s = time.perf_counter()
{}
print(time.perf_counter() - start_s)
"""


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times each."""
    for each in COMPARISONS:
        _import(each.question)  # once, for the bytecode to be there
    return [
        each.measure(partial(_import, each.question), partial(_import, each.against), pairs, step)
        for each in COMPARISONS
    ]


def _import(statement: str) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(statement)]
    done = subprocess.run(command, check=True, capture_output=True, env=as_installed())
    return float(done.stdout)
