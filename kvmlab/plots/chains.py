"""The picture of backing chains: which file stands on which, how full each is, and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath

from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from kvmlab.plots.drawing import (
    GUEST,
    HARDWARE,
    KERNEL,
    MUTED,
    PER_INCH,
    PROCESS,
    SMALL,
    SYSTEM,
    Picture,
    Role,
    box,
    curve,
    words,
)
from kvmlab.storage.chains import Link

_EDGE, _GAP_X, _GAP_Y = 24.0, 46.0, 16.0
_HEIGHT, _WIDEST, _NARROWEST, _PAGE = 84.0, 232.0, 168.0, 980.0
_NAME = 10.0  # points
_MOST = 6  # files, or guests, on one and the same; more are only counted
_DEEPEST = 4  # boxes side by side; of a longer chain, what is in its middle is only counted


@dataclass
class _Node:
    """A box, and those that stand on it."""

    name: str
    role: Role
    about: str = ""
    full: float | None = None
    dashed: bool = False
    above: list[_Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows it takes, with all that stands on it."""
        return max(sum(node.rows for node in self.above), 1)

    @property
    def depth(self) -> int:
        """How many boxes there are in the longest row that begins with it."""
        return 1 + max((node.depth for node in self.above), default=0)


def backing_chain(links: Iterable[Link]) -> Picture:
    """Draw which file is an overlay on which, and which guests have them as disks.

    Bases stand at the left, and overlays point to what they are on. The bar in a box tells
    how much of its capacity a file takes on the host. Of a long chain the two ends are drawn,
    and what is between them is counted; the alternative text names every file.

    Args:
        links: any number of files: `Disk.chain`, `Volume.chain` or
            `kvmlab.storage.chains.every_link`.

    Example:
        >>> backing_chain(web.disks["vda"].chain())
        <kvmlab.plots.drawing.Picture size 980x132 with 1 Axes>
    """
    links = list({link.path: link for link in links}.values())
    roots = _forest(links)
    columns = max((root.depth for root in roots), default=1)
    fits = (_PAGE - 2 * _EDGE - (columns - 1) * _GAP_X) / columns
    width = min(max(fits, _NARROWEST), _WIDEST)
    rows = max(sum(root.rows for root in roots), 1)
    content = columns * width + (columns - 1) * _GAP_X
    picture = Picture(
        max(2 * _EDGE + content, 420),
        2 * _EDGE + rows * (_HEIGHT + _GAP_Y) - _GAP_Y,
        alt=_in_words(links),
    )
    if not roots:
        middle = picture.get_figwidth() * PER_INCH / 2, picture.get_figheight() * PER_INCH / 2 - 4
        words(picture.board, *middle, "no volume is an overlay, or a guest's disk", color=MUTED)
    top = picture.get_figheight() * PER_INCH - _EDGE
    left = (picture.get_figwidth() * PER_INCH - content) / 2
    for root in roots:
        _place(root, left, top, width)
        _draw(picture, root, width)
        top -= root.rows * (_HEIGHT + _GAP_Y)
    return picture


def size_in_words(size_bytes: int) -> str:
    """Return a size as a person would say it.

    Example:
        >>> size_in_words(200704), size_in_words(2**30)
        ('196 KiB', '1 GiB')
    """
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            number = size_bytes / factor
            return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{size_bytes} bytes"


def _forest(links: Sequence[Link]) -> list[_Node]:
    """Arrange the files as trees: each on what it is an overlay on."""
    nodes = {link.path: _file(link) for link in links}
    bases: dict[str, _Node] = {}
    for link in links:
        if link.backing is None:
            bases[link.path] = nodes[link.path]
        elif link.backing in nodes:
            nodes[link.backing].above.append(nodes[link.path])
        else:
            name = PurePosixPath(link.backing).name
            lost = bases.setdefault(
                link.backing, _Node(name, HARDWARE, "in no storage pool,\nor gone", dashed=True)
            )
            lost.above.append(nodes[link.path])
    for link in links:
        guests = [_Node(user, GUEST, "a guest's disk") for user in link.users]
        nodes[link.path].above += guests
    for node in [*nodes.values(), *bases.values()]:
        if (more := len(node.above) - _MOST) > 1:
            node.above[_MOST:] = [_Node(f"and {more} more", SYSTEM, dashed=True)]
    for base in bases.values():
        _fold(base, base.depth - _DEEPEST)
    return list(bases.values())


