"""What all forms of the course have in common."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets  # type: ignore[import-untyped]


class Form(widgets.VBox):  # type: ignore[misc]
    """Widgets below each other, that a notebook's file keeps as one line of text.

    A notebook is committed without the state of its widgets, which would be out of date at
    once. Who reads it where no kernel runs gets this line instead, the same for everyone.

    Args:
        children: the widgets, from top to bottom.
        what: what they are, in words that go on after "A form with".

    Example:
        >>> Form([], what="two sliders")
        A form with two sliders: run this cell to see it.
    """

    def __init__(self, children: Sequence[widgets.Widget], *, what: str) -> None:
        super().__init__(list(children))
        self._what = what

    def __repr__(self) -> str:
        return f"A form with {self._what}: run this cell to see it."
