"""A learner at the desk: JupyterLab in the lab host, from start to Ctrl-C."""

from __future__ import annotations

import http.client
import os
import signal
import webbrowser
from urllib.parse import urlsplit

from rich.console import Console

from kvmlab.errors import LabHostError
from kvmlab.labhost import client, commands, jupyter
from kvmlab.labhost.folders import Folders

# JupyterLab needs two seconds on a laptop and ten on a slow, busy machine.
START_TIMEOUT_S = 120.0


def sit(console: Console, port: int | None, browser: bool) -> None:
    """Start or join the lab host and its JupyterLab; return when the learner leaves.

    Args:
        console: where to say what happens.
        port: of JupyterLab on 127.0.0.1, None for the first free one from 8888 on.
        browser: whether to open it in the learner's browser.

    Raises:
        LabHostError: the lab host or JupyterLab can't start, or the port is taken.
    """
    if not commands.wanted():
        _sit_here(port, browser)
    # A closed terminal and a kill end a stay as Ctrl-C does; Ctrl-C itself is not
    # ignored even where a script's "&" would have it so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with console.status("starting the lab host") as line:
        seat = client.enter("up", line.update)
    with seat:
        try:
            with console.status("starting JupyterLab"):
                url = seat.ask("jupyter", port=port)["url"]
                _await_answer(url)
            console.print(
                f"\nJupyterLab in your lab host: [link={url}]{url}[/link]", soft_wrap=True
            )
            console.print("Ctrl-C leaves; running guests are saved and resume at the next start.")
            if browser and _has_desktop():
                webbrowser.open(url)
            seat.wait_until_over()
            console.print("The lab host was ended.")
        except KeyboardInterrupt:
            with console.status("leaving the lab host") as line:
                seat.leave(line.update)


def _sit_here(port: int | None, browser: bool) -> None:
    """Become JupyterLab, against the libvirt of KVMLAB_URI."""
    if "KVMLAB_URI" not in os.environ:
        raise LabHostError(
            "this is the lab host already",
            seen=os.environ.get("KVMLAB_LABHOST"),
            next_step="Run ./lab in a terminal of the machine itself",
        )
    command = jupyter.command()
    if port is not None:
        command.append(f"--port={port}")
    if browser:
        command.remove("--no-browser")
    os.execve(command[0], command, commands.Here().environment())


def _await_answer(url: str) -> None:
    """Return once JupyterLab answers.

    Its port has been open since before it started: a request waits in there until
    it is served, and breaks off if the server ends.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=START_TIMEOUT_S
    )
    try:
        connection.request("GET", "/api")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        log = Folders.default().logs / "jupyter.log"
        raise LabHostError(
            "JupyterLab did not start in the lab host",
            seen=log.read_text(errors="replace").strip()[-300:],
            next_step=f"Read {log}",
        ) from error
    finally:
        connection.close()


def _has_desktop() -> bool:
    """Tell whether a browser could open a window; else it may take over the terminal."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))
