"""The map of a lab's networks: the host with a trunk down from each, guests plugged in.

The host is at the top, with the way outside. Each network is a card in it, from which a
trunk runs down. The guests are boxes on the left, one under the other, and from each of
their cards a cable runs to the right until it meets the trunk that it is plugged into; it
passes under those before. So any number of guests with any number of cards finds room.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from kvmlab.networks.topology import Cable, Station, Switch, Topology
from kvmlab.plots.drawing import (
    CARD,
    GUEST,
    HARDWARE,
    INK,
    KERNEL,
    MUTED,
    NAME,
    SMALL,
    SYSTEM,
    TOOL,
    Picture,
    arrow,
    box,
    fit,
    leading,
    length,
    words,
)

MARGIN, PAD = 30.0, 12.0
GUEST_WIDTH, CARD_WIDTH = (190.0, 360.0), (150.0, 210.0)  # at least, at most
GAP = 26.0  # between networks, and between guests and networks
HEAD, LINE = 34.0, 20.0  # of a guest's box: its name; each of its cards
OUTSIDE, UPLINK, RISE, CARD_HEIGHT = 42.0, 38.0, 58.0, 92.0

# What becomes of a packet that leaves a network: beside its arrow, and in the alternative text.
LEAVES = {
    "nat": ("NAT", "with the host's address on it"),
    "routed": ("routed", "with the guest's own address"),
    "open": ("open", "no rules of libvirt's"),
    "isolated": ("isolated", "no way outside"),
    "bridge": ("bridge", "as if on its cable"),
}


@dataclass(frozen=True)
class _Plan:
    """Where everything is: the widths of the columns, and the heights from top to bottom."""

    guest_width: float
    card_width: float
    left: float  # of the first network
    width: float
    height: float
    host_top: float
    host_bottom: float

    def column(self, number: int) -> float:
        return self.left + number * (self.card_width + GAP)


def draw_network_map(there: Topology) -> Picture:
    """Draw networks and guests.

    Args:
        there: who is connected with whom.

    Example:
        >>> draw_network_map(Topology("kvmlab")).alt
        'A map of the networks of host kvmlab. It has no network. There is no guest.'
    """
    plan = _lay_out(there)
    picture = Picture(plan.width, plan.height, alt=_alt(there))
    board = picture.board
    _draw_host(board, there, plan)
    trunks = {
        switch.name: plan.column(number) + plan.card_width / 2
        for number, switch in enumerate(there.switches)
    }
    top, reach = plan.host_bottom - GAP, dict.fromkeys(trunks, plan.host_bottom)
    ends: list[tuple[float, float, Cable]] = []
    for guest in there.guests:
        bottom = top - _guest_height(guest)
        _draw_guest(board, guest, plan, top)
        for number, cable in enumerate(guest.cables):
            y = top - HEAD - number * LINE - 7
            ends.append((trunks[cable.switch], y, cable))
            reach[cable.switch] = min(reach[cable.switch], y)
        top = bottom - PAD
    if not there.guests:
        words(board, MARGIN + plan.guest_width / 2, top - 22, "no guests", color=MUTED)
    for x, y, cable in ends:
        _draw_cable(board, MARGIN + plan.guest_width, x, y, cable)
    for switch in there.switches:
        _draw_trunk(board, trunks[switch.name], plan.host_bottom, reach[switch.name], switch)
    for x, y, cable in ends:
        fill = KERNEL[1] if _carries(cable) else CARD
        board.plot(
            [x], [y], marker="o", markersize=8, zorder=6,
            color=fill, markeredgecolor=KERNEL[1] if cable.target else MUTED, markeredgewidth=1.6,
        )  # fmt: skip
    return picture


def _lay_out(there: Topology) -> _Plan:
    texts = [
        length(line, SMALL)
        for guest in there.guests
        for cable in guest.cables
        for line in [f"{_address(cable)}    {cable.target or ''}"]
    ]
    texts += [length(f"{guest.name}   {guest.state}", NAME, bold=True) for guest in there.guests]
    guest_width = _within(max(texts, default=0) + 2 * PAD, GUEST_WIDTH)
    lines = [length(text, SMALL) for switch in there.switches for text in _card_lines(switch)]
    lines += [length(switch.name, NAME, bold=True) for switch in there.switches]
    card_width = _within(max(lines, default=0) + 2 * PAD, CARD_WIDTH)
    count = max(len(there.switches), 1)
    left = MARGIN + guest_width + 2 * GAP
    width = max(left + count * (card_width + GAP) - GAP + PAD + MARGIN, 620)
    rows = sum(_guest_height(guest) + PAD for guest in there.guests) or 50
    host = PAD + UPLINK + RISE + CARD_HEIGHT + PAD
    height = MARGIN + OUTSIDE + GAP + 8 + host + GAP + rows + MARGIN - PAD
    top = height - MARGIN - OUTSIDE - GAP - 8
    return _Plan(guest_width, card_width, left, width, height, top, top - host)


def _draw_host(board: Axes, there: Topology, plan: _Plan) -> None:
    right = plan.width - MARGIN
    box(board, MARGIN, plan.host_bottom, right - MARGIN, plan.host_top - plan.host_bottom, SYSTEM)
    text = MARGIN + PAD + 2
    room = plan.left - text - GAP
    words(board, text, plan.host_top - 30, fit(f"Host {there.host}", NAME, room, bold=True),
          size=NAME, weight="bold", ha="left")  # fmt: skip
    words(board, text, plan.host_top - 49, "each network ends in a\nbridge, its switch",
          color=MUTED, ha="left")  # fmt: skip
    left, wide = plan.left, right - PAD - plan.left
    y = plan.host_top - PAD - UPLINK
    box(board, left, plan.height - MARGIN - OUTSIDE, wide, OUTSIDE, HARDWARE)
    words(board, left + wide / 2, plan.height - MARGIN - OUTSIDE / 2 - 5, "the world outside",
          size=NAME, weight="bold")  # fmt: skip
    box(board, left, y, wide, UPLINK, TOOL, dashed=not there.uplinks)
    ways = ", ".join(f"{name}  {address}" for name, address in there.uplinks)
    words(board, left + wide / 2, y + UPLINK / 2 - 4,
          fit(ways or "no way outside", SMALL, wide - PAD))  # fmt: skip
    if there.uplinks:
        x = left + wide / 2
        arrow(board, (x, y + UPLINK), (x, plan.height - MARGIN - OUTSIDE - 2), both=True)
    for number, switch in enumerate(there.switches):
        _draw_switch(board, switch, plan, plan.column(number), y)
    if not there.switches:
        words(board, left + wide / 2, y - RISE - CARD_HEIGHT / 2, "no networks", color=MUTED)


def _draw_switch(board: Axes, switch: Switch, plan: _Plan, x: float, above: float) -> None:
    wide, middle = plan.card_width, x + plan.card_width / 2
    y = above - RISE - CARD_HEIGHT
    box(board, x, y, wide, CARD_HEIGHT, KERNEL, dashed=not switch.is_active)
    lines = [fit(line, SMALL, wide - PAD) for line in _card_lines(switch)]
    baseline = y + CARD_HEIGHT / 2 + (len(lines) * leading(SMALL) + 4) / 2 - 5
    name = fit(switch.name, NAME, wide - PAD, bold=True)
    words(board, middle, baseline, name, size=NAME, weight="bold")
    words(board, middle, baseline - 4 - leading(SMALL), "\n".join(lines), color=MUTED)
    label, _ = LEAVES.get(switch.mode, (switch.mode, ""))
    start, end = (middle - 26, y + CARD_HEIGHT + 1), (middle - 26, above - 1)
    if switch.mode in ("nat", "routed", "open") and (switch.is_active or switch.is_draft):
        arrow(board, start, end, both=switch.mode != "nat")
    elif switch.mode == "isolated":
        stop = start[1] + 22
        board.plot([start[0]] * 2, [start[1], stop], color=MUTED, linewidth=1.4)
        board.plot([start[0] - 9, start[0] + 9], [stop] * 2, color=MUTED, linewidth=2.4)
    words(board, middle - 12, y + CARD_HEIGHT + RISE / 2 - 4, label, ha="left", color=INK)


def _draw_guest(board: Axes, guest: Station, plan: _Plan, top: float) -> None:
    height, is_on = _guest_height(guest), guest.state != "shut off"
    box(board, MARGIN, top - height, plan.guest_width, height, GUEST if is_on else SYSTEM,
        dashed=not is_on)  # fmt: skip
    left, right = MARGIN + PAD, MARGIN + plan.guest_width - PAD
    state = length(guest.state, SMALL) + PAD
    words(board, left, top - 20, fit(guest.name, NAME, right - left - state, bold=True),
          size=NAME, weight="bold", ha="left")  # fmt: skip
    words(board, right, top - 20, guest.state, ha="right", color=MUTED)
    if not guest.cables:
        words(board, left, top - HEAD - 11, "no network card", ha="left", color=MUTED)
    for number, cable in enumerate(guest.cables):
        y = top - HEAD - number * LINE - 11
        target = cable.target or ""
        room = right - left - (length(target, SMALL) + PAD if target else 0)
        words(board, left, y, fit(_address(cable), SMALL, room), ha="left")
        words(board, right, y, target, ha="right", color=MUTED)


def _draw_cable(board: Axes, start: float, end: float, y: float, cable: Cable) -> None:
    if _carries(cable):
        board.plot([start, end], [y, y], color=KERNEL[1], linewidth=2, zorder=3)
        return
    board.plot([start, end], [y, y], color=MUTED, linestyle=(0, (3, 3)), linewidth=1.4, zorder=3)
    if not cable.is_plugged_in:
        board.plot([start + 13], [y], marker="x", markersize=8, color=INK, markeredgewidth=2,
                   zorder=6)  # fmt: skip


def _draw_trunk(board: Axes, x: float, top: float, bottom: float, switch: Switch) -> None:
    if bottom >= top:
        return
    # Cables for trunks further right pass underneath: the edges are left white.
    edges, dashes = (top - PAD, bottom), "-" if switch.is_active else (0, (4, 3))
    board.plot([x, x], edges, color=CARD, linewidth=11, zorder=4, solid_capstyle="butt")
    board.plot([x, x], [top + PAD, bottom], color=KERNEL[1], linewidth=4, zorder=5,
               linestyle=dashes, solid_capstyle="butt")  # fmt: skip


def _card_lines(switch: Switch) -> list[str]:
    first = switch.bridge or "no bridge now"
    if switch.bridge == switch.name:
        first = "of the host"
    if switch.is_draft:
        first = "not made yet"
    elif not switch.is_active:
        first = "not started" if switch.mode else "is not there"
    subnets = list(switch.subnets[:2])
    if len(switch.subnets) > 2:
        subnets[1] += f" and {len(switch.subnets) - 2} more"
    lines = [first, *(subnets or ([] if switch.mode == "bridge" else ["no addresses"]))]
    return [*lines, *(["ports isolated"] if switch.isolated_ports else [])][:4]


def _guest_height(guest: Station) -> float:
    return HEAD + max(len(guest.cables), 1) * LINE + 2


def _address(cable: Cable) -> str:
    if not cable.is_plugged_in:
        return "unplugged"
    return ", ".join(cable.addresses) or "no address"


def _carries(cable: Cable) -> bool:
    return cable.target is not None and cable.is_plugged_in


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def _alt(there: Topology) -> str:
    parts = [f"A map of the networks of host {there.host}."]
    for switch in there.switches:
        _, how = LEAVES.get(switch.mode, ("", switch.mode))
        known = ", ".join(switch.subnets) or "no addresses of its own"
        state = ", not made yet" if switch.is_draft else ", not started"
        state = "" if switch.is_active else state
        ports = ", its ports isolated from each other" if switch.isolated_ports else ""
        parts.append(f"{switch.name} ({known}{state}{ports}) is {switch.mode or 'missing'}: {how}.")
    if not there.switches:
        parts.append("It has no network.")
    for guest in there.guests:
        ends = [f"{cable.switch} ({_address(cable)})" for cable in guest.cables]
        where = f"is plugged into {' and '.join(ends)}" if ends else "has no network card"
        parts.append(f"Guest {guest.name}, {guest.state}, {where}.")
    if not there.guests:
        parts.append("There is no guest.")
    return " ".join(parts)
