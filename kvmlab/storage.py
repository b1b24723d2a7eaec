"""Storage pools and the volumes in them: where guests' disks are kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from kvmlab.errors import NotEnoughDisk, PoolNotFound, VolumeAlreadyExists, VolumeNotFound
from kvmlab.handle import Collection, Handle
from kvmlab.limits import bytes_of_gib, check_name
from kvmlab.specs import VolumeSpec

if TYPE_CHECKING:
    from kvmlab.lab import Lab

Progress = Callable[[str, float], None]

# As much of a volume as is sent last, so that one without it is known to be half there.
_HEAD = 512


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
            NotEnoughDisk: the pool is full.

        Example:
            >>> volume.upload(Path("disk.img"), print)
        """
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
        return self.create_bytes(name, bytes_of_gib("size_gib", size_gib), format, backing)

    def create_bytes(
        self, name: str, size_bytes: int, format: str, backing: Volume | None = None
    ) -> Volume:
        """Create a volume of an exact size; otherwise as `create`.

        Example:
            >>> volumes.create_bytes("boot.img", 512, "raw")
            <Volume boot.img in default>
        """
        check_name(name, "volume")
        self._pool.refresh()
        if name in self:
            raise VolumeAlreadyExists(f"pool {self._pool.name!r} has such a volume", seen=name)
        available = self._pool.available_bytes
        if size_bytes > available:
            raise NotEnoughDisk(
                f"storage pool {self._pool.name!r} has {available / 2**30:.1f} GiB left",
                seen=f"{size_bytes / 2**30:.1f} GiB",
            )
        spec = VolumeSpec(
            name=name,
            capacity_bytes=size_bytes,
            format=format,
            backing_path=backing.path if backing else None,
            backing_format=backing.spec.format if backing else None,
        )
        options = ["--backing-vol", backing.name] if backing else []
        if spec.backing_format:
            options += ["--backing-vol-format", spec.backing_format]
        words = ["vol-create-as", self._pool.name, name, f"{size_bytes}B", "--format", format]
        with self._pool._doing(*words, *options):
            return self._handle(self._pool._libvirt.createXML(spec.to_xml()))

    def _all(self) -> list[Any]:
        return list(self._pool._libvirt.listAllVolumes())

    def _lookup(self, name: str) -> Any:
        return self._pool._libvirt.storageVolLookupByName(name)

    def _handle(self, found: Any) -> Volume:
        return Volume(self._pool, found)


class Pool(Handle):
    """A storage pool: a place on the host where volumes are kept.

    Attributes:
        volumes: the volumes in it, by name.

    Example:
        >>> list(lab.pools["default"].volumes)
        ['web.qcow2']
    """

    def __init__(self, lab: Lab, pool: Any) -> None:
        super().__init__(lab, pool)
        self.volumes = Volumes(self)

    @property
    def is_active(self) -> bool:
        """Whether the pool is started.

        Example:
            >>> lab.pools["default"].is_active
            True
        """
        with self._doing("pool-info", self.name, question=True):
            return bool(self._libvirt.isActive())

    @property
    def capacity_bytes(self) -> int:
        """The size of the file system the pool is on.

        Example:
            >>> lab.pools["default"].capacity_bytes // 2**30
            98
        """
        with self._doing("pool-info", self.name, "--bytes", question=True):
            return int(self._libvirt.info()[1])

    @property
    def available_bytes(self) -> int:
        """What is left of it, as of the last `refresh`.

        Example:
            >>> lab.pools["default"].available_bytes // 2**30
            71
        """
        with self._doing("pool-info", self.name, "--bytes", question=True):
            return int(self._libvirt.info()[3])

    def start(self) -> None:
        """Start the pool, so that its volumes can be used.

        Example:
            >>> lab.pools["default"].start()
        """
        with self._doing("pool-start", self.name):
            self._libvirt.create()

    def refresh(self) -> None:
        """Look again at what is in the pool; files that others made are then seen.

        Example:
            >>> lab.pools["default"].refresh()
        """
        with self._doing("pool-refresh", self.name, question=True):
            self._libvirt.refresh()

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"


class Pools(Collection[Pool]):
    """The storage pools of a lab, by name.

    Example:
        >>> list(lab.pools)
        ['default']
    """

    _noun = "storage pool"
    _missing = PoolNotFound

    def _all(self) -> list[Any]:
        return list(self._lab.connection.listAllStoragePools())

    def _lookup(self, name: str) -> Any:
        return self._lab.connection.storagePoolLookupByName(name)

    def _handle(self, found: Any) -> Pool:
        return Pool(self._lab, found)
