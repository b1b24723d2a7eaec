"""Measuring two ways of doing the same thing, in turn, and comparing them pair by pair.

The machine's other work slows down whatever runs just then. Two ways measured right
after one another are slowed down alike, so that their ratio says more than either
time; the median over the pairs forgives the few that were disturbed halfway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

# Does a thing once and returns how many seconds it took, preparation and tidying up aside.
Timed = Callable[[], float]

# Is called each time a step of a measurement is done.
Step = Callable[[], None]


@dataclass(frozen=True)
class Comparison:
    """The times of two ways of doing the same, pair by pair.

    Attributes:
        question: what was done.
        against: the other way to do it.
        limit: how many times the other way's time it may take; None where no promise
            was made.
        ours_s: seconds each time, our way.
        theirs_s: seconds each time, the other way.

    Example:
        >>> Comparison("a", "b", 1.5, [2.0, 3.0, 2.2], [2.0, 2.0, 2.0]).ratio
        1.1
    """

    question: str
    against: str
    limit: float | None
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, pair by pair."""
        return [ours / theirs for ours, theirs in zip(self.ours_s, self.theirs_s, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return median(self.ratios)

    @property
    def is_within_limit(self) -> bool:
        """Whether the promise is kept, or none was made."""
        return self.limit is None or self.ratio <= self.limit

    def measure(self, ours: Timed, theirs: Timed, pairs: int, step: Step) -> Comparison:
        """Do both in turn, ``pairs`` times, and return the comparison with the times.

        Example:
            >>> Comparison("a", "b", 1.5).measure(lambda: 3.0, lambda: 2.0, 5, print).ratio
            1.5
        """
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(pairs):
            times[0].append(ours())
            step()
            times[1].append(theirs())
            step()
        return Comparison(self.question, self.against, self.limit, *times)


def timed(do: Callable[[], object]) -> float:
    """Return how many seconds a call takes.

    Example:
        >>> timed(lambda: time.sleep(1)) > 0.9
        True
    """
    start_s = time.perf_counter()
    do()
    return time.perf_counter() - start_s
