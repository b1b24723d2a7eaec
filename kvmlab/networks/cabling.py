"""How a guest's network card is changed: in the running guest, and in its definition."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Literal

import libvirt

from kvmlab.errors import DeviceNotFound, TimedOut, WrongState
from kvmlab.specs import Bandwidth

if TYPE_CHECKING:
    from kvmlab.events import Watch
    from kvmlab.guests.agent import Inside

# A guest lets go of a card when its kernel gets round to it; one that is booting does not.
LETS_GO_S = 30.0

_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
_XML_OF = {_LIVE: 0, _CONFIG: libvirt.VIR_DOMAIN_XML_INACTIVE}

# libvirt's names (libvirt-domain.h, VIR_DOMAIN_BANDWIDTH_*), and those of `Bandwidth`.
_TUNABLES = {
    f"{way}.{theirs}": f"{way}_{ours}"
    for way in ("inbound", "outbound")
    for theirs, ours in (("average", "kib_s"), ("peak", "peak_kib_s"), ("burst", "burst_kib"))
}


def reach(guest: Inside) -> list[int]:
    """Return what of a guest a change shall reach: as it runs, as it is defined, or both.

    Example:
        >>> reach(web) == [libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG]
        True
    """
    domain = guest._libvirt
    return [*([_LIVE] if domain.isActive() else []), *([_CONFIG] if domain.isPersistent() else [])]


def flags_and_options(flags: list[int]) -> tuple[int, list[str]]:
    """Return libvirt's flags as one, and as virsh's options.

    Example:
        >>> flags_and_options([libvirt.VIR_DOMAIN_AFFECT_LIVE])[1]
        ['--live']
    """
    options = {_LIVE: "--live", _CONFIG: "--config"}
    return sum(flags), [options[flag] for flag in flags]


def tune_options(limit: Bandwidth) -> list[str]:
    """Return virsh's options for a limit: "average,peak,burst"; 0 is none.

    Example:
        >>> tune_options(Bandwidth(inbound_kib_s=512, outbound_kib_s=64, outbound_burst_kib=9))
        ['--inbound', '512', '--outbound', '64,0,9']
    """
    words = []
    for way in ("inbound", "outbound"):
        names = (f"{way}_{each}" for each in ("kib_s", "peak_kib_s", "burst_kib"))
        values = [getattr(limit, name) or 0 for name in names]
        while len(values) > 1 and not values[-1]:
            values.pop()
        words += [f"--{way}", ",".join(map(str, values))]
    return words


def set_link(guest: Inside, mac: str, state: Literal["up", "down"]) -> None:
    """Plug the cable of a card in or out; errors are those of `Interface.plug`.

    Example:
        >>> set_link(web, web.interfaces[0].mac, "down")
    """
    with guest._together("domif-setlink"):
        for flag, element in _everywhere(guest, mac).items():
            link = element.find("link")
            link = ET.SubElement(element, "link") if link is None else link
            link.set("state", state)
            option = "--config" if flag == _CONFIG and guest._libvirt.isActive() else None
            with guest._doing("domif-setlink", guest.name, mac, state, option):
                # Whole, as libvirt told it: what is left out would be taken as changed.
                text = ET.tostring(element, encoding="unicode")
                guest._libvirt.updateDeviceFlags(text, flag)


def set_bandwidth(guest: Inside, mac: str, limit: Bandwidth) -> None:
    """Limit a card; an empty limit is none. Errors are those of `Interface.set_bandwidth`.

    Example:
        >>> set_bandwidth(web, web.interfaces[0].mac, Bandwidth(inbound_kib_s=512))
    """
    with guest._together("domiftune"):
        values = {theirs: getattr(limit, ours) or 0 for theirs, ours in _TUNABLES.items()}
        # The running guest first: if the kernel can't do it, nothing has changed.
        for flag in _everywhere(guest, mac):
            _, options = flags_and_options([flag])
            with guest._doing("domiftune", guest.name, mac, *tune_options(limit), *options):
                guest._libvirt.setInterfaceParameters(mac, values, flag)


def detach(guest: Inside, mac: str, timeout_s: float) -> None:
    """Take a card out, and wait until a running guest has let go of it.

    Errors are those of `Interface.detach`.

    Example:
        >>> detach(web, web.interfaces[0].mac, timeout_s=30)
    """
    with guest._together("detach-interface"), guest.lab.events.watch(guest=guest.name) as watch:
        for flag, element in _everywhere(guest, mac).items():
            option, kind = flags_and_options([flag])[1][0], element.get("type")
            with guest._doing("detach-interface", guest.name, kind, "--mac", mac, option):
                guest._libvirt.detachDeviceFlags(ET.tostring(element, encoding="unicode"), flag)
                alias = element.find("alias")
                if flag == _LIVE and alias is not None:
                    _wait_until_gone(guest, mac, alias.get("name", ""), watch, timeout_s)


def gone(guest: Inside, mac: str) -> DeviceNotFound:
    """Return the error that a guest has no card of that address.

    Example:
        >>> raise gone(web, "52:54:00:12:34:56")
        Traceback (most recent call last):
        kvmlab.errors.DeviceNotFound: guest 'web' has no such network card ...
    """
    there = ", ".join(str(each.mac) for each in guest._spec().interfaces)
    return DeviceNotFound(
        f"guest {guest.name!r} has no such network card",
        seen=mac,
        next_step=f"It has: {there or 'none'}",
    )


def _everywhere(guest: Inside, mac: str) -> dict[int, ET.Element]:
    """Return the card as it is in the running guest, and in the definition."""
    found = {}
    for flag in reach(guest):
        domain = ET.fromstring(guest._libvirt.XMLDesc(_XML_OF[flag]))
        for element in domain.iterfind("devices/interface"):
            own = element.find("mac")
            if own is not None and own.get("address") == mac:
                found[flag] = element
    if not found:
        raise gone(guest, mac)
    return found


def _wait_until_gone(guest: Inside, mac: str, alias: str, watch: Watch, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    kinds = ("device removed", "device removal failed", "stopped")
    while True:
        try:
            event = watch.wait_for(*kinds, timeout_s=deadline - time.monotonic())
        except TimedOut:
            raise TimedOut(
                f"guest {guest.name!r} did not let go of its card {mac} in {timeout_s} s",
                next_step="Wait until it has booted, or shut it down first",
            ) from None
        if event.kind == "stopped" or (event.kind == "device removed" and event.detail == alias):
            return
        if event.kind == "device removal failed" and event.detail == alias:
            raise WrongState(
                f"guest {guest.name!r} refused to let go of its card {mac}",
                next_step="Shut it down first",
            )
