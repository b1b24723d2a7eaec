"""A lab of the benchmarks' own: no guest, network or setting of the learner's is in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvmlab.errors import AlreadyExists
from kvmlab.home import home


@contextmanager
def scratch_lab() -> Iterator[None]:
    """Make ``bench`` in the state folder ``KVMLAB_HOME`` for a while, with its images.

    Afterwards it is gone, and with its lab host every process in it; what a run left
    behind that was killed goes first.

    Raises:
        AlreadyExists: another run of the benchmarks is using it.

    Example:
        >>> with scratch_lab():
        ...     print(home().name)
        bench
    """
    usual = home()
    own = usual / "bench"
    usual.mkdir(parents=True, exist_ok=True)
    with (usual / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExists(
                "benchmarks are running already", seen=str(usual), next_step="Wait for their end"
            ) from None
        kept = os.environ.get("KVMLAB_HOME")
        os.environ["KVMLAB_HOME"] = str(own)
        try:
            _remove(own)
            own.mkdir()
            (own / "images").symlink_to(usual / "images")
            with suppress(FileNotFoundError):
                shutil.copy(usual / "acceleration.json", own)
            yield
        finally:
            _remove(own)
            if kept is None:
                del os.environ["KVMLAB_HOME"]
            else:
                os.environ["KVMLAB_HOME"] = kept


def _remove(own: Path) -> None:
    if not own.exists():
        return
    command = [sys.executable, "-m", "kvmlab.cli", "reset", "--yes", "--images"]
    # Ctrl-C has brought us here, or it can wait: the command ignores it, too.
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        own.rmdir()
    finally:
        signal.signal(signal.SIGINT, kept)
