"""The volumes of a storage pool: making them, finding them, listing them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import libvirt

from kvmlab.errors import InvalidArgument, NotEnoughDisk, VolumeAlreadyExists, VolumeNotFound
from kvmlab.handle import Collection
from kvmlab.limits import bytes_of_gib, check_volume_name
from kvmlab.specs import Passphrase, PoolSpec, VolumeSpec
from kvmlab.storage.contents import Progress as Progress
from kvmlab.storage.secrets import check_passphrase, passphrase_for
from kvmlab.storage.volume import Volume as Volume
from kvmlab.virsh import feed
from kvmlab.waiting import attempts

if TYPE_CHECKING:
    from kvmlab.storage.pools import Pool

Preallocation = Literal["none", "metadata", "full"]
_MEASURING_S = 30.0
FORMATS = ("qcow2", "raw")
_PREALLOCATIONS = ("none", "metadata", "full")


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
        size_gib: float | None = None,
        format: Literal["qcow2", "raw"] = "qcow2",
        backing: Volume | None = None,
        preallocation: Preallocation = "none",
        passphrase: str | None = None,
    ) -> Volume:
        """Create a volume. It takes room on the host only as it is written to.

        Args:
            name: its file name.
            size_gib: how large a disk the guest sees; an overlay may leave it out, and is
                as large as what it is on then.
            format: "qcow2" or "raw".
            backing: make the volume an overlay on this one, which is never written to.
            preallocation: what is written at once: "none", "metadata" (the tables of a
                qcow2 that say where what is) or "full" (all of its room is taken).
            passphrase: encrypt it (LUKS), and let libvirt keep the passphrase, so that
                guests can use it. Whoever may use this libvirt can read the volume; who has
                only the file can't. There is no other way back to a lost passphrase.

        Raises:
            InvalidName: that can't be a file name.
            InvalidArgument: the size is no number above zero, or the rest does not fit
                together.
            VolumeAlreadyExists: the name is taken.
            NotEnoughDisk: the pool has less room than that.

        Example:
            >>> lab.pools["default"].volumes.create("data.qcow2", size_gib=1)
            <Volume data.qcow2 in default>
        """
        _check(format, preallocation, backing, passphrase)
        if size_gib is None and backing is None:
            raise InvalidArgument(
                "a volume needs a size", seen=size_gib, next_step="Give GiB, such as size_gib=10"
            )
        below = backing.spec if backing else None
        if size_gib is not None:
            size = bytes_of_gib("size_gib", size_gib)
        else:
            size = below.capacity_bytes if below else 0
        spec = VolumeSpec(
            name=name,
            capacity_bytes=size,
            allocation_bytes=size if preallocation == "full" else 0,
            format=format,
            backing_path=backing.path if backing else None,
            backing_format=below.format if below else None,
        )
        # With this flag, a qcow2 is written ahead as far as its allocation goes.
        ahead = format == "qcow2" and preallocation != "none"
        flags = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA if ahead else 0
        return self._create(spec, flags, passphrase)

    def create_from(self, spec: VolumeSpec) -> Volume:
        """Create the volume that a spec describes; errors are those of `create`.

        Example:
            >>> spec = VolumeSpec(name="boot.img", capacity_bytes=512, format="raw")
            >>> lab.pools["default"].volumes.create_from(spec)
            <Volume boot.img in default>
        """
        return self._create(spec, 0, None)

    def _create(self, spec: VolumeSpec, flags: int, passphrase: str | None) -> Volume:
        pool = self._pool
        self.check_new(spec, needs_bytes=spec.capacity_bytes)
        with pool._together("create a volume in"), ExitStack() as stack:
            if passphrase is not None:
                path = f"{pool.path}/{spec.name}"
                secret = stack.enter_context(passphrase_for(pool.lab, path, passphrase))
                spec = replace(spec, encryption=Passphrase(secret=secret))
            with pool._running(command_to_create(pool, spec, flags), f"create {spec.name}"):
                return self._handle(_made(pool, spec, flags))

    def check_new(self, spec: VolumeSpec, *, needs_bytes: int) -> None:
        """Refuse a volume that can't be made here, before anything is.

        Args:
            spec: what it shall be.
            needs_bytes: how much room it may take.

        Raises:
            InvalidName: that can't be a file name.
            VolumeAlreadyExists: the name is taken.
            NotEnoughDisk: the pool has less room than that.

        Example:
            >>> pool.volumes.check_new(spec, needs_bytes=2**30)
        """
        check_volume_name(spec.name)
        self._pool.refresh()
        if spec.name in self:
            raise VolumeAlreadyExists(f"pool {self._pool.name!r} has such a volume", seen=spec.name)
        available = self._pool.available_bytes
        if needs_bytes > available:
            raise NotEnoughDisk(
                f"storage pool {self._pool.name!r} has {available / 2**30:.1f} GiB left",
                seen=f"{needs_bytes / 2**30:.1f} GiB",
            )

    def _all(self) -> list[Any]:
        return list(self._pool._libvirt.listAllVolumes())

    def _lookup(self, name: str) -> Any:
        return self._pool._libvirt.storageVolLookupByName(name)

    def _handle(self, found: Any) -> Volume:
        return Volume(self._pool, found)


def _made(pool: Pool, spec: VolumeSpec, flags: int) -> Any:
    """Let libvirt make the volume.

    To find out how hard a passphrase can be made to guess, ``qemu-img`` measures how much
    CPU time that takes. Before QEMU 9.1 it now and then sees none at all go by, most of all
    on virtual machines, and gives up.
    """
    for _ in attempts(_MEASURING_S):
        try:
            return pool._libvirt.createXML(spec.to_xml(), flags)
        except libvirt.libvirtError as error:
            if "accurate CPU usage" not in (error.get_error_message() or ""):
                raise
            problem = error
    raise problem


def words_to_create(spec: VolumeSpec, pool: str) -> list[str]:
    """Return the virsh command that creates a volume as a spec describes it.

    Example:
        >>> words_to_create(VolumeSpec(name="data.qcow2", capacity_bytes=2**30), "default")
        ['vol-create-as', 'default', 'data.qcow2', '1073741824B', '--format', 'qcow2']
    """
    words = ["vol-create-as", pool, spec.name, f"{spec.capacity_bytes}B"]
    # Without a word, a raw volume would take all of its room at once.
    if spec.allocation_bytes or spec.format == "raw":
        words += ["--allocation", f"{spec.allocation_bytes or 0}B"]
    words += ["--format", spec.format or "raw"]
    if spec.backing_path:
        words += ["--backing-vol", PurePosixPath(spec.backing_path).name]
        words += ["--backing-vol-format", spec.backing_format or "raw"]
    return words


def command_to_create(pool: Pool, spec: VolumeSpec, flags: int) -> str:
    """Return the shell command that creates a volume in a pool.

    Example:
        >>> print(command_to_create(pool, VolumeSpec(name="a.img", capacity_bytes=9), 0))
        virsh vol-create-as default a.img 9B --format qcow2
    """
    log = pool.lab.virsh_log
    option = "--prealloc-metadata" if flags else None
    # vol-create-as knows nothing of encryption, and looks for a backing image in its own pool.
    away = (
        spec.backing_path
        and str(PurePosixPath(spec.backing_path).parent)
        != PoolSpec.from_xml(pool._libvirt.XMLDesc()).path
    )
    if spec.encryption or away:
        return feed(log.virsh("vol-create", pool.name, "/dev/stdin", option), spec.to_xml())
    words = words_to_create(spec, pool.name)
    if flags and "--allocation" not in words:
        words += ["--allocation", "0B"]
    return log.virsh(*words, option)


def _check(format: str, preallocation: str, backing: Volume | None, passphrase: str | None) -> None:
    for what, value, choice in (
        ("format", format, FORMATS),
        ("preallocation", preallocation, _PREALLOCATIONS),
    ):
        if value not in choice:
            raise InvalidArgument(
                f"no such {what}", seen=value, next_step=f"There is: {', '.join(choice)}"
            )
    if passphrase is not None:
        check_passphrase(passphrase)
    if backing is not None and not isinstance(backing, Volume):
        raise InvalidArgument(
            "an overlay stands on a volume",
            seen=backing,
            next_step="Such as lab.pools['default'].volumes['base.qcow2']",
        )
    for asked, problem in (
        (backing and format == "raw", "a raw volume can't be an overlay"),
        (
            preallocation == "metadata" and format == "raw",
            "a raw volume has no metadata to write ahead",
        ),
        (
            preallocation != "none" and backing,
            "an overlay holds only what differs: nothing can be written ahead",
        ),
    ):
        if asked:
            raise InvalidArgument(problem, seen=format, next_step="Use format='qcow2' without it")
