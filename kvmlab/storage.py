"""Storage pools: the places on the host where guests' disks are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmlab.errors import PoolBusy, PoolNotFound
from kvmlab.handle import Collection, Handle
from kvmlab.specs import PoolSpec
from kvmlab.volumes import Volumes
from kvmlab.waiting import attempts

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_BUSY_S = 60.0  # an image is copied in far less


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
    def path(self) -> str | None:
        """The folder its volumes are in.

        Example:
            >>> lab.pools["default"].path
            '/var/lib/libvirt/images'
        """
        with self._doing("pool-dumpxml", self.name, question=True):
            return PoolSpec.from_xml(self._libvirt.XMLDesc()).path

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

        Raises:
            PoolBusy: volumes are being made in it, again and again.

        Example:
            >>> lab.pools["default"].refresh()
        """
        # libvirt has no event for "the volume is made".
        for _ in attempts(_BUSY_S):
            try:
                with self._doing("pool-refresh", self.name, question=True):
                    self._libvirt.refresh()
                return
            except PoolBusy as error:
                problem = error
        raise problem

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
