"""Asking again: for the few things that no event tells."""

from __future__ import annotations

import time
from collections.abc import Iterator

# Most of what is waited for is there soon; what is not, is not hurried by asking often.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.25


def attempts(timeout_s: float) -> Iterator[None]:
    """Yield at once, then again and again after growing pauses, until the time is up.

    Example:
        >>> for _ in attempts(timeout_s=5):
        ...     if web.addresses():
        ...         break
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    yield
    while (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        yield
