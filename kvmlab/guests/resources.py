"""How much memory and how many virtual CPUs a guest has."""

from __future__ import annotations

import libvirt

from kvmlab.errors import AgentUnavailable, NotEnoughCpus, NotEnoughMemory, TimedOut
from kvmlab.handle import GuestHandle
from kvmlab.limits import check_memory, check_vcpus
from kvmlab.waiting import attempts

_NOTICED_S = 5.0


class Resources(GuestHandle):
    """The part of a guest that says how large it is."""

    def set_memory(
        self,
        memory_mib: int,
        *,
        live: bool | None = None,
        config: bool = True,
        timeout_s: float = 30,
    ) -> None:
        """Change how much memory the guest has.

        A running guest gives memory back, or gets it, through its balloon.

        Args:
            memory_mib: how much it shall have.
            live: change it now; without a word, if the guest runs.
            config: change the definition, for the next start.
            timeout_s: how long the running guest may take.

        Raises:
            InvalidArgument: not a whole number above zero.
            NotEnoughMemory: more than the host has, or than the guest can get while it runs.
            GuestNotRunning: ``live`` was asked for, and the guest is off.
            TimedOut: the running guest did not follow in time; it may lack a balloon driver.

        Example:
            >>> web.set_memory(128)
            >>> web.stats().memory_mib
            128
        """
        check_memory(memory_mib, self.lab.host)
        with self._together("set the memory of"):
            if self._libvirt.isActive() if live is None else live:
                self._set_memory_live(memory_mib, timeout_s)
            if config:
                flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
                if memory_mib > self._spec(libvirt.VIR_DOMAIN_XML_INACTIVE).memory_mib:
                    with self._doing("setmaxmem", self.name, f"{memory_mib}MiB", "--config"):
                        self._libvirt.setMemoryFlags(
                            memory_mib * 1024, flags | libvirt.VIR_DOMAIN_MEM_MAXIMUM
                        )
                with self._doing("setmem", self.name, f"{memory_mib}MiB", "--config"):
                    self._libvirt.setMemoryFlags(memory_mib * 1024, flags)

    def _set_memory_live(self, memory_mib: int, timeout_s: float) -> None:
        most = self._spec().memory_mib
        if memory_mib > most:
            raise NotEnoughMemory(
                f"guest {self.name!r} can have {most} MiB at most while it runs",
                seen=memory_mib,
                next_step="Shut it down first, or create it with a larger max_memory_mib",
            )
        with (
            self.lab.events.watch(guest=self.name) as watch,
            self._doing("setmem", self.name, f"{memory_mib}MiB", "--live"),
        ):
            self._libvirt.setMemoryFlags(memory_mib * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            if self._spec().current_memory_mib == memory_mib:
                return
            try:
                watch.wait_for("balloon", detail=str(memory_mib), timeout_s=timeout_s)
            except TimedOut:
                raise TimedOut(
                    f"guest {self.name!r} did not get to {memory_mib} MiB in {timeout_s} s",
                    seen=self._spec().current_memory_mib,
                    next_step="It may lack a balloon driver: shut it down, and set it again",
                ) from None

    def set_vcpus(self, vcpus: int, *, live: bool | None = None, config: bool = True) -> None:
        """Change how many virtual CPUs the guest has.

        A running guest has them plugged in, and switched on or off through its agent;
        without one, switching on is its own business. Those switched off stay plugged in
        until the guest stops: under TCG, QEMU (7.2) takes one out without ever telling
        libvirt that it is gone.

        Args:
            vcpus: how many it shall have.
            live: change it now; without a word, if the guest runs.
            config: change the definition, for the next start.

        Raises:
            InvalidArgument: not a whole number above zero.
            NotEnoughCpus: more than the host can give, or than the guest has sockets for.
            GuestNotRunning: ``live`` was asked for, and the guest is off.
            AgentUnavailable: the guest shall have fewer while it runs, and has no agent.

        Example:
            >>> web.set_vcpus(2)
            >>> web.run("nproc").stdout
            '2\\n'
        """
        check_vcpus(vcpus, self.lab.host)
        with self._together("set the virtual CPUs of"):
            if self._libvirt.isActive() if live is None else live:
                self._set_vcpus_live(vcpus)
            if config:
                if vcpus > self._spec(libvirt.VIR_DOMAIN_XML_INACTIVE).max_vcpus:
                    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM
                    with self._doing("setvcpus", self.name, str(vcpus), "--maximum", "--config"):
                        self._libvirt.setVcpusFlags(vcpus, flags)
                with self._doing("setvcpus", self.name, str(vcpus), "--config"):
                    self._libvirt.setVcpusFlags(vcpus, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def _set_vcpus_live(self, vcpus: int) -> None:
        spec = self._spec()
        if vcpus > spec.max_vcpus:
            raise NotEnoughCpus(
                f"guest {self.name!r} has sockets for {spec.max_vcpus} virtual CPUs while it runs",
                seen=vcpus,
                next_step="Shut it down first",
            )
        plugged = spec.vcpus or spec.max_vcpus
        if vcpus > plugged:
            with self._doing("setvcpus", self.name, str(vcpus), "--live"):
                self._libvirt.setVcpusFlags(vcpus, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        if self._has_agent():
            with self._doing("setvcpus", self.name, str(vcpus), "--guest"):
                self._switch_vcpus(vcpus)
        elif vcpus < plugged:
            raise AgentUnavailable(f"guest {self.name!r} can't be told to switch CPUs off")

    def _switch_vcpus(self, vcpus: int) -> None:
        # The guest takes a moment to see a CPU that was plugged in, and no event tells.
        for _ in attempts(_NOTICED_S):
            try:
                self._libvirt.setVcpusFlags(vcpus, libvirt.VIR_DOMAIN_VCPU_GUEST)
                return
            except libvirt.libvirtError as error:
                problem = error
        raise problem
