"""A guest's life: starting, stopping, pausing and saving it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import libvirt

from kvmlab.errors import GuestNotRunning, InvalidArgument, TimedOut, WrongState
from kvmlab.handle import GuestHandle

# Shutting down and rebooting number their modes alike. Without one, libvirt's QEMU driver
# asks the agent if it is there, and presses the button if that did not help.
_MODES = {
    None: 0,
    "agent": libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
    "acpi": libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
}
Mode = Literal["agent", "acpi"]


class Lifecycle(GuestHandle):
    """The part of a guest that starts and stops it; method names are virsh's."""

    def start(self, *, paused: bool = False, force_boot: bool = False) -> None:
        """Start the guest, or carry on from its managed save if it has one.

        Args:
            paused: leave it paused before its first instruction, until `resume`.
            force_boot: discard a managed save and boot afresh.

        Raises:
            GuestAlreadyRunning: it runs already (a paused guest counts as running).
            NetworkNotActive: one of its networks is not started.
            NotEnoughMemory: QEMU could not get the guest's memory.

        Example:
            >>> web.start()
            >>> web.state
            'running'
        """
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
        flags |= libvirt.VIR_DOMAIN_START_FORCE_BOOT if force_boot else 0
        options = ("--paused" if paused else None, "--force-boot" if force_boot else None)
        with self._doing("start", self.name, *options):
            self._libvirt.createWithFlags(flags)

    def shutdown(self, *, mode: Mode | None = None, timeout_s: float | None = 60) -> None:
        """Ask the guest to shut down, and wait until it is off.

        Args:
            mode: "agent" asks the guest agent, "acpi" presses the power button; without
                it, the agent is asked if it is there, and else the button is pressed.
            timeout_s: how long to wait; ``None`` asks and returns at once.

        Raises:
            GuestNotRunning: it is off already.
            AgentUnavailable: mode is "agent" and none answers.
            TimedOut: it did not shut down in time.

        Example:
            >>> web.shutdown()
            >>> web.state
            'shut off'
        """
        self._request("shutdown", self._libvirt.shutdownFlags, mode, "stopped", timeout_s)

    def reboot(self, *, mode: Mode | None = None, timeout_s: float | None = 60) -> None:
        """Ask the guest to restart, and wait until it has begun to.

        Its memory is lost, its disks stay. `wait_ready` waits for it to be up again.

        Args:
            mode: as for `shutdown`.
            timeout_s: how long to wait; ``None`` asks and returns at once.

        Raises:
            GuestNotRunning: it is off.
            AgentUnavailable: mode is "agent" and none answers.
            TimedOut: it did not restart in time.

        Example:
            >>> web.reboot()
            >>> web.wait_ready()
        """
        self._request("reboot", self._libvirt.reboot, mode, "reboot", timeout_s)

    def _request(
        self,
        verb: str,
        call: Callable[[int], object],
        mode: Mode | None,
        awaited: str,
        timeout_s: float | None,
    ) -> None:
        if mode not in _MODES:
            raise InvalidArgument(
                f"no mode to {verb} a guest", seen=mode, next_step="There is: 'agent', 'acpi', None"
            )
        options = ("--mode", mode) if mode else ()
        with self.lab.events.watch(guest=self.name) as watch:
            with self._doing(verb, self.name, *options):
                state = self._state()
                if state == "shut off":
                    raise GuestNotRunning(f"{verb} {self.name}: the guest is off", seen=state)
                if state == "paused":
                    raise WrongState(
                        f"{verb} {self.name}: a paused guest can't hear that",
                        next_step="Resume it first: guest.resume()",
                    )
                call(_MODES[mode])
            if timeout_s is None:
                return
            try:
                watch.wait_for(awaited, timeout_s=timeout_s)
            except TimedOut:
                raise TimedOut(
                    f"{verb} {self.name}: the guest did not obey in {timeout_s} s",
                    seen=self._state(),
                    next_step="Give it longer with timeout_s, or pull the plug: guest.destroy()",
                ) from None

    def destroy(self) -> None:
        """Pull the plug: the guest stops at once, and its disks stay as they are.

        Raises:
            GuestNotRunning: it is off already.

        Example:
            >>> web.destroy()
        """
        with self._doing("destroy", self.name):
            self._libvirt.destroy()

    def reset(self) -> None:
        """Press the reset button: the guest's memory is lost and it boots again.

        Raises:
            GuestNotRunning: it is off.

        Example:
            >>> web.reset()
        """
        with self._doing("reset", self.name):
            self._libvirt.reset()

    def suspend(self) -> None:
        """Stop the guest's CPUs; its memory stays in the host's memory.

        Raises:
            GuestNotRunning: it is off.

        Example:
            >>> web.suspend()
            >>> web.state
            'paused'
        """
        with self._doing("suspend", self.name):
            self._libvirt.suspend()

    def resume(self) -> None:
        """Let a paused guest's CPUs run on.

        Raises:
            GuestNotRunning: it is off.
            WrongState: it was not paused.

        Example:
            >>> web.resume()
        """
        with self._doing("resume", self.name):
            self._libvirt.resume()

    def managed_save(self) -> None:
        """Save the guest's memory to the host's disk and stop it; `start` carries on there.

        Raises:
            GuestNotRunning: it is off.
            NotEnoughDisk: the host has no room for the guest's memory.

        Example:
            >>> web.managed_save()
            >>> web.state, web.has_managed_save
            ('shut off', True)
        """
        with self._doing("managedsave", self.name):
            self._libvirt.managedSave(0)

    @property
    def has_managed_save(self) -> bool:
        """Whether `start` would carry on from saved memory.

        Example:
            >>> web.has_managed_save
            False
        """
        with self._doing("dominfo", self.name, question=True):
            return bool(self._libvirt.hasManagedSaveImage())

    def remove_managed_save(self) -> None:
        """Throw saved memory away, if there is any, so that `start` boots afresh.

        Example:
            >>> web.remove_managed_save()
        """
        with self._doing("managedsave-remove", self.name):
            if self._libvirt.hasManagedSaveImage():
                self._libvirt.managedSaveRemove()
