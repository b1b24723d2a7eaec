"""The states of a guest, in virsh's words (libvirt, tools/virsh-domain-monitor.c)."""

from __future__ import annotations

import libvirt

_WORDS = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "idle",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "pmsuspended",
}


def state_word(number: int) -> str:
    """Return virsh's word for one of libvirt's ``virDomainState`` numbers.

    Example:
        >>> state_word(5)
        'shut off'
    """
    return _WORDS.get(number, "no state")