def _fold(node: _Node, spare: int) -> None:
    """Put one box in place of files that stand one on the other, until there is room."""
    run: list[_Node] = []
    last = node
    while len(last.above) == 1 and last.above[0].above:
        last = last.above[0]
        run.append(last)
    # The file on top of them, which the guest writes to, stays.
    count = min(spare + 1, len(run) - 1)
    if count > 1:
        between = _Node(f"{count} files", SYSTEM, "in between", dashed=True)
        between.above = [run[count]]
        node.above = [between]
        spare -= count - 1
    for above in last.above:
        _fold(above, spare)


def _file(link: Link) -> _Node:
    size, taken = size_in_words(link.capacity_bytes), size_in_words(link.allocation_bytes)
    return _Node(
        name=link.name,
        role=KERNEL if link.backing is None else PROCESS,
        about=f"{link.format}, takes {taken}\nof {size}",
        full=min(link.allocation_bytes / max(link.capacity_bytes, 1), 1.0),
    )


def _place(node: _Node, x: float, top: float, width: float) -> None:
    """Put a box at the middle of the rows of all that stands on it."""
    node.x = x
    node.y = top - (node.rows * (_HEIGHT + _GAP_Y) - _GAP_Y) / 2 - _HEIGHT / 2
    for above in node.above:
        _place(above, x + width + _GAP_X, top, width)
        top -= above.rows * (_HEIGHT + _GAP_Y)


def _draw(picture: Picture, node: _Node, width: float) -> None:
    board = picture.board
    height = _HEIGHT if node.full is not None or node.about else 44.0
    bottom = node.y + (_HEIGHT - height) / 2
    box(board, node.x, bottom, width, height, node.role, dashed=node.dashed)
    lines = node.about.split("\n") if node.about else []
    baseline = bottom + height - 23 if lines else bottom + height / 2 - 5
    if node.full is None and len(lines) == 1:
        baseline = bottom + height / 2 + 4
    middle = node.x + width / 2
    words(board, middle, baseline, _short(node.name, width - 20), size=_NAME, weight="bold")
    for number, line in enumerate(lines):
        words(
            board,
            middle,
            baseline - 18 - 15 * number,
            _short(line, width - 16, bold=False),
            color=MUTED,
        )
    if node.full is not None:
        corner, length = (node.x + 12, bottom + 8), width - 24
        _, border = node.role
        frame = Rectangle(corner, length, 6, facecolor="white", edgecolor=border, linewidth=0.8)
        board.add_patch(frame)
        # However little it is, it is seen; nothing is nothing.
        full = max(length * node.full, 1.5) if node.full else 0
        board.add_patch(Rectangle(corner, full, 6, facecolor=border, linewidth=0))
    for above in node.above:
        start = above.x - 3, above.y + _HEIGHT / 2
        end = node.x + width + 3, node.y + _HEIGHT / 2
        bend = above.x - _GAP_X / 2
        curve(board, Path([start, (bend, start[1]), (bend, end[1]), end]))
        _draw(picture, above, width)


def _short(text: str, width: float, *, bold: bool = True) -> str:
    """Return a text that fits, cut in its middle: names differ at both ends."""
    if _width(text, bold) <= width:
        return text
    for keep in range(len(text) - 1, 1, -1):
        head, tail = (keep + 1) // 2, keep // 2
        cut = f"{text[:head]}…{text[-tail:]}"
        if _width(cut, bold) <= width:
            return cut
    return "…"


@cache
def _width(text: str, bold: bool) -> float:
    font = FontProperties(weight="bold" if bold else "normal")
    size = _NAME if bold else SMALL
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) * PER_INCH / 72


def _in_words(links: Sequence[Link]) -> str:
    if not links:
        return "Backing chains: no volume is an overlay, or a guest's disk."
    said = []
    for link in links:
        taken, size = size_in_words(link.allocation_bytes), size_in_words(link.capacity_bytes)
        on = f", an overlay on {PurePosixPath(link.backing).name}" if link.backing else ""
        users = f", a disk of {' and '.join(link.users)}" if link.users else ""
        said.append(f"{link.name} ({link.format}, takes {taken} of {size}){on}{users}")
    return f"Backing chains: {'; '.join(said)}."
