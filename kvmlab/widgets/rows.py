"""The guests of a lab as a person sees them: one line each."""

from __future__ import annotations

from dataclasses import dataclass

import libvirt

from kvmlab.errors import translate
from kvmlab.lab import Lab
from kvmlab.states import state_word


@dataclass(frozen=True)
class Row:
    """One guest, as it is now.

    Attributes:
        name: its name.
        state: virsh's word; "saved" for one that is off with its memory in a file.
        autostart: whether it starts with the host.
    """

    name: str
    state: str
    autostart: bool


def look(lab: Lab) -> tuple[Row, ...]:
    """Return all guests as they are now, by three calls to libvirt, whatever their number.

    It is not in the lab's log of commands: it is none of the learner's doing.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> look(lab)
        (Row(name='web', state='running', autostart=False),)
    """
    connection = lab.connection
    try:
        # The state alone can be had at any time; the other statistics of a guest that is
        # just being saved would have to wait for that.
        states = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
        saved, autostart = (
            {domain.name() for domain in connection.listAllDomains(flag)}
            for flag in (
                libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
                libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
            )
        )
    except libvirt.libvirtError as error:
        raise translate(error, doing="list the guests") from error
    rows = []
    for domain, record in states:
        name, state = domain.name(), state_word(record["state.state"])
        if state == "shut off" and name in saved:
            state = "saved"
        rows.append(Row(name, state, name in autostart))
    return tuple(sorted(rows, key=lambda row: row.name))


def lease_of(lab: Lab, guest: str) -> str | None:
    """Return the address that libvirt's DHCP server has given to a guest.

    It is not in the lab's log of commands either.

    Args:
        lab: where the guest is.
        guest: its name.

    Example:
        >>> lease_of(lab, "web")
        '192.168.122.57'
    """
    try:
        found = lab.connection.lookupByName(guest).interfaceAddresses(
            libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
        )
    except libvirt.libvirtError:
        return None  # it is off or gone, or this libvirt has no DHCP server
    addresses = (each["addr"] for card in found.values() for each in card["addrs"] or [])
    return next(addresses, None)
