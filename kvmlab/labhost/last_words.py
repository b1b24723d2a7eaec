"""No output of a command is lost in a notebook: a mend for pexpect, made by importing this.

IPython runs the commands behind ``!`` by pexpect, on a terminal. When a command has ended
and the terminal has nothing to read at that very moment, pexpect takes it to be empty; but
the kernel hands over a command's last words a moment later when the machine is busy, and
they are lost (pexpect 4.9, ``spawn.read_nonblocking``: the select with a time of 0 after
``isalive``).

Each kernel in the lab host, and each that the tests run, imports this when it starts.
"""

from __future__ import annotations

import select

import pexpect  # type: ignore[import-untyped]

_PATIENCE_S = 1.0
_is_alive = pexpect.spawn.isalive


def isalive(child: pexpect.spawn) -> bool:
    """Tell whether the command still runs; if not, what it said is there to be read by then."""
    alive = bool(_is_alive(child))
    if not alive and not child.closed:
        # Until there are words, or the kernel's word that all writers are gone.
        select.select([child.child_fd], [], [], _PATIENCE_S)
    return alive


pexpect.spawn.isalive = isalive
