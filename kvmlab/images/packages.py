"""Fetching Debian packages and reading files out of them, with mmdebstrap.

mmdebstrap's "extract" variant only unpacks: no package script runs, so nothing
of what we fetch is executed on this machine, and no root is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from kvmlab.errors import ImageError
from kvmlab.images.hosttools import environment, failure, require
from kvmlab.images.image import Progress
from kvmlab.images.tree import Tree, from_tar

# What mmdebstrap unpacks before we pick from it, with some room: MiB.
_ROOM_MIB = 800

# The lines by which mmdebstrap's work can be followed, and the fraction done when
# each appears. The download in between is counted by what apt says it fetched.
_STAGES = {
    "I: running apt-get update": ("asking Debian what there is", 0.0),
    "I: downloading packages": ("downloading Debian packages", 0.2),
    "I: extracting archives": ("unpacking Debian packages", 0.7),
    "I: creating tarball": ("picking files from the packages", 0.9),
}
# Run by a shell in a process group of its own. Told to end, it tells all of the group, as
# Ctrl-C would, and waits until mmdebstrap has removed what it made. setpriv has the kernel
# tell it when we are gone, even by kill -9.
SUPERVISE = """trap 'trap : TERM; kill -TERM 0; wait' TERM; "$@" & wait $!"""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def fetch(
    suite: str, packages: Sequence[str], wanted: Callable[[str], bool], progress: Progress
) -> Tree:
    """Return the wanted files of Debian packages and of all they depend on.

    Args:
        suite: a Debian release by its code name.
        packages: package names.
        wanted: tells by path which files to keep.
        progress: told of the stages.

    Raises:
        ImageError: mmdebstrap is missing or failed, or too little disk space.
    """
    require("mmdebstrap")
    command = [
        *("setpriv", "--pdeathsig", "TERM", "sh", "-c", SUPERVISE, "sh"),
        *("mmdebstrap", "--verbose", "--variant=extract", "--architectures=amd64"),
        *("--format=tar", f"--include={','.join(packages)}", suite, "-"),
    ]
    log: list[str] = []
    with (
        TemporaryDirectory(prefix="kvmlab-packages-", dir=_room()) as temporary,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            env=environment(TMPDIR=temporary),
        ) as process,
        ThreadPoolExecutor(1) as reader,
    ):
        assert process.stdout
        assert process.stderr
        Path(temporary).chmod(0o755)  # an ordinary user's mmdebstrap has other user ids, too
        tree = reader.submit(_read, process.stdout, wanted)
        try:
            _follow(process.stderr, log, progress)
            process.wait()
        except BaseException:  # Ctrl-C, say: leave nothing running
            process.terminate()
            raise
    if process.returncode:
        raise failure("mmdebstrap", process.returncode, "".join(log)) from tree.exception()
    return tree.result()


def _read(archive: IO[bytes], wanted: Callable[[str], bool]) -> Tree:
    """Read the files; if that fails, close the pipe, for mmdebstrap not to wait for us."""
    with archive:
        return from_tar(archive, wanted)


def _room() -> str:
    """Return a folder with room for mmdebstrap's work, reachable for its other user id."""
    tried = list(dict.fromkeys((os.environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp")))
    for folder in tried:
        if Path(folder).is_dir() and shutil.disk_usage(folder).free >= _ROOM_MIB << 20:
            return folder
    raise ImageError(
        f"unpacking Debian packages needs {_ROOM_MIB} MiB of free disk space for a while",
        seen={folder: f"{shutil.disk_usage(folder).free >> 20} MiB free" for folder in tried},
        next_step="Free some space there, or set TMPDIR to a folder on a bigger disk",
    )


class Downloads:
    """Follows apt's words on what it downloads.

    Attributes:
        fraction: how much of it has come.
    """

    def __init__(self) -> None:
        self._total = self._fetched = self.fraction = 0.0

    def read(self, line: str) -> str:
        """Return what is to be said after a line of apt's, if it tells of a download."""
        if found := re.match(r"Need to get ([\d,.]+) (\w+)", line):
            self._total, self._fetched = _size(*found.groups()), 0.0
        elif self._total and (found := re.match(r"Get:.*\[([\d,.]+) (\w+)\]$", line)):
            self._fetched += _size(*found.groups())
            self.fraction = min(self._fetched / self._total, 1)
            return f"{self._fetched / 1e6:.0f} of {self._total / 1e6:.0f} MB"
        return ""


def _follow(lines: Iterable[bytes], log: list[str], progress: Progress) -> None:
    """Keep mmdebstrap's words in ``log`` and turn them into progress."""
    downloads = Downloads()
    for raw in lines:
        line = raw.decode(errors="replace")
        log.append(line)
        for start, (text, fraction) in _STAGES.items():
            if line.startswith(start):
                progress(text, fraction)
        if told := downloads.read(line):
            progress(f"downloading Debian packages, {told}", 0.2 + 0.5 * downloads.fraction)


def _size(number: str, unit: str) -> float:
    """Return bytes from a size as apt writes it, ``("5,136", "kB")``."""
    return float(number.replace(",", "")) * _BYTES[unit]
