"""What all forms of the course have in common."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets  # type: ignore[import-untyped]

# A triangle that points down, as ipywidgets draws it, but light.
_ARROW = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E"
    "%3Cpath fill='%23e0e0e0' d='M5.2 5.9 9 9.7l3.8-3.8 1.2 1.2-4.9 5-4.9-5z'/%3E%3C/svg%3E"
)


def dark_arrows(selector: str) -> str:
    """Return the style by which dropdowns have an arrow that is seen in a dark theme.

    ipywidgets draws it black, whatever the theme.

    Args:
        selector: the form, in CSS.

    Example:
        >>> dark_arrows(".kvmlab-create").startswith('[data-jp-theme-light="false"]')
        True
    """
    return (
        f'[data-jp-theme-light="false"] {selector} '
        f'{{ --jp-widgets-dropdown-arrow: url("{_ARROW}"); }}'
    )


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
