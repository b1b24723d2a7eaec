"""Ports of the machine outside, for whoever is in the lab host.

A socket belongs to the network namespace it was made in, whoever uses it. The supervisor,
still in the machine's own network, opens a port on 127.0.0.1 there, passes the open socket
to the process in the lab host that asked (unix(7), SCM_RIGHTS), and keeps nothing: when
that process ends, the port is closed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from array import array
from pathlib import Path

from kvmlab.errors import LabHostError
from kvmlab.labhost import wire
from kvmlab.labhost.folders import Folders

_BACKLOG = 128
_ANSWER_S = 30.0  # the supervisor may be starting JupyterLab just now


def open_port(port: int) -> socket.socket:
    """Return a socket listening on 127.0.0.1 only, of the network we are in.

    Args:
        port: the TCP port; 0 for any that is free.

    Raises:
        OSError: it is taken, or not for us.
    """
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


async def hand_over(writer: asyncio.StreamWriter, port: object) -> None:
    """Open a port for whoever is at the other end, and pass the socket on.

    Args:
        writer: a connection to the control socket.
        port: what was asked for.
    """
    try:
        # What comes from others is checked again: 0, or one that is not root's alone.
        if not isinstance(port, int) or not (port == 0 or 1024 <= port <= 65535):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        sock = open_port(port)
    except OSError as error:
        writer.write(wire.encode({"errno": error.errno}))
        return
    with sock:
        # The socket must travel with its message: nothing may wait before it.
        writer.transport.set_write_buffer_limits(high=0)
        await writer.drain()
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as line:
            socket.send_fds(line, [wire.encode({"port": sock.getsockname()[1]})], [sock.fileno()])


def listen_outside(port: int) -> socket.socket:
    """Return a socket listening on 127.0.0.1 of the machine that the lab host runs on.

    For a process in the lab host.

    Args:
        port: the TCP port, from 1024 on; 0 for any that is free.

    Raises:
        OSError: it is taken.
        LabHostError: the lab host does not answer.
    """
    try:
        with wire.connect(Folders(Path(os.environ["KVMLAB_LABHOST"])).control) as line:
            line.settimeout(_ANSWER_S)
            line.sendall(wire.encode({"op": "listen", "port": port}))
            return _receive(line)
    except (ConnectionError, FileNotFoundError, TimeoutError) as error:
        raise LabHostError(
            "the lab host does not open ports", seen=str(error), next_step="Start it again: ./lab"
        ) from error


def _receive(line: socket.socket) -> socket.socket:
    received, handed = b"", array("i")
    while True:
        # Not `socket.recv_fds`, whose flags are lost: no child of ours shall inherit it.
        room = socket.CMSG_SPACE(handed.itemsize)
        data, beside, _, _ = line.recvmsg(4096, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, descriptors in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                handed.frombytes(descriptors)
        received += data
        if not data:
            raise ConnectionError("it ended")
        *messages, received = received.split(b"\n")
        for message in map(wire.decode, messages):
            if handed and "port" in message:
                return socket.socket(fileno=handed[0])
            if "errno" in message:
                raise OSError(message["errno"], os.strerror(message["errno"]))
