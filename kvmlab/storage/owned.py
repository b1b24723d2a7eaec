"""What belongs to a guest and goes with it: kept up to date when its files change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import VolumeNotFound, translate
from kvmlab.guests.virtinstall import unprefixed
from kvmlab.specs import GuestSpec
from kvmlab.specs.xml import NAMESPACES
from kvmlab.storage.pool import Pool
from kvmlab.storage.usage import refuse, users_of
from kvmlab.storage.volume import Volume

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle
    from kvmlab.lab import Lab
    from kvmlab.storage.chains import Link


def adopt(guest: GuestHandle, chain: Sequence[Link], new: str) -> None:
    """Let a file go with the guest that it is now a disk of, if a file of the old chain does.

    Of a guest that kvmlab did not make, nothing is kept in mind.

    Args:
        guest: the guest.
        chain: what its disk consisted of.
        new: what it writes to now.

    Example:
        >>> adopt(web, web.disks["vda"].chain(), "/pool/web.qcow2")
    """
    spec = GuestSpec.from_xml(guest._libvirt.XMLDesc())
    owned = spec.provenance.volumes if spec.provenance else ()
    if spec.provenance is None or new in owned or not {link.path for link in chain} & {*owned}:
        return
    paths = (*owned, new)
    xml = unprefixed(replace(spec.provenance, volumes=paths))
    uri = NAMESPACES["kvmlab"]
    flags, options = 0, []
    for wanted, flag, option in (
        (guest._libvirt.isActive(), libvirt.VIR_DOMAIN_AFFECT_LIVE, "--live"),
        (guest._libvirt.isPersistent(), libvirt.VIR_DOMAIN_AFFECT_CONFIG, "--config"),
    ):
        if wanted:
            flags |= flag
            options.append(option)
    words = ("--uri", uri, "--key", "kvmlab", "--set")
    with guest._doing("metadata", guest.name, *words, xml, *options):
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        guest._libvirt.setMetadata(kind, xml, "kvmlab", uri, flags)


def refresh_around(lab: Lab, links: Iterable[Link]) -> None:
    """Let libvirt look again at the storage pools that these files are in.

    Example:
        >>> refresh_around(lab, web.disks["vda"].chain())
    """
    for folder in {str(PurePosixPath(link.path).parent) for link in links}:
        with suppress(libvirt.libvirtError):  # not every folder is a pool's
            Pool(lab, lab.connection.storagePoolLookupByTargetPath(folder)).refresh()


def refuse_removal(lab: Lab, links: Sequence[Link], *, above: Sequence[Link], guest: str) -> None:
    """Refuse to remove files that somebody else needs, before they become useless to a guest.

    Args:
        lab: where to look.
        links: the files that shall go.
        above: what is above them in the guest's chain, and will be on something else.
        guest: the guest.

    Raises:
        InUse: somebody needs one of them.

    Example:
        >>> refuse_removal(lab, chain[:1], above=(), guest="web")
    """
    paths = {link.path for link in links}
    known = paths | {link.path for link in above}
    for link in links:
        uses = users_of(lab, {link.path})
        others = [u for u in uses if u.overlay not in known and (u.guest != guest or u.is_snapshot)]
        refuse(others, f"{link.name!r} can't be deleted after it")


def remove_files(lab: Lab, links: Iterable[Link]) -> None:
    """Delete volumes that have become useless; those that are in no pool stay.

    Raises:
        InUse: one of them is not useless to somebody else.

    Example:
        >>> remove_files(lab, chain[:1])
    """
    for link in links:
        try:
            found = lab.connection.storageVolLookupByPath(link.path)
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), VolumeNotFound):
                raise
        else:
            Volume(Pool(lab, found.storagePoolLookupByVolume()), found).delete()
