"""An image of somebody's own: any qcow2 or raw disk, or an ISO to install from."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kvmlab.errors import ImageError, InvalidArgument, InvalidName, NotEnoughDisk
from kvmlab.images import inside, osinfo
from kvmlab.images.catalogue import ADDED
from kvmlab.images.image import Content, Image, Progress
from kvmlab.images.osinfo import Known

# ECMA-119: the first volume descriptor is the 17th sector of 2048 bytes; the second one is
# El Torito's, on a CD that can be booted.
_ISO_AT, _ISO = 16 * 2048 + 1, b"CD001"
_LABEL_AT, _LABEL_BYTES = 16 * 2048 + 40, 32
_TORITO_AT, _TORITO = 17 * 2048 + 7, b"EL TORITO SPECIFICATION"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BLOCK, _STEP = 64 << 10, 4 << 20  # a hole is no smaller than the one; words come at the other

# Of a system that nobody knows: enough for a Linux of today to start. What libosinfo calls
# the minimum is its makers' promise, not what it takes: a suggestion, and no limit.
_MEMORY_MIB, _MIN_MEMORY_MIB = 1024, 16


# ISO files that were looked at, by path, size and time of change: a form asks at every key.
_SEEN: dict[tuple[Path, int, int], tuple[Content, str]] = {}


def check_image_name(name: str) -> None:
    """Refuse an image's name that would be no good as a file name.

    Raises:
        InvalidName: it is not 1 to 63 ASCII letters, digits, ``.``, ``_`` and ``-``,
            a letter or digit first.

    Example:
        >>> check_image_name("my-server")
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            "that can't be the name of an image",
            seen=name,
            next_step="Use 1 to 63 letters, digits, '-', '_' and '.', a letter or digit first",
        )


def is_iso(file: Path) -> bool:
    """Tell whether a file is a CD image, by what is written in it.

    Example:
        >>> is_iso(Path("debian-12.9.0-amd64-netinst.iso"))
        True
    """
    return _read(file, _ISO_AT, len(_ISO)) == _ISO


@dataclass(frozen=True)
class Added:
    """The recipe for an image that is there already: look what it is, and copy it.

    Args:
        source: the file.
        name: what the image shall be called.

    Raises:
        InvalidArgument: there is no such file, or it is no image.
        ImageError: it is one that can't be used as it is.
    """

    source: Path
    name: str

    def __post_init__(self) -> None:
        check_image_name(self.name)
        if not self.source.is_file():
            raise InvalidArgument(
                "there is no such file", seen=str(self.source), next_step="Look at its path"
            )

    def fingerprint(self) -> str:
        """Return the same for all of them: nothing but their content tells them apart."""
        return ADDED

    def build(self, folder: Path, progress: Progress) -> Content:
        """Copy the file and say what it is."""
        if is_iso(self.source):
            return self._medium(folder, progress)
        return self._disk(folder, progress)

    def _medium(self, folder: Path, progress: Progress) -> Content:
        return replace(_medium(self.source), disk=self._copy(folder, "iso", progress))

    def _disk(self, folder: Path, progress: Progress) -> Content:
        about = inside.describe(self.source)
        self._refuse_unusable(about)
        form = str(about["format"])
        copied = self._copy(folder, form, progress)
        progress("looking which system is on it", 0.95)
        release = inside.os_release(folder / copied, form)
        distribution, version = release.get("ID", ""), release.get("VERSION_ID", "")
        known = osinfo.of_release(distribution, version) if distribution else None
        # Of a release newer than libosinfo's database, only what suits it is taken from there.
        exact = known is not None and (f"{version}.").startswith(f"{known.version}.")
        return Content(
            title=release.get("PRETTY_NAME", "unknown system"),
            disk=copied,
            disk_format=form,
            virtual_size=int(about["virtual-size"]),
            os_id=known.id if known and exact else None,
            memory_mib=_suits(known),
            min_memory_mib=_MIN_MEMORY_MIB,
        )

    def _refuse_unusable(self, about: dict[str, Any]) -> None:
        form, seen = about["format"], str(self.source)
        convert = f"qemu-img convert -O qcow2 {self.source} copy.qcow2"
        if form not in ("qcow2", "raw"):
            raise ImageError(
                f"this is an image in the format {form}, and guests here have qcow2 or raw",
                seen=seen,
                next_step=f"Convert it: {convert}",
            )
        data = about.get("format-specific", {}).get("data", {}).get("data-file")
        if other := about.get("backing-filename") or data:
            raise ImageError(
                f"this image is an overlay on {other}, and nothing without it",
                seen=seen,
                next_step=f"Make one file of both: {convert}",
            )
        # Anything at all is a raw disk to qemu-img; one with a system has a boot sector, or
        # its file system right at its start.
        if form == "raw" and not (
            _read(self.source, 510, 2) == b"\x55\xaa"
            or _read(self.source, 1024 + 0x38, 2) == b"\x53\xef"
        ):
            raise InvalidArgument(
                "this is no image: neither a qcow2 nor an ISO, nor a disk with a boot sector",
                seen=seen,
                next_step="Give a qcow2 or raw disk image, or an ISO; "
                "what was downloaded compressed must be unpacked first",
            )

    def _copy(self, folder: Path, ending: str, progress: Progress) -> str:
        """Copy the file; where it has holes or zeros, the copy has holes."""
        # Named after the image: its digest covers the name, so that the same file can be
        # added twice.
        target = folder / f"{self.name}.{ending}"
        size, needed = self.source.stat().st_size, self.source.stat().st_blocks * 512
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise NotEnoughDisk(
                f"the folder of images has {free >> 20} MiB left",
                seen=f"{needed >> 20} MiB",
                next_step="Free some space, or set KVMLAB_HOME to a folder on a bigger disk",
            )
        zeros = bytes(_BLOCK)
        with self.source.open("rb") as source, target.open("wb") as copy:
            while data := source.read(_BLOCK):
                if source.tell() % _STEP == 0 or source.tell() == size:
                    progress(f"copying {self.source.name}", 0.95 * (source.tell() / size))
                if data == zeros[: len(data)]:
                    copy.seek(len(data), 1)
                else:
                    copy.write(data)
            copy.truncate(size)
        return target.name


