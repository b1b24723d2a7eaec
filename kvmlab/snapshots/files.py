"""The files that hold a guest's external snapshots, and which stands on which."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import InUse, NotSupported, PoolNotFound, VolumeNotFound, translate
from kvmlab.snapshots.steps import Step
from kvmlab.specs import GuestSpec, SnapshotSpec, VolumeSpec
from kvmlab.storage.pools import Pool
from kvmlab.storage.volumes import Volume

if TYPE_CHECKING:
    from kvmlab.lab import Lab


class Files:
    """All files in the folders that some files are in, as they are now.

    libvirt knows files through storage pools only; each of these folders must be one's.

    Args:
        lab: where they are.
        paths: some files.

    Raises:
        NotSupported: one of the folders is no storage pool's.
        PoolNotActive: its pool is not started.

    Example:
        >>> files = Files(lab, ["/var/lib/libvirt/images/web.clean"])
        >>> files.chain("/var/lib/libvirt/images/web.clean")[1]
        '/var/lib/libvirt/images/web.qcow2'
    """

    def __init__(self, lab: Lab, paths: Iterable[str]) -> None:
        self._lab = lab
        self._volumes: dict[str, Volume] = {}
        self._specs: dict[str, VolumeSpec] = {}
        for folder in sorted({str(PurePosixPath(path).parent) for path in paths}):
            pool = self._pool(folder)
            pool.refresh()
            for volume in pool.volumes.values():
                path = volume._libvirt.path()
                self._volumes[path], self._specs[path] = volume, volume.spec

    def _pool(self, folder: str) -> Pool:
        try:
            return Pool(self._lab, self._lab.connection.storagePoolLookupByTargetPath(folder))
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), PoolNotFound):
                raise
            raise NotSupported(
                "the folder of a disk is no storage pool's, so that libvirt can't make or delete "
                "files there",
                seen=folder,
                next_step="Make it one's: virsh pool-create-as NAME dir --target FOLDER",
            ) from error

    def __contains__(self, path: str) -> bool:
        return path in self._volumes

    @property
    def paths(self) -> frozenset[str]:
        """The files that are there."""
        return frozenset(self._volumes)

    def volume(self, path: str) -> Volume:
        """Return the volume that a file is.

        Raises:
            VolumeNotFound: there is no such file.
        """
        if path not in self._volumes:
            raise VolumeNotFound(
                "a file that the snapshot is kept in is gone",
                seen=path,
                next_step="Put it back; without it the snapshot is lost, and can only be deleted",
            )
        return self._volumes[path]

    def spec(self, path: str) -> VolumeSpec:
        """Return what a file is.

        Raises:
            VolumeNotFound: there is no such file.
        """
        self.volume(path)
        return self._specs[path]

    def below(self, path: str) -> str | None:
        """Return the file that a file is an overlay on."""
        spec = self._specs.get(path)
        return spec.backing_path if spec else None

    def on(self, path: str) -> list[str]:
        """Return the files that are overlays on a file."""
        return [each for each, spec in self._specs.items() if spec.backing_path == path]

    def chain(self, path: str) -> list[str]:
        """Return a file, the one it is an overlay on, and so on."""
        chain = [path]
        while (below := self.below(chain[-1])) and below not in chain:
            chain.append(below)
        return chain

    def deletion(self, path: str) -> Step:
        """Return the step that deletes a file."""
        volume = self.volume(path)
        words = ("vol-delete", "--pool", volume.pool.name, volume.name)
        return Step(self._lab.virsh_log.virsh(*words), volume._libvirt.delete)


def files_of(lab: Lab, spec: SnapshotSpec) -> Files:
    """Return the files beside those that a snapshot is kept in; all of these are there.

    Raises:
        VolumeNotFound: one is gone.
        NotSupported: their folder is no storage pool's.

    Example:
        >>> files_of(lab, web.snapshots["clean"].spec).paths
        frozenset({'/var/lib/libvirt/images/web.clean', ...})
    """
    needed = [*spec.points.values(), *([spec.memory_path] if spec.memory_path else [])]
    files = Files(lab, needed)
    for path in needed:
        files.volume(path)
    return files


def refuse_strangers(lab: Lab, guest: str, path: str) -> None:
    """Refuse to change a file that another guest has as a disk.

    Raises:
        InUse: one has it.

    Example:
        >>> refuse_strangers(lab, "web", "/var/lib/libvirt/images/web.qcow2")
    """
    for domain in lab.connection.listAllDomains():
        spec = GuestSpec.from_xml(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        if spec.name != guest and any(disk.path == path for disk in spec.disks):
            raise InUse(f"guest {spec.name!r} has a disk in {path}", seen=spec.name)
