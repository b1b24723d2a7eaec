"""Asking again: for the few things that no event tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

# Most of what is waited for is there soon; what is not, is not hurried by asking often. A
# pause is a share of the time waited so far, so that no more than that is lost by it.
_SHARE, _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 0.005, 0.25

_TELL_EVERY_S = 0.25

T = TypeVar("T")


def attempts(timeout_s: float) -> Iterator[None]:
    """Yield at once, then again and again after growing pauses, until the time is up.

    Example:
        >>> for _ in attempts(timeout_s=5):
        ...     if web.addresses():
        ...         break
    """
    start_s = time.monotonic()
    yield
    while (waited_s := time.monotonic() - start_s) < timeout_s:
        pause_s = min(max(_SHARE * waited_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        time.sleep(min(pause_s, timeout_s - waited_s))
        yield


def meanwhile(work: Callable[[], T], tell: Callable[[], object] | None) -> T:
    """Do something that takes a while, and tell now and then how far it is.

    Args:
        work: is done in a thread of its own.
        tell: is called in this one, until that is over; without it, nothing is told.

    Example:
        >>> meanwhile(copy, lambda: print("still copying"))
    """
    if tell is None:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="kvmlab-meanwhile") as pool:
        done = pool.submit(work)
        while wait([done], timeout=_TELL_EVERY_S).not_done:
            tell()
        return done.result()
