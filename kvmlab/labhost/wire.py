"""The control socket: its address and its messages, one JSON object a line."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return a message as a line of bytes."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message in a line; ValueError when it is not a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {line[:80]!r}")
    return message


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Yield a short address for a Unix socket at any path.

    The kernel takes at most 107 bytes (unix(7)), a home folder can be longer;
    so the address goes through a descriptor of the folder it lies in.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path) -> socket.socket:
    """Return a stream socket connected to ``path``; OSError when nobody listens."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        with address(path) as short:
            sock.connect(short)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: Path) -> socket.socket:
    """Return a socket listening at ``path``, in place of a stale one."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    with address(path) as short:
        sock.bind(short)
    path.chmod(0o600)
    sock.listen(64)
    return sock
