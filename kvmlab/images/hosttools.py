"""Running this machine's tools for the building of images."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kvmlab.errors import ImageError

# Which Debian package brings a tool, under the same name on Ubuntu.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "dd": "coreutils",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "mformat": "mtools",
    "mcopy": "mtools",
    "syslinux": "syslinux",
    "qemu-img": "qemu-utils",
    "ssh-keygen": "openssh-client",
}

# An ordinary user's PATH on Debian lacks the folders mke2fs and debugfs are in.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def require(*tools: str) -> None:
    """Make sure that tools are there, before any work begins.

    Raises:
        ImageError: naming all that is missing, and the packages to install.
    """
    missing = {tool: PACKAGES[tool] for tool in tools if not shutil.which(tool, path=_PATH)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise ImageError(
            f"building this image needs {', '.join(missing)}, not found on this machine",
            next_step=f"Install what is missing: sudo apt-get install {packages}",
        )


def environment(**extra: str) -> dict[str, str]:
    """Return the environment tools run in: no translations, sbin in PATH, plus ``extra``."""
    return os.environ | {"LC_ALL": "C.UTF-8", "PATH": _PATH} | extra


def run(*command: str | Path, folder: Path, input_text: str = "", **extra: str) -> str:
    """Run a tool to its end and return what it wrote.

    Args:
        command: the tool and its arguments.
        folder: where to run it. File names without a folder in them are safest: mtools and
            debugfs read more into a name than a path.
        input_text: its standard input.
        extra: further environment variables.

    Raises:
        ImageError: the tool is missing, or failed; with its last lines.
    """
    require(str(command[0]))
    done = subprocess.run(
        command,
        cwd=folder,
        input=input_text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(**extra),
    )
    if done.returncode:
        raise failure(str(command[0]), done.returncode, done.stdout)
    return done.stdout


def namespace_root() -> list[str]:
    """Return what stands before a command to run it as a root with many user ids.

    The files of a Debian belong to several users. For root, or for the root of the lab
    host's user namespace, that is nothing; for others, a user namespace of their own.
    """
    if os.geteuid() == 0:
        return []
    return ["unshare", "--user", "--map-root-user", "--map-auto"]


def discard(folder: Path) -> None:
    """Remove a folder with all that is in it, whoever of our user ids it belongs to."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and namespace_root():
        subprocess.run([*namespace_root(), "rm", "-rf", "--", folder], check=False)


def failure(tool: str, status: int, log: str) -> ImageError:
    """Return the error that tells how ``tool`` failed, from the end of what it wrote."""
    last = "\n".join(log.strip().splitlines()[-8:])
    if "No space left on device" in log:
        step = "Free some disk space, or set KVMLAB_HOME or TMPDIR to a bigger disk, and try again"
    elif "NO_PUBKEY" in log:
        step = "Install Debian's keys: sudo apt-get install debian-archive-keyring"
    elif tool == "mmdebstrap":
        step = "Check that this machine reaches a Debian mirror, and try again"
    else:
        step = f"Run it again; if it keeps failing, look at the lines above from {tool}"
    return ImageError(f"{tool} failed with status {status}; it said:\n{last}\n", next_step=step)
