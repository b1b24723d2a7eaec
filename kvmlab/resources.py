"""How much memory and how many virtual CPUs a guest has."""

from __future__ import annotations

import libvirt

from kvmlab.errors import NotEnoughCpus, NotEnoughMemory
from kvmlab.handle import GuestHandle
from kvmlab.limits import check_memory, check_vcpus
from kvmlab.specs import GuestSpec


class Resources(GuestHandle):
    """The part of a guest that says how large it is."""

    def set_memory(self, memory_mib: int, *, live: bool | None = None, config: bool = True) -> None:
        """Change how much memory the guest has.

        A running guest gives memory back, or gets it, through its balloon; that
        takes it a moment.

        Args:
            memory_mib: how much it shall have.
            live: change it now; without a word, if the guest runs.
            config: change the definition, for the next start.

        Raises:
            InvalidArgument: not a whole number above zero.
            NotEnoughMemory: more than the host has, or than the guest can get while it runs.
            GuestNotRunning: ``live`` was asked for, and the guest is off.

        Example:
            >>> web.set_memory(128)
        """
        check_memory(memory_mib, self.lab.host)
        with self._together():
            flags, options = self._scope(live, config)
            if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
                most = self._spec(0).memory_mib
                if memory_mib > most:
                    raise NotEnoughMemory(
                        f"guest {self.name!r} can have {most} MiB at most while it runs",
                        seen=memory_mib,
                        next_step="Shut it down first, or create it with a larger max_memory_mib",
                    )
            in_config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if config and memory_mib > self._spec(libvirt.VIR_DOMAIN_XML_INACTIVE).memory_mib:
                with self._doing("setmaxmem", self.name, f"{memory_mib}MiB", "--config"):
                    self._libvirt.setMemoryFlags(
                        memory_mib * 1024, in_config | libvirt.VIR_DOMAIN_MEM_MAXIMUM
                    )
            with self._doing("setmem", self.name, f"{memory_mib}MiB", *options):
                self._libvirt.setMemoryFlags(memory_mib * 1024, flags)

    def set_vcpus(self, vcpus: int, *, live: bool | None = None, config: bool = True) -> None:
        """Change how many virtual CPUs the guest has.

        In a running guest they are plugged in or pulled out, and switched on through
        its agent, if it has one.

        Args:
            vcpus: how many it shall have.
            live: change it now; without a word, if the guest runs.
            config: change the definition, for the next start.

        Raises:
            InvalidArgument: not a whole number above zero.
            NotEnoughCpus: more than the host can give, or than the guest has sockets for.
            GuestNotRunning: ``live`` was asked for, and the guest is off.

        Example:
            >>> web.set_vcpus(2)
        """
        check_vcpus(vcpus, self.lab.host)
        with self._together():
            flags, options = self._scope(live, config)
            if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
                most = self._spec(0).max_vcpus
                if vcpus > most:
                    raise NotEnoughCpus(
                        f"guest {self.name!r} can have {most} virtual CPUs at most while it runs",
                        seen=vcpus,
                        next_step="Shut it down first",
                    )
            in_config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if config and vcpus > self._spec(libvirt.VIR_DOMAIN_XML_INACTIVE).max_vcpus:
                with self._doing("setvcpus", self.name, str(vcpus), "--maximum", "--config"):
                    self._libvirt.setVcpusFlags(vcpus, in_config | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
            with self._doing("setvcpus", self.name, str(vcpus), *options):
                self._libvirt.setVcpusFlags(vcpus, flags)

    def _scope(self, live: bool | None, config: bool) -> tuple[int, list[str]]:
        """Return libvirt's flags and virsh's options for where a change is made."""
        flags, options = 0, []
        if self._libvirt.isActive() if live is None else live:
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            options.append("--live")
        if config:
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
            options.append("--config")
        return flags, options

    def _spec(self, flags: int) -> GuestSpec:
        return GuestSpec.from_xml(self._libvirt.XMLDesc(flags))
