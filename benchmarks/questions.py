"""Which questions there are, and where each can be asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.pairs import Comparison, Step


class Place(Enum):
    """Where a question can be asked."""

    ANYWHERE = "anywhere"
    LIBVIRT = "wherever libvirt is"
    LAB_HOST = "in a lab host"
    OUTSIDE = "outside of any lab host"


@dataclass(frozen=True)
class Question:
    """One question; the module ``benchmarks.NAME`` answers it.

    Attributes:
        name: what it is called on the command line.
        place: where it can be asked.
        pairs: how often both ways are measured.
        rows: how many comparisons its answer has.

    Example:
        >>> BY_NAME["create_one"].place
        <Place.LAB_HOST: 'in a lab host'>
    """

    name: str
    place: Place
    pairs: int
    rows: int = 1

    def answer(self, console: Console, pairs: int | None = None) -> list[Comparison]:
        """Measure under a progress bar.

        Args:
            console: where the bar is drawn.
            pairs: how often, if not as often as usual.
        """
        # Imported late: only where the question is asked is there what the module needs.
        ask: Callable[[int, Step], list[Comparison]]
        ask = import_module(f"benchmarks.{self.name}").answer
        pairs = pairs or self.pairs
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        with progress as bar:
            task = bar.add_task(self.name, total=2 * pairs * self.rows)
            return ask(pairs, lambda: bar.advance(task))


BY_NAME = {
    each.name: each
    for each in (
        Question("create_one", Place.LAB_HOST, pairs=7),
        Question("create_ten", Place.LAB_HOST, pairs=2),
        Question("state_of_fifty", Place.LIBVIRT, pairs=300, rows=3),
        Question("network_lease", Place.LAB_HOST, pairs=10),
        Question("volume_clone", Place.LAB_HOST, pairs=15),
        Question("snapshots", Place.LAB_HOST, pairs=15, rows=4),
        Question("import_time", Place.ANYWHERE, pairs=15, rows=2),
        Question("labhost_start", Place.OUTSIDE, pairs=7),
        Question("second_start", Place.OUTSIDE, pairs=5),
    )
}


def write(path: Path, comparisons: list[Comparison]) -> None:
    """Write comparisons for `read`, which may be in another process.

    Example:
        >>> write(Path("answer.json"), [comparison])
    """
    path.write_text(json.dumps([asdict(each) for each in comparisons]))


def read(path: Path) -> list[Comparison]:
    """Return what `write` wrote.

    Example:
        >>> read(Path("answer.json"))[0].ratio
        1.04
    """
    return [Comparison(**each) for each in json.loads(path.read_text())]
