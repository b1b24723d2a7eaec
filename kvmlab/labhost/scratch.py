"""A lab of its own for a while: for tests and benchmarks, beside the learner's lab.

No guest, network or setting of the learner's is in it, and nothing that is done in there
can touch one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvmlab.errors import AlreadyExists
from kvmlab.home import home
from kvmlab.labhost import client


@contextmanager
def scratch_lab(name: str) -> Iterator[None]:
    """Make a lab in the state folder ``KVMLAB_HOME`` for a while, with its images.

    Afterwards it is gone, and with its lab host every process in it; what a run left
    behind that was killed goes first.

    Args:
        name: of the lab's folder, and of what it is for.

    Raises:
        AlreadyExists: another process is using the one of that name.

    Example:
        >>> with scratch_lab("test"):
        ...     print(home().name)
        test
    """
    usual = home()
    own = usual / name
    usual.mkdir(parents=True, exist_ok=True)
    with (usual / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExists(
                f"the lab for ./lab {name} is in use", seen=str(own), next_step="Wait for its end"
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


def wipe(root: Path, keep: frozenset[str] = frozenset()) -> None:
    """End the lab host of this ``KVMLAB_HOME`` and delete what is in its folder.

    Args:
        root: the folder.
        keep: names in it that stay.

    Example:
        >>> wipe(home(), keep=frozenset({"images"}))    # doctest: +SKIP
    """
    client.shut_down()
    doomed = [str(each) for each in root.iterdir() if each.name not in keep]
    # Some files belong to users that exist in the lab host's user namespace only.
    into = ["unshare", "--user", "--map-root-user", "--map-auto"] if os.geteuid() else []
    subprocess.run([*into, "rm", "-rf", "--", *doomed], check=True)


def _remove(own: Path) -> None:
    if not own.exists():
        return
    # Ctrl-C has brought us here, or it can wait; commands inherit that they ignore it.
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        wipe(own)
        own.rmdir()
    finally:
        signal.signal(signal.SIGINT, kept)
