"""The picture of a guest's snapshots: a line for each way things went, and where one is now.

Each snapshot has a row of its own. Going down a line is going forward in time. The way that
leads to the present runs straight down; what else became of a snapshot branches off to the
right, so that no line crosses another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path

from kvmlab.plots.drawing import (
    CARD,
    GUEST,
    INK,
    KERNEL,
    MUTED,
    NAME,
    PROCESS,
    SMALL,
    TOOL,
    Picture,
    Role,
    box,
    fit,
    length,
    words,
)
from kvmlab.snapshots.tree import SnapshotNode

if TYPE_CHECKING:
    from kvmlab.guests.guest import Guest

WIDTH = 880.0
MARGIN, LANE = 34.0, 30.0  # around everything; from one line to the next
ROW, MORE = 38.0, 16.0  # the height of a row; of its description
TAG, TAG_HEIGHT = 76.0, 22.0
TAGS = 2 * TAG + 8 + 24 + 108 + MARGIN  # what stands to the right of the names
LEAST_TEXT, GAP = 220.0, 20.0  # for names, however many lines there are; beside them
DOT = 7.0
KINDS: dict[str, Role] = {"internal": GUEST, "external": KERNEL}
HERE, NOTHING = "you are here", "the guest as it is now; there is no snapshot to go back to"


@dataclass
class Row:
    """One row of the picture.

    Attributes:
        node: the snapshot; ``None`` for the present.
        lane: which line it is on, from the left.
        parent: the row of the snapshot it was taken after.
        is_past: whether it is on the way that led to the present.
    """

    node: SnapshotNode | None
    lane: int
    parent: int | None
    is_past: bool
    y: float = field(default=0.0)


def snapshot_tree(source: Guest | Iterable[SnapshotNode]) -> Picture:
    """Draw the snapshots of a guest as a tree, with the place where the guest is now.

    Args:
        source: the guest, or what ``guest.snapshots.tree()`` told.

    Example:
        >>> snapshot_tree([SnapshotNode("clean", is_current=True)]).alt
        'A tree of 1 snapshot. clean (internal). You are here: after clean.'
    """
    nodes = tuple(source) if isinstance(source, Iterable) else source.snapshots.tree()
    rows = arrange(nodes)
    lanes = max(row.lane for row in rows) + 1
    left = MARGIN + LANE * lanes
    named = [line for row in rows if row.node for line in _lines(row, rows)]
    # A measured width is that of the ink; a little more than that has to be free.
    longest = 4 + max((length(text, size, bold=bold) for text, size, bold in named), default=0.0)
    room = max(LEAST_TEXT, min(longest, WIDTH - left - GAP - TAGS))
    width = left + room + GAP + TAGS
    height = 2 * MARGIN + sum(_height(row) for row in rows[:-1]) + MORE - 6
    picture = Picture(width, height, alt=_in_words(rows))
    y = height - MARGIN
    for row in rows:
        row.y = y
        y -= _height(row)
    for row in sorted(rows, key=lambda row: row.is_past):  # the way to the present on top
        if row.parent is not None:
            _connect(picture, rows[row.parent], row)
    for row in rows:
        _draw(picture, row, _lines(row, rows), left, room)
    return picture


def arrange(nodes: Sequence[SnapshotNode]) -> list[Row]:
    """Give each snapshot, and the present, its row and its line.

    Example:
        >>> [row.lane for row in arrange([SnapshotNode("clean", is_current=True)])]
        [0, 0]
    """
    rows: list[Row] = []
    past = {id(node) for root in nodes for node in _way_to_present(root)}

    def place(node: SnapshotNode, lane: int, parent: int | None) -> None:
        number = len(rows)
        rows.append(Row(node, lane, parent, id(node) in past))
        aside = [child for child in node.children if id(child) not in past]
        ahead = [child for child in node.children if id(child) in past]
        if not node.is_current and not ahead:
            aside, ahead = aside[:-1], aside[-1:]
        for child in aside:
            place(child, lane + 1, number)
        for child in ahead:
            place(child, lane, number)
        if node.is_current:
            rows.append(Row(None, lane, number, is_past=True))

    for root in sorted(nodes, key=lambda node: id(node) in past):
        place(root, 0, None)
    if not past:
        rows.append(Row(None, 0, None, is_past=True))
    return rows


def _way_to_present(node: SnapshotNode) -> list[SnapshotNode]:
    if node.is_current:
        return [node]
    for child in node.children:
        if way := _way_to_present(child):
            return [node, *way]
    return []


def _height(row: Row) -> float:
    return ROW + (MORE if row.node is None or row.node.description else 0)


def _x(row: Row) -> float:
    return MARGIN + LANE * row.lane


def _connect(picture: Picture, parent: Row, row: Row) -> None:
    """Draw the line from a snapshot down to what came after it."""
    (x, y), (start_x, start_y) = (_x(row), row.y), (_x(parent), parent.y)
    points, codes = [(start_x, start_y)], [Path.MOVETO]
    if x != start_x:
        points += [(start_x, y + 18), (start_x, y), (x, y)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    else:
        points.append((x, y))
        codes.append(Path.LINETO)
    line = PathPatch(
        Path(points, codes),
        facecolor="none",
        edgecolor=INK if row.is_past else MUTED,
        linewidth=2.6 if row.is_past else 1.5,
        linestyle=(0, (1.6, 1.2)) if row.node is None else "solid",
        capstyle="butt",
        zorder=1,
    )
    picture.board.add_patch(line)


def _lines(row: Row, rows: Sequence[Row]) -> list[tuple[str, float, bool]]:
    """Return what is written in a row: text, size, and whether it is bold."""
    if row.node is not None:
        more = [(row.node.description, SMALL, False)] if row.node.description else []
        return [(row.node.name, NAME, True), *more]
    parent = rows[row.parent].node if row.parent is not None else None
    if parent:
        said = f"the guest as it is now: all that was done since {parent.name}"
    else:
        said = "the guest as it is now; it goes back to none" if len(rows) > 1 else NOTHING
    return [(HERE, NAME, True), (said, SMALL, False)]


def _draw(
    picture: Picture, row: Row, lines: list[tuple[str, float, bool]], left: float, room: float
) -> None:
    board, node, y = picture.board, row.node, row.y
    role = PROCESS if node is None else KINDS.get(node.kind, TOOL)
    radius, fill = (DOT, role[1]) if node else (DOT + 1, CARD)
    board.add_patch(
        Circle((_x(row), y), radius, facecolor=fill, edgecolor=role[1], linewidth=2.4, zorder=2)
    )
    if node is None:
        room += GAP + TAGS - MARGIN
    for number, (text, size, bold) in enumerate(lines):
        look: dict[str, Any] = {"weight": "bold"} if bold else {"color": MUTED}
        shown = fit(text, size, room, bold=bold)
        words(board, left, y - 4 - number * MORE, shown, size=size, ha="left", **look)
    if node is None:
        return
    x = left + room + GAP
    for text, colors in [(node.kind, role), *([("memory", PROCESS)] if node.has_memory else [])]:
        box(board, x, y - TAG_HEIGHT / 2, TAG, TAG_HEIGHT, colors, radius=6)
        words(board, x + TAG / 2, y - 4, text)
        x += TAG + 8
    if node.created:
        when = node.created.astimezone().strftime("%d %b %H:%M:%S")
        words(board, left + room + GAP + TAGS - MARGIN, y - 4, when, ha="right", color=MUTED)


def _in_words(rows: Sequence[Row]) -> str:
    told = []
    for row in rows:
        if row.node is not None:
            parent = rows[row.parent].node if row.parent is not None else None
            kept = f"{row.node.kind}, with memory" if row.node.has_memory else row.node.kind
            after = f", after {parent.name}" if parent else ""
            note = f": {row.node.description}" if row.node.description else ""
            told.append(f"{row.node.name} ({kept}){after}{note}.")
    now = next(row for row in rows if row.node is None)
    parent = rows[now.parent].node if now.parent is not None else None
    here = f"after {parent.name}" if parent else "after none of them" if told else "at the start"
    count = f"{len(told)} snapshot{'' if len(told) == 1 else 's'}" if told else "no snapshots"
    return " ".join([f"A tree of {count}.", *told, f"You are here: {here}."])
