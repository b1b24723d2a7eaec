"""What ``import kvmlab`` costs beside ``import libvirt``.

Each is measured within a fresh interpreter, whose own start would flatter the ratio.
kvmlab loads its modules when they are first used; the second comparison uses
``kvmlab.connect``, which needs most of them, and libvirt too.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.environment import as_installed
from benchmarks.pairs import Comparison, Step

LIMIT = 3.0

_PROGRAM = """\
import time
start_s = time.perf_counter()
{}
print(time.perf_counter() - start_s)
"""


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times each."""
    return [
        _compare("import kvmlab", pairs, step),
        _compare("from kvmlab import connect", pairs, step),
    ]


def _compare(statement: str, pairs: int, step: Step) -> Comparison:
    for each in (statement, "import libvirt"):  # once, for the bytecode to be there
        _import(each)
    comparison = Comparison(statement, "import libvirt", LIMIT)
    return comparison.measure(
        lambda: _import(statement), lambda: _import("import libvirt"), pairs, step
    )


def _import(statement: str) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(statement)]
    done = subprocess.run(command, check=True, capture_output=True, env=as_installed())
    return float(done.stdout)
