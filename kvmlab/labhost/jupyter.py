"""JupyterLab as a service of the lab host.

A socket belongs to the network namespace it was made in, whoever uses it. So the
supervisor, still in the machine's own network, opens 127.0.0.1:PORT and hands the
open socket to JupyterLab in the lab host, which accepts connections on it: the
browser outside and the server inside meet without a proxy between them. Inside,
JupyterLab listens on its usual address too.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from kvmlab.errors import LabHostError
from kvmlab.labhost import ports, rooms
from kvmlab.labhost.folders import Folders

FIRST_PORT = 8888
PORTS_TRIED = 100
SOCKET_FD = "KVMLAB_JUPYTER_FD"


def token(folders: Folders) -> str:
    """Return the secret that opens this lab's JupyterLab; made once."""
    secret = folders.jupyter / "token"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(24))
    return secret.read_text()


def open_port(port: int | None) -> socket.socket:
    """Return a socket listening on 127.0.0.1 only.

    Args:
        port: the TCP port, or None for the first free one from 8888 on.

    Raises:
        LabHostError: the port is taken, or all that were tried.
    """
    tried = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if port is None else [port]
    for number in tried:
        with suppress(OSError):
            return ports.open_port(number)
    raise LabHostError(
        "no port for JupyterLab is free on 127.0.0.1",
        seen=port if port is not None else f"{tried[0]}-{tried[-1]}",
        next_step="Give another one: ./lab up --port N (1024 to 65535)",
    )


def course_folder() -> Path:
    """Return the folder JupyterLab shows: the checkout with ``notebooks/``, else here."""
    checkout = Path(__file__).parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def start_page() -> str:
    """Return the path of the page that opens first: the chapters where they are."""
    return "/lab/tree/notebooks" if (course_folder() / "notebooks").is_dir() else "/lab"


def command() -> list[str]:
    """Return the command that runs JupyterLab over the course."""
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1",
        f"--ServerApp.root_dir={course_folder()}", f"--LabApp.default_url={start_page()}",
        # Root of the lab host is the learner; see rooms.
        "--ServerApp.allow_root=True",
    ]  # fmt: skip


def environment(folders: Folders) -> dict[str, str]:
    """Return the variables that keep JupyterLab's state within the lab's folder."""
    return {
        "JUPYTER_TOKEN": token(folders),
        "JUPYTER_CONFIG_DIR": str(folders.jupyter / "config"),
        "JUPYTER_DATA_DIR": str(folders.jupyter / "data"),
        "JUPYTER_RUNTIME_DIR": str(folders.jupyter / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folders.jupyter / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folders.jupyter / "workspaces"),
        "IPYTHONDIR": str(folders.jupyter / "ipython"),
    }


def configure(folders: Folders) -> None:
    """Write JupyterLab's settings of this lab."""
    settings = {
        # This module, as an extension of the server: see _load_jupyter_server_extension.
        "jupyter_server_config.d/kvmlab.json": {
            "ServerApp": {"jpserver_extensions": {"kvmlab.labhost.jupyter": True}}
        },
        # A course has no need of news and update checks from the outside.
        "labconfig/page_config.json": {
            "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}
        },
    }
    for name, content in settings.items():
        place = folders.jupyter / "config" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content))
    prepare_kernels(folders.jupyter / "ipython")


def prepare_kernels(ipython: Path) -> None:
    """Have every kernel whose IPYTHONDIR that is begin with `kvmlab.labhost.last_words`."""
    startup = ipython / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "last_words.py").write_text('__import__("kvmlab.labhost.last_words")\n')


def start(folders: Folders, listening: socket.socket) -> subprocess.Popen[bytes]:
    """Start JupyterLab in the lab host, serving on the given outside socket too."""
    handed = listening.fileno()
    configure(folders)
    with (folders.logs / "jupyter.log").open("wb") as log:
        return subprocess.Popen(
            rooms.in_network(folders, command()),
            env={**os.environ, **environment(folders), SOCKET_FD: str(handed)},
            pass_fds=[handed],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "kvmlab.labhost.jupyter"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Serve on the socket that was handed over, once the HTTP server exists."""
    handed = os.environ.pop(SOCKET_FD, None)
    if handed is not None:
        sock = socket.socket(fileno=int(handed))
        sock.setblocking(False)
        serverapp.io_loop.add_callback(lambda: serverapp.http_server.add_socket(sock))
