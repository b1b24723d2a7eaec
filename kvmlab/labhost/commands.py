"""Running a command on somebody's behalf, in the lab host or right here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kvmlab.labhost.folders import Folders

# Where an ordinary user's PATH does not look.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

# Undoes for the command what run does for those who wait for it.
PLAIN_SIGNALS = ["env", "--default-signal=INT,QUIT"]


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command as a shell does and return its exit status.

    The terminal sends Ctrl-C to everybody: we and nsenter let the command decide.
    """
    kept = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGQUIT)}
    try:
        status = subprocess.call(command, env=environment)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


class Here:
    """A seat where no lab host is wanted: commands run right here.

    That is so within the lab host, and with ``KVMLAB_URI`` set, where everything
    runs against that libvirt.
    """

    def run(self, command: Sequence[str]) -> int:
        """Run a command and return its exit status; as ``Seat.run``."""
        return run([*PLAIN_SIGNALS, "--", *command], self.environment())

    def environment(self) -> dict[str, str]:
        """Return the environment of a command."""
        environment = {**os.environ, "PATH": search_path()}
        if uri := os.environ.get("KVMLAB_URI"):
            environment["LIBVIRT_DEFAULT_URI"] = uri
        return environment


def wanted() -> bool:
    """Tell whether commands need a lab host: not within it, not with KVMLAB_URI."""
    here = os.environ.get("KVMLAB_LABHOST")
    inside = here is not None and Path(here) == Folders.default().root
    return not inside and not os.environ.get("KVMLAB_URI")


def search_path() -> str:
    """Return PATH with this environment's programs first and the system's last."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
