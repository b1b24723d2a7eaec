"""What tests of real guests have in common: how what they make is named, and made, and seen."""

from __future__ import annotations

import os
from collections.abc import Callable

from kvmlab import Guest
from kvmlab.waiting import attempts

# Whatever tests make bears it, so that runs side by side leave each other alone.
PREFIX = f"t{os.getpid()}-"

Make = Callable[..., Guest]


def await_device(guest: Guest, name: str) -> None:
    """Wait until the guest has found what was plugged in: that QEMU has it is told before."""
    for _ in attempts(10):
        if guest.run(f"test -b /dev/{name}").exit_status == 0:
            return
    raise AssertionError(f"{guest.name} does not see /dev/{name}")
