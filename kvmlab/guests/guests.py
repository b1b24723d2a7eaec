"""The guests of a lab: creating them, finding them, listing them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import GuestAlreadyExists, GuestNotFound
from kvmlab.guests.creation import Plan, draw_up
from kvmlab.guests.guest import Guest
from kvmlab.guests.wish import Accel, BootDevice, Firmware, Wish
from kvmlab.handle import Collection
from kvmlab.libvirt_errors import translated
from kvmlab.limits import check_name
from kvmlab.networks.network import Network
from kvmlab.states import state_word
from kvmlab.storage.volumes import Progress
from kvmlab.virsh import Commands

if TYPE_CHECKING:
    from kvmlab.guests.cloudinit import CloudInit
    from kvmlab.images import Image


class Guests(Collection[Guest]):
    """The guests of a lab, by name, running or not.

    Example:
        >>> for name, guest in lab.guests.items():
        ...     print(name, guest.state)
        web shut off
    """

    _noun = "guest"
    _missing = GuestNotFound

    def create(
        self,
        name: str,
        *,
        image: str | Image | None = None,
        iso: str | Path | Image | None = None,
        cloud_init: CloudInit | None = None,
        memory_mib: int | None = None,
        vcpus: int = 1,
        disk_gib: float | None = None,
        networks: Sequence[str | Network] = ("default",),
        boot: Sequence[BootDevice] | None = None,
        firmware: Firmware = "bios",
        direct_kernel: bool = False,
        accel: Accel | None = None,
        max_memory_mib: int | None = None,
        pool: str = "default",
        progress: Progress | None = None,
    ) -> Guest:
        """Create a guest, switched off. All or nothing: what fails leaves nothing behind.

        Only the image itself, once it is in the storage pool, stays there for others.

        Args:
            name: its name and its hostname: 1 to 63 letters, digits, "-", "_" and ".".
            image: what is on its disk, by name ("tiny") or as an image of your own;
                without one, the guest has an empty disk or none.
            iso: a CD to install from, in the guest's CD drive: an image by name ("installer",
                or one of your own), or the path of an ISO file.
            cloud_init: what the guest is told at its first boot; its image must have
                cloud-init in it, as "debian" has.
            memory_mib: its memory; without it, what suits the image, or the system on the CD.
            vcpus: its virtual CPUs.
            disk_gib: the size of its disk; without it, the image's, or what suits the system
                on the CD, or no disk.
            networks: the virtual networks it is plugged into, one card each.
            boot: what it tries to boot from, in this order: "hd", "network", "cdrom". Without
                it: the disk; with a CD the disk, and the CD as long as the disk is empty.
            firmware: "bios" or "uefi".
            direct_kernel: boot the image's kernel at once, without firmware and boot
                loader finding it on the disk.
            accel: "kvm" or "tcg" (emulation); without it, what works on this host.
            max_memory_mib: how far `Guest.set_memory` can go while it runs.
            pool: the storage pool its disk is made in.
            progress: is called with what is being done, and how much of it is done (0 to
                1); the first guest from an image takes a while.

        Raises:
            InvalidName: that can't be the name of a guest.
            InvalidArgument: another value makes no sense.
            GuestAlreadyExists: the name is taken.
            ImageError: there is no such image, or it can't be built.
            NetworkNotFound: there is no such network.
            PoolNotFound: there is no such storage pool.
            PoolNotActive: the storage pool is not started.
            NotEnoughMemory: more than the host has, or less than the image needs.
            NotEnoughCpus: more than the host can give.
            NotEnoughDisk: the pool has no room.
            NotSupported: this host has no such firmware, or the image no kernel.

        Example:
            >>> web = lab.guests.create("web", image="tiny", memory_mib=256)
            >>> web.state
            'shut off'
        """
        plan = self._plan(
            name,
            image,
            iso,
            networks,
            pool,
            progress,
            cloud_init=cloud_init,
            memory_mib=memory_mib,
            vcpus=vcpus,
            disk_gib=disk_gib,
            boot=boot,
            firmware=firmware,
            direct_kernel=direct_kernel,
            accel=accel,
            max_memory_mib=max_memory_mib,
        )
        domain, commands = plan.carry_out(progress)
        guest = Guest(self._lab, domain)
        guest.virsh = commands
        return guest

    def preview(
        self,
        name: str,
        *,
        image: str | Image | None = None,
        iso: str | Path | Image | None = None,
        networks: Sequence[str | Network] = ("default",),
        pool: str = "default",
        **choices: Any,
    ) -> Commands:
        """Return the commands that `create` would have done; nothing is made.

        Args:
            name: as for `create`, and so are all others.
            image: see there.
            iso: see there.
            networks: see there.
            pool: see there.
            choices: see there.

        Raises:
            KvmlabError: what `create` would have raised before it made anything.

        Example:
            >>> lab.guests.preview("web", image="tiny", memory_mib=256)
            virsh vol-create-as default web.qcow2 ...
        """
        if unbuilt := [each for each in (image, iso) if self._must_be_built(each)]:
            return Commands("\n".join(f"./lab image build {each}" for each in unbuilt))
        return self._plan(name, image, iso, networks, pool, None, **choices).commands()

    def _plan(
        self,
        name: str,
        image: str | Image | None,
        iso: str | Path | Image | None,
        networks: Sequence[str | Network],
        pool: str,
        progress: Progress | None,
        **choices: Any,
    ) -> Plan:
        # What is quickly seen to be wrong comes before an image is built.
        check_name(name)
        if name in self:
            raise GuestAlreadyExists("there is a guest of that name", seen=name)
        if isinstance(networks, str | Network):
            networks = (networks,)
        names = [each if isinstance(each, str) else each.name for each in networks]
        plugs = tuple(self._lab.networks[each].name for each in names)
        place = self._lab.pools[pool]
        found, medium = self._image(image, progress), self._image(iso, progress)
        return draw_up(Wish(name, found, medium, networks=plugs, **choices), place)

    def _image(self, wanted: str | Path | Image | None, progress: Progress | None) -> Image | None:
        """Look up an image by its name, or an ISO by its path."""
        if not isinstance(wanted, str | Path):
            return wanted
        if _is_path(wanted):
            from kvmlab.images.added import medium_at

            return medium_at(Path(wanted).expanduser(), progress)
        return self._lab.images.catalogue.ensure(str(wanted), progress)

    def _must_be_built(self, wanted: str | Path | Image | None) -> bool:
        if not isinstance(wanted, str) or _is_path(wanted):
            return False
        return not self._lab.images.catalogue.is_built(wanted)

    def states(self) -> dict[str, str]:
        """Return the state of every guest, by one call, in virsh's words.

        Example:
            >>> lab.guests.states()
            {'db': 'running', 'web': 'shut off'}
        """
        lab = self._lab
        with lab.virsh_log.action(question=True) as action, translated("list the guests"):
            records = lab.connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            action.note(lab.virsh_log.virsh("list", "--all"))
        return dict(
            sorted((domain.name(), state_word(found["state.state"])) for domain, found in records)
        )

    def _all(self) -> list[Any]:
        return list(self._lab.connection.listAllDomains())

    def _lookup(self, name: str) -> Any:
        return self._lab.connection.lookupByName(name)

    def _handle(self, found: Any) -> Guest:
        return Guest(self._lab, found)

    def __repr__(self) -> str:
        states = self.states()
        width = max(map(len, states), default=0)
        rows = [f"{name:{width}}  {state}" for name, state in states.items()]
        return "\n".join(rows) or "<no guests>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{state}</td></tr>"
            for name, state in self.states().items()
        )
        return f"<table><tr><th>Name</th><th>State</th></tr>{rows}</table>"


def _is_path(wanted: str | Path) -> bool:
    """Tell a path from an image's name: it has a folder in it, or ends as ISO files do."""
    return isinstance(wanted, Path) or "/" in wanted or wanted.lower().endswith(".iso")
