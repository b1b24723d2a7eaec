"""The drawing board of `kvmlab.plots`: a card to draw on, boxes, words and arrows.

No pyplot is involved, so nothing is shown twice and no global state is left behind.
A picture sits on an opaque card, so that it reads the same on light and on dark themes.
The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which the
colour-blind can tell apart, and no meaning hangs on colour alone.
"""

from __future__ import annotations

import base64
import html
import io
from functools import cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from PIL import Image

Point = tuple[float, float]
Role = tuple[str, str]

INK, MUTED, CARD = "#1f2933", "#55606e", "#fcfbf8"
# Who a box stands for: its fill and its border.
GUEST: Role = ("#d9f0e7", "#009e73")
PROCESS: Role = ("#fdeecb", "#c98a00")
KERNEL: Role = ("#d6e8f5", "#0072b2")
TOOL: Role = ("#f6e1ec", "#b05c8a")
SYSTEM: Role = ("#eeeef6", "#6f7193")
HARDWARE: Role = ("#e3e2dd", "#77756c")
PER_INCH, SHARPNESS = 100, 2  # units of the board to an inch; dots drawn for each of them
NAME, SMALL = 11.0, 9.0  # font sizes in points


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook, with alternative text.

    Args:
        width: in hundredths of an inch, the unit of everything drawn on it.
        height: the same.
        alt: what the picture says, in words, for those who can't see it.

    Example:
        >>> Picture(400, 300, alt="An empty card").alt
        'An empty card'
    """

    def __init__(self, width: float, height: float, *, alt: str) -> None:
        size = (width / PER_INCH, height / PER_INCH)
        super().__init__(figsize=size, dpi=PER_INCH, facecolor=CARD)
        self.alt = alt
        self.board: Axes = self.add_axes((0, 0, 1, 1))
        self.board.set(xlim=(0, width), ylim=(0, height))
        self.board.axis("off")

    def png(self) -> bytes:
        """Return the picture as a PNG file.

        Example:
            >>> Picture(400, 300, alt="").png()[1:4]
            b'PNG'
        """
        drawn, packed = io.BytesIO(), io.BytesIO()
        with matplotlib.rc_context({"text.hinting": "no_hinting"}):  # even letters and lines
            self.savefig(drawn, dpi=PER_INCH * SHARPNESS)
        # A drawing has few colours: with a palette it is a third of the size, and notebooks
        # are kept in git. Of Pillow's methods, this one keeps the fills apart.
        few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
        few.save(packed, "PNG", optimize=True)
        return packed.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        # HTML and not a bare PNG: JupyterLab gives alternative text only to the former.
        data = base64.b64encode(self.png()).decode()
        style = (
            f"width: {self.get_figwidth() * PER_INCH:.0f}px; max-width: 100%; border-radius: 12px"
        )
        source = f"data:image/png;base64,{data}"
        image = f'<img alt="{html.escape(self.alt)}" style="{style}" src="{source}">'
        return {"text/html": image, "text/plain": self.alt}


def box(
    board: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    role: Role,
    *,
    radius: float = 8,
    dashed: bool = False,
) -> FancyBboxPatch:
    """Draw a rounded box and return it.

    Args:
        board: where to draw.
        x: its left edge.
        y: its bottom edge.
        width: to the right.
        height: upwards.
        role: fill and border colour.
        radius: of the corners.
        dashed: whether the border is.

    Example:
        >>> picture = Picture(400, 300, alt="A box")
        >>> box(picture.board, 100, 100, 80, 40, GUEST).get_width()
        80
    """
    shape = f"round,pad=0,rounding_size={radius}"
    fill, border = role
    patch = FancyBboxPatch(
        (x, y), width, height, boxstyle=shape, facecolor=fill, edgecolor=border, linewidth=1.4
    )
    if dashed:
        patch.set_linestyle((0, (4, 3)))
    board.add_patch(patch)
    return patch


def words(board: Axes, x: float, y: float, text: str, *, size: float = SMALL, **style: Any) -> None:
    """Write lines of text, the first one's baseline at y.

    Line by line, because a block of text would be aligned by its letters: "virsh" and
    "virt-manager" would stand at different heights.

    Args:
        board: where to write.
        x: the middle, unless ``ha`` says otherwise.
        y: the first baseline.
        text: one or more lines.
        size: of the letters, in points.
        style: anything matplotlib's ``Text`` takes.

    Example:
        >>> words(Picture(400, 300, alt="Hello").board, 200, 150, "Hello")
    """
    look: dict[str, Any] = {"ha": "center", "color": INK, "va": "baseline", "size": size}
    for number, line in enumerate(text.split("\n")):
        board.text(x, y - number * leading(size), line, **(look | style))


def leading(size: float) -> float:
    """Return how far apart the lines of text of that size (in points) are.

    Example:
        >>> leading(9)
        15.0
    """
    return size * PER_INCH / 72 * 1.2


@cache
def length(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide a line of text is drawn, in units of the board.

    Example:
        >>> length("web", 9) < length("web", 9, bold=True)
        True
    """
    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    width = TextPath((0, 0), text, size=size, prop=font).get_extents().width
    return float(width) * PER_INCH / 72


