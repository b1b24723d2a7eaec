"""One storage pool: a place on the host where guests' disks are kept."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import PoolBusy, PoolNotActive
from kvmlab.handle import Handle
from kvmlab.specs import PoolSpec
from kvmlab.storage.poolkinds import reason
from kvmlab.storage.usage import Use, refuse, survey
from kvmlab.storage.volumes import Volumes
from kvmlab.waiting import attempts

if TYPE_CHECKING:
    from kvmlab.errors import KvmlabError
    from kvmlab.lab import Lab

_BUSY_S = 60.0  # an image is copied in far less


class Pool(Handle):
    """A storage pool: a place on the host where volumes are kept.

    It is a live handle: what it tells is read from libvirt when it is asked.

    Attributes:
        volumes: the volumes in it, by name.

    Example:
        >>> list(lab.pools["default"].volumes)
        ['web.qcow2']
    """

    def __init__(self, lab: Lab, pool: Any) -> None:
        super().__init__(lab, pool)
        self.volumes = Volumes(self)

    def _explain(self, error: libvirt.libvirtError, doing: str) -> KvmlabError:
        return reason(error, doing) or super()._explain(error, doing)

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
    def spec(self) -> PoolSpec:
        """The pool's XML as a dataclass: its type, and where it is.

        Example:
            >>> lab.pools["default"].spec.type
            'dir'
        """
        with self._doing("pool-dumpxml", self.name, question=True):
            return PoolSpec.from_xml(self._libvirt.XMLDesc())

    @property
    def path(self) -> str | None:
        """The folder its volumes are in.

        Example:
            >>> lab.pools["default"].path
            '/var/lib/libvirt/images'
        """
        return self.spec.path

    @property
    def capacity_bytes(self) -> int:
        """The size of what the pool is on: of a folder, the whole file system around it.

        Example:
            >>> lab.pools["default"].capacity_bytes // 2**30
            98
        """
        return self._info()[1]

    @property
    def allocation_bytes(self) -> int:
        """How much of it is taken, by volumes or by others, as of the last `refresh`.

        Example:
            >>> lab.pools["default"].allocation_bytes // 2**30
            27
        """
        return self._info()[2]

    @property
    def available_bytes(self) -> int:
        """What is left of it, as of the last `refresh`.

        Example:
            >>> lab.pools["default"].available_bytes // 2**30
            71
        """
        return self._info()[3]

    def _info(self) -> list[int]:
        with self._doing("pool-info", self.name, "--bytes", question=True):
            return list(map(int, self._libvirt.info()))

    @property
    def autostart(self) -> bool:
        """Whether libvirt starts the pool when libvirt itself starts; can be set.

        Example:
            >>> lab.pools["data"].autostart = True
        """
        with self._doing("pool-info", self.name, question=True):
            return bool(self._libvirt.autostart())

    @autostart.setter
    def autostart(self, on: bool) -> None:
        with self._doing("pool-autostart", self.name, None if on else "--disable"):
            self._libvirt.setAutostart(int(on))

    def start(self) -> None:
        """Start the pool, so that its volumes can be used: what it is on is mounted.

        Raises:
            WrongState: it is started already.
            NotSupported: a tool is missing on the host; the message says which.
            DeviceNotFound: what it is on is not there.
            Forbidden: libvirt may not mount there, as in a lab host that is not root's.

        Example:
            >>> lab.pools["default"].start()
        """
        with self._doing("pool-start", self.name):
            self._libvirt.create()

    def stop(self) -> None:
        """Stop the pool: its volumes are out of libvirt's sight, and stay as they are.

        Raises:
            WrongState: it is not started.
            InUse: a running guest has one of its volumes.

        Example:
            >>> lab.pools["data"].stop()
        """
        users = [use for use in self._users() if use.is_running]
        refuse(users, f"storage pool {self.name!r} can't be stopped")
        with self._doing("pool-destroy", self.name):
            self._libvirt.destroy()

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

    def delete(self, *, contents: bool = False) -> None:
        """Stop the pool, and let libvirt forget it.

        Args:
            contents: delete all that is in it too, and then the folder itself. **All** files
                in the folder count, whoever made them. Without it, they stay where they are.

        Raises:
            InUse: a guest, a snapshot or an overlay elsewhere needs one of its volumes.
            PoolNotActive: the contents shall go, and it is not started.

        Example:
            >>> lab.pools["data"].delete(contents=True)
            >>> "data" in lab.pools
            False
        """
        active = self.is_active
        if contents and not active:
            raise PoolNotActive(f"what is in storage pool {self.name!r} is not known")
        refuse(self._users(), f"storage pool {self.name!r} can't be deleted")
        with self._together("delete"):
            if contents:
                self.refresh()
                for volume in self.volumes.values():
                    volume._delete()
            if active:
                with self._doing("pool-destroy", self.name):
                    self._libvirt.destroy()
            if contents and self.spec.type in ("dir", "fs", "netfs", "logical"):
                with self._doing("pool-delete", self.name):
                    self._libvirt.delete()
            if self._libvirt.isPersistent():
                with self._doing("pool-undefine", self.name):
                    self._libvirt.undefine()

    def _users(self) -> list[Use]:
        """Return who needs one of its volumes, but for overlays that are in it as well."""
        with self._explained(f"look who uses {self.name}"):
            folder = PoolSpec.from_xml(self._libvirt.XMLDesc()).path
            paths: set[str] = set()
            if self._libvirt.isActive():
                paths = {volume.path() for volume in self._libvirt.listAllVolumes()}
        uses = (
            use
            for use in survey(self.lab)
            if use.path in paths or str(PurePosixPath(use.path).parent) == folder
        )
        return [use for use in uses if use.overlay not in paths]

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"
