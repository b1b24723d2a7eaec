"""Chapter 1's exercise: its check tells right from wrong, and its solution is right."""

from __future__ import annotations

import contextlib
import io
import re

import nbformat
import pytest
from rig import NOTEBOOKS

from kvmlab import vmm

CELLS = {
    cell.id: cell.source
    for cell in nbformat.read(NOTEBOOKS / "01_what_is_virtualization.ipynb", as_version=4).cells
}


def checked(answer: str) -> str:
    """What the learner sees with that answer in place of the exercise's cell."""
    names = {"vmm": vmm}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(answer, names)
        exec(CELLS["exercise-check"], names)
    return printed.getvalue()


def solution() -> str:
    found = re.search(r"`(mine = .+?)`", CELLS["exercise-more"])
    assert found is not None
    return found[1]


def test_the_solution_solves_it() -> None:
    assert checked(solution()) == "Solved: your guest subtracts.\n"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (CELLS["exercise-bytes"], 1001),  # untouched
        (solution().replace("29 d8", "21 d8"), 1000 & 1),  # and ax, bx
        (solution().replace("29 d8", "29 c3"), 1000),  # sub bx, ax: the result in BX
    ],
)
def test_what_is_wrong_is_told_with_what_was_seen(answer: str, seen: int) -> None:
    assert f"Saw {seen}, expected 999." in checked(answer)


def test_the_bonus_question_is_answered_rightly() -> None:
    names: dict[str, bytes] = {}
    exec(solution(), names)
    assert vmm.run(1, 2, guest=names["mine"]).result == 65535
