"""The guests that benchmarks make through the library, and their end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import kvmlab
from kvmlab import Lab

PREFIX = "bench-"


@contextmanager
def lab_for_guests() -> Iterator[Lab]:
    """Connect to libvirt; afterwards, and before, no guest called "bench-..." is there.

    Example:
        >>> with lab_for_guests() as lab:
        ...     lab.guests.create("bench-1", image="tiny").start()
    """
    with kvmlab.connect() as lab:
        delete_guests(lab)
        try:
            yield lab
        finally:
            delete_guests(lab)


def delete_guests(lab: Lab) -> None:
    """Delete every guest called "bench-...", running or not.

    Example:
        >>> delete_guests(lab)
    """
    for name, guest in lab.guests.items():
        if name.startswith(PREFIX):
            guest.delete()
