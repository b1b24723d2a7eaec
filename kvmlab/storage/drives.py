"""Taking a disk out of a guest, and changing the disc in a CD-ROM drive."""

from __future__ import annotations

import libvirt

from kvmlab.errors import InUse, KvmlabError, NotSupported, TimedOut, WrongState
from kvmlab.storage.diskhandle import DiskHandle
from kvmlab.storage.plugging import affected, explained, put_in
from kvmlab.storage.volume import Volume


class Drive(DiskHandle):
    """The part of a disk that comes and goes: the disk itself, or the disc in a drive."""

    def insert(self, source: Volume | str, *, force: bool = False) -> None:
        """Put a disc, a volume or a file such as an ISO, into the CD-ROM drive.

        Args:
            source: what is put in; a disc that is there already is taken out.
            force: even if the guest has locked the tray.

        Raises:
            NotSupported: it is no CD-ROM drive.
            VolumeNotFound: there is no such file.
            InUse: the guest has a disc mounted, and has locked the tray.

        Example:
            >>> web.disks["sda"].insert("/srv/debian-12.iso")
        """
        self._needs_drive("insert")
        with self._together("insert into"):
            spec = put_in(self.guest, self._spec(), source, None)
            self._change(spec.path, "--source", spec.path or "", "--update", force=force)

    def eject(self, *, force: bool = False) -> None:
        """Take the disc out of the CD-ROM drive; the drive stays.

        Args:
            force: even if the guest has locked the tray.

        Raises:
            NotSupported: it is no CD-ROM drive.
            WrongState: there is none in it.
            InUse: the guest has the disc mounted, and has locked the tray.

        Example:
            >>> web.disks["sda"].eject()
        """
        self._needs_drive("eject")
        if self._spec().source is None:
            raise WrongState(
                f"drive {self.target} of guest {self.guest.name!r} is empty",
                next_step="Put something in: guest.disks[...].insert()",
            )
        self._change(None, "--eject", force=force)

    def _change(self, path: str | None, *words: str, force: bool) -> None:
        flags, options = affected(self.guest, live=None, config=True)
        definition = flags & libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if force:
            flags |= libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
            options.append("--force")
        look = libvirt.VIR_DOMAIN_XML_INACTIVE if definition else 0
        try:
            with self._doing("change-media", self.guest.name, self.target, *words, *options):
                self._libvirt.updateDeviceFlags(self._with_source(look, path, "raw"), flags)
        except KvmlabError as error:
            if "Tray of device" in error.happened:
                # Some libvirts don't open one that was plugged in while the guest ran; and a
                # guest that looks for a disc, as at its start, closes what was opened.
                raise NotSupported(
                    f"drive {self.target} of guest {self.guest.name!r} did not open for libvirt, "
                    "or was closed at once",
                    next_step="Try again; where that is in vain, open it in the guest (eject "
                    "/dev/sr0), or detach it",
                ) from error.__cause__
            if "tray" not in error.happened and "locked" not in error.happened:
                raise
            raise InUse(
                f"guest {self.guest.name!r} does not let go of the disc in {self.target}",
                next_step="Unmount it in the guest first, or say force=True",
            ) from error.__cause__

    def _needs_drive(self, verb: str) -> None:
        if (device := self._spec().device) not in ("cdrom", "floppy"):
            raise NotSupported(
                f"{verb} needs a CD-ROM drive, and {self.target} is none",
                seen=device,
                next_step="Detach the disk instead: guest.disks[...].detach()",
            )

    def detach(
        self, *, live: bool | None = None, config: bool = True, timeout_s: float = 30
    ) -> None:
        """Take the disk out of the guest; what is on it stays.

        Of a running guest it is asked for: the guest has to let go, and that is waited for.
        Unmount it there first: what was not yet written is lost otherwise.

        Args:
            live: take it out now; without a word, if the guest runs and has it.
            config: take it out of the definition, for the next start.
            timeout_s: how long the guest may take to let go.

        Raises:
            InUse: the guest said no.
            TimedOut: it said nothing. Its definition is without the disk then, if that was
                asked for; the running guest still has it, and may let go later.
            NotSupported: a running guest can't do without such a disk ("sata", "ide").

        Example:
            >>> web.run("umount /mnt")
            >>> web.disks["vdb"].detach()
        """
        spec = self._spec()
        if live is None:
            live = self._is_running() and self._has(0)
        config = config and self._has(libvirt.VIR_DOMAIN_XML_INACTIVE)
        flags, options = affected(self.guest, live=live, config=config)
        with self.lab.events.watch(guest=self.guest.name) as watch:
            with (
                explained(self.guest, spec),
                self._doing("detach-disk", self.guest.name, self.target, *options),
            ):
                self._libvirt.detachDeviceFlags(spec.to_xml(), flags)
            if not live or not self._has(0):
                return
            try:
                (alias,) = spec.alias or (None,)
                kinds = ("device removed", "device removal failed")
                event = watch.wait_for(*kinds, detail=alias, timeout_s=timeout_s)
            except TimedOut:
                raise TimedOut(
                    f"guest {self.guest.name!r} did not let go of {self.target} in {timeout_s} s",
                    seen=self.guest._state(),
                    next_step="It must have booted, and not be paused; detach it again then, or "
                    "shut it down",
                ) from None
        if event.kind == "device removal failed":
            raise InUse(
                f"guest {self.guest.name!r} refuses to let go of {self.target}",
                next_step="Unmount it in the guest first, and detach it again",
            )

    def _has(self, flags: int) -> bool:
        return any(disk.target == self.target for disk in self.guest._spec(flags).disks)
