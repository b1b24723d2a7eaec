"""What is in a volume: bringing it in and out, and wiping it."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

import libvirt

from kvmlab.errors import AlreadyExists, Forbidden, InvalidArgument, KvmlabError, NotEnoughDisk
from kvmlab.handle import Handle
from kvmlab.specs import VolumeSpec
from kvmlab.storage.usage import Use, refuse_if_used

if TYPE_CHECKING:
    from kvmlab.storage.pools import Pool

Progress = Callable[[str, float], None]

# As much of a volume as is sent last, so that one without it is known to be half there: an
# ISO begins with 32 KiB for boot programs, which may be empty, and its label.
_HEAD = 64 << 10


class VolumeHandle(Handle):
    """A handle on a volume: the base of what `kvmlab.Volume` is made of."""

    def __init__(self, pool: Pool, volume: Any) -> None:
        super().__init__(pool.lab, volume)
        self.pool = pool

    def _words(self, command: str, *more: str | None) -> tuple[str | None, ...]:
        return (command, "--pool", self.pool.name, self.name, *more)

    def _spec(self) -> VolumeSpec:
        return VolumeSpec.from_xml(self._libvirt.XMLDesc())

    def _refuse_if_used(
        self, what: str, *, but: Callable[[Use], bool] = lambda _: False, next_step: str = ""
    ) -> None:
        subject = f"volume {self.name!r} can't be {what}"
        with self._explained(f"look who uses {self.name}"):
            path = self._libvirt.path()
        refuse_if_used(self.lab, path, subject, but=but, next_step=next_step)


class Contents(VolumeHandle):
    """The part of a volume that is what is in it."""

    def upload(self, source: Path | str, progress: Progress | None = None) -> None:
        """Fill the volume with a file of its size.

        The first bytes are sent last: an upload that was cut off is no valid
        disk, and `begins_like` tells.

        Args:
            source: the file.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: there is no such file.
            InUse: a running guest has the volume, or another volume is an overlay on it.
            NotEnoughDisk: the pool is full.
            Forbidden: we may not read the file.

        Example:
            >>> volume.upload(Path("disk.img"), print)
        """
        source = _as_path(source)
        if not source.is_file():
            raise InvalidArgument(
                "there is no such file to upload", seen=str(source), next_step="Look at its path"
            )
        self._refuse_if_used("filled", but=_is_a_defined_guests)
        size = source.stat().st_size
        with self._doing(*self._words("vol-upload", str(source))), _local_files():
            with source.open("rb") as file:
                head = io.BytesIO(file.read(_HEAD))
                if size > _HEAD:
                    self._send(file, size, progress)
            self._send(head, size, None)

    def _send(self, file: BinaryIO, size: int, progress: Progress | None) -> None:
        def read(_: Any, most: int, __: Any) -> bytes:
            if progress:
                progress(f"upload {self.name}", file.tell() / size)
            return file.read(most)

        with self._stream() as stream:
            self._libvirt.upload(stream, file.tell(), 0)
            stream.sendAll(read, None)

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        """Yield a stream, which ends with what is done with it: nothing stays open, either way."""
        stream = self.lab.connection.newStream()
        try:
            yield stream
            stream.finish()
        except BaseException:
            with suppress(libvirt.libvirtError):  # it has ended, or has not begun
                stream.abort()
            raise

    def download(self, target: Path | str, progress: Progress | None = None) -> None:
        """Copy what is in the volume, byte for byte, into a new file on this machine.

        Where a raw volume has holes, the file has them too. A qcow2 volume stays one: to
        get what a guest sees in it, convert the file with ``qemu-img``.

        Args:
            target: the file; it appears only when it is whole.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: there is no such folder.
            AlreadyExists: there is such a file.
            InUse: a running guest is writing to the volume.
            NotEnoughDisk: the folder's file system is full.
            Forbidden: we may not write there.

        Example:
            >>> volume.download(Path("backup.qcow2"), print)
        """
        target = _as_path(target)
        if not target.parent.is_dir():
            raise InvalidArgument(
                "there is no such folder to download into",
                seen=str(target.parent),
                next_step="Look at its path",
            )
        if target.exists():
            raise AlreadyExists("there is such a file", seen=str(target))
        self._refuse_if_used(
            "copied whole",
            but=lambda use: not (use.is_running and use.is_exclusive),
            next_step="Shut the guest down first, or copy its disk: guest.disks[...].copy()",
        )
        words = self._words("vol-download", str(target), "--sparse")
        with (
            self._doing(*words),
            _local_files(),
            # Of a name that nobody has, and gone at the end.
            TemporaryDirectory(prefix=".kvmlab-", dir=target.parent) as folder,
        ):
            part = Path(folder, "part")
            with part.open("wb") as file:
                self._receive(file, progress)
            part.rename(target)

    def _receive(self, file: BinaryIO, progress: Progress | None) -> None:
        size = self._libvirt.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2] or 1

        def tell() -> None:
            if progress:
                progress(f"download {self.name}", min(file.tell() / size, 1.0))

        def write(_: Any, data: bytes, __: Any) -> int:
            written = file.write(data)
            tell()
            return written

        def skip(_: Any, length: int, __: Any) -> None:
            file.truncate(file.seek(length, os.SEEK_CUR))
            tell()

        flags = libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM
        with self._stream() as stream:
            self._libvirt.download(stream, 0, 0, flags)
            stream.sparseRecvAll(write, skip, None)

    def begins_like(self, source: Path) -> bool:
        """Whether the volume begins as a file does: an upload of that file was finished.

        Example:
            >>> volume.begins_like(Path("disk.img"))
            True
        """
        head = io.BytesIO()
        with self._doing(*self._words("vol-download"), question=True), self._stream() as stream:
            self._libvirt.download(stream, 0, _HEAD)
            stream.recvAll(lambda _, data, __: head.write(data), None)
        with source.open("rb") as file:
            return file.read(_HEAD) == head.getvalue()

    def wipe(self) -> None:
        """Overwrite all that is in the volume with zeros, so that nobody can read it again.

        All: a qcow2 volume loses its header, too, and is no qcow2 any more. Delete it then,
        or `upload` something into it. On SSDs and on file systems that never write in place
        (btrfs, ZFS) old data may survive below; encryption is the sure way there.

        Raises:
            InUse: a guest has the volume, or another volume is an overlay on it.

        Example:
            >>> volume.wipe()
        """
        self._refuse_if_used("wiped")
        with self._doing(*self._words("vol-wipe")):
            self._libvirt.wipe()
        with suppress(libvirt.libvirtError):  # it is no qcow2 any more; libvirt looks again
            self.pool._libvirt.refresh()


def _as_path(value: Path | str) -> Path:
    if not isinstance(value, Path | str) or "\0" in str(value):
        raise InvalidArgument("that is no path of a file", seen=value, next_step="Give a Path")
    return Path(value)


@contextmanager
def _local_files() -> Iterator[None]:
    """Say what it means that a file of this machine can't be read or written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, KvmlabError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotEnoughDisk(
                "this machine's file system is full", seen=error.filename
            ) from error
        raise Forbidden(
            f"that file can't be read or written: {error.strerror}", seen=error.filename
        ) from error


def _is_a_defined_guests(use: Use) -> bool:
    """Whether a guest has the file in its definition, and does not run."""
    return use.target is not None and not use.is_running
