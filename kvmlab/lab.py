"""A lab: one connection to one libvirt, with its guests, networks and storage pools."""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import libvirt

from kvmlab.errors import ConnectionFailed, Forbidden, KvmlabError, translate
from kvmlab.events import Events, start_event_loop
from kvmlab.gallery import Images
from kvmlab.guests import metrics
from kvmlab.guests.guests import Guests
from kvmlab.host import Host, read_host
from kvmlab.libvirt_errors import translated
from kvmlab.networks.networks import Networks
from kvmlab.storage.pools import Pools
from kvmlab.virsh import VirshLog

# libvirt's defaults for its own clients: a question every 5 s, 6 unanswered ones end it.
_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT = 5, 6


def connect(uri: str | None = None) -> Lab:
    """Connect to a libvirt.

    Args:
        uri: which one (https://libvirt.org/uri.html). Without it: ``KVMLAB_URI``,
            else the libvirt of the lab host we are in.

    Raises:
        ConnectionFailed: no libvirt answers there, or we are in no lab host.
        Forbidden: libvirt answers, and refuses this user.

    Example:
        >>> with kvmlab.connect() as lab:
        ...     print(list(lab.guests))
        []
    """
    uri = uri or os.environ.get("KVMLAB_URI")
    if uri is None:
        if "KVMLAB_LABHOST" not in os.environ:
            raise ConnectionFailed("this is not a lab host, and KVMLAB_URI is not set")
        uri = "qemu:///system"
    # By default libvirt prints every error on stderr before it raises it.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    start_event_loop()
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        problem = translate(error)
        kind = type(problem) if isinstance(problem, Forbidden) else ConnectionFailed
        raise kind(f"can't connect to libvirt: {problem.happened}", seen=uri) from error
    with suppress(libvirt.libvirtError):  # drivers inside this process have none
        connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
    return Lab(connection)


class Lab:
    """One connection to libvirt. Made by `connect`; close it, or use it in a ``with``.

    Attributes:
        connection: the ``libvirt.virConnect``, for what kvmlab has no word for.
        guests: the guests, by name.
        networks: the virtual networks, by name.
        pools: the storage pools, by name.
        images: the images that guests are made from, by name.
        events: what happens to guests, as it happens.
        virsh_log: what was done in this lab, as virsh commands.

    Example:
        >>> lab = kvmlab.connect()
        >>> web = lab.guests.create("web", image="tiny", memory_mib=256)
        >>> web.start()
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.virsh_log = VirshLog(connection.getURI())
        self.guests = Guests(self)
        self.networks = Networks(self)
        self.pools = Pools(self)
        self.images = Images()
        self.events = Events(self)
        self._closed = False

    @property
    def uri(self) -> str:
        """The URI of the libvirt this lab is connected to."""
        return self.virsh_log.uri

    @property
    def host(self) -> Host:
        """What the host has: ``virsh nodeinfo``, ``nodememstats`` and ``version``.

        Example:
            >>> lab.host.vcpus
            2
        """
        log = self.virsh_log
        with log.action(question=True) as action, translated("ask about the host"):
            for words in ("nodeinfo", "nodememstats", "version"):
                action.note(log.virsh(words))
            return read_host(self.connection)

    def stats(self) -> dict[str, metrics.GuestStats]:
        """Measure all guests by one call, running or not.

        Example:
            >>> lab.stats()["web"].cpu_time_s
            2.31
        """
        log = self.virsh_log
        with log.action(question=True) as action, translated("domstats"):
            action.note(log.virsh("domstats"))
            found = metrics.read(self.connection.getAllDomainStats(metrics.GROUPS))
        return {each.guest: each for each in found}

    def close(self) -> None:
        """Close the connection. Guests go on running; closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        with translated("close the connection"):
            self.events.close()
            self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except KvmlabError:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<Lab {self.uri}>"
