"""How long ``./lab`` takes until JupyterLab answers, beside a plain ``jupyter lab``.

Of a lab that is set up: a second start must do no set-up work. Both are the JupyterLab
of the same environment over the same folder, with settings of their own. ``./lab`` says
where JupyterLab is once it has answered. The plain one says so right before it opens
its port, of which no event tells us: from then on it is asked every millisecond.
"""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environment import as_installed
from benchmarks.pairs import Comparison, Step
from kvmlab.errors import LabHostError

COMPARISON = Comparison(
    question="./lab up, until JupyterLab answers",
    against="jupyter lab",
    limit=1.5,
)

_CHECKOUT = Path(__file__).parents[1]


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times."""
    with tempfile.TemporaryDirectory() as settings:
        _ours(), _theirs(settings)  # the first start makes settings and databases
        return [COMPARISON.measure(_ours, lambda: _theirs(settings), pairs, step)]


def _ours() -> float:
    command = [str(_CHECKOUT / "lab"), "up", "--no-browser"]
    start_s = time.perf_counter()
    with _saying(command, as_installed(), "http://"):
        return time.perf_counter() - start_s


def _theirs(settings: str) -> float:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
    ]  # fmt: skip
    environment = as_installed() | dict.fromkeys(places, settings)
    start_s = time.perf_counter()
    with _saying(command, environment, "is running at"):
        connection = _connect(port)
        connection.request("GET", "/api")
        connection.getresponse().read()
        seconds = time.perf_counter() - start_s
        connection.close()
    return seconds


def _connect(port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return connection


@contextmanager
def _saying(command: list[str], environment: dict[str, str], words: str) -> Iterator[None]:
    """Run a command; within, it has said these words; then it is interrupted and gone."""
    # In a session of its own: a Ctrl-C for us reaches it through us, once.
    with subprocess.Popen(
        command,
        env=environment,
        cwd=_CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if words in line:
                    break
            else:
                raise LabHostError(f"{command[0]} ended early", seen="".join(said)[-500:])
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            # Let it say its last words: a full pipe would keep it from ending.
            process.stderr.read()
