"""Volumes: the files that are guests' disks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from kvmlab.errors import InvalidArgument, NotEnoughDisk, VolumeAlreadyExists, VolumeNotFound
from kvmlab.handle import Collection, Handle
from kvmlab.limits import bytes_of_gib, check_volume_name
from kvmlab.specs import VolumeSpec

if TYPE_CHECKING:
    from kvmlab.storage import Pool

Progress = Callable[[str, float], None]

# As much of a volume as is sent last, so that one without it is known to be half there: an
# ISO begins with 32 KiB for boot programs, which may be empty, and its label.
_HEAD = 64 << 10


class Volume(Handle):
    """A volume: a file that can be a guest's disk.

    Attributes:
        pool: the pool it is in.

    Example:
        >>> lab.pools["default"].volumes["web.qcow2"].path
        '/var/lib/libvirt/images/web.qcow2'
    """

    def __init__(self, pool: Pool, volume: Any) -> None:
        super().__init__(pool.lab, volume)
        self.pool = pool

    @property
    def path(self) -> str:
        """The file's path on the host.

        Example:
            >>> volume.path
            '/var/lib/libvirt/images/web.qcow2'
        """
        with self._doing("vol-path", "--pool", self.pool.name, self.name, question=True):
            return str(self._libvirt.path())

    @property
    def spec(self) -> VolumeSpec:
        """The volume's XML as a dataclass: its format, sizes and backing image.

        Example:
            >>> volume.spec.format
            'qcow2'
        """
        with self._doing("vol-dumpxml", "--pool", self.pool.name, self.name, question=True):
            return VolumeSpec.from_xml(self._libvirt.XMLDesc())

    def upload(self, source: Path, progress: Progress | None = None) -> None:
        """Fill the volume with a file of its size.

        The first bytes are sent last: an upload that was cut off is no valid
        disk, and `begins_like` tells.

        Args:
            source: the file.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: there is no such file.
            NotEnoughDisk: the pool is full.

        Example:
            >>> volume.upload(Path("disk.img"), print)
        """
        if not source.is_file():
            raise InvalidArgument(
                "there is no such file to upload", seen=str(source), next_step="Look at its path"
            )
        size = source.stat().st_size
        with self._doing("vol-upload", "--pool", self.pool.name, self.name, str(source)):
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

        stream = self.lab.connection.newStream()
        self._libvirt.upload(stream, file.tell(), 0)
        stream.sendAll(read, None)
        stream.finish()

    def begins_like(self, source: Path) -> bool:
        """Whether the volume begins as a file does: an upload of that file was finished.

        Example:
            >>> volume.begins_like(Path("disk.img"))
            True
        """
        head = io.BytesIO()
        with self._doing("vol-download", "--pool", self.pool.name, self.name, question=True):
            stream = self.lab.connection.newStream()
            self._libvirt.download(stream, 0, _HEAD)
            stream.recvAll(lambda _, data, __: head.write(data), None)
            stream.finish()
        with source.open("rb") as file:
            return file.read(_HEAD) == head.getvalue()

    def delete(self) -> None:
        """Remove the volume and all that is in it.

        Example:
            >>> volume.delete()
        """
        with self._doing("vol-delete", "--pool", self.pool.name, self.name):
            self._libvirt.delete()

    def __repr__(self) -> str:
        return f"<Volume {self.name} in {self.pool.name}>"


class Volumes(Collection[Volume]):
    """The volumes of one storage pool, by name.

    Example:
        >>> list(lab.pools["default"].volumes)
        ['web.qcow2']
    """

    _noun = "volume"
    _missing = VolumeNotFound

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.lab)
        self._pool = pool

    def create(
        self,
        name: str,
        *,
        size_gib: float,
        format: Literal["qcow2", "raw"] = "qcow2",
        backing: Volume | None = None,
    ) -> Volume:
        """Create a volume. It takes room on the host only as it is written to.

        Args:
            name: its file name.
            size_gib: how large a disk the guest sees.
            format: "qcow2" or "raw".
            backing: make the volume an overlay on this one, which is never written to.

        Raises:
            InvalidName: that can't be a file name.
            InvalidArgument: the size is no number above zero.
            VolumeAlreadyExists: the name is taken.
            NotEnoughDisk: the pool has less room than that.

        Example:
            >>> lab.pools["default"].volumes.create("data.qcow2", size_gib=1)
            <Volume data.qcow2 in default>
        """
        return self.create_from(
            VolumeSpec(
                name=name,
                capacity_bytes=bytes_of_gib("size_gib", size_gib),
                format=format,
                backing_path=backing.path if backing else None,
                backing_format=backing.spec.format if backing else None,
            )
        )

    def create_from(self, spec: VolumeSpec) -> Volume:
        """Create the volume that a spec describes; errors are those of `create`.

        Example:
            >>> spec = VolumeSpec(name="boot.img", capacity_bytes=512, format="raw")
            >>> lab.pools["default"].volumes.create_from(spec)
            <Volume boot.img in default>
        """
        check_volume_name(spec.name)
        self._pool.refresh()
        if spec.name in self:
            raise VolumeAlreadyExists(f"pool {self._pool.name!r} has such a volume", seen=spec.name)
        available = self._pool.available_bytes
        if spec.capacity_bytes > available:
            raise NotEnoughDisk(
                f"storage pool {self._pool.name!r} has {available / 2**30:.1f} GiB left",
                seen=f"{spec.capacity_bytes / 2**30:.1f} GiB",
            )
        with self._pool._doing(*words_to_create(spec, self._pool.name)):
            return self._handle(self._pool._libvirt.createXML(spec.to_xml()))

    def _all(self) -> list[Any]:
        return list(self._pool._libvirt.listAllVolumes())

    def _lookup(self, name: str) -> Any:
        return self._pool._libvirt.storageVolLookupByName(name)

    def _handle(self, found: Any) -> Volume:
        return Volume(self._pool, found)


def words_to_create(spec: VolumeSpec, pool: str) -> list[str]:
    """Return the virsh command that creates a volume as a spec describes it.

    Example:
        >>> words_to_create(VolumeSpec(name="data.qcow2", capacity_bytes=2**30), "default")
        ['vol-create-as', 'default', 'data.qcow2', '1073741824B', '--format', 'qcow2']
    """
    words = ["vol-create-as", pool, spec.name, f"{spec.capacity_bytes}B"]
    words += ["--format", spec.format or "raw"]
    if spec.backing_path:
        words += ["--backing-vol", PurePosixPath(spec.backing_path).name]
        words += ["--backing-vol-format", spec.backing_format or "raw"]
    return words