def fit(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Shorten a line of text in its middle until it fits.

    Example:
        >>> fit("a-very-long-name-of-a-guest", 11, 100)
        'a-very…uest'
    """
    if len(text) <= 3 or length(text, size, bold=bold) <= room:
        return text
    least, most = 2, len(text) - 1  # of its letters that are kept: a letter more is wider
    while least < most:
        kept = (least + most + 1) // 2
        if length(_without_middle(text, kept), size, bold=bold) <= room:
            least = kept
        else:
            most = kept - 1
    return _without_middle(text, least)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def block(
    board: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    name: str,
    role: Role,
    more: str = "",
    *,
    dashed: bool = False,
) -> FancyBboxPatch:
    """Draw a box with a bold name and more words under it, the whole centred.

    Args:
        board: where to draw.
        x: the left edge.
        y: the bottom edge.
        width: to the right.
        height: upwards.
        name: one line.
        role: fill and border colour.
        more: further lines.
        dashed: whether the border is.

    Example:
        >>> block(Picture(400, 300, alt="A guest").board, 9, 9, 90, 40, "web", GUEST).get_x()
        9
    """
    patch = box(board, x, y, width, height, role, dashed=dashed)
    lines = more.count("\n") + 1 if more else 0
    capital = 0.73 * NAME * PER_INCH / 72  # the height of DejaVu Sans' capital letters
    total = capital + lines * leading(SMALL) + (3 if more else 0)
    baseline = y + (height + total) / 2 - capital
    words(board, x + width / 2, baseline, name, size=NAME, weight="bold")
    words(board, x + width / 2, baseline - 3 - leading(SMALL), more, color=MUTED)
    return patch


def arrow(board: Axes, start: Point, end: Point, *, both: bool = False) -> None:
    """Draw a straight arrow, with two heads if ``both``.

    Args:
        board: where to draw.
        start: its first point.
        end: its last.
        both: whether it points both ways.

    Example:
        >>> arrow(Picture(400, 300, alt="An arrow").board, (50, 50), (90, 50))
    """
    curve(board, Path([start, end]), style="<|-|>" if both else "-|>")


def curve(board: Axes, path: Path, *, style: str = "-|>") -> None:
    """Draw an arrow along a path of matplotlib's.

    Args:
        board: where to draw.
        path: where it runs.
        style: matplotlib's name of the kind of arrow.

    Example:
        >>> path = Path([(0, 0), (50, 90), (90, 0)], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
        >>> curve(Picture(400, 300, alt="A bow").board, path)
    """
    board.add_patch(
        FancyArrowPatch(path=path, arrowstyle=style, color=MUTED, linewidth=1.4, mutation_scale=11)
    )
