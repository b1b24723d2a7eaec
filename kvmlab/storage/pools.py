"""The storage pools of a lab: making them, finding them, listing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import InUse, PoolAlreadyExists, PoolNotFound, translate
from kvmlab.handle import Collection
from kvmlab.limits import check_pool_name
from kvmlab.specs import PoolSpec
from kvmlab.storage import qemuimg
from kvmlab.storage.pool import Pool as Pool
from kvmlab.storage.poolkinds import Kind, reason, specify

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_BUILD = {
    (True, False): (libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, "--no-overwrite"),
    (True, True): (libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE, "--overwrite"),
}


class Pools(Collection[Pool]):
    """The storage pools of a lab, by name.

    Example:
        >>> list(lab.pools)
        ['default']
    """

    _noun = "storage pool"
    _missing = PoolNotFound

    def create(
        self,
        name: str,
        type: Kind = "dir",
        *,
        path: str | None = None,
        devices: Sequence[str] = (),
        host: str | None = None,
        directory: str | None = None,
        source_name: str | None = None,
        format: str | None = None,
        make: bool = False,
        overwrite: bool = False,
        autostart: bool = True,
    ) -> Pool:
        """Create a storage pool, and start it. All or nothing: what fails leaves nothing behind.

        Args:
            name: its name: 1 to 63 letters, digits, "-", "_" and ".".
            type: "dir", a folder; "fs", a file system on a block device; "netfs", a folder
                of a file server; "logical", a volume group of LVM; "disk", a whole disk.
            path: the folder, which is made if it is not there, or the one that is mounted
                on; without it, a folder beside that of the pool "default".
            devices: block devices of the host, for "fs", "disk" and a new "logical".
            host: the file server, for "netfs".
            directory: its folder, for "netfs".
            source_name: the volume group, for "logical".
            format: the file system, for "fs" and "netfs"; the partition table, for "disk".
            make: make the file system, the volume group or the partition table first. What
                is on the device already is not overwritten.
            overwrite: with ``make``: overwrite it. **All that is on the device is lost.**
            autostart: whether libvirt starts the pool when libvirt itself starts.

        Raises:
            InvalidName: that can't be the name of a pool.
            InvalidArgument: something is missing, or makes no sense for this type.
            PoolAlreadyExists: the name is taken.
            InUse: another pool has that folder.
            NotSupported: libvirt's host lacks a driver or a tool for this type.
            DeviceNotFound: there is no such device, volume group or server.
            Forbidden: libvirt may not mount there, as in a lab host that is not root's.

        Example:
            >>> data = lab.pools.create("data")
            >>> data.path
            '/var/lib/libvirt/pools/data'
        """
        check_pool_name(name)
        specs = {pool.name: PoolSpec.from_xml(pool._libvirt.XMLDesc()) for pool in self.values()}
        if name in specs:
            raise PoolAlreadyExists("there is a storage pool of that name", seen=name)
        spec = specify(
            self._lab,
            name,
            type,
            path=path,
            devices=devices,
            host=host,
            directory=directory,
            source_name=source_name,
            format=format,
            make=make,
            beside=specs["default"].path if "default" in specs else None,
        )
        for other in specs.values():
            if spec.type not in ("logical", "disk") and _folder(self._lab, other) == _folder(
                self._lab, spec
            ):
                raise InUse(
                    f"storage pool {other.name!r} has that folder",
                    seen=spec.path,
                    next_step="Choose another path, or use that pool",
                )
        return self._make(spec, make=make, overwrite=overwrite, autostart=autostart)

    def _make(self, spec: PoolSpec, *, make: bool, overwrite: bool, autostart: bool) -> Pool:
        log = self._lab.virsh_log
        with log.action() as action, ExitStack() as undo:
            with log.action() as defining:
                pool = Pool(self._lab, self._defined(spec))
                defining.note(log.virsh(*words_to_define(spec)))
            undo.callback(_forget, pool._libvirt)
            if spec.type in ("dir", "fs", "netfs") or make:
                if not (qemuimg.is_local(self._lab) and os.path.exists(spec.path or "")):
                    undo.callback(_unbuild, pool._libvirt, spec)
                flags, option = _BUILD.get((make, overwrite), (0, None))
                with pool._doing("pool-build", spec.name, option):
                    pool._libvirt.build(flags)
            pool.start()
            undo.callback(pool._libvirt.destroy)
            pool.autostart = autostart
            undo.pop_all()
        pool.virsh = action.commands
        return pool

    def _defined(self, spec: PoolSpec) -> Any:
        try:
            return self._lab.connection.storagePoolDefineXML(spec.to_xml(), 0)
        except libvirt.libvirtError as error:
            doing = f"pool-define {spec.name}"
            raise (reason(error, doing) or translate(error, doing=doing)) from error

    def _all(self) -> list[Any]:
        return list(self._lab.connection.listAllStoragePools())

    def _lookup(self, name: str) -> Any:
        return self._lab.connection.storagePoolLookupByName(name)

    def _handle(self, found: Any) -> Pool:
        return Pool(self._lab, found)


def words_to_define(spec: PoolSpec) -> list[str]:
    """Return the virsh command that defines a pool.

    Example:
        >>> words_to_define(PoolSpec(name="data", path="/srv/data"))
        ['pool-define-as', 'data', 'dir', '--target', '/srv/data']
    """
    words = ["pool-define-as", spec.name, spec.type]
    for option, values in (
        ("--source-host", spec.hosts),
        ("--source-path", (spec.directory,)),
        ("--source-dev", spec.devices),
        ("--source-name", (spec.source_name,)),
        ("--source-format", (spec.format,)),
        ("--target", (spec.path,)),
    ):
        for value in filter(None, values):
            words += [option, value]
    return words


def _folder(lab: Lab, spec: PoolSpec) -> str:
    return qemuimg.real_path(lab, spec.path or "")


def _forget(pool: Any) -> None:
    with suppress(libvirt.libvirtError):
        pool.undefine()


def _unbuild(pool: Any, spec: PoolSpec) -> None:
    """Remove the folder that was made, if it is empty; libvirt removes no other."""
    if spec.type in ("dir", "fs", "netfs"):
        with suppress(libvirt.libvirtError):
            pool.delete(0)
