"""The lab's own ssh key, which the guests of this lab let in as root."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

from kvmlab.errors import ImageError
from kvmlab.home import home
from kvmlab.images.hosttools import run


def private_key_path() -> Path:
    """Return where the lab's private key is, making the key pair on the first call.

    Raises:
        ImageError: it can't be made; the next step is in the message.

    Example:
        ``ssh -i {private_key_path()} root@web``
    """
    key = home() / "ssh" / "id_ed25519"
    try:
        if not key.exists():
            key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (key.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not key.exists():
                    _make(key)
    except OSError as problem:
        raise ImageError(
            f"the lab's ssh key can't be written: {problem.strerror or problem}",
            seen=str(key),
            next_step="Make this folder writable for you, or set KVMLAB_HOME to one that is",
        ) from problem
    return key


def public_key() -> str:
    """Return the lab's public key, as one line for ``authorized_keys``.

    Raises:
        ImageError: the key pair can't be made or read.

    Example:
        ``ssh-ed25519 AAAA... kvmlab``
    """
    path = private_key_path().with_suffix(".pub")
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise ImageError(
            f"the lab's public key can't be read: {problem.strerror or problem}",
            seen=str(path),
            next_step=f"Remove {path.parent}: a new pair is made then",
        ) from problem


def _make(key: Path) -> None:
    """Make both files elsewhere and rename them into place, the private one last."""
    for leftover in key.parent.glob(".new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(mkdtemp(prefix=".new-", dir=key.parent))
    try:
        new = folder / key.name
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kvmlab", "-f", key.name,
            folder=folder)  # fmt: skip
        os.replace(new.with_suffix(".pub"), key.with_suffix(".pub"))
        os.replace(new, key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
