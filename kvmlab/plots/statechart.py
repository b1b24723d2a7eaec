"""The diagram of a guest's states: where the boxes stand and how the arrows run.

The boxes have fixed places, so that a learner finds "running" where it was before. The
arrows depend on the transitions given: each tries a few ways to bend and a few places for
its label, and takes the one that runs into least (`_cost`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from matplotlib.path import Path
from numpy.typing import NDArray

from kvmlab.plots import drawing
from kvmlab.plots.drawing import (
    CARD,
    GUEST,
    HARDWARE,
    KERNEL,
    PROCESS,
    SMALL,
    SYSTEM,
    TOOL,
    Picture,
    Role,
    block,
    leading,
    words,
)

Curve = NDArray[np.float64]  # the control points of a Bezier curve, a row for each
Rectangle = tuple[float, float, float, float]  # left, bottom, right, top

# Where each state stands (column and row, from the lower left), how it is drawn and what it
# means. The names are those of `virsh list`; "saved" is a shut-off guest with a managed save
# image, "no guest" one that is not defined.
KNOWN: dict[str, tuple[int, int, Role, str]] = {
    "no guest": (0, 1, HARDWARE, "nothing is known of it"),
    "shut off": (1, 1, SYSTEM, "definition and disk"),
    "running": (2, 1, GUEST, "memory and CPU in use"),
    "paused": (2, 2, PROCESS, "memory kept, no CPU"),
    "saved": (2, 0, KERNEL, "memory kept in a file"),
    "crashed": (1, 2, TOOL, "its system failed"),
    "in shutdown": (1, 0, SYSTEM, "on its way down"),
    "pmsuspended": (0, 2, KERNEL, "asleep by its own wish"),
    "idle": (0, 0, SYSTEM, "waiting for something"),
}
WIDTH, HEIGHT = 178.0, 58.0  # of a state's box
COLUMN, ROW = 304.0, 176.0  # from one box to the next
MARGIN, LOOP = 30.0, 40.0  # around the boxes; how far a loop reaches out of its box


@dataclass
class _Drawn:
    """What is on the board already, for the next arrow to keep clear of."""

    width: float
    height: float
    boxes: dict[str, Rectangle] = field(default_factory=dict)
    labels: list[Rectangle] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)  # as many points along each


def guest_states(transitions: Iterable[tuple[str, str, str]]) -> Picture:
    """Draw the states of a guest, and what leads from one to another.

    Args:
        transitions: (state before, action, state after), in any order. Several actions
            between the same two states share an arrow. States that libvirt doesn't know
            may be among them, up to nine states in all.

    Raises:
        ValueError: there are more than nine states.

    Example:
        >>> guest_states([("shut off", "start", "running")]).alt
        'The states of a guest. From shut off, start leads to running.'
    """
    actions: dict[tuple[str, str], list[str]] = {}
    for before, action, after in transitions:
        names = actions.setdefault((before, after), [])
        if action not in names:
            names.append(action)
    slots = _slots(dict.fromkeys(state for pair in actions for state in pair))
    columns = [column for column, _ in slots.values()] or [0]
    rows = [row for _, row in slots.values()] or [0]
    loops = [_size("\n".join(how))[0] for (a, b), how in actions.items() if a == b]
    right = MARGIN + (LOOP + max(loops) if loops else 0)
    above = MARGIN + (14 if max(rows) > min(rows) else 50)  # arrows pass there
    picture = Picture(
        MARGIN + right + (max(columns) - min(columns)) * COLUMN + WIDTH,
        2 * above + (max(rows) - min(rows)) * ROW + HEIGHT,
        alt=" ".join(
            ["The states of a guest."]
            + [f"From {a}, {' or '.join(how)} leads to {b}." for (a, b), how in actions.items()]
        ),
    )
    drawn = _Drawn(picture.board.viewLim.width, picture.board.viewLim.height)
    for state, (column, row) in slots.items():
        x, y = MARGIN + (column - min(columns)) * COLUMN, above + (row - min(rows)) * ROW
        drawn.boxes[state] = (x, y, x + WIDTH, y + HEIGHT)
        _, _, role, meaning = KNOWN.get(state, (0, 0, SYSTEM, ""))
        block(picture.board, x, y, WIDTH, HEIGHT, state, role, meaning)
    # Neighbours first: what has to go far goes around them.
    for before, after in sorted(actions, key=lambda pair: _distance(drawn, *pair)):
        _connect(picture, drawn, before, after, actions, "\n".join(actions[before, after]))
    return picture


def _slots(states: Iterable[str]) -> dict[str, tuple[int, int]]:
    states = list(states)
    slots = {state: KNOWN[state][:2] for state in states if state in KNOWN}
    free = [slot for slot in itertools.product(range(3), (1, 2, 0)) if slot not in slots.values()]
    strangers = [state for state in states if state not in KNOWN]
    if len(strangers) > len(free):
        raise ValueError(f"more states than the diagram has room for: {', '.join(states)}")
    return slots | dict(zip(strangers, free, strict=False))


def _distance(drawn: _Drawn, before: str, after: str) -> float:
    (x, y, _, _), (u, v, _, _) = drawn.boxes[before], drawn.boxes[after]
    return abs(x - u) + abs(y - v)


def _connect(
    picture: Picture,
    drawn: _Drawn,
    before: str,
    after: str,
    actions: Iterable[tuple[str, str]],
    label: str,
) -> None:
    size = _size(label)
    two_way = before != after and (after, before) in actions
    _, curve, spot = min(
        (
            (_cost(drawn, before, after, curve, spot) + penalty, curve, spot)
            for curve, spot, penalty in _ways(drawn, before, after, size, two_way=two_way)
        ),
        key=lambda way: way[0],
    )
    drawn.labels.append(spot)
    drawn.curves.append(_points(curve))
    codes = [Path.MOVETO] + [Path.CURVE3 if len(curve) == 3 else Path.CURVE4] * (len(curve) - 1)
    drawing.curve(picture.board, Path(curve, codes))
    left, bottom, right, top = spot
    first = (bottom + top) / 2 + label.count("\n") * leading(SMALL) / 2 - 4
    under = {"facecolor": CARD, "edgecolor": "none", "pad": 1.5}
    words(picture.board, (left + right) / 2, first, label, bbox=under)


def _size(label: str) -> tuple[float, float]:
    lines = label.split("\n")
    return max(map(len, lines)) * 7.6 + 8, len(lines) * leading(SMALL) + 6


def _ways(
    drawn: _Drawn, before: str, after: str, size: tuple[float, float], *, two_way: bool
) -> Iterator[tuple[Curve, Rectangle, float]]:
    """Every way the arrow could run, where its label would be, and how unusual that is."""
    start, end = _middle(drawn.boxes[before]), _middle(drawn.boxes[after])
    if before == after:
        for out in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            away = np.array(out, dtype=float)
            along = np.array((-away[1], away[0]))
            edge = start + away * (WIDTH / 2, HEIGHT / 2) + away * 3
            curve = edge + np.array([-14, -14, 14, 14])[:, None] * along
            curve[1:3] += away * LOOP
            beside = edge + away * (0.75 * LOOP + 4 + np.array(size) / 2)
            yield curve, _around(beside, size), 0.0
        return
    across = end - start
    bends = [0.0, 0.12, 0.2, 0.3, 0.4, -0.12, -0.2, -0.3, -0.4]
    if two_way:  # the other direction has the other side: keep the label on this one
        length = float(np.hypot(*across))
        needed = (abs(across[1]) * size[0] + abs(across[0]) * size[1]) / length**2
        bends = [max(0.12, needed + more) for more in (0.0, 0.1, 0.2)]
    for bend in bends:
        bulge = np.array((across[1], -across[0])) * bend
        whole = np.array([start, (start + end) / 2 + bulge, end])
        curve = _outside(whole, drawn.boxes[before], drawn.boxes[after])
        for at in (0.5, 0.42, 0.58, 0.34, 0.66):
            spot = _around(_bezier(curve, np.array([at]))[0], size)
            yield curve, spot, 8 * abs(bend) + 20 * abs(at - 0.5)


def _cost(drawn: _Drawn, before: str, after: str, curve: Curve, spot: Rectangle) -> float:
    """How much an arrow and its label run into what is drawn already."""
    points = _points(curve)
    low, high = points.min(axis=0), points.max(axis=0)
    left, bottom = min(low[0], spot[0]), min(low[1], spot[1])
    right, top = max(high[0], spot[2]), max(high[1], spot[3])
    off_board = left < 8 or bottom < 8 or right > drawn.width - 8 or top > drawn.height - 8
    cost = 200.0 * bool(off_board)
    for state, box in drawn.boxes.items():
        cost += 100 * _overlap(spot, box)
        if state not in (before, after):
            cost += 100 * _inside(points, box, margin=10)
    for label in drawn.labels:
        cost += 60 * _overlap(spot, label) + 40 * _inside(points, label, margin=2)
    for other in drawn.curves:
        cost += 40 * _inside(other, spot, margin=2)
        nearest = float(np.abs(points[:, None] - other[None]).sum(axis=2).min())
        cost += 5 * (nearest < 6)
    return cost


def _points(curve: Curve) -> Curve:
    return _bezier(curve, np.linspace(0, 1, 60))


def _bezier(curve: Curve, at: NDArray[np.float64]) -> Curve:
    points = [np.outer(1 - at, a) + np.outer(at, b) for a, b in itertools.pairwise(curve)]
    while len(points) > 1:  # de Casteljau: halfway between halfway points
        points = [(1 - at)[:, None] * a + at[:, None] * b for a, b in itertools.pairwise(points)]
    return points[0]


def _outside(curve: Curve, start: Rectangle, end: Rectangle) -> Curve:
    """Cut a curve of three control points off where it leaves one box and enters the other."""
    at = np.linspace(0, 1, 400)
    points = _bezier(curve, at)
    free = ~_within(points, start, 4) & ~_within(points, end, 5)
    first, last = at[free][0], at[free][-1]
    a, b, c = curve
    lead_in, lead_out = a + first * (b - a), b + first * (c - b)
    middle = lead_in + last * (lead_out - lead_in)
    ends = _bezier(curve, np.array([first, last]))
    return np.array([ends[0], middle, ends[1]])


def _within(points: Curve, box: Rectangle, margin: float) -> NDArray[np.bool_]:
    left, bottom, right, top = box
    x, y = points[:, 0], points[:, 1]
    across = (x > left - margin) & (x < right + margin)
    return across & (y > bottom - margin) & (y < top + margin)


def _inside(points: Curve, box: Rectangle, *, margin: float) -> bool:
    return bool(_within(points, box, margin).any())


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    return not apart


def _middle(box: Rectangle) -> NDArray[np.float64]:
    return np.array(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _around(point: NDArray[np.float64], size: tuple[float, float]) -> Rectangle:
    (x, y), (width, height) = point, size
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
