"""What libosinfo, which virt-manager asks too, knows of an operating system."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from kvmlab.errors import ImageError

# Of which libosinfo's binding is a module; see osinfo_query.
_PYTHON = "/usr/bin/python3"
_PATIENCE_S = 60


@dataclass(frozen=True)
class Known:
    """What is known of an operating system.

    Attributes:
        id: its URL in the libosinfo database.
        name: its name, for people.
        version: its version; that of a release that `of_release` was asked for, or an
            older one, where the database is older than the release.
        memory_mib: a comfortable amount of memory; None if nobody has said.
        disk_gib: a comfortable size of its disk.

    Example:
        >>> of_release("debian", "11").name
        'Debian 11'
    """

    id: str
    name: str
    version: str
    memory_mib: int | None
    disk_gib: float | None


def of_medium(iso: Path) -> Known | None:
    """Recognise an installation medium by its label, publisher and size.

    Raises:
        ImageError: libosinfo is not here, or broken.

    Example:
        >>> of_medium(Path("debian-12.9.0-amd64-netinst.iso")).id
        'http://debian.org/debian/12'
    """
    return _ask("medium", str(iso))


def of_release(distribution: str, version: str) -> Known | None:
    """Look a system up by the ``ID`` and ``VERSION_ID`` of its /etc/os-release.

    Raises:
        ImageError: libosinfo is not here, or broken.

    Example:
        >>> of_release("nonsense", "1")
    """
    return _ask("release", distribution, version)


def _ask(*question: str) -> Known | None:
    try:
        with as_file(files("kvmlab.images") / "osinfo_query.py") as program:
            told = subprocess.run(
                [_PYTHON, str(program), *question],
                capture_output=True,
                text=True,
                check=True,
                timeout=_PATIENCE_S,
            )
    except (OSError, subprocess.SubprocessError) as problem:
        said = getattr(problem, "stderr", None) or str(problem)
        raise ImageError(
            "libosinfo can't be asked which operating system this is",
            seen=said.strip().splitlines()[-1],
            next_step="Install its binding for Python: sudo apt-get install virtinst",
        ) from problem
    found = json.loads(told.stdout)
    return _known(found) if found else None


def _known(found: dict[str, object]) -> Known:
    least, good = found["minimum"], found["recommended"]
    assert isinstance(least, dict)
    assert isinstance(good, dict)
    memory, disk = good.get("memory", least.get("memory")), good.get("disk", least.get("disk"))
    return Known(
        id=str(found["id"]),
        name=str(found["name"]),
        version=str(found["version"]),
        memory_mib=memory and memory >> 20,
        disk_gib=disk and disk / 2**30,
    )