def _medium(iso: Path) -> Content:
    """Say what an ISO is."""
    label = _read(iso, _LABEL_AT, _LABEL_BYTES).decode("ascii", "replace").strip()
    known = osinfo.of_medium(iso)
    title = known.name if known else f"unknown system, labelled {label!r}"
    if _read(iso, _TORITO_AT, len(_TORITO)) == _TORITO:
        title += ", to install from"
    else:
        title += " (a CD that can't be booted)"
    return Content(
        title=title,
        disk=iso.name,
        disk_format="iso",
        virtual_size=iso.stat().st_size,
        os_id=known.id if known else None,
        boot="cdrom",
        disk_gib=known.disk_gib if known else None,
        memory_mib=_suits(known),
        min_memory_mib=_MIN_MEMORY_MIB,
    )


def _suits(known: Known | None) -> int:
    """Return how much memory suits a system, in MiB."""
    return (known and known.memory_mib) or _MEMORY_MIB


def _read(file: Path, place: int, length: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(place)
        return opened.read(length)


def medium_at(iso: Path, progress: Progress | None = None) -> Image:
    """Return an ISO file as an image, where it is: nothing is copied.

    Raises:
        InvalidArgument: there is no such file, or it is no ISO.
        ImageError: libosinfo can't be asked.

    Example:
        >>> medium_at(Path("debian-12.9.0-amd64-netinst.iso")).title
        'Debian 12, to install from'
    """
    if not iso.is_file() or not is_iso(iso):
        raise InvalidArgument(
            "this is no ISO file" if iso.is_file() else "there is no such file",
            seen=str(iso),
            next_step="Look at its path; ISO images begin with a volume descriptor, 'CD001'",
        )
    about = iso.stat()
    key = (iso.resolve(), about.st_size, about.st_mtime_ns)
    if key not in _SEEN:
        _SEEN[key] = _medium(iso), _digest(iso, progress)
    content, digest = _SEEN[key]
    name = re.sub(r"[^A-Za-z0-9._-]", "-", iso.stem).lstrip("._-")[:63] or "medium"
    return Image(name=name, digest=digest, **asdict(content)
                 | {"disk": iso.resolve(), "kernel": None, "initrd": None})  # fmt: skip


def _digest(file: Path, progress: Progress | None) -> str:
    digest, size = hashlib.sha256(), file.stat().st_size
    with file.open("rb") as opened:
        while data := opened.read(_STEP):
            digest.update(data)
            if progress:
                progress(f"reading {file.name}", opened.tell() / size)
    return digest.hexdigest()
